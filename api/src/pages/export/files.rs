//! The files of an export, a page at a time.

use std::collections::BTreeMap;

use bulkhead_shared::db::{
    export_files::pages::{self, Listed, Wanted},
    stages::{self, OfFile},
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Asked, Seen, here, shown_url};
use crate::pages::frame::Frame;

const FILES: usize = 100;

/// A page of files, and one more to know whether there are more.
pub async fn look(db: &mut PgConnection, export: Uuid, asked: &Asked) -> sqlx::Result<(Vec<Listed>, Vec<OfFile>)> {
    let given = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
    let (resource_type, state) = (given(&asked.resource_type), given(&asked.state));
    let after = asked.after.split_once('.').and_then(|(place, n)| Some((place.parse().ok()?, n.parse().ok()?)));
    let wanted =
        Wanted { resource_type: resource_type.as_deref(), state: state.as_deref(), rejected: state.as_deref() == Some("rejected"), after };
    let listed = pages::page(&mut *db, export, &wanted, i64::try_from(FILES).unwrap_or(100) + 1).await?;
    let open: Vec<i64> = listed.iter().filter(|file| file.state != "downloaded").map(|file| file.id).collect();
    let stages = if open.is_empty() { Vec::new() } else { stages::of_files(db, export, &open).await? };
    Ok((listed, stages))
}

/// A filter by state.
pub struct Choice {
    pub label: String,
    pub count: i64,
    pub url: String,
    pub current: bool,
}

pub struct File {
    pub listed: Listed,
    /// The end of its URL, and the URL.
    pub name: String,
    pub url: String,
    /// Its chip's class, and the word in it.
    pub chip: &'static str,
    pub word: &'static str,
    pub error: Option<String>,
    /// Of the attempt that is made or waited for, and how many there may be.
    pub attempt: Option<(i32, i32)>,
    /// Done of all, while something is to be done.
    pub progress: Option<(i64, i64)>,
}

pub struct Files {
    pub id: Uuid,
    /// All there are, whatever is shown.
    pub all: i64,
    pub is_search: bool,
    pub choices: Vec<Choice>,
    pub types: Vec<String>,
    pub chosen_type: String,
    pub chosen_state: String,
    pub files: Vec<File>,
    /// Whether this is not the first page.
    pub is_later: bool,
    pub first: String,
    pub next: Option<String>,
    /// Lines of all files that could not be loaded.
    pub rejects: i64,
}

impl Files {
    pub fn of(frame: &Frame, seen: &Seen, asked: &Asked, (mut listed, stages): (Vec<Listed>, Vec<OfFile>)) -> Self {
        let id = seen.export.id;
        let mut by_state: BTreeMap<&str, i64> = BTreeMap::new();
        let mut types = Vec::new();
        for count in &seen.counts {
            *by_state.entry(&count.state).or_default() += count.files;
            types.extend(count.resource_type.clone());
        }
        types.dedup();
        let all = by_state.values().sum();
        let url = |state: &str, after: &str| here(id, &[("type", &asked.resource_type), ("state", state), ("after", after)], "#files");
        let mut choices =
            vec![Choice { label: frame.t("export.files.all").to_owned(), count: all, url: url("", ""), current: asked.state.is_empty() }];
        for state in ["failed", "pending", "downloaded"] {
            let count = by_state.get(state).copied().unwrap_or_default();
            if count > 0 || asked.state == state {
                choices.push(Choice {
                    label: frame.word("file.state", state).to_owned(),
                    count,
                    url: url(state, ""),
                    current: asked.state == state,
                });
            }
        }
        if seen.sums.rejects > 0 || asked.state == "rejected" {
            choices.push(Choice {
                label: frame.t("export.files.with_rejects").to_owned(),
                count: -1,
                url: url("rejected", ""),
                current: asked.state == "rejected",
            });
        }
        let more = listed.len() > FILES;
        listed.truncate(FILES);
        let next = listed.last().filter(|_| more).map(|last| url(&asked.state, &format!("{}.{}", last.place, last.n)));
        let mut by_file: BTreeMap<i64, OfFile> = stages.into_iter().map(|stage| (stage.file_id, stage)).collect();
        Self {
            id,
            all,
            is_search: listed.first().is_some_and(|file| file.is_search),
            choices,
            types,
            chosen_type: asked.resource_type.clone(),
            chosen_state: asked.state.clone(),
            is_later: !asked.after.is_empty(),
            first: url(&asked.state, ""),
            next,
            rejects: seen.sums.rejects,
            files: listed
                .into_iter()
                .map(|one| {
                    let stage = by_file.remove(&one.id);
                    File::of(frame, one, stage, seen.export.state.has_ended())
                })
                .collect(),
        }
    }
}

impl File {
    /// Of an export that has ended, for nothing more is done there.
    fn of(frame: &Frame, listed: Listed, stage: Option<OfFile>, has_ended: bool) -> Self {
        let is_running = stage.as_ref().is_some_and(|stage| stage.state == "running");
        let (chip, key) = match listed.state.as_str() {
            "failed" => ("failed", "file.state.failed"),
            "pending" if has_ended => ("cancelled", "export.file.not_downloaded"),
            "pending" if is_running => ("running", "export.file.running"),
            "pending" => ("waiting", "file.state.pending"),
            _ if listed.loaded < listed.parts && has_ended => ("cancelled", "export.file.not_loaded"),
            _ if listed.loaded < listed.parts => ("running", "export.file.loading"),
            _ => ("downloaded", "export.file.loaded"),
        };
        let progress = match listed.state.as_str() {
            _ if has_ended => None,
            "pending" => listed.expected_count.filter(|all| *all > 0 && listed.lines > 0).map(|all| (listed.lines.min(all), all)),
            "downloaded" if listed.loaded < listed.parts => Some((listed.loaded, listed.parts)),
            _ => None,
        };
        let url = shown_url(&listed.url);
        let end = url.trim_end_matches("?…").rsplit('/').next().unwrap_or_default();
        Self {
            name: end.chars().take(60).collect(),
            chip,
            word: frame.t(key),
            error: listed.error.clone().or_else(|| stage.as_ref().and_then(|stage| stage.error.clone())),
            attempt: stage.filter(|stage| stage.state != "dead" && stage.attempt > 0).map(|stage| (stage.attempt, stage.max_attempts)),
            progress,
            url,
            listed,
        }
    }
}
