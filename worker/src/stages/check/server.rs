//! The CapabilityStatement, the Group, the Groups.

use std::{collections::BTreeSet, time::Duration};

use bulkhead_shared::{
    domain::{
        check::{GroupListed, Report, Step, StepName},
        export::Level,
        failure::Reason,
        outgoing::without_query,
        resource,
    },
    queue::{StageError, Trouble},
};
use reqwest::Url;
use serde_json::Value;

use super::{Access, failed, ok, skipped, trouble, warning};
use crate::{
    fhir::{
        answer::Refusal,
        http::{Ask, Http},
        outcome::shorten,
    },
    work::Work,
};

/// A Group of a hundred thousand members has about twenty megabytes.
const LARGEST_BODY: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(30);
/// Groups that are listed, and pages that are read for them.
const MOST_GROUPS: usize = 200;
const MOST_PAGES: usize = 5;
const MOST_TYPES: usize = 500;

pub async fn steps(work: &Work, access: &Access, report: &mut Report) -> Result<(), StageError> {
    let server = Server { http: work.http(), base_url: &work.source.base_url, access };
    let step = capabilities(&server, work, report).await?;
    report.steps.push(step);
    let ask = &work.export.ask;
    let Some(group) = ask.group_id.as_deref().filter(|_| ask.level == Level::Group) else {
        report.steps.push(skipped(StepName::Group, "No Group was named."));
        return list(&server, report).await;
    };
    let step =
        if matches!(access, Access::None) { skipped(StepName::Group, "There is no access token.") } else { one(&server, group).await? };
    report.steps.push(step);
    list(&server, report).await
}

struct Server<'s> {
    http: &'s Http,
    base_url: &'s str,
    access: &'s Access,
}

/// What came of a question.
enum Answered {
    Json(Value),
    Refused(Refusal),
    Trouble(Trouble),
}

impl Server<'_> {
    async fn get(&self, path: &str) -> Result<Answered, StageError> {
        match Url::parse(&format!("{}/{path}", self.base_url)) {
            Ok(url) => self.get_url(url).await,
            Err(_) => Ok(Answered::Trouble(Trouble::new(Reason::Refused, "fhir_server_url is not a URL.", "check fhir_server_url"))),
        }
    }

    async fn get_url(&self, url: Url) -> Result<Answered, StageError> {
        let place = without_query(url.as_str());
        let mut ask = Ask::get(url).accept("application/fhir+json");
        if let Access::Token(token) = self.access {
            ask.token = Some(token.clone());
        }
        let asked = async {
            let answer = self.http.send(&ask).await?;
            if !answer.status().is_success() {
                return Ok(Answered::Refused(Refusal::read(self.http, answer).await?));
            }
            let body = self.http.body(answer, LARGEST_BODY).await?;
            Ok(match serde_json::from_slice::<Value>(&body) {
                Ok(value) if value["resourceType"].is_string() => Answered::Json(value),
                _ => Answered::Trouble(Trouble::new(
                    Reason::Refused,
                    format!("{place} answers something that is not FHIR JSON."),
                    "check fhir_server_url: it must be the FHIR base URL, or that of a Group below it",
                )),
            })
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(error)) => Ok(Answered::Trouble(trouble(error)?)),
            Err(_) => Ok(Answered::Trouble(Trouble::new(
                Reason::Unreachable,
                format!("Timeout exceeded: {place} took longer than {} s.", PATIENCE.as_secs()),
                "check the network and the server, then check again",
            ))),
        }
    }
}

