//! The faults of each moment.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};

/// Instead of, or before, the endpoint's own work.
#[derive(Debug, Clone, PartialEq)]
pub enum Before {
    Refuse(Refusal),
    /// A gateway's HTML page with this status.
    Html(u16),
    /// This status and nothing else.
    Bare(u16),
    Delay(Duration),
    Hold,
    /// The connection is cut without an answer.
    Drop,
    /// 401, and the token that was sent is revoked.
    Unauthorized,
    /// 307 to the given URL; else to the same one with another `_hop`.
    Redirect(Option<String>),
    /// 200 and blank lines for ever.
    EndlessBody,
}

/// The endpoint did its work, and its answer is changed.
#[derive(Debug, Clone, PartialEq)]
pub enum After {
    /// In place of what the answer has of that name.
    Header(HeaderName, HeaderValue),
    WithoutHeader(HeaderName),
    /// One more header with so many bytes.
    HugeHeaders(usize),
    /// This status in place of the one of success.
    Success(u16),
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

/// One more 202 although the export may be ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    /// Else the usual one.
    pub retry_after: Option<RetryAfter>,
    pub progress: Option<String>,
}

/// When a finished export's manifest is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Manifest {
    WrongCount,
    DuplicateAcrossFiles,
    ErrorOutcome(Severity),
    /// `outcome` in place of `error` (Bulk Data Access IG 4.0).
    OutcomeKey,
    /// A file of transaction Bundles that delete so many resources.
    Deleted(usize),
    Empty,
    /// An element, of the manifest or of each of its files, is missing.
    Without(String),
    /// Neither `output` nor `error` when there are no files.
    BareWhenEmpty,
    TransactionTime(String),
    Request(String),
    RelativeUrls,
    NextPages(usize),
    /// The last of so many pages names the first as its next.
    NextCircle(usize),
    EndlessNext,
    Expires(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Fatal,
    Error,
    Warning,
    Information,
}

impl Severity {
    pub fn code(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Information => "information",
        }
    }

    pub const ALL: [Self; 4] = [Self::Fatal, Self::Error, Self::Warning, Self::Information];
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

/// A file that is far more than it should be; it streams, so that the sandbox itself stays small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Blank lines, so many bytes of them once unpacked; waits for who accepts gzip.
    GzipBomb(u64),
    /// The last resource has so many bytes in one string.
    LongLine(u64),
    /// The first line again and again.
    Endless,
}

/// In a page of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// An `OperationOutcome` with `search.mode` `outcome`.
    OutcomeEntry(Severity),
    /// An Organization with `search.mode` `include`.
    IncludedEntry,
    /// A `Basic` as if it matched.
    WrongEntry,
    /// The page begins with the last entry of the page before.
    Overlap,
    WrongTotal,
    MissingNext,
    RelativeNext,
    /// `next` names a host that is not this one.
    ForeignNext,
    /// The page after so many is the first.
    Circle(usize),
    /// After the last page come empty ones, each with a `next`.
    EndlessPages,
}

/// In an answer of the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Grants this instead of what was asked for.
    Narrow(String),
    /// Does not say what was granted.
    NoScope,
    /// 400 `invalid_scope`.
    InvalidScope,
    /// This text, as a number if it is one.
    ExpiresIn(String),
    ExpiresInString,
    NoExpiresIn,
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryAfter {
    Seconds(u64),
    /// As an HTTP-date so many seconds ahead, or in the past.
    Date(i64),
    /// As seconds since 1970, so many seconds ahead.
    Epoch(i64),
    EpochMillis(i64),
    /// Whatever it says.
    Text(String),
}

impl Refusal {
    pub fn new(status: u16, text: &str) -> Self {
        Self { status, retry_after: None, issue: None, text: Some(text.to_owned()) }
    }

    /// As a server says it that exports a Group once a day.
    pub fn too_recently(status: u16) -> Self {
        let text = "Error processing Bulk Data Kickoff request: this client requested this Group too recently";
        Self { issue: Some("business-rule".to_owned()), ..Self::new(status, text) }
    }
}
