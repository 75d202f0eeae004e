//! Switches as text.

use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};

use super::{Bodies, KickOffMethod, Lists, Permission, Switches, TooManyAt, Wording};
use crate::faults::duration;

impl FromStr for Switches {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut switches = Self::default();
        switches.set_all(text)?;
        Ok(switches)
    }
}

impl Switches {
    /// Later words win.
    pub fn set_all(&mut self, text: &str) -> Result<()> {
        for word in text.split_whitespace() {
            self.set(word).with_context(|| format!("cannot read the switch \"{word}\""))?;
        }
        Ok(())
    }

    fn set(&mut self, word: &str) -> Result<()> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let known = self.search(name, value)?
            || self.data(name, value)
            || self.kick_off(name, value)?
            || self.status(name, value)?
            || self.files(name, value)?
            || self.access(name, value)?;
        if !known {
            bail!("there is no switch \"{name}\", or its value is wrong or missing");
        }
        Ok(())
    }

    fn search(&mut self, name: &str, value: Option<&str>) -> Result<bool> {
        let it = &mut self.search;
        match (name, value) {
            ("no-search", None) => it.on = false,
            ("no-post-search", None) => it.by_post = false,
            ("no-total", None) => it.total = false,
            ("odd-groups", None) => it.odd_groups = true,
            ("hidden-members", None) => it.hidden_members = true,
            ("first-of-list", None) => it.first_of_list = true,
            ("search-ignore", Some(names)) => it.ignore = list(names),
            ("search-refuse", Some(names)) => it.refuse = list(names),
            ("page", Some(entries)) => it.page = number::<usize>(entries)?.max(1),
            ("longest-url", Some(characters)) => it.longest_url = Some(number(characters)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn data(&mut self, name: &str, value: Option<&str>) -> bool {
        match (name, value) {
            ("long-ids", None) => self.data.long_ids = true,
            ("no-last-updated", None) => self.data.no_last_updated = true,
            _ => return false,
        }
        true
    }

    fn kick_off(&mut self, name: &str, value: Option<&str>) -> Result<bool> {
        let it = &mut self.kick_off;
        match (name, value) {
            ("no-export", None) => it.none = true,
            ("method", Some("any")) => it.method = KickOffMethod::Any,
            ("method", Some("get")) => it.method = KickOffMethod::Get,
            ("method", Some("post")) => it.method = KickOffMethod::Post,
            ("lists", Some("any")) => it.lists = Lists::Any,
            ("lists", Some("comma")) => it.lists = Lists::Comma,
            ("lists", Some("repeated")) => it.lists = Lists::Repeated,
            ("dialect-status", Some(status)) => it.dialect_status = Some(number(status)?),
            ("support", Some(names)) => it.support = list(names),
            ("refuse", Some(names)) => it.refuse = list(names),
            ("ignore", Some(names)) => it.ignore = list(names),
            ("wording", Some(name)) => it.wording = wording(name)?,
            ("one-filter-a-type", None) => it.one_filter_a_type = true,
            ("cool-down", Some(time)) => it.cool_down = Some(duration(time)?),
            ("cool-down-status", Some(status)) => it.cool_down_status = Some(number(status)?),
            ("most-files", Some(files)) => it.most_files = Some(number(files)?),
            ("too-many-at", Some("kick-off")) => it.too_many_at = TooManyAt::KickOff,
            ("too-many-at", Some("status")) => it.too_many_at = TooManyAt::Status,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn status(&mut self, name: &str, value: Option<&str>) -> Result<bool> {
        match (name, value) {
            ("separate-export-status", None) => self.status.separate_export_status = true,
            ("delete-status", Some(status)) => self.status.delete = Some(number(status)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn files(&mut self, name: &str, value: Option<&str>) -> Result<bool> {
        let it = &mut self.files;
        match (name, value) {
            ("files", Some("here")) => it.bodies = Bodies::Here,
            ("files", Some("redirect")) => it.bodies = Bodies::Redirect,
            ("files", Some("signed")) => it.bodies = Bodies::Signed,
            ("link-lifetime", Some(time)) => it.link_lifetime = Some(duration(time)?),
            ("link-status", Some(status)) => it.link_status = Some(number(status)?),
            ("most-downloads", Some(most)) => it.most_downloads = Some(number(most)?),
            ("over-downloads", Some(status)) => it.over_downloads = Some(number(status)?),
            ("file-names", Some("random")) => it.random_names = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn access(&mut self, name: &str, value: Option<&str>) -> Result<bool> {
        let it = &mut self.access;
        match (name, value) {
            ("no-discovery", None) => it.no_discovery = true,
            ("permission", Some("v1")) => it.permission = Permission::V1,
            ("permission", Some("v2")) => it.permission = Permission::V2,
            ("permission", Some("both")) => it.permission = Permission::Both,
            ("no-scopes-supported", None) => it.no_scopes_supported = true,
            ("grant", Some(scopes)) => it.grant = Some(list(scopes)),
            ("enforce-scopes", None) => it.enforce_scopes = true,
            ("clock", Some(by)) => {
                let back = by.starts_with('-');
                let seconds = duration(by.trim_start_matches(['+', '-']))?.as_secs().cast_signed();
                it.clock = if back { -seconds } else { seconds };
            }
            ("most-requests", Some(limit)) => {
                let (requests, time) = limit.split_once('/').context("write the requests and a time, for example 3000/5m")?;
                it.most_requests = Some((number(requests)?, duration(time)?));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn wording(name: &str) -> Result<Wording> {
    Ok(match name {
        "plain" => Wording::Plain,
        "hapi" => Wording::Hapi,
        "cerner" => Wording::Cerner,
        "azure" => Wording::Azure,
        "coded" => Wording::Coded,
        "vague" => Wording::Vague,
        _ => bail!("\"{name}\" is none of plain, hapi, cerner, azure, coded, vague"),
    })
}

fn list(text: &str) -> Vec<String> {
    text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn number<T: FromStr>(text: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().with_context(|| format!("\"{text}\" is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_words_and_says_which_is_wrong() {
        let switches: Switches = "no-total page=20 method=get support=_until,_elements clock=-10m most-requests=30/5s".parse().unwrap();
        assert!(!switches.search.total);
        assert_eq!((switches.search.page, switches.kick_off.method), (20, KickOffMethod::Get));
        assert_eq!(switches.kick_off.support, ["_until", "_elements"]);
        assert_eq!(switches.access.clock, -600);
        assert_eq!(switches.access.most_requests, Some((30, std::time::Duration::from_secs(5))));
        for wrong in ["page", "page=many", "speed=9", "method=put"] {
            let error = format!("{:#}", wrong.parse::<Switches>().unwrap_err());
            assert!(error.contains(wrong), "{error}");
        }
    }
}
