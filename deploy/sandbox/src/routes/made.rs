//! Files that are made while they are served, piece after piece, as fast as the client reads.

use std::io::{self, Write as _};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::app::{App, Serving};
use crate::world::Recipe;

const PIECE: usize = 128 << 10;

/// A body while it is made.
pub type Pieces = Box<dyn Iterator<Item = Bytes> + Send>;

pub fn respond(app: &Arc<App>, recipe: &Recipe, gzip: bool) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/fhir+ndjson"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    let under_way = UnderWay::new(app);
    let mut reader = recipe.open();
    let pieces: Pieces = Box::new(std::iter::from_fn(move || reader.next(PIECE)));
    let body = if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        packed(pieces, under_way)
    } else {
        headers.insert(header::CONTENT_LENGTH, recipe.bytes.into());
        plain_of_length(pieces, recipe.bytes, under_way)
    };
    (headers, body).into_response()
}

/// Packs the pieces as they come.
pub fn packed(pieces: Pieces, under_way: UnderWay) -> Body {
    let packer = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    Body::from_stream(futures::stream::try_unfold((pieces, packer, under_way), |(mut pieces, packer, mut under_way)| async {
        let Some(mut packer) = packer else { return Ok::<_, io::Error>(None) };
        // Packing a piece takes a millisecond or two: not on the threads that serve.
        let (piece, pieces, packer) = tokio::task::spawn_blocking(move || {
            loop {
                let Some(piece) = pieces.next() else { return Ok((packer.finish()?, pieces, None)) };
                packer.write_all(&piece)?;
                let packed = std::mem::take(packer.get_mut());
                if !packed.is_empty() {
                    return Ok::<_, io::Error>((packed, pieces, Some(packer)));
                }
            }
        })
        .await
        .expect("packing does not panic")?;
        under_way.is_over_if(packer.is_none());
        Ok(Some((Bytes::from(piece), (pieces, packer, under_way))))
    }))
}

/// Chunked: nobody knows the length before the end.
pub fn plain(mut pieces: Pieces, mut under_way: UnderWay) -> Body {
    Body::from_stream(futures::stream::iter(std::iter::from_fn(move || {
        let piece = pieces.next();
        under_way.is_over_if(piece.is_none());
        piece.map(Ok::<_, io::Error>)
    })))
}

fn plain_of_length(mut pieces: Pieces, mut left: u64, mut under_way: UnderWay) -> Body {
    Body::from_stream(futures::stream::iter(std::iter::from_fn(move || {
        let piece = pieces.next();
        left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        under_way.is_over_if(left == 0);
        piece.map(Ok::<_, io::Error>)
    })))
}

/// Counted as finished with its last piece, as in `transfer.rs`.
pub struct UnderWay {
    app: Arc<App>,
    serving: Option<Serving>,
}

impl UnderWay {
    pub fn new(app: &Arc<App>) -> Self {
        Self { app: app.clone(), serving: Some(Serving::new(app)) }
    }

    fn is_over_if(&mut self, over: bool) {
        if over && self.serving.take().is_some() {
            self.app.count(|stats| stats.files_finished += 1);
        }
    }
}
