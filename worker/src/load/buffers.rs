//! Memory for chunks, used again and again: given back to the allocator after each load, it would come to lie in pieces.

use std::sync::{Arc, Mutex, PoisonError};

use super::chunk;

/// More are not kept: a file of many types asks for many.
const KEPT: usize = 16;

/// Those of one process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    pub fn take(&self) -> Vec<u8> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // Memory that is not written to costs nothing; growing would copy.
        kept.unwrap_or_else(|| Vec::with_capacity(chunk::BYTES + chunk::BYTES / 8))
    }

    /// One that had to grow for a very long row goes.
    pub fn give_back(&self, mut buffer: Vec<u8>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT && buffer.capacity() < 2 * chunk::BYTES {
            buffer.clear();
            kept.push(buffer);
        }
    }
}
