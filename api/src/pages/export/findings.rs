//! What was found, a kind after the other: the gaps first.

use bulkhead_shared::domain::finding::{Finding, FindingKind, Severity};

/// Sentences that are shown at once, and those that are kept to be opened.
const OPEN: usize = 3;
const MOST: usize = 200;

/// One finding. What the server said is told apart from what we say.
pub struct Told {
    pub ours: String,
    pub servers: Option<String>,
}

/// All findings of a kind.
pub struct Group {
    pub kind: FindingKind,
    pub severity: Severity,
    pub count: usize,
    pub types: Vec<String>,
    pub first: Vec<Told>,
    pub more: Vec<Told>,
    /// Not shown at all.
    pub left_out: usize,
}

pub fn groups(findings: &[Finding]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for finding in findings {
        let known = groups.iter().position(|group| group.kind == finding.kind && group.severity == finding.severity);
        let at = known.unwrap_or_else(|| {
            groups.push(Group {
                kind: finding.kind,
                severity: finding.severity,
                count: 0,
                types: Vec::new(),
                first: Vec::new(),
                more: Vec::new(),
                left_out: 0,
            });
            groups.len() - 1
        });
        groups[at].take(finding);
    }
    groups.sort_by_key(|group| (group.severity == Severity::Warning, group.kind.as_str()));
    groups
}

impl Group {
    fn take(&mut self, finding: &Finding) {
        self.count += 1;
        if let Some(name) = finding.resource_type.as_ref().filter(|name| !self.types.contains(name)) {
            self.types.push(name.clone());
        }
        if self.first.len() < OPEN {
            self.first.push(told(finding));
        } else if self.more.len() < MOST {
            self.more.push(told(finding));
        } else {
            self.left_out += 1;
        }
    }
}

/// The server's own words stand behind the colon of our sentence.
fn told(finding: &Finding) -> Told {
    let split = (finding.kind == FindingKind::ServerOutcome).then(|| finding.message.split_once("outcome(s): ")).flatten();
    match split {
        Some((ours, servers)) => Told { ours: format!("{ours}outcome(s):"), servers: Some(servers.to_owned()) },
        None => Told { ours: finding.message.clone(), servers: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_by_kind_with_the_gaps_first_and_the_servers_words_apart() {
        let finding =
            |severity, kind, message: &str| Finding { severity, kind, resource_type: None, file: None, message: message.to_owned() };
        let mut all = vec![finding(Severity::Warning, FindingKind::Duplicates, "twice")];
        all.extend(
            (0..5).map(|_| finding(Severity::Error, FindingKind::ServerOutcome, "The server reports 2 error outcome(s): gone: lost")),
        );
        let groups = groups(&all);
        assert_eq!(
            groups.iter().map(|group| (group.kind, group.count)).collect::<Vec<_>>(),
            [(FindingKind::ServerOutcome, 5), (FindingKind::Duplicates, 1)]
        );
        assert_eq!((groups[0].first.len(), groups[0].more.len()), (3, 2));
        assert_eq!(groups[0].first[0].servers.as_deref(), Some("gone: lost"));
    }
}
