//! The patients of a Group and of the Groups in it, each once. What cannot be followed is counted and said.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use bulkhead_shared::{
    domain::{
        failure::Reason,
        finding::{Finding, FindingKind, Severity},
    },
    queue::{StageError, Trouble},
};
use tokio::time::Instant;

use super::{Read, ask, impossible, url};
use crate::{
    fhir::{
        answer::Refusal,
        group::{Group, Who},
    },
    limits,
    work::Work,
};

const PATIENCE: Duration = Duration::from_secs(120);
/// For one Group.
const LONGEST_WAIT: Duration = Duration::from_secs(1_800);

/// Whom a Group has.
#[derive(Debug, Default)]
pub struct Found {
    pub patients: Vec<String>,
    pub findings: Vec<Finding>,
    pub story: String,
}

/// Members that are no patients of ours.
#[derive(Debug, Default, PartialEq, Eq)]
struct LeftOut {
    inactive: usize,
    other: usize,
    elsewhere: usize,
    nowhere: usize,
    /// The Group says that it has more than it lists.
    hidden: u64,
    /// Groups that do not list all their members.
    hiding: usize,
    /// Groups in it that cannot be read, with the first one's reason.
    unread: Option<(usize, String)>,
}

/// A walk from Group to Group.
#[derive(Debug, Default)]
struct Walk {
    patients: Vec<String>,
    known: HashSet<String>,
    groups: HashSet<String>,
    open: VecDeque<String>,
    /// A Group was met again: in a circle, or in two Groups.
    again: usize,
    left_out: LeftOut,
}

pub async fn walk(work: &Work, id: &str) -> Result<Found, StageError> {
    let mut walk = Walk::default();
    walk.enter(id.to_owned());
    let settings = work.search_settings();
    let mut first = true;
    while let Some(id) = walk.open.pop_front() {
        let answer = patiently(work, &id).await?;
        let group = match &answer {
            Ok(read) => Group::read(&read.body).ok_or_else(|| "the answer is no Group".to_owned()),
            Err(refusal) => Err(refusal.words()),
        };
        match group {
            Ok(group) => walk.take(&group, &work.source.base_url),
            Err(words) if first => return impossible(work, &format!("the Group cannot be read ({words})")).await,
            Err(words) => walk.left_out.unread = Some(walk.left_out.unread.take().map_or((1, words), |(n, words)| (n + 1, words))),
        }
        first = false;
        if walk.groups.len() > settings.search_max_groups {
            return Err(too_large("Groups in it", settings.search_max_groups, "SEARCH_MAX_GROUPS"));
        }
        if walk.patients.len() > settings.search_max_members {
            return Err(too_large("patients", settings.search_max_members, "SEARCH_MAX_MEMBERS"));
        }
    }
    Ok(walk.found())
}

/// Reads a Group. A server that asks to wait for a moment is waited for here: the walk is not to begin anew each time.
async fn patiently(work: &Work, id: &str) -> Result<Result<Read, Refusal>, StageError> {
    let began = Instant::now();
    loop {
        match ask(work, url(work, &["Group", id])?).await {
            Err(StageError::Again(_, delay)) if delay <= PATIENCE && began.elapsed() < LONGEST_WAIT => {
                limits::export_time(&work.export, work.limits())?;
                tokio::time::sleep(delay).await;
            }
            other => return other,
        }
    }
}

fn too_large(what: &str, most: usize, setting: &str) -> StageError {
    StageError::Fail(Trouble::new(
        Reason::Refused,
        format!("The Group has more than {most} {what} ({setting})."),
        format!("raise {setting} for the workers, then retry the export"),
    ))
}

impl Walk {
    fn enter(&mut self, group: String) {
        if self.groups.insert(group.clone()) {
            self.open.push_back(group);
        } else {
            self.again += 1;
        }
    }

