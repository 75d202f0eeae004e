//! How a file's body travels: in pieces, and with the faults of the way.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;

use crate::app::{App, Serving};
use crate::faults::Transfer as Fault;
use crate::wire::Wire;

const PIECE: usize = 64 * 1024;

/// A body under way.
pub struct Transfer {
    app: Arc<App>,
    wire: Wire,
    body: Bytes,
    sent: usize,
    /// Bytes a second.
    pace: Option<u64>,
    /// What happens once so many bytes are sent.
    turn: Option<(usize, Turn)>,
    serving: Option<Serving>,
}

#[derive(Clone, Copy)]
enum Turn {
    Hold,
    Cut,
    End,
}

impl Transfer {
    pub fn new(app: Arc<App>, wire: Wire, body: Bytes, faults: &[Fault]) -> Self {
        let serving = Some(Serving::new(&app));
        let mut transfer = Self { app, wire, sent: 0, pace: None, turn: None, body, serving };
        let length = transfer.body.len();
        for fault in faults {
            match *fault {
                Fault::Slow(pace) => transfer.pace = Some(pace),
                Fault::HoldHalf => transfer.turn = Some((length / 2, Turn::Hold)),
                Fault::DropAfter(bytes) => transfer.turn = Some((bytes.min(length), Turn::Cut)),
                Fault::Truncate(bytes) => transfer.turn = Some((bytes.min(length), Turn::End)),
                Fault::CorruptGzip => {}
            }
        }
        transfer
    }

    /// The length to announce: none when the body ends short as if that were all.
    pub fn length(&self) -> Option<usize> {
        (!matches!(self.turn, Some((_, Turn::End)))).then_some(self.body.len())
    }

    pub fn into_body(mut self) -> Body {
        if self.body.is_empty() {
            self.serving = None;
            self.app.count(|stats| stats.files_finished += 1);
        }
        Body::from_stream(futures::stream::try_unfold(self, Self::next))
    }

    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if let Some((at, turn)) = self.turn
            && self.sent >= at
        {
            self.turn = None;
            match turn {
                Turn::Hold => self.app.hold().await,
                Turn::End => return Ok(None),
                Turn::Cut => {
                    // Gives the server the chance to send what it has; then nothing more leaves.
                    tokio::task::yield_now().await;
                    self.wire.cut();
                    return Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut by a fault"));
                }
            }
        }
        if self.sent == self.body.len() {
            return Ok(None);
        }
        let end = self.turn.map_or(self.body.len(), |(at, _)| at);
        let size = (end - self.sent).min(self.pace().await);
        let piece = self.body.slice(self.sent..self.sent + size);
        self.sent += size;
        // Counted with the last piece: the server asks for no more once the announced length is reached.
        if self.sent == self.body.len() && self.turn.is_none() {
            // Nor is it under way any longer: its client may ask for the next before this is dropped.
            self.serving = None;
            self.app.count(|stats| stats.files_finished += 1);
        }
        Ok(Some((piece, self)))
    }

    /// The size of the next piece; ten pieces a second when slow.
    async fn pace(&self) -> usize {
        let Some(pace) = self.pace else { return PIECE };
        tokio::time::sleep(Duration::from_millis(100)).await;
        usize::try_from(pace / 10).unwrap_or(PIECE).clamp(1, PIECE)
    }
}
