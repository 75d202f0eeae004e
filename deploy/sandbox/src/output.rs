//! The files of an export.

use std::hash::{DefaultHasher, Hasher};

use serde_json::{Value, json};

use crate::state::Export;
use crate::wish::{Elements, Filter, Wish, subset};
use crate::world::{About, Lines, Recipe, World, last_updated};

/// One file: resources of one type, at most `resources_per_file` of them.
#[derive(Debug)]
pub struct OutputFile {
    /// Empty where a file has several types (`organizeOutputBy`).
    pub kind: String,
    pub name: String,
    /// None of a file that is made while it is served.
    pub lines: Lines,
    pub recipe: Option<Recipe>,
    /// Lines that are no data: the headers of `organizeOutputBy`.
    pub headers: usize,
    /// The file that goes on where this one ends.
    pub continues_in: Option<String>,
}

impl OutputFile {
    fn new(kind: &str, lines: Lines) -> Self {
        Self { kind: kind.to_owned(), name: String::new(), lines, recipe: None, headers: 0, continues_in: None }
    }

    /// How many resources it has; headers are none.
    pub fn count(&self) -> u64 {
        self.recipe.as_ref().map_or((self.lines.len() - self.headers) as u64, |recipe| recipe.count)
    }
}

/// Lists the files of an export in the order of `_type`, else of the alphabet. Nothing is copied unless the wish picks lines,
/// and it does not pick in what is made while it is served.
pub fn files(world: &World, export: &Export, per_file: usize, random_names: bool) -> Vec<OutputFile> {
    let wish = &export.wish;
    let scope = world.scope(export.group.as_deref());
    let groups: Vec<_> = scope.iter().map(|group| group.content()).collect();
    let recipes = || scope.iter().flat_map(|group| group.recipes());
    let mut kinds: Vec<String> = groups.iter().flat_map(|group| group.keys().cloned()).collect();
    kinds.extend(recipes().map(|recipe| recipe.kind.as_str().to_owned()));
    kinds.sort();
    kinds.dedup();
    if let Some(types) = &wish.types {
        kinds = types.iter().filter(|kind| kinds.contains(kind)).cloned().collect();
    }
    let of_kind = |kind: &str| -> Vec<Lines> {
        let lines = groups.iter().filter_map(|group| group.get(kind));
        lines.map(|lines| if wish.picks_lines() { pick(lines, kind, wish) } else { lines.clone() }).collect()
    };
    let made = |kind: &str| -> Vec<Recipe> { recipes().filter(|recipe| recipe.kind.as_str() == kind).cloned().collect() };
    let mut files = Vec::new();
    if wish.by_patient {
        files.extend(by_patient(&kinds, of_kind, per_file));
    }
    for kind in &kinds {
        if !wish.by_patient {
            let chunks = of_kind(kind).into_iter().flat_map(|lines| lines.chunks(per_file));
            files.extend(chunks.map(|lines| OutputFile::new(kind, lines)));
        }
        files.extend(made(kind).into_iter().map(|recipe| OutputFile { recipe: Some(recipe), ..OutputFile::new(kind, Lines::default()) }));
    }
    if wish.provenance {
        let patients = groups.iter().filter_map(|group| group.get("Patient"));
        let lines = patients.map(|lines| pick(lines, "Patient", wish)).flat_map(|lines| provenance(&lines)).collect();
        files.extend(Lines::parse(lines).chunks(per_file).into_iter().map(|lines| OutputFile::new("Provenance", lines)));
    }
    name(&mut files, export, random_names);
    files
}

/// Blocks: a `Parameters` header, then the patient and all that is theirs. A block that does not fit goes on in the next file
/// under a header of its own. Resources of no patient are left out, as the IG allows.
fn by_patient(kinds: &[String], of_kind: impl Fn(&str) -> Vec<Lines>, per_file: usize) -> Vec<OutputFile> {
    let mut blocks: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    let first = kinds.iter().filter(|kind| *kind == "Patient");
    for kind in first.chain(kinds.iter().filter(|kind| *kind != "Patient")) {
        for lines in of_kind(kind) {
            for line in lines.iter() {
                let about = About::read(line);
                let Some(patient) = about.as_ref().and_then(|about| about.patient(kind)) else { continue };
                let at = *places.entry(patient.to_owned()).or_insert(blocks.len());
                if at == blocks.len() {
                    blocks.push((patient.to_owned(), Vec::new()));
                }
                blocks[at].1.push(line.to_vec());
            }
        }
    }
    let mut files: Vec<(Vec<u8>, usize, usize, bool)> = vec![(Vec::new(), 0, 0, false)];
    for (patient, lines) in blocks {
        let header = json!({"resourceType": "Parameters", "parameter": [
            {"name": "header", "valueReference": {"reference": format!("Patient/{patient}")}},
        ]});
        for (nth, line) in lines.into_iter().enumerate() {
            let full = files.last().is_some_and(|(_, resources, _, _)| *resources >= per_file);
            if full {
                if let Some(last) = files.last_mut() {
                    last.3 = nth > 0;
                }
                files.push((Vec::new(), 0, 0, false));
            }
            let (bytes, resources, headers, _) = files.last_mut().expect("there is always one");
            if nth == 0 || full {
                bytes.extend_from_slice(format!("{header}\n").as_bytes());
                *headers += 1;
            }
            bytes.extend_from_slice(&line);
            *resources += 1;
        }
    }
    let files = files.into_iter().filter(|(_, resources, _, _)| *resources > 0);
    files
        .map(|(bytes, _, headers, goes_on)| OutputFile {
            headers,
            // The name of the next is not known yet.
            continues_in: goes_on.then(String::new),
            ..OutputFile::new("", Lines::parse(bytes))
        })
        .collect()
}