    fn take(&mut self, group: &Group, base: &str) {
        let members = group.members(base);
        self.left_out.hiding += usize::from(group.hides_members());
        // With Groups in it, a quantity may be of the people in those.
        if !members.iter().any(|member| matches!(member, Who::Group(_))) {
            self.left_out.hidden += group.quantity.unwrap_or(0).saturating_sub(members.len() as u64);
        }
        for member in members {
            match member {
                Who::Patient(id) => {
                    if self.known.insert(id.clone()) {
                        self.patients.push(id);
                    }
                }
                Who::Group(id) => self.enter(id),
                Who::Other => self.left_out.other += 1,
                Who::Inactive => self.left_out.inactive += 1,
                Who::Elsewhere => self.left_out.elsewhere += 1,
                Who::Nowhere => self.left_out.nowhere += 1,
            }
        }
    }

    fn found(self) -> Found {
        let out = &self.left_out;
        let mut findings = Vec::new();
        let mut left_out = |severity, message: String| {
            findings.push(Finding { severity, kind: FindingKind::MembersLeftOut, resource_type: None, file: None, message });
        };
        if out.elsewhere > 0 {
            left_out(
                Severity::Error,
                format!("Members of the Group that are on another server, and were not followed there: {}.", out.elsewhere),
            );
        }
        if out.nowhere > 0 {
            left_out(Severity::Error, format!("Members of the Group without a reference that can be followed: {}.", out.nowhere));
        }
        if let Some((groups, words)) = &out.unread {
            left_out(Severity::Error, format!("Groups in the Group that cannot be read: {groups} ({words})."));
        }
        if out.hiding > 0 {
            let message = format!(
                "Groups that do not list their members, or not all of them: {}. The server alone knows who is in them.",
                out.hiding
            );
            left_out(Severity::Error, message);
        }
        if out.hidden > 0 {
            left_out(Severity::Error, format!("The Group says that it has more members than it lists: {} more.", out.hidden));
        }
        if out.other > 0 {
            left_out(Severity::Warning, format!("Members of the Group that are no patients: {}.", out.other));
        }
        if self.patients.is_empty() {
            left_out(Severity::Warning, "The Group has no patients.".to_owned());
        }
        let mut story = format!("Patients in the Group: {}.", self.patients.len());
        for (count, what) in [
            (self.groups.len() - 1, "Groups in it"),
            (self.again, "Groups met again and counted once"),
            (out.inactive, "Members that have left"),
        ] {
            if count > 0 {
                story = format!("{story} {what}: {count}.");
            }
        }
        Found { patients: self.patients, findings, story }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(json: &str) -> Group {
        Group::read(json.as_bytes()).unwrap()
    }

    fn walked(groups: &[&str]) -> Walk {
        let mut walk = Walk::default();
        walk.enter("root".to_owned());
        for json in groups {
            walk.open.pop_front();
            walk.take(&group(json), "https://h/r4");
        }
        walk
    }

    #[test]
    fn each_patient_counts_once_and_a_circle_ends() {
        let root = r#"{"resourceType":"Group","member":[{"entity":{"reference":"Patient/a"}},{"entity":{"reference":"Group/b"}},{"entity":{"reference":"Patient/a"}}]}"#;
        let b = r#"{"resourceType":"Group","member":[{"entity":{"reference":"Group/root"}},{"entity":{"reference":"Patient/c"}},{"entity":{"reference":"Patient/a"}}]}"#;
        let walk = walked(&[root, b]);
        assert!(walk.open.is_empty(), "nobody is asked again");
        let found = walk.found();
        assert_eq!(found.patients, ["a", "c"]);
        assert_eq!(found.story, "Patients in the Group: 2. Groups in it: 1. Groups met again and counted once: 1.");
        assert!(found.findings.is_empty());
    }

    #[test]
    fn whoever_is_left_out_is_said() {
        let found = walked(&[r#"{"resourceType":"Group","quantity":9,"member":[{"entity":{"reference":"https://other/Patient/a"}},
            {"entity":{"identifier":{"value":"Jane"}}},{"entity":{"reference":"Device/d"}},{"entity":{"reference":"Patient/x"},"inactive":true}]}"#])
        .found();
        let errors = found.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        assert_eq!((errors, found.findings.len()), (3, 5), "{:?}", found.findings);
        assert!(found.story.contains("have left: 1"));
        assert!(!format!("{found:?}").contains("Jane"));
    }
}
