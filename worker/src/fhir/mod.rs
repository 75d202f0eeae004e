//! The FHIR client: HTTP with a check on every hop, SMART Backend Services, and what servers' answers mean.

pub mod answer;
pub mod auth;
pub mod bundle;
pub mod capabilities;
pub mod dialect;
pub mod discovery;
pub mod group;
pub mod http;
pub mod mint;
pub mod outcome;
pub mod own_url;
pub mod retry_after;
pub mod searchable;
