//! What is around every page: the reader's language and theme, who is signed in, what they may do. Every page takes a [`Frame`].

use std::{borrow::Borrow, convert::Infallible, sync::Arc};

use askama::filters::Safe;
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Uri, header, request::Parts},
};
use bulkhead_shared::{clock, db::exports::MOST_COUNTED, domain::role::Role};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    assets, format,
    said::said,
    sentence::escaped,
    texts::{Language, fill},
};
use crate::{
    ApiState,
    access::{Caller, OPEN_ROLE},
};

pub const LANGUAGE_COOKIE: &str = "bulkhead_language";
pub const THEME_COOKIE: &str = "bulkhead_theme";

/// Light or dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// As the reader's system has it.
    System,
    Light,
    Dark,
}

impl Theme {
    pub const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    pub const fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.word() == word)
    }
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub struct User {
    pub id: Uuid,
    pub name: String,
    pub role: Role,
}

/// Around every page.
#[derive(Debug, Clone)]
pub struct Frame {
    pub language: Language,
    pub theme: Theme,
    /// Nobody, where nobody is asked.
    pub user: Option<User>,
    /// What the reader may do.
    role: Role,
    /// Stands in every form that changes something (`templates/csrf.html`).
    pub csrf: String,
    /// This page: path and query.
    pub here: String,
    pub now: DateTime<Utc>,
}

impl FromRequestParts<Arc<ApiState>> for Frame {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<ApiState>) -> Result<Self, Infallible> {
        let mut frame = Self::of(&parts.headers, &parts.uri);
        if let Some(caller) = parts.extensions.get::<Caller>() {
            frame.role = caller.role;
            frame.user =
                caller.session.as_ref().map(|session| User { id: session.user_id, name: caller.actor.name.clone(), role: caller.role });
            caller.csrf().clone_into(&mut frame.csrf);
        }
        Ok(frame)
    }
}

impl Frame {
    /// For a reader of whom only the request is known.
    pub fn of(headers: &HeaderMap, uri: &Uri) -> Self {
        Self {
            language: cookie(headers, LANGUAGE_COOKIE).and_then(Language::of).unwrap_or_else(|| accepted(headers)),
            theme: cookie(headers, THEME_COOKIE).and_then(Theme::of).unwrap_or(Theme::System),
            user: None,
            role: OPEN_ROLE,
            csrf: String::new(),
            here: uri.path_and_query().map_or("/", |here| here.as_str()).to_owned(),
            now: clock::now(),
        }
    }

    /// Whether the reader may do what needs this role.
    pub fn may(&self, needed: Role) -> bool {
        self.role.may(needed)
    }

    pub fn may_operate(&self) -> bool {
        self.may(Role::Operator)
    }

    pub fn may_administer(&self) -> bool {
        self.may(Role::Admin)
    }

    /// Whether this page is `section` or below it.
    pub fn is_at(&self, section: &str) -> bool {
        let path = self.here.split('?').next().unwrap_or_default();
        path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// This page's address as a value in a query.
    pub fn back(&self) -> String {
        url::form_urlencoded::byte_serialize(self.here.as_bytes()).collect()
    }

    /// A text of the catalogue.
    pub fn t(&self, key: &str) -> &'static str {
        self.language.text(key)
    }