/// `Type.000.ndjson`, `output.000.ndjson`, or names that say nothing.
fn name(files: &mut [OutputFile], export: &Export, random: bool) {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for file in files.iter_mut() {
        let stem = if file.kind.is_empty() { "output" } else { file.kind.as_str() };
        let nth = counts.entry(stem.to_owned()).or_default();
        file.name = format!("{stem}.{nth:03}.ndjson");
        *nth += 1;
        if random {
            let mut hasher = DefaultHasher::new();
            hasher.write(export.id.as_bytes());
            hasher.write(file.name.as_bytes());
            file.name = format!("{:016x}", hasher.finish());
        }
    }
    let next: Vec<String> = files.iter().skip(1).map(|file| file.name.clone()).collect();
    for (file, next) in files.iter_mut().zip(next) {
        file.continues_in = file.continues_in.take().map(|_| next);
    }
}

/// The lines the wish wants, with the elements it wants. A resource without `meta.lastUpdated` may have changed at any time,
/// so it stays.
fn pick(lines: &Lines, kind: &str, wish: &Wish) -> Lines {
    let filters: Vec<_> = wish.filters.iter().filter_map(|text| Filter::read(text).ok()).filter(|filter| filter.kind == kind).collect();
    let elements = Elements::of(kind, &wish.elements);
    let in_time = |line: &[u8]| {
        let at = (wish.since.is_some() || wish.until.is_some()).then(|| last_updated(line)).flatten();
        at.is_none_or(|at| wish.since.is_none_or(|since| at > since) && wish.until.is_none_or(|until| at <= until))
    };
    let wanted = |line: &[u8]| {
        let Some(patients) = &wish.patients else { return true };
        About::read(line).and_then(|about| about.patient(kind).map(|id| patients.iter().any(|wanted| wanted == id))).unwrap_or(true)
    };
    let kept = lines.iter().filter(|line| in_time(line) && wanted(line));
    let kept = kept.filter(|line| filters.is_empty() || filters.iter().any(|filter| filter.holds(line)));
    let kept = kept.flat_map(|line| elements.as_ref().map_or_else(|| line.to_vec(), |elements| subset(line, elements)));
    Lines::parse(kept.collect())
}

fn provenance(patients: &Lines) -> Vec<u8> {
    let of = |line: &[u8]| {
        let patient: Value = serde_json::from_slice(line).ok()?;
        let id = patient["id"].as_str()?;
        let provenance = json!({
            "resourceType": "Provenance",
            "id": format!("p-{id}"),
            "target": [{"reference": format!("Patient/{id}")}],
            "recorded": "2026-06-30T12:00:00Z",
            "agent": [{"who": {"display": "Bulkhead sandbox"}}],
        });
        Some(format!("{provenance}\n").into_bytes())
    };
    patients.iter().filter_map(of).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patients(count: usize) -> Lines {
        let line = |n| format!("{{\"resourceType\":\"Patient\",\"id\":\"{n}\",\"meta\":{{\"lastUpdated\":\"202{n}-01-01T00:00:00Z\"}}}}\n");
        Lines::parse((0..count).map(line).collect::<String>().into_bytes())
    }

    #[test]
    fn since_and_until_keep_what_is_between_and_what_has_no_time() {
        let lines = [&patients(5).bytes()[..], b"{\"resourceType\":\"Patient\",\"id\":\"x\"}\n"].concat();
        let time = |text: &str| Some(text.parse().unwrap());
        let wish = Wish { since: time("2021-01-01T00:00:00Z"), until: time("2023-01-01T00:00:00Z"), ..Wish::default() };
        let picked = pick(&Lines::parse(lines), "Patient", &wish);
        let ids: Vec<_> = picked.iter().map(|line| About::read(line).unwrap().id).collect();
        assert_eq!(ids, ["2", "3", "x"]);
    }

    #[test]
    fn a_block_that_does_not_fit_goes_on_under_a_header_of_its_own() {
        let condition = |n| format!("{{\"id\":\"c{n}\",\"subject\":{{\"reference\":\"Patient/0\"}}}}\n");
        let conditions = (0..5).map(condition).collect::<Vec<_>>().concat();
        let of_kind = |kind: &str| vec![if kind == "Patient" { patients(2) } else { Lines::parse(conditions.clone().into_bytes()) }];
        let files = by_patient(&["Condition".to_owned(), "Patient".to_owned()], of_kind, 4);
        let counts: Vec<_> = files.iter().map(|file| (file.count(), file.headers, file.continues_in.is_some())).collect();
        assert_eq!(counts, [(4, 1, true), (3, 2, false)]);
        for file in &files {
            let first: serde_json::Value = serde_json::from_slice(file.lines.iter().next().unwrap()).unwrap();
            assert_eq!(first["parameter"][0]["name"], "header");
        }
    }
}
