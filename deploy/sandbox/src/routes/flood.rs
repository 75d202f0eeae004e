//! Files that are far more than they should be, streamed so that the sandbox itself stays small.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::made::{self, Pieces, UnderWay};
use crate::app::App;
use crate::faults::Flood;
use crate::world::Lines;

const PIECE: usize = 128 << 10;

/// The honest lines, and the flood after them.
pub fn respond(app: &Arc<App>, lines: &Lines, flood: Flood) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/fhir+ndjson"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    let under_way = UnderWay::new(app);
    let body = match flood {
        Flood::GzipBomb(bytes) => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            made::packed(Box::new(std::iter::once(lines.bytes()).chain(repeated(b'\n', bytes))), under_way)
        }
        Flood::LongLine(bytes) => made::plain(long_line(lines, bytes), under_way),
        Flood::Endless => {
            let line = lines.line(0).unwrap_or_else(|| Bytes::from_static(b"\n"));
            let piece = Bytes::from(line.repeat((PIECE / line.len()).max(1)));
            made::plain(Box::new(std::iter::once(lines.bytes()).chain(std::iter::repeat(piece))), under_way)
        }
    };
    (headers, body).into_response()
}

fn repeated(byte: u8, bytes: u64) -> impl Iterator<Item = Bytes> + Send {
    let piece = Bytes::from(vec![byte; PIECE]);
    let (whole, rest) = (bytes / PIECE as u64, usize::try_from(bytes % PIECE as u64).unwrap_or(0));
    let last = piece.slice(..rest);
    (0..whole).map(move |_| piece.clone()).chain(std::iter::once(last)).filter(|piece| !piece.is_empty())
}

/// The last resource has one more string of so many bytes, so that the count holds.
fn long_line(lines: &Lines, bytes: u64) -> Pieces {
    let all = lines.bytes();
    let kept = all.trim_ascii_end().strip_suffix(b"}").map_or(0, <[u8]>::len);
    let begin = [&all[..kept], br#","implicitRules":"urn:"#].concat();
    let pieces = std::iter::once(Bytes::from(begin)).chain(repeated(b'x', bytes));
    Box::new(pieces.chain(std::iter::once(Bytes::from_static(b"\"}\n"))))
}
