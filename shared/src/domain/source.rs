//! A source: a FHIR server as one client sees it.

use std::time::Duration;

use uuid::Uuid;

use super::words;

words! {
    /// How we prove who we are.
    pub enum Auth {
        Open = "open",
        /// A token given by the user, sent as it is.
        Bearer = "bearer",
        /// SMART Backend Services: `private_key_jwt`.
        Smart = "smart",
    }
}

words! {
    /// What to do when a crash lost the answer to a kick-off.
    pub enum KickOffPolicy {
        Resend = "resend",
        Hold = "hold",
    }
}

words! {
    /// How the parameters of a kick-off are sent: servers of IG 1.x to 3.x mostly want GET and commas, those of 4.x POST and no commas
    /// (Bulk Data IG, "Kick-off Request").
    pub enum Dialect {
        GetComma = "get_comma",
        GetRepeat = "get_repeat",
        PostComma = "post_comma",
        PostRepeat = "post_repeat",
    }
}

impl Dialect {
    /// With a `Parameters` body.
    #[must_use]
    pub const fn is_post(self) -> bool {
        matches!(self, Self::PostComma | Self::PostRepeat)
    }

    /// Several values in one parameter, joined.
    #[must_use]
    pub const fn joins(self) -> bool {
        matches!(self, Self::GetComma | Self::PostComma)
    }

    /// The same method, lists written the other way.
    #[must_use]
    pub const fn other_lists(self) -> Self {
        match self {
            Self::GetComma => Self::GetRepeat,
            Self::GetRepeat => Self::GetComma,
            Self::PostComma => Self::PostRepeat,
            Self::PostRepeat => Self::PostComma,
        }
    }
}

/// What a server says of itself (SMART App Launch 2.2, "Using Well-Known").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovered {
    pub token_endpoint: Option<String>,
    pub scopes_supported: Vec<String>,
    pub capabilities: Vec<String>,
}

/// The row. The secret stays sealed until a worker needs it.
#[derive(Debug, Clone)]
pub struct Source {
    pub id: Uuid,
    /// Without a trailing slash.
    pub base_url: String,
    pub auth: Auth,
    pub client_id: String,
    /// As a user gave it.
    pub token_url: Option<String>,
    /// What its server told about itself, if it was asked.
    pub discovered: Option<Discovered>,
    /// It was asked less than a day ago.
    pub discovery_is_fresh: bool,
    pub algorithm: Option<String>,
    pub jwks_url: Option<String>,
    pub scope: Option<String>,
    pub kick_off_policy: KickOffPolicy,
    /// Learned, or set by a person.
    pub dialect: Option<Dialect>,
    pub dialect_set: bool,
    /// Fewer downloads at once than it may have: the server asked to slow down.
    pub slowed_down: bool,
    /// How long no file is asked for; zero when it is not paused.
    pub paused: Duration,
}

impl Source {
    /// Where tokens come from: what a user gave wins over what the server says.
    #[must_use]
    pub fn token_endpoint(&self) -> Option<&str> {
        let found = || self.discovered.as_ref().and_then(|found| found.token_endpoint.as_deref());
        self.token_url.as_deref().or_else(found)
    }
}
