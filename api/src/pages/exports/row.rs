//! An export in the list, as its template asks for it.

use bulkhead_shared::db::exports::Entry;

use crate::pages::{format::host, frame::Frame};

/// Types that are named; of more, only how many.
const NAMED: usize = 2;

pub struct Row<'a> {
    pub entry: &'a Entry,
    pub frame: &'a Frame,
}

/// What an export waits for or says, in a few words.
pub struct Note {
    pub text: String,
    pub title: String,
    pub class: &'static str,
}

impl Row<'_> {
    pub fn host(&self) -> String {
        host(&self.entry.base_url)
    }

    /// What is exported.
    pub fn name(&self) -> &str {
        self.entry.group_id.as_deref().unwrap_or_else(|| self.frame.word("level", &self.entry.level))
    }

    pub fn has_ended(&self) -> bool {
        self.entry.finished_at.is_some()
    }

    pub fn types(&self) -> String {
        let types = &self.entry.resource_types;
        match types.len() {
            0 => self.frame.t("types.all").to_owned(),
            n if n <= NAMED => types.join(", "),
            n => format!("{} +{}", types[..NAMED - 1].join(", "), n - NAMED + 1),
        }
    }

    pub fn types_title(&self) -> String {
        self.entry.resource_types.join(", ")
    }

    /// What it waits for, why it failed, or what its server says.
    pub fn note(&self) -> Option<Note> {
        let (entry, frame) = (self.entry, self.frame);
        let note = |text, title, class| Some(Note { text, title, class });
        if let Some(reason) = &entry.failure_reason {
            let detail = frame.said_plainly(entry.failure_detail.as_deref().unwrap_or_default());
            return note(frame.word("reason", reason).to_owned(), detail, "bad");
        }
        if entry.accepted_at.is_some() && self.has_ended() {
            return note(frame.t("note.accepted").to_owned(), String::new(), "warn");
        }
        if self.has_ended() {
            return None;
        }
        if let Some(other) = entry.waits_for {
            return note(frame.t("note.waits").to_owned(), frame.with("note.waits.for", other), "");
        }
        let said = entry.progress.clone().unwrap_or_default();
        if let Some(until) = entry.cool_down {
            return note(frame.with("note.cool_down", frame.until(until)), said, "warn");
        }
        if let (Some(attempt), Some(most), Some(next)) = (entry.attempt, entry.max_attempts, entry.next_at)
            && attempt > 0
            && next > frame.now
        {
            let text = frame.with_two("note.again", format_args!("{}/{most}", attempt + 1), frame.until(next));
            return note(text, said, "warn");
        }
        (!said.is_empty()).then(|| Note { text: said.clone(), title: said, class: "" })
    }

    /// Of the step it is at, or failed at.
    pub fn attempts(&self) -> Option<String> {
        let (attempt, most) = (self.entry.attempt?, self.entry.max_attempts?);
        (attempt > 0).then(|| format!("{attempt}/{most}"))
    }

    pub fn duration(&self) -> Option<String> {
        let began = self.entry.started_at?;
        let end = self.entry.finished_at.unwrap_or(self.frame.now);
        Some(self.frame.duration((end - began).num_seconds()))
    }

    /// Files that are done, of how many; a plus, while the server may name more.
    pub fn files(&self) -> Option<String> {
        let entry = self.entry;
        let more = if entry.manifest_complete || self.has_ended() { "" } else { "+" };
        let (done, all) = (self.frame.number(entry.files_done), self.frame.number(entry.files));
        (entry.files > 0).then(|| format!("{done}/{all}{more}"))
    }

    /// A bar is for what is under way, or stopped on it.
    pub fn has_bar(&self) -> bool {
        self.entry.files > 0 && self.entry.state != "completed"
    }
}
