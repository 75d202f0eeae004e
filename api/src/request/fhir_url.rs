//! `fhir_server_url`: a FHIR base URL, or the URL of what is to be exported (Bulk Data IG, "Kick-off Request").

use bulkhead_shared::domain::{export::Level, outgoing::OutgoingRules};
use url::Url;

use crate::problem::Problem;

/// The server, and what of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// Without a trailing slash.
    pub base_url: String,
    pub level: Level,
    /// Percent-encoded as it stands in the URL: it goes back into one.
    pub group_id: Option<String>,
}

impl Target {
    /// Reads `[base]`, `[base]/Group/[id]`, `[base]/Patient`, each with or without `/$export` and trailing slashes.
    pub fn parse(field: &str, text: &str, rules: &OutgoingRules) -> Result<Self, Problem> {
        let mut url = rules.parse(text).map_err(|e| Problem::invalid(format!("{field}: {e}.")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Problem::invalid(format!(
                "{field} holds a query or a fragment; give the parameters as fields of the body (resource_types, since, parameters, ...)."
            )));
        }
        let mut segments: Vec<String> = url.path_segments().into_iter().flatten().map(str::to_owned).collect();
        drop_slashes(&mut segments);
        if segments.last().is_some_and(|last| last == "$export" || last.eq_ignore_ascii_case("%24export")) {
            segments.pop();
            drop_slashes(&mut segments);
        }
        let (level, group_id) = take_level(field, &mut segments)?;
        drop_slashes(&mut segments);
        url.set_path(&segments.join("/"));
        Ok(Self { base_url: url.as_str().trim_end_matches('/').to_owned(), level, group_id })
    }
}

fn take_level(field: &str, segments: &mut Vec<String>) -> Result<(Level, Option<String>), Problem> {
    match segments.as_slice() {
        [.., group, id] if group == "Group" => {
            let id = id.clone();
            segments.truncate(segments.len() - 2);
            Ok((Level::Group, Some(id)))
        }
        [.., last] if last == "Patient" => {
            segments.pop();
            Ok((Level::Patient, None))
        }
        [.., last] if last == "Group" => Err(Problem::invalid(format!("{field} ends in /Group; add the Group's id: /Group/[id]."))),
        _ => Ok((Level::System, None)),
    }
}

fn drop_slashes(segments: &mut Vec<String>) {
    while segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
}

/// A Group's id as it would stand in a URL, from how a person writes it or from how it stands there.
pub fn group_segment(id: &str) -> String {
    let id = id.replace('/', "%2F").replace('?', "%3F").replace('#', "%23");
    let url = Url::parse(&format!("https://x/Group/{id}"));
    url.ok().and_then(|url| url.path_segments()?.next_back().map(str::to_owned)).unwrap_or_default()
}
