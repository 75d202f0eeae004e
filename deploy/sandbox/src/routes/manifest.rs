//! The manifest of a finished export, and all that can be wrong with one.

use std::collections::HashMap;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::app::App;
use crate::content::REPEATED;
use crate::door;
use crate::faults::{Content, Manifest, What, Where};
use crate::links::Links;
use crate::output::OutputFile;
use crate::state::Export;

/// Which part of the manifest is asked for (Bulk Data Access IG 3.0, `link` with relation `next`).
#[derive(Clone, Copy)]
pub struct Pages {
    page: usize,
    of: usize,
    end: End,
    /// How many of them can be had by now.
    come: usize,
}

/// Most pages of an export that comes bit by bit (`allowPartialManifests`).
const PARTS: usize = 4;

/// What comes after the last page.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Nothing,
    First,
    MoreOfIt,
}

impl Pages {
    /// The query of a later page says what the fault on the first one wanted.
    pub fn new(asked: &HashMap<String, usize>, faults: &[Manifest]) -> Self {
        let number = |name: &str| asked.get(name).copied().unwrap_or(1).max(1);
        let end = match (asked.contains_key("circle"), asked.contains_key("endless")) {
            (true, _) => End::First,
            (_, true) => End::MoreOfIt,
            _ => End::Nothing,
        };
        let mut pages = Self { page: number("page"), of: number("of"), end, come: usize::MAX };
        for fault in faults {
            (pages.of, pages.end) = match *fault {
                Manifest::NextPages(of) => (of, End::Nothing),
                Manifest::NextCircle(of) => (of, End::First),
                Manifest::EndlessNext => (pages.of, End::MoreOfIt),
                _ => continue,
            };
        }
        pages
    }

    /// Each page can be had a while after the one before; a page that was given never changes but for its `next`.
    pub fn come_bit_by_bit(&mut self, export: &Export, files: usize) {
        self.of = files.clamp(1, PARTS);
        self.come = parts_come(export, self.of);
    }

    pub fn has_come(&self) -> bool {
        self.page <= self.come
    }

    /// The query of the next page, if it can be had.
    pub fn next(&self) -> Option<String> {
        if self.page >= self.come {
            return None;
        }
        let (of, last) = (self.of, self.page >= self.of);
        let next = if last && self.end == End::First { 1 } else { self.page + 1 };
        Some(match self.end {
            End::Nothing if last => return None,
            End::Nothing => format!("page={next}&of={of}"),
            End::First => format!("page={next}&of={of}&circle=1"),
            End::MoreOfIt => format!("page={next}&of={of}&endless=1"),
        })
    }

    pub fn mine<'a>(&self, output: &'a [OutputFile]) -> &'a [OutputFile] {
        let at = |page: usize| (output.len() * page.min(self.of)) / self.of;
        &output[at(self.page - 1)..at(self.page)]
    }
}

/// The last part comes with the end of the export.
fn parts_come(export: &Export, of: usize) -> usize {
    let (now, whole) = (door::now(), (export.ready - export.created).num_milliseconds().max(1));
    if now >= export.ready {
        return of;
    }
    let done = (now - export.created).num_milliseconds().clamp(0, whole - 1);
    usize::try_from(done * i64::try_from(of).unwrap_or(1) / whole).unwrap_or(0)
}

/// Whether a file of an export that is under way can be had already.
pub fn file_has_come(export: &Export, output: &[OutputFile], name: &str) -> bool {
    let mut pages = Pages { page: 1, of: 1, end: End::Nothing, come: 0 };
    pages.come_bit_by_bit(export, output.len());
    let come = pages.come;
    (1..=come).any(|page| Pages { page, ..pages }.mine(output).iter().any(|file| file.name == name))
}

pub fn make(app: &App, export: &Export, links: &Links, files: &[OutputFile]) -> Value {
    let output: Vec<_> = files
        .iter()
        .map(|file| {
            let url = links.file(&export.id, &file.name);
            let count = count(app, file, &url);
            let mut item = json!({"url": url, "count": count});
            if !file.kind.is_empty() {
                item["type"] = json!(file.kind);
            }
            if let Some(next) = &file.continues_in {
                item["continuesInFile"] = json!(links.file(&export.id, next));
            }
            item
        })
        .collect();
    let mut manifest = json!({
        // Everything older is in the files: the data was there before the kick-off.
        "transactionTime": export.created.to_rfc3339_opts(SecondsFormat::Millis, true),
        "request": export.request,
        "requiresAccessToken": app.config.auth && !links.are_signed(),
        "output": output,
        "deleted": [],
        "error": [],
    });
    if export.wish.by_patient {
        manifest["outputOrganizedBy"] = json!("Patient");
    }
    if !unknown_patients(app, export).is_empty() {
        let file = links.file(&export.id, UNKNOWN_PATIENTS);
        add(&mut manifest, "error", json!({"type": "OperationOutcome", "url": file, "count": 1}));
    }
    manifest
}

