//! The files of an export.

use crate::state::Export;
use crate::world::{Lines, Recipe, World};

/// One file: resources of one type, at most `resources_per_file` of them.
#[derive(Debug)]
pub struct OutputFile {
    pub kind: String,
    pub name: String,
    /// None of a file that is made while it is served.
    pub lines: Lines,
    pub recipe: Option<Recipe>,
}

impl OutputFile {
    /// How many resources it has.
    pub fn count(&self) -> u64 {
        self.recipe.as_ref().map_or(self.lines.len() as u64, |recipe| recipe.count)
    }
}

/// Lists the files of an export in the order of `_type`, else of the alphabet. Nothing is copied unless `_since` filters, and
/// it does not filter what is made while it is served.
pub fn files(world: &World, export: &Export, per_file: usize) -> Vec<OutputFile> {
    let scope = world.scope(export.group.as_deref());
    let groups: Vec<_> = scope.iter().map(|group| group.content()).collect();
    let recipes = || scope.iter().flat_map(|group| group.recipes());
    let mut kinds: Vec<String> = groups.iter().flat_map(|group| group.keys().cloned()).collect();
    kinds.extend(recipes().map(|recipe| recipe.kind.as_str().to_owned()));
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
        let made = recipes().filter(|recipe| recipe.kind.as_str() == kind).map(|recipe| (Lines::default(), Some(recipe.clone())));
        let all = chunks.map(|lines| (lines, None)).chain(made);
        files.extend(all.enumerate().map(|(nth, (lines, recipe))| OutputFile {
            name: format!("{kind}.{nth:03}.ndjson"),
            kind: kind.clone(),
            lines,
            recipe,
        }));
    }
    files
}
