//! A Group and what its members point at (FHIR R4, "Group", "Literal References").

use serde::Deserialize;

use super::own_url;

/// A Group, as far as its members go.
#[derive(Debug, Default, Deserialize)]
pub struct Group {
    #[serde(rename = "resourceType", default)]
    resource_type: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    pub quantity: Option<u64>,
    /// `false`: it describes whom it would have (R4).
    #[serde(default)]
    actual: Option<bool>,
    /// The same since R5: `definitional`, `conceptual`, or `enumerated`.
    #[serde(default)]
    membership: Option<String>,
    #[serde(default)]
    meta: Option<Meta>,
    #[serde(default)]
    member: Option<Vec<Option<Member>>>,
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(default)]
    tag: Option<Vec<Option<Tag>>>,
}

#[derive(Debug, Default, Deserialize)]
struct Tag {
    #[serde(default)]
    code: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Member {
    #[serde(default)]
    entity: Option<Entity>,
    #[serde(default)]
    inactive: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
struct Entity {
    #[serde(default)]
    reference: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

/// Who or what a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Patient(String),
    Group(String),
    /// A practitioner, a device: a resource that is no patient.
    Other,
    /// Left the Group.
    Inactive,
    /// Is on another server.
    Elsewhere,
    /// Only an identifier, a fragment, nothing: it leads nowhere.
    Nowhere,
}

impl Group {
    /// `None`: that is no Group.
    pub fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|group| group.resource_type == "Group")
    }

    /// The members are not all there: it only says what they are like, or lists none and does not say that there are none, or the server
    /// left some out (FHIR R4, "Group.actual", "SUBSETTED").
    pub fn hides_members(&self) -> bool {
        let described = self.actual == Some(false) || self.membership.as_deref().is_some_and(|word| word != "enumerated");
        let listed = self.member.iter().flatten().flatten().next().is_some();
        let mut tags = self.meta.iter().flat_map(|meta| meta.tag.iter().flatten().flatten());
        described || tags.any(|tag| tag.code.as_deref() == Some("SUBSETTED")) || (!listed && self.quantity != Some(0))
    }

    /// Every member, on a server with this base URL.
    pub fn members(&self, base: &str) -> Vec<Who> {
        self.member.iter().flatten().flatten().map(|member| self.who(member, base)).collect()
    }

    fn who(&self, member: &Member, base: &str) -> Who {
        // "Members are considered active unless explicitly specified otherwise."
        if member.inactive == Some(true) {
            return Who::Inactive;
        }
        let Some(entity) = &member.entity else { return Who::Nowhere };
        let Some(reference) = entity.reference.as_deref().map(str::trim).filter(|reference| !reference.is_empty()) else {
            return Who::Nowhere;
        };
        // What a reference does not say, its own `type` may, or the Group's.
        let kind = entity.kind.as_deref().or(match self.kind.as_deref() {
            None | Some("person") => Some("Patient"),
            Some(_) => None,
        });
        resolve(reference, kind, base)
    }
}

/// What a reference points at. `kind`: what it is, where the reference does not say.
fn resolve(reference: &str, kind: Option<&str>, base: &str) -> Who {
    if let Some(id) = reference.strip_prefix("urn:uuid:") {
        return named(kind, id);
    }
    let path = if reference.contains("://") {
        match below(reference, base) {
            Some(path) => path,
            None => return Who::Elsewhere,
        }
    } else {
        reference.trim_start_matches('/')
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut steps = path.split('/').filter(|step| !step.is_empty());
    match (steps.next(), steps.next(), steps.next()) {
        (Some(kind), Some(id), None | Some("_history")) => named(Some(kind), id),
        (Some(id), None, _) if !reference.contains([':', '/', '?', '#']) => named(kind, id),
        _ => Who::Nowhere,
    }
}

/// The part behind the base URL, however the two write host and port.
fn below<'r>(reference: &'r str, base: &str) -> Option<&'r str> {
    let ours = url::Url::parse(base).ok()?;
    let theirs = own_url::as_asked(url::Url::parse(reference).ok()?, &ours);
    let folder = ours.path().trim_end_matches('/');
    let same = theirs.origin() == ours.origin() && theirs.path().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    if !same {
        return None;
    }
    // Type and id need no decoding: what would need it is no id.
    let path = reference.splitn(4, '/').nth(3)?;
    path.strip_prefix(folder.trim_start_matches('/')).map(|rest| rest.trim_start_matches('/'))
}

