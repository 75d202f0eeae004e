//! The files of an export.

use crate::state::Export;
use crate::world::{Lines, World};

/// One file: resources of one type, at most `resources_per_file` of them.
#[derive(Debug)]
pub struct OutputFile {
    pub kind: String,
    pub name: String,
    pub lines: Lines,
}

/// Lists the files of an export in the order of `_type`, else of the alphabet. Nothing is copied unless `_since` filters.
pub fn files(world: &World, export: &Export, per_file: usize) -> Vec<OutputFile> {
    let groups: Vec<_> = world.scope(export.group.as_deref()).into_iter().map(crate::world::Group::content).collect();
    let mut kinds: Vec<String> = groups.iter().flat_map(|group| group.keys().cloned()).collect();
    kinds.sort();
    kinds.dedup();
    if let Some(types) = &export.types {
        kinds = types.iter().filter(|kind| kinds.contains(kind)).cloned().collect();
    }
    let mut files = Vec::new();
    for kind in kinds {
        let lines = groups.iter().filter_map(|group| group.get(&kind));
        let chunks = lines.flat_map(|lines| match export.since {
            Some(since) => lines.since(since).chunks(per_file),
            None => lines.chunks(per_file),
        });
        files.extend(chunks.enumerate().map(|(nth, lines)| OutputFile {
            name: format!("{kind}.{nth:03}.ndjson"),
            kind: kind.clone(),
            lines,
        }));
    }
    files
}
