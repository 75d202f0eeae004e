//! What came of a form, told on the page it leads to: a word of the catalogue in its address, and a number; never a text.

use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::frame::Frame;
use crate::{
    access::{accounts::AccountError, password::Unfit},
    problem::Problem,
};

/// `?done=` or `?failed=`, and `&n=`. The script takes them out of the address once they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Notice {
    done: Option<String>,
    failed: Option<String>,
    n: Option<i64>,
}

impl Notice {
    /// It is done: the text `notice.{word}`.
    pub fn good(word: &str) -> Self {
        Self { done: Some(word.to_owned()), ..Self::default() }
    }

    /// It is not, and the reader can do something about it: the text `notice.{word}`.
    pub fn bad(word: &str) -> Self {
        Self { failed: Some(word.to_owned()), ..Self::default() }
    }

    /// Its text has a number: `notice.{word}.one` and `.other`.
    #[must_use]
    pub fn with(mut self, n: i64) -> Self {
        self.n = Some(n);
        self
    }

    /// Of an error that the reader can do something about; any other is ours.
    pub fn of(error: AccountError) -> Result<Self, Problem> {
        Ok(Self::bad(match error {
            AccountError::Name => "name",
            AccountError::Taken => "taken",
            AccountError::Password(Unfit::Short) => "password-short",
            AccountError::Password(Unfit::Long) => "password-long",
            AccountError::Password(Unfit::Easy) => "password-easy",
            AccountError::LastAdmin => "last-admin",
            AccountError::TooMuch => "too-much",
            AccountError::NoUser => "no-user",
            AccountError::NoToken => "no-token",
            AccountError::NoSession => "no-session",
            AccountError::Database(error) => return Err(error.into()),
            AccountError::Other(error) => return Err(Problem::internal(error)),
        }))
    }

    /// To a page that shows it.
    pub fn to(&self, path: &str) -> Response {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, word) in [("done", &self.done), ("failed", &self.failed)] {
            if let Some(word) = word {
                query.append_pair(name, word);
            }
        }
        if let Some(n) = self.n {
            query.append_pair("n", &n.to_string());
        }
        let query = query.finish();
        let joint = if path.contains('?') { '&' } else { '?' };
        Redirect::to(&if query.is_empty() { path.to_owned() } else { format!("{path}{joint}{query}") }).into_response()
    }

    /// The sentence; nothing for a word that is not ours.
    pub fn text(&self, frame: &Frame) -> Option<String> {
        let key = format!("notice.{}", self.done.as_ref().or(self.failed.as_ref())?);
        match self.n {
            Some(n) => frame.language.has(&format!("{key}.other")).then(|| frame.count(&key, n)),
            None => frame.language.has(&key).then(|| frame.t(&key).to_owned()),
        }
    }

    pub const fn is_good(&self) -> bool {
        self.done.is_some()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, header};

    use super::*;

    #[test]
    fn an_address_with_a_query_keeps_it() {
        let response = Notice::good("saved").with(3).to("/exports?state=failed");
        assert_eq!(response.headers()[header::LOCATION], "/exports?state=failed&done=saved&n=3");
    }

    #[test]
    fn a_word_from_elsewhere_says_nothing() {
        let frame = Frame::of(&HeaderMap::new(), &"/".parse().unwrap());
        assert_eq!(Notice::bad("<b>you are hacked</b>").text(&frame), None);
    }
}
