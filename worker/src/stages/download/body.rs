//! The body of a file: unpacked as a stream, and watched. A server may be slow, or send what never ends.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_compression::tokio::bufread::GzipDecoder;
use bulkhead_shared::{
    config::LimitSettings,
    domain::{failure::Reason, outgoing::without_query},
    queue::{StageError, Trouble},
};
use futures::TryStreamExt as _;
use reqwest::{Response, header::CONTENT_ENCODING};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::Instant,
};
use tokio_util::io::StreamReader;

use crate::{limits, load::cutter::Cut, work::Work};

/// Below this a good ratio is no bomb.
const SMALL: u64 = 64 << 20;

pub enum BodyError {
    /// The transport's, or of the packing.
    Io(io::Error),
    Stage(StageError),
}

pub struct Body<'w> {
    unpacked: Box<dyn AsyncRead + Send + Unpin>,
    place: String,
    limits: &'w LimitSettings,
    /// Over which the slowest pace is judged.
    window: Duration,
    /// Bytes on the wire.
    packed: Arc<AtomicU64>,
    bytes: u64,
    /// What was read in the window at hand, and how long we waited for it. Waiting for our own disk does not count.
    in_window: u64,
    waited: Duration,
}

impl<'w> Body<'w> {
    pub fn of(answer: Response, work: &'w Work) -> Self {
        let place = without_query(answer.url().as_str());
        let gzip = answer.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
        let packed = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&packed);
        let stream = answer.bytes_stream().inspect_ok(move |bytes| {
            count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        });
        let raw = StreamReader::new(stream.map_err(io::Error::other));
        let unpacked: Box<dyn AsyncRead + Send + Unpin> = if gzip {
            let mut decoder = GzipDecoder::new(raw);
            decoder.multiple_members(true);
            Box::new(decoder)
        } else {
            Box::new(raw)
        };
        let (limits, window) = (work.limits(), work.http().read_timeout());
        Self { unpacked, place, limits, window, packed, bytes: 0, in_window: 0, waited: Duration::ZERO }
    }

    /// The next bytes; none at the end. `at`: where the file was resumed, or stands.
    pub async fn read(&mut self, buffer: &mut [u8], at: Cut) -> Result<usize, BodyError> {
        let began = Instant::now();
        let n = self.unpacked.read(buffer).await.map_err(BodyError::Io)?;
        self.waited += began.elapsed();
        self.bytes += n as u64;
        self.in_window += n as u64;
        self.check(at).map_err(BodyError::Stage)?;
        Ok(n)
    }

    fn check(&mut self, at: Cut) -> Result<(), StageError> {
        let packed = self.packed.load(Ordering::Relaxed).max(1);
        if self.bytes > SMALL && self.bytes / packed > self.limits.limit_unpacking {
            let what = format!("{} unpacks to {} times its size", self.place, self.bytes / packed);
            return Err(limits::met(what, "LIMIT_UNPACKING"));
        }
        let stored = u64::try_from(at.byte_start).unwrap_or(0);
        if stored.max(self.bytes) > self.limits.limit_file_bytes {
            return Err(limits::met(format!("{} does not end after {} bytes", self.place, stored.max(self.bytes)), "LIMIT_FILE_BYTES"));
        }
        if self.waited < self.window {
            return Ok(());
        }
        let least = self.limits.limit_slowest_body.saturating_mul(self.window.as_secs().max(1));
        if self.in_window < least {
            let detail = format!(
                "Timeout exceeded: {} sent {} bytes in {} s, less than LIMIT_SLOWEST_BODY.",
                self.place,
                self.in_window,
                self.window.as_secs()
            );
            let remedy = "check the network and the server, or lower LIMIT_SLOWEST_BODY; then retry the export";
            return Err(StageError::Retry(Trouble::new(Reason::Unreachable, detail, remedy), None));
        }
        (self.in_window, self.waited) = (0, Duration::ZERO);
        Ok(())
    }
}
