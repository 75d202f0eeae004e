//! OperationOutcome: what a server says went wrong (FHIR R4, "OperationOutcome").

use serde::Deserialize;

/// An OperationOutcome, read with tolerance.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct OperationOutcome {
    #[serde(default)]
    pub issue: Vec<Issue>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct Issue {
    #[serde(default)]
    pub severity: String,
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    diagnostics: Option<String>,
    #[serde(default)]
    details: Option<Details>,
    /// FHIRPath of what is wrong; HTTP servers name parameters so, too.
    #[serde(default)]
    expression: Vec<String>,
    #[serde(default)]
    location: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Details {
    #[serde(default)]
    text: Option<String>,
}

/// Issue codes that are worth another try (Bulk Data IG, "Response - Error Status").
const TRANSIENT: &[&str] = &["transient", "timeout", "throttled", "lock-error", "no-store"];

/// How servers say that they do not know a parameter or a type.
const UNSUPPORTED: &[&str] = &[
    "not supported",
    "unsupported",
    "does not support",
    "unknown parameter",
    "unknown search parameter",
    "unknown query parameter",
    "unknown operation parameter",
    "unknown argument",
    "unknown resource",
    "unknown type",
    "unrecognized",
    "not recognized",
    "not implemented",
    "is invalid for this operation",
];

impl Issue {
    /// Everything it says.
    fn words(&self) -> String {
        let mut words: Vec<&str> = Vec::new();
        words.extend(self.diagnostics.as_deref());
        words.extend(self.details.as_ref().and_then(|details| details.text.as_deref()));
        words.extend(self.expression.iter().chain(&self.location).map(String::as_str));
        words.join(" ")
    }

    /// Its words, short enough for an error message.
    pub fn text(&self) -> String {
        let details = self.details.as_ref().and_then(|d| d.text.as_deref());
        let text = details.or(self.diagnostics.as_deref()).filter(|t| !t.trim().is_empty()).unwrap_or(&self.code);
        shorten(text)
    }
}

impl OperationOutcome {
    /// Reads a body; `None` when it is something else, such as a gateway's HTML page.
    pub fn read(body: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        if value["resourceType"] != "OperationOutcome" {
            return None;
        }
        serde_json::from_value(value).ok()
    }

    /// What people may read of it.
    pub fn change_words(&mut self, change: impl Fn(&str) -> String) {
        for issue in &mut self.issue {
            let texts = issue.diagnostics.iter_mut().chain(issue.details.iter_mut().filter_map(|details| details.text.as_mut()));
            for text in texts.chain(&mut issue.expression).chain(&mut issue.location) {
                *text = change(text);
            }
        }
    }

    /// All its words, for an error message.
    pub fn text(&self) -> String {
        let texts: Vec<String> = self.issue.iter().map(Issue::text).filter(|t| !t.is_empty()).take(3).collect();
        if texts.is_empty() { "no reason given".to_owned() } else { texts.join("; ") }
    }

    /// The server itself says that it will pass.
    pub fn is_transient(&self, status: u16) -> bool {
        self.issue.iter().any(|issue| TRANSIENT.contains(&issue.code.as_str()) || (status >= 500 && issue.code == "exception"))
    }

    /// Everything it says, for a look at the names in it.
    pub fn all_words(&self) -> String {
        self.issue.iter().map(Issue::words).collect::<Vec<_>>().join(" ")
    }

    /// What it says of the issues that mean "I do not support this"; those that complain of a value are not among them.
    pub fn unsupported_words(&self) -> String {
        let unsupported = |issue: &&Issue| {
            let words = issue.words().to_ascii_lowercase();
            issue.code == "not-supported" || UNSUPPORTED.iter().any(|known| words.contains(known))
        };
        self.issue.iter().filter(unsupported).map(Issue::words).collect::<Vec<_>>().join(" ")
    }

    /// The server allows one export of a Group in a while ("requested this Group too recently").
    pub fn is_too_recent(&self) -> bool {
        self.all_words().to_ascii_lowercase().contains("too recently")
    }

    /// Too many files or too large: a matter for another way of asking.
    pub fn is_too_many_files(&self) -> bool {
        self.all_words().to_ascii_lowercase().contains("too many files")
    }
}

/// One line of bounded length.
pub fn shorten(text: &str) -> String {
    const LONGEST: usize = 300;
    // Postgres stores no NUL, and nobody wants to read the others.
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    line.chars().take(LONGEST).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn its_words_are_told_apart() {
        let of = |issue: Value| {
            OperationOutcome::read(json!({"resourceType": "OperationOutcome", "issue": [issue]}).to_string().as_bytes()).unwrap()
        };
        assert!(of(json!({"diagnostics": "Client requested this Group too recently"})).is_too_recent());
        assert!(of(json!({"details": {"text": "Too many files"}, "diagnostics": "x"})).is_too_many_files());
        assert!(of(json!({"code": "throttled"})).is_transient(400));
        assert!(of(json!({"code": "exception"})).is_transient(500) && !of(json!({"code": "exception"})).is_transient(400));
        assert!(of(json!({"expression": ["_since"], "location": ["http._type"]})).all_words().contains("_since http._type"));
        assert!(OperationOutcome::read(b"<html>").is_none());
        for (words, unsupported) in [
            ("Unsupported query parameter: _since", true),
            ("HAPI-0302: Unknown parameter \"_since\" for operation $export", true),
            ("_since must not be in the future", false),
            ("An unknown error occurred while reading _since", false),
            ("Unknown resource type Observation", true),
            ("The patient 123 is not a member of this Group", false),
        ] {
            assert_eq!(!of(json!({"code": "invalid", "diagnostics": words})).unsupported_words().is_empty(), unsupported, "{words}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,400}".prop_map(Value::from),
            prop::collection::vec(".{0,20}", 0..4).prop_map(Value::from),
            ".{0,50}".prop_map(|text| json!({"text": text})),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn any_outcome_has_short_words_on_one_line(
            members in prop::collection::hash_map(
                prop::sample::select(vec!["severity", "code", "diagnostics", "details", "expression", "location"]), value(), 0..6),
            bytes in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let _ = OperationOutcome::read(&bytes);
            let text = json!({"resourceType": "OperationOutcome", "issue": [members]}).to_string();
            if let Some(outcome) = OperationOutcome::read(text.as_bytes()) {
                let words = outcome.text();
                prop_assert!(words.chars().count() <= 3 * 302 && !words.chars().any(char::is_control), "{words:?}");
                outcome.all_words();
            }
        }
    }
}
