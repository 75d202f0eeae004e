//! A part, made ready for COPY on a thread of its own: read, hashed, guarded, encoded and sorted, a chunk at a time, while the
//! chunk before is on the wire. Two chunks are in memory, whatever the size of the part.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use bulkhead_shared::{db::rejected_lines::Rejected, domain::file::FilePart};
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
};
use uuid::Uuid;

use super::{
    buffers::Buffers,
    chunk::{self, Chunk},
    guard::{self, Row},
    lines::Lines,
    sieve::{Sieve, Sieved},
    table::{Encoder, Table},
};

/// The first chunk is small, since Postgres waits for it; the next ones are larger and larger.
const FIRST_CHUNK: usize = 1 << 20;
/// Refused lines that are kept in memory before they go to their table.
const REJECTED_BYTES: usize = 1 << 20;

/// What one part is loaded as.
#[derive(Debug, Clone)]
pub struct Plan {
    pub export_id: Uuid,
    pub part: FilePart,
    /// The resource type that the manifest says.
    pub expected_type: Option<String>,
    /// What is no row although it is read.
    pub sieve: Sieve,
    /// Rows for a staging table, with their line in front.
    pub staged: bool,
}

/// What a part turned out to be, when all of it was read.
#[derive(Debug, Default)]
pub struct PartRead {
    pub sha256: Vec<u8>,
    pub sieved: Sieved,
}

/// Ready for the database.
#[derive(Debug)]
pub enum Prepared {
    Rows(Chunk),
    /// Lines that the guard refused.
    Rejected(Vec<Rejected>),
}

/// A part that is being prepared.
pub struct Preparation {
    pub ready: Receiver<Prepared>,
    thread: JoinHandle<io::Result<PartRead>>,
}

impl Preparation {
    /// Begins. Dropping it ends the thread at its next chunk.
    pub fn start(blob: Box<dyn Read + Send>, plan: Plan, buffers: Buffers) -> Self {
        let (sender, ready) = mpsc::channel(1);
        let runtime = Handle::current();
        let thread = tokio::task::spawn_blocking(move || prepare(blob, &plan, &buffers, &Hand { sender, runtime }));
        Self { ready, thread }
    }

    /// What it was, after the last of it was received; `None` for a blob that cannot even be unpacked.
    pub async fn end(self) -> io::Result<Option<PartRead>> {
        drop(self.ready);
        read(self.thread).await
    }
}

/// What a thread that reads a blob comes to. An error that is not the system's is the blob's own: it is not what was stored.
pub async fn read<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<Option<T>> {
    match thread.await {
        Ok(Ok(read)) => Ok(Some(read)),
        Ok(Err(error)) if error.raw_os_error().is_none() => Ok(None),
        Ok(Err(error)) => Err(error),
        // The runner tells of it.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Hands over to the task that speaks to Postgres.
struct Hand {
    sender: Sender<Prepared>,
    runtime: Handle,
}

impl Hand {
    /// Waits until the other has room: no third chunk is begun before.
    fn wait(&self) -> io::Result<()> {
        self.runtime.block_on(self.sender.reserve()).map(drop).map_err(|_| gone())
    }

    fn over(&self, prepared: Prepared) -> io::Result<()> {
        self.sender.blocking_send(prepared).map_err(|_| gone())
    }
}

/// The load was given up.
fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn prepare(blob: Box<dyn Read + Send>, plan: &Plan, buffers: &Buffers, hand: &Hand) -> io::Result<PartRead> {
    let encoder = Encoder::new(plan.export_id, plan.part.id, plan.staged);
    let mut lines = Lines::of(blob);
    let mut chunks: BTreeMap<Table, Chunk> = BTreeMap::new();
    let (mut bytes, mut rows) = (0, 0);
    let mut most = FIRST_CHUNK;
    let mut rejected = Vec::new();
    let mut rejected_bytes = 0;
    let mut sieved = Sieved::default();
    let expected_type = plan.expected_type.as_deref().filter(|_| !plan.sieve.organized);
    while let Some(line) = lines.next_line()? {
        if sieved.is_header(&plan.sieve, line.text) {
            continue;
        }
        let (number, byte_start) = (plan.part.first_line + line.number + 1, plan.part.byte_start + line.byte);
        match guard::check(line.text, expected_type) {
            Ok(fields) if sieved.holds_back(&plan.sieve, &fields) => {}
            Ok(fields) => {
                let table = Table::of(&fields.resource_type);
                let chunk = chunks.entry(table).or_insert_with(|| Chunk::of(table, buffers));
                bytes += chunk.push(&encoder, &Row { line: number, byte_start, text: line.text, fields });
                rows += 1;
                if bytes >= most || rows >= chunk::ROWS {
                    most = (most * 2).min(chunk::BYTES);
                    hand_over(std::mem::take(&mut chunks), hand)?;
                    (bytes, rows) = (0, 0);
                }
            }
            Err(reason) => {
                rejected_bytes += line.text.len() + size_of::<Rejected>();
                rejected.push(Rejected { line: number, reason, bytes: line.text.to_vec(), byte_start });
                if rejected_bytes >= REJECTED_BYTES {
                    hand.over(Prepared::Rejected(std::mem::take(&mut rejected)))?;
                    rejected_bytes = 0;
                }
            }
        }
    }
    hand_over(chunks, hand)?;
    if !rejected.is_empty() {
        hand.over(Prepared::Rejected(rejected))?;
    }
    Ok(PartRead { sha256: lines.sha256(), sieved })
}

fn hand_over(chunks: BTreeMap<Table, Chunk>, hand: &Hand) -> io::Result<()> {
    for mut chunk in chunks.into_values() {
        chunk.sort();
        hand.over(Prepared::Rows(chunk))?;
        hand.wait()?;
    }
    Ok(())
}
