//! NDJSON to rows. A part is one transaction: the fast way is one binary COPY; when Postgres refuses something, or a resource
//! is there already, the part is loaded again the careful way.

pub mod careful;
pub mod copy;
pub mod cutter;
pub mod guard;
pub mod outcomes;
pub mod table;