/// The error file about patients who were asked for and are not there (Bulk Data Access IG, `patient`).
pub const UNKNOWN_PATIENTS: &str = "unknown-patients.ndjson";

pub fn unknown_patients(app: &App, export: &Export) -> Vec<String> {
    let Some(wanted) = &export.wish.patients else { return Vec::new() };
    let groups = app.world.scope(export.group.as_deref());
    let known = |id: &String| groups.iter().any(|group| group.indexes().get("Patient").is_some_and(|index| index.with_id(id).is_some()));
    wanted.iter().filter(|id| !known(id)).cloned().collect()
}

/// The lines the file will have: a fault that will repeat some is foreseen, as a server with duplicates counts them too.
fn count(app: &App, file: &OutputFile, url: &str) -> u64 {
    let repeats = app.faults.waits(Where::File, url, &What::Content(Content::DuplicateIds));
    file.count() + if repeats { file.lines.len().min(REPEATED) as u64 } else { 0 }
}

/// Does what the fault says. Paging and expiry are done before the manifest is made.
pub fn spoil(manifest: &mut Value, fault: Manifest, links: &Links, export: &Export, output: &[OutputFile]) {
    let url = |name: &str| links.file(&export.id, name);
    match fault {
        Manifest::WrongCount => {
            if let Some(count) = manifest["output"][0]["count"].as_u64() {
                manifest["output"][0]["count"] = json!(count + 1);
            }
        }
        Manifest::DuplicateAcrossFiles => {
            let mut firsts: Vec<&OutputFile> = output.iter().collect();
            firsts.dedup_by(|later, first| later.kind == first.kind);
            let files = manifest["output"].as_array_mut().into_iter();
            for files in files {
                files.extend(firsts.iter().map(|first| {
                    let again = url(&format!("{}.again.ndjson", first.kind));
                    json!({"type": first.kind, "url": again, "count": first.lines.len().min(REPEATED)})
                }));
            }
        }
        Manifest::ErrorOutcome(severity) => {
            let file = url(&format!("OperationOutcome.{}.ndjson", severity.code()));
            add(manifest, "error", json!({"type": "OperationOutcome", "url": file, "count": 1}));
        }
        Manifest::Deleted(resources) => {
            let file = url(&format!("deleted.{resources}.ndjson"));
            add(manifest, "deleted", json!({"type": "Bundle", "url": file, "count": resources.div_ceil(crate::content::DELETED_A_BUNDLE)}));
        }
        Manifest::OutcomeKey => rename(manifest, "error", "outcome"),
        Manifest::Empty => manifest["output"] = json!([]),
        Manifest::Without(name) => without(manifest, &name),
        Manifest::BareWhenEmpty => {
            if output.is_empty() {
                without(manifest, "output");
                without(manifest, "error");
            }
        }
        Manifest::TransactionTime(text) => manifest["transactionTime"] = json!(text),
        Manifest::Request(url) => manifest["request"] = json!(url),
        Manifest::RelativeUrls => relate(manifest),
        Manifest::NextPages(_) | Manifest::NextCircle(_) | Manifest::EndlessNext | Manifest::Expires(_) => {}
    }
}

fn add(manifest: &mut Value, list: &str, file: Value) {
    if let Some(files) = manifest[list].as_array_mut() {
        files.push(file);
    }
}

fn rename(manifest: &mut Value, from: &str, to: &str) {
    let Some(manifest) = manifest.as_object_mut() else { return };
    if let Some(value) = manifest.remove(from) {
        manifest.insert(to.to_owned(), value);
    }
}

/// Takes an element away, from the manifest and from each file it names.
fn without(manifest: &mut Value, name: &str) {
    each_file(manifest, |file| {
        file.as_object_mut().map(|file| file.remove(name));
    });
    manifest.as_object_mut().map(|manifest| manifest.remove(name));
}

/// `../files/..` and `/fhir/files/..` by turns: both must be resolved against the status URL.
fn relate(manifest: &mut Value) {
    let mut nth = 0;
    each_file(manifest, |file| {
        let Some((_, path)) = file["url"].as_str().and_then(|url| url.split_once("/fhir/")) else { return };
        let relative = if nth % 2 == 0 { format!("../{path}") } else { format!("/fhir/{path}") };
        file["url"] = json!(relative);
        nth += 1;
    });
}

fn each_file(manifest: &mut Value, mut change: impl FnMut(&mut Value)) {
    for list in ["output", "deleted", "error", "outcome"] {
        for file in manifest.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            change(file);
        }
    }
}
