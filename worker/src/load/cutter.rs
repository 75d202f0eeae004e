//! Cuts a stream of NDJSON into parts on line borders, and lets each part out in pieces: a part is never in memory as a whole.

use sha2::{Digest as _, Sha256};

/// The first part of a file is at most this large, so that its load begins early; each of the next is twice as large as
/// the one before, up to the largest, so that a large file has few transactions.
const SMALLEST_PART: usize = 8 << 20;
const DOUBLINGS: i32 = 3;
/// What is let out at once.
const PIECE: usize = 1 << 20;

/// A place between two parts. All counts are from the beginning of the file, uncompressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    /// Number of the part that begins here.
    pub n: i32,
    pub byte_start: i64,
    /// Lines before it, empty ones included: what an editor would count.
    pub first_line: i64,
    /// Resources before it: empty lines do not count.
    pub lines: i64,
}

/// What comes out.
#[derive(Debug)]
pub enum Step {
    /// The next bytes of the part: whole lines.
    Piece(Vec<u8>),
    /// The part is whole.
    End(Part),
}

/// A part that was cut off.
#[derive(Debug)]
pub struct Part {
    pub cut: Cut,
    pub byte_len: i64,
    pub physical_lines: i64,
    /// Resources in it.
    pub lines: i64,
    pub sha256: Vec<u8>,
}

/// A line that is longer than any resource.
#[derive(Debug, thiserror::Error)]
#[error("line {line} is longer than {longest} bytes")]
pub struct LineTooLong {
    line: i64,
    longest: usize,
}

/// Holds what was read and not let out.
#[derive(Debug)]
pub struct Cutter {
    /// A line beyond this is no FHIR resource; its file fails.
    longest_line: usize,
    pending: Vec<u8>,
    /// Bytes of `pending` known to hold no newline.
    searched: usize,
    /// Where the part at hand began.
    cut: Cut,
    /// What of it was let out.
    part: Progress,
}

#[derive(Debug, Default)]
struct Progress {
    bytes: usize,
    physical_lines: i64,
    lines: i64,
    digest: Sha256,
}

impl Cutter {
    /// Begins at the beginning, or goes on where the stored parts end.
    pub fn at(cut: Cut, longest_line: usize) -> Self {
        Self { longest_line, pending: Vec::new(), searched: 0, cut, part: Progress::default() }
    }

    /// Where the part at hand begins.
    pub fn cut(&self) -> Cut {
        self.cut
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// What can come out by now. `border`: the length of the part that was cut here before, to cut at the same place.
    pub fn next_step(&mut self, border: Option<usize>) -> Result<Option<Step>, LineTooLong> {
        let limit = border.filter(|border| *border > 0).unwrap_or(part_size(self.cut.n));
        let room = limit.saturating_sub(self.part.bytes);
        // Just as much may be all there is: a last line without its newline ends where it ended before.
        if self.pending.len() <= room {
            return if self.pending.len() < PIECE { Ok(None) } else { self.up_to_the_last_line(self.pending.len()) };
        }
        if room > 0
            && let Some(piece) = self.up_to_the_last_line(room)?
        {
            return Ok(Some(piece));
        }
        // Not one line more fits. A first line that is longer than a part is a part of its own.
        if self.part.bytes > 0 { Ok(Some(Step::End(self.end()))) } else { self.up_to_the_first_line() }
    }

    /// What is left at the end of the stream: call it until there is nothing.
    pub fn last_step(&mut self) -> Option<Step> {
        if !self.pending.is_empty() {
            return Some(self.let_out(self.pending.len()));
        }
        (self.part.bytes > 0).then(|| Step::End(self.end()))
    }

    fn up_to_the_last_line(&mut self, within: usize) -> Result<Option<Step>, LineTooLong> {
        let from = self.searched.min(within);
        if let Some(newline) = memchr::memrchr(b'\n', &self.pending[from..within]) {
            return Ok(Some(self.let_out(from + newline + 1)));
        }
        self.searched = self.searched.max(within);
        self.check_length().map(|()| None)
    }

    fn up_to_the_first_line(&mut self) -> Result<Option<Step>, LineTooLong> {
        if let Some(newline) = memchr::memchr(b'\n', &self.pending[self.searched..]) {
            return Ok(Some(self.let_out(self.searched + newline + 1)));
        }
        self.searched = self.pending.len();
        self.check_length().map(|()| None)
    }

    fn check_length(&self) -> Result<(), LineTooLong> {
        if self.pending.len() > self.longest_line {
            return Err(LineTooLong { line: self.cut.first_line + self.part.physical_lines + 1, longest: self.longest_line });
        }
        Ok(())
    }

    fn let_out(&mut self, end: usize) -> Step {
        let rest = self.pending.split_off(end);
        let piece = std::mem::replace(&mut self.pending, rest);
        self.searched = 0;
        self.part.bytes += piece.len();
        self.part.digest.update(&piece);
        let (physical_lines, lines) = count(&piece);
        self.part.physical_lines += physical_lines;
        self.part.lines += lines;
        Step::Piece(piece)
    }

    fn end(&mut self) -> Part {
        let part = std::mem::take(&mut self.part);
        let (cut, byte_len) = (self.cut, i64::try_from(part.bytes).unwrap_or(i64::MAX));
        self.cut = Cut {
            n: cut.n + 1,
            byte_start: cut.byte_start + byte_len,
            first_line: cut.first_line + part.physical_lines,
            lines: cut.lines + part.lines,
        };
        Part { cut, byte_len, physical_lines: part.physical_lines, lines: part.lines, sha256: part.digest.finalize().to_vec() }
    }
}

/// The largest that part `n` of a file may be.
fn part_size(n: i32) -> usize {
    SMALLEST_PART << n.clamp(0, DOUBLINGS)
}

/// Lines as an editor counts them (a last one without its newline counts), and how many of them are resources.
fn count(piece: &[u8]) -> (i64, i64) {
    let (mut physical, mut resources) = (0, 0);
    for line in piece.split_inclusive(|byte| *byte == b'\n') {
        physical += 1;
        let text = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        resources += i64::from(!text.trim_ascii().is_empty());
    }
    (physical, resources)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::lines::Lines, *};

