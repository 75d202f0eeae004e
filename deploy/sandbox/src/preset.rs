//! Servers one meets in the field, each as switches and faults. Simulated from public reports, not copied from the servers.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Error, Result, bail, ensure};

use crate::config::SandboxConfig;
use crate::faults::Fault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    Epic,
    Cerner,
    Bcda,
    Hapi,
    Azure,
    LinuxForHealth,
    Aws,
    Dpc,
}

impl Preset {
    pub const ALL: [Self; 8] = [Self::Epic, Self::Cerner, Self::Bcda, Self::Hapi, Self::Azure, Self::LinuxForHealth, Self::Aws, Self::Dpc];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Epic => "epic",
            Self::Cerner => "cerner",
            Self::Bcda => "bcda",
            Self::Hapi => "hapi",
            Self::Azure => "azure",
            Self::LinuxForHealth => "linuxforhealth",
            Self::Aws => "aws",
            Self::Dpc => "dpc",
        }
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|preset| preset.as_str() == text) {
            Some(preset) => Ok(preset),
            None => bail!("\"{text}\" is none of {}", Self::ALL.map(Self::as_str).join(", ")),
        }
    }
}

const HOUR: Duration = Duration::from_hours(1);

/// What the preset says, with its times multiplied by the pace.
#[derive(Default)]
struct Said {
    switches: String,
    faults: &'static [&'static str],
    resources_per_file: Option<usize>,
    export_time: Option<Duration>,
    /// Of a 202.
    retry_after: Option<Duration>,
    expires: Option<Duration>,
}

fn said(preset: Preset, pace: f64) -> Said {
    let milliseconds = |time: Duration| time.mul_f64(pace).as_millis();
    match preset {
        Preset::Epic => Said {
            switches: format!(
                "long-ids no-last-updated method=get lists=comma ignore=_since cool-down={}ms cool-down-status=400",
                milliseconds(HOUR * 24)
            ),
            faults: &["token:bare=400"],
            ..Said::default()
        },
        Preset::Cerner => Said {
            switches: "method=get lists=comma support=_typeFilter one-filter-a-type wording=cerner files=redirect most-downloads=10 \
                       delete-status=204"
                .to_owned(),
            faults: &["file:status=502*3", "file:status=429;retry-after=1*2"],
            resources_per_file: Some(25),
            retry_after: Some(HOUR * 2),
            ..Said::default()
        },
        Preset::Bcda => Said {
            switches: format!("most-requests=3000/{}ms", milliseconds(HOUR / 12)),
            faults: &["file:gone=404*2"],
            resources_per_file: Some(50),
            expires: Some(HOUR * 24),
            ..Said::default()
        },
        Preset::Hapi => Said {
            switches: "support=_typeFilter,patient wording=hapi file-names=random".to_owned(),
            faults: &["status:bare-when-empty*always", "file:duplicate-ids*always"],
            expires: Some(HOUR * 2),
            ..Said::default()
        },
        Preset::Azure => Said { switches: "wording=azure".to_owned(), export_time: Some(HOUR * 2), ..Said::default() },
        Preset::LinuxForHealth => Said { faults: &["status:relative-urls*always"], ..Said::default() },
        Preset::Aws => Said { faults: &["file:header=content-type: binary/octet-stream*always"], ..Said::default() },
        Preset::Dpc => Said { expires: Some(HOUR * 24), ..Said::default() },
    }
}

/// Fills in what the caller left as it was, and gives the faults to arm. The caller's own switches come last and win.
pub fn apply(config: &mut SandboxConfig) -> Result<Vec<Fault>> {
    ensure!(config.pace.is_finite() && config.pace >= 0.0, "the pace must not be below 0");
    let Some(preset) = config.preset else { return Ok(Vec::new()) };
    let (said, plain) = (said(preset, config.pace), SandboxConfig::default());
    let scaled = |time: Duration| time.mul_f64(config.pace);
    config.switches = format!("{} {}", said.switches, config.switches);
    if let Some(count) = said.resources_per_file.filter(|_| config.resources_per_file == plain.resources_per_file) {
        config.resources_per_file = count;
    }
    if let Some(time) = said.export_time.filter(|_| config.export_time == plain.export_time) {
        config.export_time = scaled(time);
    }
    if let Some(time) = said.expires.filter(|_| config.expires == plain.expires) {
        config.expires = scaled(time);
    }
    if let Some(time) = said.retry_after.filter(|_| config.retry_after == plain.retry_after) {
        config.retry_after = Some(scaled(time).as_secs());
    }
    said.faults.iter().map(|fault| fault.parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_readable_and_leaves_what_was_set() {
        for preset in Preset::ALL {
            assert_eq!(preset.as_str().parse::<Preset>().unwrap(), preset);
            let mut config = SandboxConfig { preset: Some(preset), pace: 0.001, resources_per_file: 7, ..SandboxConfig::default() };
            apply(&mut config).unwrap();
            config.switches.parse::<crate::switches::Switches>().unwrap();
            assert_eq!(config.resources_per_file, 7);
        }
        let mut config = SandboxConfig { preset: Some(Preset::Cerner), pace: 0.001, ..SandboxConfig::default() };
        apply(&mut config).unwrap();
        assert_eq!((config.retry_after, config.resources_per_file), (Some(7), 25));
    }
}
