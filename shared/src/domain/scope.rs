//! SMART scopes of backend services: which to ask for, and what a granted one covers (SMART App Launch 2.2, "Scopes for Requesting FHIR
//! Resources"). Version 1 writes `system/Patient.read`, version 2 `system/Patient.rs`.

use std::collections::BTreeSet;

use super::{
    export::{Ask, Level},
    finding::{Finding, FindingKind, Severity},
    source::Discovered,
};

/// A scope of the system level that lets us read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scope<'a> {
    /// `*` = all.
    kind: &'a str,
    style: Style,
    /// It names conditions: not all resources of the type.
    narrowed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    V1,
    V2,
}

impl Style {
    fn of_type(self, kind: &str) -> String {
        match self {
            Self::V1 => format!("system/{kind}.read"),
            Self::V2 => format!("system/{kind}.rs"),
        }
    }
}

impl<'a> Scope<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.strip_prefix("system/")?.split_once('.')?;
        let (rights, conditions) = rest.split_once('?').map_or((rest, None), |(rights, conditions)| (rights, Some(conditions)));
        let style = match rights {
            "read" | "*" => Style::V1,
            // In their order, as the specification has it: cruds.
            _ if rights.contains('r') && rights.chars().all(|right| "cruds".contains(right)) => Style::V2,
            _ => return None,
        };
        Some(Self { kind, style, narrowed: conditions.is_some() })
    }
}

fn all(text: &str) -> impl Iterator<Item = Scope<'_>> {
    text.split_whitespace().filter_map(Scope::read)
}

/// What to ask the token endpoint for, the best first; the next one is tried when the server does not grant it.
///
/// `named`: what the user wants asked. `before`: what was asked for the source's other exports, whose token is the same.
#[must_use]
pub fn candidates(named: Option<&str>, discovered: Option<&Discovered>, ask: Option<&Ask>, before: Option<&str>) -> Vec<String> {
    if let Some(named) = named {
        return vec![named.to_owned()];
    }
    let supported = discovered.map_or(&[][..], |found| &found.scopes_supported);
    let capabilities = discovered.map_or(&[][..], |found| &found.capabilities);
    let listed: Vec<Scope<'_>> = supported.iter().filter_map(|scope| Scope::read(scope)).filter(|scope| !scope.narrowed).collect();
    let has = |name: &str| capabilities.iter().any(|capability| capability == name);
    let first = if has("permission-v2") && !has("permission-v1") { Style::V2 } else { Style::V1 };
    let mut styles = [Style::V1, Style::V2];
    styles.sort_by_key(|style| *style != first);
    if listed.is_empty() {
        return styles.iter().map(|style| style.of_type("*")).collect();
    }
    let whole: Vec<String> = styles
        .into_iter()
        .filter(|style| listed.iter().any(|scope| scope.kind == "*" && scope.style == *style))
        .map(|style| style.of_type("*"))
        .collect();
    if !whole.is_empty() {
        return whole;
    }
    by_type(&listed, ask, before)
}

