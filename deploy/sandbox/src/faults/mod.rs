//! Faults on demand. Each is one switch: `<where>:<what>[=<arg>][*<times>][@<part of the URL path>]`.

mod armed;
mod grammar;
mod kinds;
mod parse;

pub use self::armed::Faults;
pub use self::grammar::duration;
pub use self::kinds::*;

/// The kind of request a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Token,
    KickOff,
    Status,
    File,
    Delete,
    /// Searches and reads of resources, Groups too.
    Search,
    Metadata,
    /// `.well-known/smart-configuration`.
    Discovery,
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
    After(After),
    KickOff(KickOff),
    Pending(Pending),
    Manifest(Manifest),
    Content(Content),
    Transfer(Transfer),
    Flood(Flood),
    Search(Search),
    Token(Token),
}
