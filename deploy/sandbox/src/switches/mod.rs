//! How the sandbox behaves where real servers differ. Words, apart by blanks: `"no-total page=20 method=get"`.

mod parse;

use std::time::Duration;

/// What all words together say; the default is the plain server.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Switches {
    pub search: Search,
    pub data: Data,
    pub kick_off: KickOff,
    pub status: Status,
    pub files: Files,
    pub access: Access,
}

#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch")]
pub struct Search {
    pub on: bool,
    pub by_post: bool,
    pub total: bool,
    /// Most entries of a page.
    pub page: usize,
    /// Characters of the path and the query; longer ones are answered 414.
    pub longest_url: Option<usize>,
    /// List the odd Groups (`nested`, `cyclic` ...) too.
    pub odd_groups: bool,
    /// Groups say how many members they have, and not whom.
    pub hidden_members: bool,
    /// Of `a,b,c` only `a` is looked at.
    pub first_of_list: bool,
    /// Parameters it takes and does nothing with, and does not name in the link to the page itself.
    pub ignore: Vec<String>,
    /// Parameters it always refuses.
    pub refuse: Vec<String>,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            on: true,
            by_post: true,
            total: true,
            page: 1_000,
            longest_url: None,
            odd_groups: false,
            hidden_members: false,
            first_of_list: false,
            ignore: Vec::new(),
            refuse: Vec::new(),
        }
    }
}

/// How the made patients differ from the plain ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Data {
    /// Ids of 73 characters, longer than FHIR allows.
    pub long_ids: bool,
    pub no_last_updated: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct KickOff {
    /// The server has no `$export` at all.
    pub none: bool,
    pub method: KickOffMethod,
    pub lists: Lists,
    /// What the wrong method or form of a list is answered with; else 405 or 400.
    pub dialect_status: Option<u16>,
    /// Parameters it knows beside those it always does.
    pub support: Vec<String>,
    pub refuse: Vec<String>,
    /// Parameters it takes and does nothing with.
    pub ignore: Vec<String>,
    pub wording: Wording,
    /// `_typeFilter` may name a type only once.
    pub one_filter_a_type: bool,
    /// One export of a Group and client in this time.
    pub cool_down: Option<Duration>,
    pub cool_down_status: Option<u16>,
    /// An export with more files is refused.
    pub most_files: Option<usize>,
    pub too_many_at: TooManyAt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KickOffMethod {
    #[default]
    Any,
    Get,
    Post,
}

/// How several values of a parameter must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lists {
    #[default]
    Any,
    Comma,
    Repeated,
}

/// In whose words a parameter is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wording {
    #[default]
    Plain,
    Hapi,
    Cerner,
    Azure,
    /// Only a coded issue with the parameter in `expression`.
    Coded,
    /// An OperationOutcome that does not name the parameter.
    Vague,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TooManyAt {
    #[default]
    KickOff,
    Status,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// 200 with `X-Export-Status: 202 Accepted` while it waits.
    pub separate_export_status: bool,
    /// What DELETE is answered with; else 202.
    pub delete: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Files {
    pub bodies: Bodies,
    /// After this the links of a manifest are dead, and the manifest gives fresh ones.
    pub link_lifetime: Option<Duration>,
    pub link_status: Option<u16>,
    /// One more download at the same time is refused.
    pub most_downloads: Option<u64>,
    pub over_downloads: Option<u16>,
    pub random_names: bool,
}

/// Where the bodies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bodies {
    #[default]
    Here,
    /// The manifest names this server, which answers 307 to a signed link of another origin.
    Redirect,
    /// The manifest names the signed links themselves.
    Signed,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Access {
    /// No `.well-known/smart-configuration`.
    pub no_discovery: bool,
    pub permission: Permission,
    pub no_scopes_supported: bool,
    /// What a client gets at most, whatever it asks for.
    pub grant: Option<Vec<String>>,
    /// 403 where the token's scope does not cover the type.
    pub enforce_scopes: bool,
    /// How far the server's clock is ahead (or behind), in seconds.
    pub clock: i64,
    /// So many requests in such a time, then 429.
    pub most_requests: Option<(u64, Duration)>,
}

/// Which scopes the server knows: `system/*.read` or `system/*.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Permission {
    #[default]
    Both,
    V1,
    V2,
}