/// The server lists types only: those that are asked for, or all it lists.
fn by_type(listed: &[Scope<'_>], ask: Option<&Ask>, before: Option<&str>) -> Vec<String> {
    let known = |kind: &str| listed.iter().find(|scope| scope.kind == kind).map(|scope| scope.style.of_type(kind));
    let types = ask.map_or(&[][..], |ask| &ask.resource_types);
    let before: BTreeSet<String> = before.into_iter().flat_map(str::split_whitespace).map(str::to_owned).collect();
    let everything = types.is_empty() && (ask.is_some() || before.is_empty());
    // What was wished before and is not listed may have been refused.
    let is_listed = |scope: &String| Scope::read(scope).is_some_and(|scope| known(scope.kind).is_some());
    let (mut sure, mut unlisted): (BTreeSet<String>, BTreeSet<String>) = before.into_iter().partition(is_listed);
    if everything {
        sure.extend(listed.iter().map(|scope| scope.style.of_type(scope.kind)));
    }
    for kind in types {
        match known(kind) {
            Some(scope) => sure.insert(scope),
            // The list need not be complete.
            None => unlisted.insert(listed[0].style.of_type(kind)),
        };
    }
    if ask.is_some_and(|ask| ask.level == Level::Group) {
        sure.extend(known("Group"));
    }
    let join = |scopes: &BTreeSet<String>| scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let wish = sure.union(&unlisted).cloned().collect();
    let mut candidates = vec![join(&wish)];
    if !unlisted.is_empty() && !sure.is_empty() {
        candidates.push(join(&sure));
    }
    candidates
}

/// Whether a wish holds scopes that were not asked for. A token of whose wish nothing is known is left alone.
#[must_use]
pub fn asks_more(wish: &str, asked: Option<&str>) -> bool {
    asked.is_some_and(|asked| wish.split_whitespace().any(|scope| !asked.split_whitespace().any(|before| before == scope)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Covers {
    Not,
    Partly,
    Whole,
}

fn covers(granted: &str, kind: &str) -> Covers {
    let of_type = all(granted).filter(|scope| scope.kind == "*" || scope.kind == kind);
    of_type.fold(Covers::Not, |best, scope| match (best, scope.narrowed) {
        (Covers::Whole, _) | (_, false) => Covers::Whole,
        (_, true) => Covers::Partly,
    })
}

/// What was granted less than the export asks for. A type asked for by name that is not covered is an error: nothing of it can come.
/// Nothing is found where the server does not say what it granted.
#[must_use]
pub fn narrower(granted: Option<&str>, ask: &Ask) -> Vec<Finding> {
    let Some(granted) = granted.filter(|granted| granted.split_whitespace().any(|scope| scope.starts_with("system/"))) else {
        return Vec::new();
    };
    let finding =
        |severity, resource_type, message| Finding { severity, kind: FindingKind::NarrowerScope, resource_type, file: None, message };
    if ask.level == Level::Unknown {
        return Vec::new();
    }
    if ask.resource_types.is_empty() {
        let message =
            format!("All types were asked for and the server granted less ({}); other types are not in the export.", shown(granted));
        return if covers(granted, "*") == Covers::Whole { Vec::new() } else { vec![finding(Severity::Warning, None, message)] };
    }
    ask.resource_types
        .iter()
        .filter_map(|kind| {
            let (severity, message) = match covers(granted, kind) {
                Covers::Whole => return None,
                Covers::Partly => (
                    Severity::Warning,
                    format!("{kind} was asked for and the server granted a part of it only ({}).", shown(granted)),
                ),
                Covers::Not => (
                    Severity::Error,
                    format!(
                        "{kind} was asked for by name and the server granted no access to it ({}); ask its operator for system/{kind}.read, then submit again.",
                        shown(granted)
                    ),
                ),
            };
            Some(finding(severity, Some(kind.clone()), message))
        })
        .collect()
}

/// The scopes of the system level, few enough to be read.
fn shown(granted: &str) -> String {
    const MOST: usize = 8;
    let system: Vec<String> =
        granted.split_whitespace().filter(|scope| scope.starts_with("system/")).map(|scope| scope.chars().take(80).collect()).collect();
    let more = system.len().saturating_sub(MOST);
    let first = system.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(" ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(types: &[&str]) -> Ask {
        Ask {
            level: Level::Group,
            group_id: Some("1".to_owned()),
            resource_types: types.iter().map(|kind| (*kind).to_owned()).collect(),
            since: None,
            parameters: serde_json::Map::new(),
            lenient: false,
        }
    }

    fn found(scopes: &[&str], capabilities: &[&str]) -> Discovered {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Discovered { token_endpoint: None, scopes_supported: owned(scopes), capabilities: owned(capabilities) }
    }

    #[test]
    fn what_is_asked_for_is_what_the_server_lists() {
        let of = |scopes: &[&str], capabilities: &[&str], types: &[&str]| {
            candidates(None, Some(&found(scopes, capabilities)), Some(&ask(types)), None)
        };
        assert_eq!(candidates(Some("system/Patient.rs"), None, Some(&ask(&[])), None), ["system/Patient.rs"], "as the user named it");
        assert_eq!(candidates(None, None, Some(&ask(&["Patient"])), None), ["system/*.read", "system/*.rs"]);
        assert_eq!(of(&["openid"], &["permission-v2"], &[]), ["system/*.rs", "system/*.read"]);
        assert_eq!(of(&["system/*.read", "system/*.rs"], &["permission-v1", "permission-v2"], &[]), ["system/*.read", "system/*.rs"]);
        assert_eq!(of(&["system/*.cruds"], &[], &["Patient"]), ["system/*.rs"], "no more than is needed");
        assert_eq!(of(&["system/*.*"], &[], &[]), ["system/*.read"]);
        assert_eq!(of(&["user/*.read", "system/*.write", "system/*.cud"], &[], &[]), ["system/*.read", "system/*.rs"]);
        let types = ["system/Patient.rs", "system/Condition.rs", "system/Group.r", "launch"];
        assert_eq!(of(&types, &[], &["Patient"]), ["system/Group.rs system/Patient.rs"]);
        assert_eq!(of(&types, &[], &[]), ["system/Condition.rs system/Group.rs system/Patient.rs"]);
        let unlisted = of(&types, &[], &["Patient", "Device"]);
        assert_eq!(unlisted, ["system/Device.rs system/Group.rs system/Patient.rs", "system/Group.rs system/Patient.rs"]);
    }

    #[test]
    fn exports_of_one_source_ask_for_what_all_of_them_need() {
        let found = found(&["system/Patient.read", "system/Condition.read"], &[]);
        let of = |types: Option<&[&str]>, before| candidates(None, Some(&found), types.map(ask).as_ref(), before).remove(0);
        let first = of(Some(&["Patient"]), None);
        assert_eq!(first, "system/Patient.read");
        let second = of(Some(&["Condition"]), Some(&first));
        assert_eq!(second, "system/Condition.read system/Patient.read");
        assert!(asks_more(&second, Some(&first)));
        assert!(!asks_more(&of(Some(&["Patient"]), Some(&second)), Some(&second)));
        assert!(!asks_more(&of(None, Some(&second)), Some(&second)), "nothing is asked for: the token that is there will do");
        assert!(!asks_more(&second, None));
    }

    #[test]
    fn a_narrower_grant_is_found() {
        let found = |granted: &str, types: &[&str]| {
            let findings = narrower(Some(granted), &ask(types));
            findings.into_iter().map(|finding| (finding.severity, finding.resource_type)).collect::<Vec<_>>()
        };
        assert_eq!(found("system/*.read", &["Patient"]), []);
        assert_eq!(found("system/Patient.rs system/Condition.cruds", &["Patient", "Condition"]), []);
        assert_eq!(found("system/*.rs", &[]), []);
        assert_eq!(found("system/Patient.read", &[]), [(Severity::Warning, None)]);
        assert_eq!(found("system/Patient.read", &["Patient", "Condition"]), [(Severity::Error, Some("Condition".to_owned()))]);
        assert_eq!(found("system/Patient.write", &["Patient"]), [(Severity::Error, Some("Patient".to_owned()))]);
        assert_eq!(
            found("system/Observation.rs?category=laboratory", &["Observation"]),
            [(Severity::Warning, Some("Observation".to_owned()))]
        );
        assert_eq!(found("system/Observation.rs?category=laboratory system/*.rs", &["Observation"]), []);
        assert_eq!(found("bulk", &["Observation"]), [], "the server speaks of something else");
        assert_eq!(narrower(None, &ask(&["Observation"])), []);
    }
}
