//! What a search finds.

use std::collections::HashSet;

use bytes::Bytes;

use super::Query;
use crate::world::{About, Group, World, last_updated};

/// The lines found, in a fixed order, each resource once. What is made while it is served is not found.
pub fn find(world: &World, query: &Query) -> Vec<Bytes> {
    let mut seen = HashSet::new();
    let all = world.groups().iter().flat_map(|group| of_group(group, query));
    all.filter(|line| query.updated.is_empty() || last_updated(line).is_some_and(|at| query.updated.iter().all(|bound| bound.holds(at))))
        .filter(|line| About::read(line).is_none_or(|about| seen.insert(about.id)))
        .collect()
}

fn of_group(group: &Group, query: &Query) -> Vec<Bytes> {
    let content = group.content();
    let Some(lines) = content.get(&query.kind) else { return Vec::new() };
    let places = places(group, query).unwrap_or_else(|| (0..lines.len()).collect());
    places.into_iter().filter_map(|at| lines.line(at)).map(|line| line.slice(..line.len() - 1)).collect()
}

/// The lines of these ids and of these patients; `None` is every line.
fn places(group: &Group, query: &Query) -> Option<Vec<usize>> {
    if query.ids.is_none() && query.patients.is_none() {
        return None;
    }
    let Some(index) = group.indexes().get(&query.kind) else { return Some(Vec::new()) };
    let of_ids = query.ids.as_ref().map(|ids| ids.iter().filter_map(|id| index.with_id(id)).collect::<Vec<_>>());
    let of_patients = query.patients.as_ref().map(|ids| ids.iter().flat_map(|id| index.of_patient(id).iter().copied()).collect::<Vec<_>>());
    match (of_ids, of_patients) {
        (Some(some), Some(others)) => Some(some.into_iter().filter(|at| others.contains(at)).collect()),
        (some, others) => some.or(others),
    }
}