async fn capabilities(server: &Server<'_>, work: &Work, report: &mut Report) -> Result<Step, StageError> {
    const NAME: StepName = StepName::Capabilities;
    let statement = match server.get("metadata").await? {
        Answered::Json(value) if value["resourceType"] == "CapabilityStatement" => value,
        Answered::Json(_) => {
            let remedy = "check fhir_server_url: it must be the FHIR base URL, or that of a Group below it";
            return Ok(failed(NAME, Trouble::new(Reason::Refused, "The server's metadata is no CapabilityStatement.", remedy)));
        }
        Answered::Refused(refusal) => {
            let remedy = "check fhir_server_url: it must be the FHIR base URL, or that of a Group below it";
            let detail = format!("The CapabilityStatement could not be had: {}.", refusal.words());
            return Ok(failed(NAME, Trouble::new(Reason::Refused, detail, remedy)));
        }
        Answered::Trouble(trouble) => return Ok(failed(NAME, trouble)),
    };
    let version = statement["fhirVersion"].as_str().map(shorten).unwrap_or_default();
    let software = statement["software"]["name"].as_str().map(|name| format!(" ({})", shorten(name))).unwrap_or_default();
    if !version.starts_with("4.") {
        let message = format!("The server speaks FHIR {version}{software}; the tables are those of R4.");
        return Ok(warning(NAME, message, "ask its operator for the base URL of its R4 version"));
    }
    report.types = types(&statement);
    // Who has not said yet what to export may choose any of them.
    let (what, listed) = match work.export.ask.level {
        Level::Group => ("Groups", lists_export(&statement, Level::Group)),
        Level::Patient => ("all patients", lists_export(&statement, Level::Patient)),
        Level::System => ("the whole system", lists_export(&statement, Level::System)),
        Level::Unknown => (
            "Groups, patients or the system",
            [Level::Group, Level::Patient, Level::System].iter().any(|level| lists_export(&statement, *level)),
        ),
    };
    Ok(if listed {
        ok(NAME, format!("The server speaks FHIR {version}{software} and lists $export for {what}."))
    } else {
        warning(
            NAME,
            format!("The server speaks FHIR {version}{software} and does not list $export for {what}; it may have it nevertheless."),
            "ask its operator whether Bulk Data export is on, if an export fails",
        )
    })
}

/// The types of data it lists; nothing that no server exports.
fn types(statement: &Value) -> Vec<String> {
    let rests = statement["rest"].as_array().map(Vec::as_slice).unwrap_or_default();
    let resources = rests.iter().flat_map(|rest| rest["resource"].as_array().map(Vec::as_slice).unwrap_or_default());
    let listed = resources.filter_map(|resource| resource["type"].as_str()).filter(|name| resource::may_be_exported(name));
    let sorted: BTreeSet<&str> = listed.take(MOST_TYPES).collect();
    sorted.into_iter().map(str::to_owned).collect()
}

/// Whether the operation of this level is listed.
fn lists_export(statement: &Value, level: Level) -> bool {
    fn list(value: &Value) -> std::slice::Iter<'_, Value> {
        value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
    }
    let is_export = |operation: &Value| {
        let name = operation["name"].as_str().unwrap_or_default().trim_start_matches('$');
        matches!(name, "export" | "group-export" | "patient-export")
            || operation["definition"]
                .as_str()
                .is_some_and(|definition| definition.contains("/uv/bulkdata/") && definition.ends_with("-export"))
    };
    let wanted = match level {
        Level::Group => "Group",
        Level::Patient => "Patient",
        Level::System | Level::Unknown => return list(&statement["rest"]).any(|rest| list(&rest["operation"]).any(is_export)),
    };
    // Some servers list the operations of all levels with the system's.
    list(&statement["rest"]).any(|rest| {
        let of_type = list(&rest["resource"]).filter(|resource| resource["type"] == wanted);
        of_type.flat_map(|resource| list(&resource["operation"])).any(is_export)
            || list(&rest["operation"]).any(|operation| {
                let named = format!("{}-export", wanted.to_ascii_lowercase());
                operation["name"] == named.as_str() || operation["definition"].as_str().is_some_and(|text| text.ends_with(&named))
            })
    })
}

async fn one(server: &Server<'_>, id: &str) -> Result<Step, StageError> {
    const NAME: StepName = StepName::Group;
    Ok(match server.get(&format!("Group/{id}")).await? {
        Answered::Json(value) if value["resourceType"] == "Group" => match listed(&value).and_then(|group| group.members) {
            Some(0) => warning(NAME, "The Group can be read; it has no members.", "check the Group's id, or ask the server's operator"),
            Some(members) => ok(NAME, format!("The Group can be read; it has {members} members.")),
            None => ok(NAME, "The Group can be read; it does not say how many members it has."),
        },
        Answered::Json(_) => warning(NAME, "The server answers something else than a Group.", "check fhir_server_url"),
        Answered::Refused(refusal) if matches!(refusal.status, 404 | 410) => {
            let detail = format!("There is no such Group: {}.", refusal.words());
            failed(NAME, Trouble::new(Reason::NotFound, detail, "check the Group's id; the Groups that can be read are listed below"))
        }
        Answered::Refused(refusal) => warning(
            NAME,
            format!("The Group cannot be read: {}. Its export may be allowed all the same.", refusal.words()),
            "ask the server's operator for system/Group.read, if an export fails",
        ),
        Answered::Trouble(trouble) => failed(NAME, trouble),
    })
}