    /// The parts of a stream that comes in chunks of `size`.
    fn cut_up(input: &[u8], size: usize, borders: &[usize]) -> (Vec<(Vec<u8>, Part)>, Cut) {
        let mut cutter = Cutter::at(Cut::default(), 64 << 20);
        let (mut parts, mut open) = (Vec::new(), Vec::new());
        let mut take = |step: Step| match step {
            Step::Piece(piece) => open.extend_from_slice(&piece),
            Step::End(part) => parts.push((std::mem::take(&mut open), part)),
        };
        for chunk in input.chunks(size) {
            cutter.push(chunk);
            while let Some(step) = cutter.next_step(borders.get(usize::try_from(cutter.cut().n).unwrap()).copied()).unwrap() {
                take(step);
            }
        }
        while let Some(step) = cutter.last_step() {
            take(step);
        }
        (parts, cutter.cut())
    }

    #[test]
    fn the_last_line_may_lack_its_newline_and_empty_lines_do_not_count() {
        let (parts, end) = cut_up(b"\xEF\xBB\xBF{1}\n\n{2}\r\n  \n{3}", 7, &[]);
        assert_eq!(parts.len(), 1);
        assert_eq!((end.n, end.lines, end.first_line, end.byte_start), (1, 3, 5, 19));
    }

    #[test]
    fn it_cuts_at_the_borders_of_before_and_at_the_line_before_them_where_they_are_no_line_ends() {
        let texts = |borders: &[usize]| cut_up(b"{1}\n{2}\n{3}\n", 7, borders).0.into_iter().map(|(text, _)| text).collect::<Vec<_>>();
        assert_eq!(texts(&[4]), [b"{1}\n".to_vec(), b"{2}\n{3}\n".to_vec()]);
        assert_eq!(texts(&[9]), [b"{1}\n{2}\n".to_vec(), b"{3}\n".to_vec()]);
        assert_eq!(texts(&[2]), [b"{1}\n".to_vec(), b"{2}\n{3}\n".to_vec()]);
        // The last line lacked its newline before, and does again.
        let again: Vec<_> = cut_up(b"{1}\n{2}", 7, &[7]).0.into_iter().map(|(text, _)| text).collect();
        assert_eq!(again, [b"{1}\n{2}".to_vec()]);
    }

    #[test]
    fn nothing_is_lost_between_parts_whose_sizes_double_and_long_lines_stay_whole() {
        let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(2 * SMALLEST_PART + 10));
        let input = [b"{1}\n".repeat(1000), long.into_bytes(), b"{234567890123}\n".repeat(3 << 20)].concat();
        let (parts, end) = cut_up(&input, 1 << 16, &[]);
        assert_eq!(parts.iter().flat_map(|(text, _)| text.clone()).collect::<Vec<_>>(), input);
        assert_eq!(end.lines, 1001 + (3 << 20));
        for (n, (text, part)) in parts.iter().enumerate() {
            assert!(text.ends_with(b"\n"));
            assert!(n == 1 || text.len() <= part_size(part.cut.n), "part {n}: {}", text.len());
            assert_eq!(part.sha256, Sha256::digest(text).to_vec());
            assert_eq!(usize::try_from(part.byte_len).unwrap(), text.len());
        }
        let sizes: Vec<usize> = parts.iter().map(|(text, _)| text.len() >> 20).collect();
        assert_eq!(sizes, [0, 16, 31, 13], "MiB, rounded down");
        // The same borders, however the stream comes in.
        let again = cut_up(&input, 100_003, &[]).0;
        assert_eq!(
            again.iter().map(|(_, part)| part.byte_len).collect::<Vec<_>>(),
            parts.iter().map(|(_, part)| part.byte_len).collect::<Vec<_>>()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        /// The cutter counts while downloading, the lines' reader while loading: they must agree on every byte.
        #[test]
        fn what_is_cut_is_what_is_read(
            pieces in prop::collection::vec(prop_oneof![
                Just(b"\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"\xEF\xBB\xBF".to_vec()), Just(b" ".to_vec()),
                prop::collection::vec(any::<u8>(), 0..40), Just(br#"{"resourceType":"Patient","id":"1"}"#.to_vec()),
            ], 0..30),
            size in 1..100_usize,
            borders in prop::collection::vec(0..60_usize, 0..8),
        ) {
            let input = pieces.concat();
            let (parts, end) = cut_up(&input, size, &borders);
            prop_assert_eq!(parts.iter().flat_map(|(text, _)| text.clone()).collect::<Vec<_>>(), input);
            let mut total = 0;
            for (text, part) in &parts {
                let mut lines = Lines::of(&text[..]);
                let mut read = 0;
                while lines.next_line().unwrap().is_some() {
                    read += 1;
                }
                prop_assert_eq!(read, part.lines);
                prop_assert_eq!(lines.sha256(), part.sha256.clone());
                total += read;
            }
            prop_assert_eq!(total, end.lines);
        }
    }
}
