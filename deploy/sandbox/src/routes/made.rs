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

pub fn respond(app: &Arc<App>, recipe: &Recipe, gzip: bool) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/fhir+ndjson"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    let under_way = UnderWay { app: app.clone(), serving: Some(Serving::new(app)) };
    let mut reader = recipe.open();
    let body = if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let packer = Some(GzEncoder::new(Vec::new(), Compression::fast()));
        Body::from_stream(futures::stream::try_unfold((reader, packer, under_way), |(mut reader, packer, mut under_way)| async {
            let Some(mut packer) = packer else { return Ok::<_, io::Error>(None) };
            // Packing a piece takes a millisecond or two: not on the threads that serve.
            let (piece, reader, packer) = tokio::task::spawn_blocking(move || {
                loop {
                    let Some(piece) = reader.next(PIECE) else { return Ok((packer.finish()?, reader, None)) };
                    packer.write_all(&piece)?;
                    let packed = std::mem::take(packer.get_mut());
                    if !packed.is_empty() {
                        return Ok::<_, io::Error>((packed, reader, Some(packer)));
                    }
                }
            })
            .await
            .expect("packing does not panic")?;
            under_way.is_over_if(packer.is_none());
            Ok(Some((Bytes::from(piece), (reader, packer, under_way))))
        }))
    } else {
        headers.insert(header::CONTENT_LENGTH, recipe.bytes.into());
        let (mut left, mut under_way) = (recipe.bytes, under_way);
        Body::from_stream(futures::stream::iter(std::iter::from_fn(move || {
            let piece = reader.next(PIECE);
            left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
            under_way.is_over_if(left == 0);
            piece.map(Ok::<_, io::Error>)
        })))
    };
    (headers, body).into_response()
}

/// Counted as finished with its last piece, as in `transfer.rs`.
struct UnderWay {
    app: Arc<App>,
    serving: Option<Serving>,
}

impl UnderWay {
    fn is_over_if(&mut self, over: bool) {
        if over && self.serving.take().is_some() {
            self.app.count(|stats| stats.files_finished += 1);
        }
    }
}
