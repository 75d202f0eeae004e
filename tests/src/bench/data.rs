//! Synthea's own resources, where this machine has them (`../shared/data` beside the project).

use std::{
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

/// The resources of a type repeated with new ids to about so many bytes; `None` where there are none.
pub fn write_real(path: &Path, resource_type: &str, bytes: usize) -> Option<()> {
    let ndjson = real(resource_type)?;
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(path).ok()?);
    let mut written = 0;
    for line in ndjson.lines().cycle() {
        if written >= bytes {
            break;
        }
        let (before, after) = line.split_once(r#""id":""#)?;
        let line = format!(r#"{before}"id":"{}"{}"#, uuid::Uuid::new_v4(), after.split_once('"')?.1);
        writeln!(out, "{line}").ok()?;
        written += line.len() + 1;
    }
    out.flush().ok()
}

fn real(resource_type: &str) -> Option<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/synthea-group");
    let file = std::fs::File::open(folder.join(format!("{resource_type}.ndjson.gz"))).ok()?;
    std::io::read_to_string(flate2::read::MultiGzDecoder::new(file)).ok().filter(|text| !text.is_empty())
}
