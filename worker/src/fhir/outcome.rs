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
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Details {
    #[serde(default)]
    text: Option<String>,
}

/// Issue codes that are worth another try (Bulk Data IG, "Response - Error Status").
const TRANSIENT: &[&str] = &["transient", "timeout", "throttled", "lock-error", "no-store"];

impl Issue {
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

    /// All its words, for an error message.
    pub fn text(&self) -> String {
        let texts: Vec<String> = self.issue.iter().map(Issue::text).filter(|t| !t.is_empty()).take(3).collect();
        if texts.is_empty() { "no reason given".to_owned() } else { texts.join("; ") }
    }

    /// The server itself says that it will pass.
    pub fn is_transient(&self, status: u16) -> bool {
        self.issue.iter().any(|issue| TRANSIENT.contains(&issue.code.as_str()) || (status >= 500 && issue.code == "exception"))
    }

    /// Too many files or too large: a matter for another way of asking.
    pub fn is_too_many_files(&self) -> bool {
        self.text().to_ascii_lowercase().contains("too many files")
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