/// The server's Groups, without their members where it can leave them out.
async fn list(server: &Server<'_>, report: &mut Report) -> Result<(), StageError> {
    const NAME: StepName = StepName::Groups;
    if matches!(server.access, Access::None) {
        report.steps.push(skipped(NAME, "There is no access token."));
        return Ok(());
    }
    let mut answered = server.get("Group?_count=50&_summary=true").await?;
    if matches!(&answered, Answered::Refused(refusal) if refusal.status == 400) {
        answered = server.get("Group?_count=50").await?;
    }
    let mut pages = 0;
    let step = loop {
        pages += 1;
        let bundle = match answered {
            Answered::Json(value) => value,
            Answered::Refused(refusal) => break cannot(&refusal.words()),
            Answered::Trouble(trouble) => break cannot(trouble.detail.trim_end_matches('.')),
        };
        let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
        report.groups.extend(entries.iter().filter_map(|entry| listed(&entry["resource"])));
        let next = next(server.base_url, &bundle);
        report.more_groups = next.is_some() || report.groups.len() > MOST_GROUPS;
        report.groups.truncate(MOST_GROUPS);
        match next {
            Some(url) if report.groups.len() < MOST_GROUPS && pages < MOST_PAGES => {
                answered = server.get_url(url).await?;
            }
            _ => break found(report),
        }
    };
    report.steps.push(step);
    Ok(())
}

fn found(report: &Report) -> Step {
    match report.groups.len() {
        0 => warning(StepName::Groups, "The server lists no Groups.", "ask its operator for the id of the Group you may export"),
        n if report.more_groups => ok(StepName::Groups, format!("The server lists more than {n} Groups; the first are shown.")),
        n => ok(StepName::Groups, format!("The server lists {n} Groups.")),
    }
}

fn cannot(why: &str) -> Step {
    warning(
        StepName::Groups,
        format!("The server does not list its Groups: {why}."),
        "nothing, if you know the Group's id; else ask the server's operator",
    )
}

/// The next page, on the server's own origin: the token goes nowhere else.
fn next(base_url: &str, bundle: &Value) -> Option<Url> {
    let base = Url::parse(&format!("{base_url}/")).ok()?;
    let link = bundle["link"].as_array()?.iter().find(|link| link["relation"] == "next")?;
    base.join(link["url"].as_str()?).ok().filter(|url| url.origin() == base.origin())
}

fn listed(group: &Value) -> Option<GroupListed> {
    let id = group["id"].as_str().filter(|_| group["resourceType"] == "Group")?;
    Some(GroupListed {
        id: shorten(id),
        name: group["name"].as_str().map(shorten).filter(|name| !name.is_empty()),
        members: group["quantity"].as_u64().or_else(|| group["member"].as_array().map(|members| members.len() as u64)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn export_is_found_wherever_servers_list_it() {
        let group = json!({"rest": [{"resource": [{"type": "Group", "operation": [{"name": "export"}]}]}]});
        assert!(lists_export(&group, Level::Group));
        assert!(!lists_export(&group, Level::Patient) && !lists_export(&group, Level::System));
        let system = json!({"rest": [{"operation": [
            {"name": "x", "definition": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/group-export"}, {"name": "patient-export"},
        ]}]});
        assert!(lists_export(&system, Level::Group) && lists_export(&system, Level::Patient));
        assert!(!lists_export(&json!({"rest": {}}), Level::Group) && !lists_export(&json!([]), Level::System));
    }

    #[test]
    fn the_token_stays_at_the_servers_own_origin() {
        let bundle = |url: &str| json!({"link": [{"relation": "next", "url": url}]});
        let next = |url: &str| next("https://a.example.org/fhir", &bundle(url)).map(String::from);
        assert_eq!(next("https://a.example.org/fhir?page=2").as_deref(), Some("https://a.example.org/fhir?page=2"));
        assert_eq!(next("Group?page=2").as_deref(), Some("https://a.example.org/fhir/Group?page=2"));
        assert_eq!(next("https://b.example.org/fhir?page=2"), None);
    }
}
