//! A folder of NDJSON or NDJSON.gz files, served as a Group byte for byte.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::lines::Lines;

/// Reads every `Type[.anything].ndjson[.gz]` of the folder; the type is the name up to its first dot.
/// Files of one type are joined in the order of their names.
pub fn read(dir: &Path) -> Result<BTreeMap<String, Lines>> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .with_context(|| format!("cannot read the data folder {}", dir.display()))?
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .filter_map(|entry| Some((resource_type(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    files.sort();
    ensure!(!files.is_empty(), "the data folder {} holds no .ndjson or .ndjson.gz file", dir.display());
    let mut raw: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (kind, path) in files {
        let joined = raw.entry(kind).or_default();
        read_file(&path, joined).with_context(|| format!("cannot read {}", path.display()))?;
        if joined.last().is_some_and(|last| *last != b'\n') {
            joined.push(b'\n');
        }
    }
    Ok(raw.into_iter().map(|(kind, raw)| (kind, Lines::parse(raw))).collect())
}

fn resource_type(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".ndjson.gz").or_else(|| name.strip_suffix(".ndjson"))?;
    let kind = stem.split('.').next()?;
    kind.starts_with(|first: char| first.is_ascii_uppercase()).then(|| kind.to_owned())
}

fn read_file(path: &Path, into: &mut Vec<u8>) -> std::io::Result<usize> {
    let file = File::open(path)?;
    if path.extension().is_some_and(|end| end == "gz") {
        // A .gz may be several members one after the other, as `cat a.gz b.gz` makes.
        flate2::read::MultiGzDecoder::new(file).read_to_end(into)
    } else {
        std::io::BufReader::new(file).read_to_end(into)
    }
}
