//! Cuts a stream of NDJSON into parts on line borders. The last line may lack its newline; empty lines and a byte order
//! mark are not resources (Bulk Data IG, "File Request"; ndjson.org).

/// A part is at most this large, unless one line is larger.
const PART: usize = 8 << 20;
/// A line beyond this is no FHIR resource; its file fails.
pub const LONGEST_LINE: usize = 64 << 20;

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

/// A part that was cut off.
#[derive(Debug)]
pub struct Part {
    pub bytes: Vec<u8>,
    pub cut: Cut,
    pub physical_lines: i64,
    /// Resources in it.
    pub lines: i64,
}

/// A line that is longer than any resource.
#[derive(Debug, thiserror::Error)]
#[error("line {line} is longer than {} MiB", LONGEST_LINE >> 20)]
pub struct LineTooLong {
    line: i64,
}

/// Holds what was read since the last cut.
#[derive(Debug, Default)]
pub struct Cutter {
    buffer: Vec<u8>,
    cut: Cut,
    /// Bytes of the buffer known to hold no newline beyond the last border looked for.
    searched: usize,
}

impl Cutter {
    /// Goes on where the stored parts end.
    pub fn resume(cut: Cut) -> Self {
        Self { cut, ..Self::default() }
    }

    /// Where the next part begins.
    pub fn cut(&self) -> Cut {
        self.cut
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// A part, if there is enough for one. `border`: the length of the part that was cut here before.
    pub fn next_part(&mut self, border: Option<usize>) -> Result<Option<Part>, LineTooLong> {
        if let Some(border) = border {
            if self.buffer.len() < border {
                return Ok(None);
            }
            // The same border again, unless the file is another one now.
            if border > 0 && (self.buffer[border - 1] == b'\n') {
                return Ok(Some(self.take(border)));
            }
        }
        if self.buffer.len() < PART {
            return Ok(None);
        }
        let end = match memchr::memrchr(b'\n', &self.buffer[..PART]) {
            Some(newline) => newline + 1,
            None => match memchr::memchr(b'\n', &self.buffer[PART.max(self.searched)..]) {
                Some(newline) => PART.max(self.searched) + newline + 1,
                None if self.buffer.len() > LONGEST_LINE => return Err(LineTooLong { line: self.cut.first_line + 1 }),
                None => {
                    self.searched = self.buffer.len();
                    return Ok(None);
                }
            },
        };
        Ok(Some(self.take(end)))
    }

    /// What is left at the end of the stream.
    pub fn last_part(&mut self) -> Option<Part> {
        if self.buffer.is_empty() { None } else { Some(self.take(self.buffer.len())) }
    }

    fn take(&mut self, end: usize) -> Part {
        let rest = self.buffer.split_off(end);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        self.searched = 0;
        let cut = self.cut;
        let lines = i64::try_from(resources(&bytes).count()).unwrap_or(i64::MAX);
        let physical_lines = physical_lines(&bytes);
        self.cut = Cut {
            n: cut.n + 1,
            byte_start: cut.byte_start + i64::try_from(end).unwrap_or(i64::MAX),
            first_line: cut.first_line + physical_lines,
            lines: cut.lines + lines,
        };
        Part { bytes, cut, physical_lines, lines }
    }
}

/// Lines as an editor counts them; a last one without its newline counts.
pub fn physical_lines(bytes: &[u8]) -> i64 {
    let newlines = memchr::memchr_iter(b'\n', bytes).count();
    let open_end = usize::from(bytes.last().is_some_and(|last| *last != b'\n'));
    i64::try_from(newlines + open_end).unwrap_or(i64::MAX)
}

/// The resources of a part: (line from 0, byte from 0, the line without its end).
pub fn resources(part: &[u8]) -> impl Iterator<Item = (i64, usize, &[u8])> {
    let mut start = 0;
    let mut line = -1;
    std::iter::from_fn(move || {
        while start < part.len() {
            let end = memchr::memchr(b'\n', &part[start..]).map_or(part.len(), |newline| start + newline);
            let mut from = start;
            start = end + 1;
            line += 1;
            if part[from..end].starts_with(b"\xEF\xBB\xBF") {
                from += 3;
            }
            let text = part[from..end].trim_ascii();
            if !text.is_empty() {
                return Some((line, from, text));
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_up(input: &[u8], borders: &[usize]) -> (Vec<Vec<u8>>, Cut) {
        let mut cutter = Cutter::default();
        let mut parts = Vec::new();
        for chunk in input.chunks(7) {
            cutter.push(chunk);
            while let Some(part) = cutter.next_part(borders.get(usize::try_from(cutter.cut().n).unwrap()).copied()).unwrap() {
                parts.push(part.bytes);
            }
        }
        parts.extend(cutter.last_part().map(|part| part.bytes));
        (parts, cutter.cut())
    }

    #[test]
    fn the_last_line_may_lack_its_newline_and_empty_lines_do_not_count() {
        let (parts, end) = cut_up(b"\xEF\xBB\xBF{1}\n\n{2}\r\n  \n{3}", &[]);
        assert_eq!(parts.len(), 1);
        assert_eq!((end.lines, end.first_line), (3, 5));
        let lines: Vec<_> = resources(&parts[0]).map(|(line, _, text)| (line, text.to_vec())).collect();
        assert_eq!(lines, [(0, b"{1}".to_vec()), (2, b"{2}".to_vec()), (4, b"{3}".to_vec())]);
    }

    #[test]
    fn it_cuts_at_the_borders_of_before_and_falls_back_when_they_are_no_line_ends() {
        let (parts, _) = cut_up(b"{1}\n{2}\n{3}\n", &[4]);
        assert_eq!(parts, [b"{1}\n".to_vec(), b"{2}\n{3}\n".to_vec()]);
        let (parts, _) = cut_up(b"{1}\n{2}\n{3}\n", &[5]);
        assert_eq!(parts.len(), 1);
    }

    #[test]
    fn nothing_is_lost_between_parts_and_long_lines_stay_whole() {
        let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(PART + 10));
        let input = [b"{1}\n".repeat(1000), long.clone().into_bytes(), b"{2}\n".repeat(3)].concat();
        let mut cutter = Cutter::default();
        let mut parts = Vec::new();
        for chunk in input.chunks(1 << 16) {
            cutter.push(chunk);
            while let Some(part) = cutter.next_part(None).unwrap() {
                parts.push(part);
            }
        }
        parts.extend(cutter.last_part());
        assert_eq!(parts.iter().flat_map(|p| p.bytes.clone()).collect::<Vec<_>>(), input);
        assert_eq!(cutter.cut().lines, 1004);
        assert!(parts.iter().all(|p| p.bytes.ends_with(b"\n")));
        assert_eq!(parts.iter().map(|p| p.lines).sum::<i64>(), 1004);
    }
}
