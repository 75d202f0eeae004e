//! Files of any size that are never in memory: a block of made resources, repeated, each time with other ids.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use super::{claims, rng::Rng, visit};
use crate::config::{Generated, GeneratedKind};

/// Resources in a block: enough that gzip, which looks back 32 KiB, finds nothing of the block before.
const BLOCK: usize = 1_000;
const UUID: usize = 36;

/// One line, and where it has ids: its own and those it refers to.
#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    ids: Vec<(usize, u128)>,
}

/// What is repeated.
#[derive(Debug)]
pub struct Block {
    lines: Vec<Line>,
    /// Bytes up to the end of each line.
    ends: Vec<u64>,
}

impl Block {
    pub fn new(seed: u64, kind: GeneratedKind) -> Self {
        let texts: Box<dyn Iterator<Item = Vec<u8>>> = match kind {
            GeneratedKind::Observation => Box::new((0..).flat_map(move |patient| observations(seed, patient))),
            GeneratedKind::ExplanationOfBenefit => Box::new((0..).map(move |n| claims::explanation_of_benefit(seed, n))),
        };
        let lines: Vec<Line> = texts.take(BLOCK).map(Line::new).collect();
        let mut end = 0;
        let ends = lines.iter().map(|line| {
            end += line.text.len() as u64;
            end
        });
        Self { ends: ends.collect(), lines }
    }

    fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default()
    }
}

fn observations(seed: u64, patient: u64) -> Vec<Vec<u8>> {
    let record = visit::record(seed, "generated", patient);
    let observations = record.iter().filter(|resource| resource.kind() == "Observation");
    observations.map(|resource| serde_json::to_vec(resource).expect("made resources are plain JSON")).collect()
}

impl Line {
    fn new(mut text: Vec<u8>) -> Self {
        text.push(b'\n');
        let at = |start: usize| {
            let word = std::str::from_utf8(text.get(start..start + UUID)?).ok()?;
            (word.as_bytes()[8] == b'-').then(|| Uuid::try_parse(word).ok()).flatten()
        };
        let ids = (0..text.len()).filter_map(|start| Some((start, at(start)?.as_u128()))).collect();
        Self { text, ids }
    }
}

/// A file that can be made: the same bytes each time.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub kind: GeneratedKind,
    pub gzip: bool,
    block: Arc<Block>,
    seed: u64,
    group: String,
    nth: u64,
    /// Lines.
    pub count: u64,
    /// Plain bytes: as many as asked for, and the rest of a line.
    pub bytes: u64,
}

impl Recipe {
    /// The `nth` file of its Group.
    pub fn new(seed: u64, wanted: &Generated, nth: u64, block: Arc<Block>) -> Self {
        let (blocks, rest) = (wanted.bytes / block.len(), wanted.bytes % block.len());
        let lines = if rest == 0 { 0 } else { block.ends.partition_point(|end| *end < rest) + 1 };
        let (count, bytes) = (blocks * BLOCK as u64 + lines as u64, blocks * block.len());
        let bytes = bytes + lines.checked_sub(1).map_or(0, |last| block.ends[last]);
        Self { kind: wanted.kind, gzip: wanted.gzip, block, seed, group: wanted.group.clone(), nth, count, bytes }
    }

    pub fn open(&self) -> Reader {
        Reader { recipe: self.clone(), line: 0 }
    }

    /// What the ids of one repetition are changed by. Version and variant stay, so that they are UUIDs still; ids that were the
    /// same stay the same, so that observations still share their patient.
    fn mask(&self, repetition: u64) -> u128 {
        const KEPT: u128 = 0xf000_c000_0000_0000_0000;
        let mut rng = Rng::new(self.seed ^ self.nth.rotate_left(32), &self.group, repetition);
        ((u128::from(rng.next()) << 64) | u128::from(rng.next())) & !KEPT
    }
}

/// A file being made.
#[derive(Debug)]
pub struct Reader {
    recipe: Recipe,
    line: u64,
}

impl Reader {
    /// Whole lines, at least so many bytes unless it is the end; nothing at the end.
    pub fn next(&mut self, at_least: usize) -> Option<Bytes> {
        let Recipe { block, count, .. } = &self.recipe;
        let mut piece = BytesMut::with_capacity(at_least + (16 << 10));
        let mut mask = None;
        while piece.len() < at_least && self.line < *count {
            let (repetition, place) = (self.line / BLOCK as u64, self.line % BLOCK as u64);
            if place == 0 {
                mask = None;
            }
            let mask = *mask.get_or_insert_with(|| self.recipe.mask(repetition));
            let line = &block.lines[usize::try_from(place).unwrap_or(0)];
            let start = piece.len();
            piece.put_slice(&line.text);
            for (at, id) in &line.ids {
                Uuid::from_u128(id ^ mask).hyphenated().encode_lower(&mut piece[start + at..start + at + UUID]);
            }
            self.line += 1;
        }
        (!piece.is_empty()).then(|| piece.freeze())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn recipe(seed: u64, kind: GeneratedKind, bytes: u64, nth: u64) -> Recipe {
        let wanted = Generated { group: "big".to_owned(), kind, bytes, gzip: true };
        Recipe::new(seed, &wanted, nth, Arc::new(Block::new(seed, kind)))
    }

    fn made(recipe: &Recipe) -> Vec<u8> {
        let mut reader = recipe.open();
        std::iter::from_fn(|| reader.next(10_000)).flatten().collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_file_has_other_ids() {
        let bytes = |seed, nth| made(&recipe(seed, GeneratedKind::Observation, 300_000, nth));
        assert_eq!(bytes(1, 0), bytes(1, 0));
        assert_ne!(bytes(1, 0), bytes(2, 0));
        assert_ne!(bytes(1, 0), bytes(1, 1));
    }

    #[test]
    fn count_and_size_are_as_announced_and_every_line_has_an_id_of_its_own() {
        for (kind, size, average) in
            [(GeneratedKind::Observation, 2_000_000, 500..900), (GeneratedKind::ExplanationOfBenefit, 8_000_000, 3_300..3_900)]
        {
            let mut seen = HashSet::new();
            for nth in 0..2 {
                let recipe = recipe(1, kind, size, nth);
                let bytes = made(&recipe);
                assert_eq!(bytes.len() as u64, recipe.bytes);
                assert!((size..size + 10_000).contains(&recipe.bytes), "{}", recipe.bytes);
                let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                assert_eq!(lines.len() as u64, recipe.count);
                assert!(average.contains(&(bytes.len() / lines.len())), "{kind:?}: {} bytes a line", bytes.len() / lines.len());
                for line in lines {
                    let resource: serde_json::Value = serde_json::from_slice(line).unwrap();
                    assert_eq!(resource["resourceType"], kind.as_str());
                    let id: Uuid = resource["id"].as_str().unwrap().parse().unwrap();
                    assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122));
                    assert!(seen.insert(id), "twice: {id}");
                }
            }
        }
    }

    #[test]
    fn a_whole_number_of_blocks_is_that_many_lines() {
        let block = Block::new(1, GeneratedKind::Observation).len();
        let recipe = recipe(1, GeneratedKind::Observation, block * 2, 0);
        assert_eq!((recipe.count, recipe.bytes), (2 * BLOCK as u64, block * 2));
    }
}
