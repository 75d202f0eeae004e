//! What a sandbox is told at its start.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail};

use crate::preset::Preset;

/// Settings of one sandbox; `SandboxConfig { auth: true, ..Default::default() }` reads well in tests.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Port 0 takes any free port and keeps it over `stop` and `start_again`.
    pub listen: SocketAddr,
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// Demand a SMART Backend Services token on every FHIR request.
    pub auth: bool,
    /// How long an export answers 202 before its manifest is ready.
    pub export_time: Duration,
    /// `Retry-After` of the 202 answers, in seconds.
    pub retry_after: Option<u64>,
    pub token_lifetime: Duration,
    pub resources_per_file: usize,
    /// Folders of NDJSON(.gz) served as further Groups: (Group id, folder).
    pub data: Vec<(String, PathBuf)>,
    /// Large files that are made while they are served: a load generator. Each is one file of its Group.
    pub generated: Vec<Generated>,
    /// Where exports, clients, tokens and counts survive a kill.
    pub state: Option<PathBuf>,
    /// Multiplies the patients of the eight Groups; each keeps at least one.
    pub scale: f64,
    /// How long an export and its files live after completion.
    pub expires: Duration,
    /// How the server behaves where real ones differ: words apart by blanks, like `"no-total method=get"`; see the README.
    pub switches: String,
    /// Play a server one meets in the field. It sets what is left at its default here, and arms faults.
    pub preset: Option<Preset>,
    /// Multiplies the times of the preset, so that its hours need not be waited for.
    pub pace: f64,
}

/// A file that is made on the fly, the same for the same seed; several of one Group are several files. It has no ranges, and
/// faults of content and transfer do not strike it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    pub group: String,
    pub kind: GeneratedKind,
    /// Of plain NDJSON; the last line is whole.
    pub bytes: u64,
    /// Compress it for who accepts that; packing costs more than all else. Else it is plain for everybody.
    pub gzip: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeneratedKind {
    /// About 800 bytes each.
    Observation,
    /// About 3.6 kB each.
    ExplanationOfBenefit,
}

impl GeneratedKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observation => "Observation",
            Self::ExplanationOfBenefit => "ExplanationOfBenefit",
        }
    }
}

/// `GROUP=TYPE:SIZE[:plain]`.
impl FromStr for Generated {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (group, file) = text.split_once('=').context("write GROUP=TYPE:SIZE, for example big=Observation:200MB")?;
        let mut fields = file.split(':');
        let kind = match fields.next().unwrap_or_default() {
            "Observation" => GeneratedKind::Observation,
            "ExplanationOfBenefit" => GeneratedKind::ExplanationOfBenefit,
            other => bail!("\"{other}\" cannot be made: write Observation or ExplanationOfBenefit"),
        };
        let bytes = size(fields.next().unwrap_or_default())?;
        let gzip = match fields.next() {
            None => true,
            Some("plain") => false,
            Some(other) => bail!("\"{other}\" is not \"plain\""),
        };
        Ok(Self { group: group.to_owned(), kind, bytes, gzip })
    }
}

pub fn size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let number: u64 = digits.parse().with_context(|| format!("\"{text}\" is no size: write 10MB or 2GB"))?;
    let unit = match &text[digits.len()..] {
        "" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        unit => bail!("\"{unit}\" is no unit: write kB, MB or GB"),
    };
    number.checked_mul(unit).context("too large")
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            auth: false,
            export_time: Duration::from_millis(300),
            retry_after: Some(1),
            token_lifetime: Duration::from_mins(5),
            resources_per_file: 5_000,
            data: Vec::new(),
            generated: Vec::new(),
            state: None,
            scale: 1.0,
            expires: Duration::from_hours(24),
            switches: String::new(),
            preset: None,
            pace: 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_to_generate() {
        let made: Generated = "big=Observation:200MB".parse().unwrap();
        assert_eq!(made, Generated { group: "big".to_owned(), kind: GeneratedKind::Observation, bytes: 200_000_000, gzip: true });
        let made: Generated = "c=ExplanationOfBenefit:2GB:plain".parse().unwrap();
        assert_eq!((made.bytes, made.gzip), (2_000_000_000, false));
        for wrong in ["Observation:2GB", "a=Patient:2GB", "a=Observation", "a=Observation:2TB", "a=Observation:2GB:x"] {
            assert!(wrong.parse::<Generated>().is_err(), "{wrong}");
        }
    }
}
