//! The fields of a form whose names may come more than once.

use axum::{body::Bytes, extract::FromRequest, extract::Request};

use crate::problem::Problem;

/// All of them, in the order of the page.
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The last value of a name, trimmed; empty if there is none.
    pub fn text<'a>(&'a self, name: &str) -> &'a str {
        self.0.iter().rfind(|(other, _)| other == name).map_or("", |(_, value)| value.trim())
    }

    /// Whether there is a value that is not empty.
    pub fn has(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// Every value of a name, trimmed.
    pub fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.trim())
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|_| Problem::invalid("The form did not arrive whole, or is larger than 1 MiB. Send it again."))?;
        Ok(Self(url::form_urlencoded::parse(&body).into_owned().collect()))
    }
}
