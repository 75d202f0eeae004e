//! Faults on demand. Each is one switch: `<where>:<what>[=<arg>][*<times>][@<part of the URL path>]`.

mod armed;
mod grammar;

use std::time::Duration;

pub use self::armed::Faults;
pub use self::grammar::duration;

/// The kind of request a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Token,
    KickOff,
    Status,
    File,
    Delete,
    /// Each of the above and every other FHIR request; never `/sandbox/...`.
    Any,
}

/// A fault to arm: where, what, how many times, and for which URLs.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub place: Where,
    pub what: What,
    /// `None` is for ever.
    pub times: Option<u32>,
    /// Only for URL paths that contain this.
    pub on: Option<String>,
}

/// What goes wrong, by the moment at which it does.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Before(Before),
    KickOff(KickOff),
    Manifest(Manifest),
    Content(Content),
    Transfer(Transfer),
}

/// Instead of, or before, the endpoint's own work.
#[derive(Debug, Clone, PartialEq)]
pub enum Before {
    Refuse(Refusal),
    /// A gateway's HTML page with this status.
    Html(u16),
    Delay(Duration),
    Hold,
    /// The connection is cut without an answer.
    Drop,
    /// 401, and the token that was sent is revoked.
    Unauthorized,
}

/// After an export was created and counted.
#[derive(Debug, Clone, PartialEq)]
pub enum KickOff {
    HoldAfter,
    DropAfter,
    RefuseAfter(Refusal),
    CutLocation,
    RelativeLocation,
}

/// When a finished export's manifest is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Manifest {
    WrongCount,
    DuplicateAcrossFiles,
    ErrorOutcome(Severity),
    Empty,
    NoOutput,
    NextPages(usize),
    Expires(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Warning,
    Error,
}

impl Severity {
    pub fn code(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// In what a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    MalformedLine,
    NulEscape,
    InvalidUtf8,
    DuplicateIds,
    WrongType,
    Bom,
    BlankLines,
    NoFinalNewline,
}

/// In how a file travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// Bytes a second.
    Slow(u64),
    /// Ends after so many bytes as if that were all: chunked, no `Content-Length`.
    Truncate(usize),
    /// The connection is cut after so many bytes of the body.
    DropAfter(usize),
    /// Held after half of the body.
    HoldHalf,
    CorruptGzip,
}

/// An HTTP error with an `OperationOutcome`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub retry_after: Option<RetryAfter>,
    /// Issue code; else the one that fits the status.
    pub issue: Option<String>,
    pub text: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    Seconds(u64),
    /// As an HTTP-date so many seconds ahead.
    Date(u64),
}

impl Refusal {
    pub fn new(status: u16, text: &str) -> Self {
        Self { status, retry_after: None, issue: None, text: Some(text.to_owned()) }
    }
}