    /// The name of a word of the domain: `word("state", "failed")`.
    pub fn word(&self, kind: &str, word: impl std::fmt::Display) -> &'static str {
        self.language.text(&format!("{kind}.{word}"))
    }

    /// A text with one value.
    pub fn with(&self, key: &str, value: impl std::fmt::Display) -> String {
        fill(self.t(key), &[&value.to_string()])
    }

    /// A text with two values.
    pub fn with_two(&self, key: &str, first: impl std::fmt::Display, second: impl std::fmt::Display) -> String {
        fill(self.t(key), &[&first.to_string(), &second.to_string()])
    }

    /// A text with a number, in its singular or plural.
    pub fn count(&self, key: &str, n: impl Number) -> String {
        let n = n.get();
        let one = format!("{key}.one");
        let key = if n == 1 && self.language.has(&one) { one } else { format!("{key}.other") };
        fill(self.t(&key), &[&format::number(n)])
    }

    #[expect(clippy::unused_self, reason = "templates have the frame")]
    pub fn number(&self, n: impl Number) -> String {
        format::number(n.get())
    }

    /// Of exports, which are counted to [`MOST_COUNTED`] only.
    #[expect(clippy::unused_self, reason = "templates have the frame")]
    pub fn counted(&self, n: impl Number) -> String {
        format::up_to(n.get(), MOST_COUNTED)
    }

    #[expect(clippy::unused_self, reason = "templates have the frame")]
    pub fn bytes(&self, n: impl Number) -> String {
        format::bytes(n.get())
    }

    /// Of so many seconds.
    pub fn duration(&self, seconds: impl Number) -> String {
        format::duration(self.language, seconds.get())
    }

    /// A sentence that workers or the database keep, in the reader's language; what stays English says that it is.
    pub fn said(&self, english: impl AsRef<str>) -> Safe<String> {
        let english = english.as_ref();
        Safe(match said(self.language, english) {
            Some(text) => escaped(&text),
            None => format!("<span lang=\"en\">{}</span>", escaped(english)),
        })
    }

    /// The same as a text, for a title.
    pub fn said_plainly(&self, english: &str) -> String {
        said(self.language, english).unwrap_or_else(|| english.to_owned())
    }

    /// How long ago, with the moment in its title.
    pub fn ago(&self, at: impl Borrow<DateTime<Utc>>) -> Safe<String> {
        format::time(self.language, self.now, *at.borrow())
    }

    /// How long until then: "in 12 seconds".
    pub fn until(&self, at: DateTime<Utc>) -> String {
        format::relative(self.language, self.now, at)
    }

    /// The address of a file in `api/static`.
    #[expect(clippy::unused_self, reason = "templates have the frame")]
    pub fn asset(&self, name: &str) -> &'static str {
        assets::address(name)
    }
}

/// What templates count with; they pass values and references.
pub trait Number {
    fn get(&self) -> i64;
}

macro_rules! numbers {
    ($($type:ty),+) => { $(
        impl Number for $type {
            fn get(&self) -> i64 {
                (*self).try_into().unwrap_or(i64::MAX)
            }
        }
    )+ };
}

numbers!(i64, i32, u32, u64, usize);

impl<N: Number> Number for &N {
    fn get(&self) -> i64 {
        (**self).get()
    }
}

/// A cookie's value.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The first language of `Accept-Language` that we have, by the reader's weights.
fn accepted(headers: &HeaderMap) -> Language {
    let given = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut ranges: Vec<(f32, Language)> = given
        .split(',')
        .filter_map(|range| {
            let (tag, weight) = range.split_once(";q=").unwrap_or((range, "1"));
            Some((weight.trim().parse().unwrap_or(0.0), Language::of(tag)?))
        })
        .filter(|(weight, _)| *weight > 0.0)
        .collect();
    ranges.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranges.first().map_or(Language::English, |(_, language)| *language)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(pairs: &[(header::HeaderName, &str)]) -> Frame {
        let headers = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        Frame::of(&headers, &"/exports/1?x=y".parse().unwrap())
    }

    #[test]
    fn the_language_is_the_cookies_or_the_browsers() {
        assert_eq!(frame(&[]).language, Language::English);
        assert_eq!(frame(&[(header::ACCEPT_LANGUAGE, "fr, zh-CN;q=0.8, en;q=0.3")]).language, Language::Chinese);
        assert_eq!(frame(&[(header::ACCEPT_LANGUAGE, "zh;q=0, en")]).language, Language::English);
        let both = [(header::ACCEPT_LANGUAGE, "zh"), (header::COOKIE, "a=b; bulkhead_language=en")];
        assert_eq!(frame(&both).language, Language::English);
    }

    #[test]
    fn the_theme_is_the_cookies_or_the_systems() {
        assert_eq!(frame(&[]).theme, Theme::System);
        assert_eq!(frame(&[(header::COOKIE, "bulkhead_theme=dark")]).theme, Theme::Dark);
        assert_eq!(frame(&[(header::COOKIE, "bulkhead_theme=\"><script>")]).theme, Theme::System);
    }

    #[test]
    fn a_page_knows_where_it_is() {
        let frame = frame(&[]);
        assert!(frame.is_at("/exports") && !frame.is_at("/export"));
        assert_eq!(frame.back(), "%2Fexports%2F1%3Fx%3Dy");
    }

    #[test]
    fn counts_have_their_plural() {
        assert_eq!(frame(&[]).count("exports.count", 1), "1 export");
        assert_eq!(frame(&[]).count("exports.count", 1234), "1,234 exports");
        assert_eq!(frame(&[(header::ACCEPT_LANGUAGE, "zh")]).count("exports.count", 1), "1 个导出");
    }
}