fn named(kind: Option<&str>, id: &str) -> Who {
    // FHIR allows 64 characters; real servers have longer ids.
    let good = !id.is_empty() && id.len() <= 256 && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    match kind {
        Some("Patient") if good => Who::Patient(id.to_owned()),
        Some("Group") if good => Who::Group(id.to_owned()),
        Some(kind) if good && bulkhead_shared::domain::resource::is_type_name(kind) => Who::Other,
        _ => Who::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://fhir.example.org/r4";

    fn who(member: &str) -> Who {
        let group = format!(r#"{{"resourceType":"Group","type":"person","member":[{member}]}}"#);
        Group::read(group.as_bytes()).unwrap().members(BASE).remove(0)
    }

    fn reference(reference: &str) -> Who {
        who(&format!(r#"{{"entity":{{"reference":"{reference}"}}}}"#))
    }

    #[test]
    fn references_of_every_form_are_followed() {
        let patient = |id: &str| Who::Patient(id.to_owned());
        for text in [
            "Patient/a-1",
            "/Patient/a-1",
            " Patient/a-1 ",
            "Patient/a-1/_history/2",
            "https://fhir.example.org/r4/Patient/a-1",
            "https://FHIR.example.org:443/r4/Patient/a-1",
            "http://fhir.example.org/r4/Patient/a-1",
            "https://fhir.example.org/r4/Patient/a-1/_history/3",
            "a-1",
            "urn:uuid:a-1",
        ] {
            assert_eq!(reference(text), patient("a-1"), "{text}");
        }
        assert_eq!(reference(&format!("Patient/{}", "e".repeat(100))), patient(&"e".repeat(100)), "longer than FHIR allows");
        assert_eq!(reference("Group/g"), Who::Group("g".to_owned()));
        assert_eq!(reference("https://fhir.example.org/r4/Group/g"), Who::Group("g".to_owned()));
        assert_eq!(who(r#"{"entity":{"reference":"urn:uuid:g","type":"Group"}}"#), Who::Group("g".to_owned()));
    }

    #[test]
    fn what_cannot_be_followed_is_told_apart() {
        for text in [
            "https://other.example.org/r4/Patient/a",
            "https://fhir.example.org/other/Patient/a",
            "https://fhir.example.org/r44/Patient/a",
            "http://fhir.example.org:8080/r4/Patient/a",
        ] {
            assert_eq!(reference(text), Who::Elsewhere, "{text}");
        }
        for text in ["#a", "urn:oid:1.2.3", "Patient/", "Patient?identifier=x", "Patient/a,b", "Patient/a/b/c", ""] {
            assert!(matches!(reference(text), Who::Nowhere), "{text}: {:?}", reference(text));
        }
        assert_eq!(reference("Practitioner/a"), Who::Other);
        assert_eq!(who(r#"{"entity":{"identifier":{"value":"x"}}}"#), Who::Nowhere);
        assert_eq!(who(r#"{"entity":{"reference":"Patient/a"},"inactive":true}"#), Who::Inactive);
        assert_eq!(who(r#"{"entity":{"reference":"Patient/a"},"inactive":false}"#), Who::Patient("a".to_owned()));
    }

    #[test]
    fn a_group_that_does_not_list_its_members_says_so() {
        for (rest, hides) in [
            ("", true),
            (r#","member":[]"#, true),
            (r#","quantity":0"#, false),
            (r#","member":[{}]"#, false),
            (r#","member":[{}],"actual":false"#, true),
            (r#","member":[{}],"actual":true,"characteristic":[{}]"#, false),
            (r#","member":[{}],"membership":"definitional""#, true),
            (r#","member":[{}],"membership":"enumerated""#, false),
            (r#","member":[{}],"meta":{"tag":[null,{"code":"SUBSETTED"}]}"#, true),
        ] {
            let group = format!(r#"{{"resourceType":"Group"{rest}}}"#);
            assert_eq!(Group::read(group.as_bytes()).unwrap().hides_members(), hides, "{rest}");
        }
    }

    #[test]
    fn a_group_may_lack_everything_and_another_resource_is_none() {
        assert!(Group::read(br#"{"resourceType":"Group"}"#).unwrap().members(BASE).is_empty());
        assert_eq!(Group::read(br#"{"resourceType":"Group","member":[null,{}]}"#).unwrap().members(BASE), [Who::Nowhere]);
        for body in [&b"{}"[..], br#"{"resourceType":"Bundle"}"#, b"<html>", b"[]"] {
            assert!(Group::read(body).is_none());
        }
    }
}
