//! Reads NDJSON line by line from a blob of any size, and hashes it as it goes. Empty lines and a byte order mark are not resources
//! (Bulk Data IG, "File Request"; ndjson.org).

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// Read at once; also what is held, unless one line is longer.
const BUFFER: usize = 256 << 10;

/// One resource's line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// From 0, empty lines counted.
    pub number: i64,
    /// Where its text begins, from 0.
    pub byte: i64,
    /// Without its end and the space around it.
    pub text: &'a [u8],
}

/// The lines of one blob.
pub struct Lines<R> {
    source: R,
    digest: Sha256,
    buffer: Vec<u8>,
    /// Where in the buffer the next line begins.
    start: usize,
    /// Up to where the buffer is known to hold no newline after `start`.
    searched: usize,
    /// How much of the buffer is filled.
    end: usize,
    /// Bytes and lines before `start`.
    byte: i64,
    line: i64,
    ended: bool,
}

impl<R: Read> Lines<R> {
    pub fn of(source: R) -> Self {
        Self { source, digest: Sha256::new(), buffer: vec![0; BUFFER], start: 0, searched: 0, end: 0, byte: 0, line: 0, ended: false }
    }

    /// The next line that is not empty.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        while let Some((start, end)) = self.next_physical()? {
            let (number, byte) = (self.line, self.byte);
            let consumed = self.start - start;
            self.line += 1;
            self.byte += i64::try_from(consumed).unwrap_or(0);
            let mut from = start;
            if self.buffer[from..end].starts_with(b"\xEF\xBB\xBF") {
                from += 3;
            }
            if self.buffer[from..end].trim_ascii().is_empty() {
                continue;
            }
            let byte = byte + i64::try_from(from - start).unwrap_or(0);
            return Ok(Some(Line { number, byte, text: self.buffer[from..end].trim_ascii() }));
        }
        Ok(None)
    }

    /// The borders of the next line in the buffer, without its newline; `start` is behind it then.
    fn next_physical(&mut self) -> io::Result<Option<(usize, usize)>> {
        loop {
            if let Some(newline) = memchr::memchr(b'\n', &self.buffer[self.searched..self.end]) {
                let (start, end) = (self.start, self.searched + newline);
                (self.start, self.searched) = (end + 1, end + 1);
                return Ok(Some((start, end)));
            }
            self.searched = self.end;
            if self.ended {
                let (start, end) = (self.start, self.end);
                self.start = end;
                return Ok((start < end).then_some((start, end)));
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        (self.start, self.searched) = (0, self.end);
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.source.read(&mut self.buffer[self.end..])?;
        self.digest.update(&self.buffer[self.end..self.end + read]);
        self.end += read;
        self.ended = read == 0;
        Ok(())
    }

    /// SHA-256 of what was read: of all of it, once there are no more lines.
    pub fn sha256(self) -> Vec<u8> {
        self.digest.finalize().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out a byte at a time.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            out[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn all(input: &[u8]) -> Vec<(i64, i64, Vec<u8>)> {
        let mut lines = Lines::of(Trickle(input));
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push((line.number, line.byte, line.text.to_vec()));
        }
        assert_eq!(lines.sha256(), Sha256::digest(input).to_vec());
        found
    }

    #[test]
    fn the_last_line_may_lack_its_newline_and_empty_lines_are_none() {
        assert_eq!(all(b"\xEF\xBB\xBF{1}\n\n{2}\r\n  \n{3}"), [(0, 3, b"{1}".to_vec()), (2, 8, b"{2}".to_vec()), (4, 16, b"{3}".to_vec())]);
        assert_eq!(all(b""), []);
        assert_eq!(all(b"\r\n\n \n"), []);
    }

    #[test]
    fn a_line_may_be_longer_than_the_buffer() {
        let long = vec![b'x'; 3 * BUFFER + 7];
        let input = [b"a\n", long.as_slice(), b"\nb\n"].concat();
        let found = all(&input);
        assert_eq!(found.iter().map(|(_, _, text)| text.len()).collect::<Vec<_>>(), [1, long.len(), 1]);
        assert_eq!(found[2], (2, i64::try_from(long.len()).unwrap() + 3, b"b".to_vec()));
    }
}
