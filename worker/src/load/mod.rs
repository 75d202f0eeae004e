//! NDJSON to rows. A part is one transaction: the fast way is one binary COPY; when Postgres refuses something, or a resource
//! is there already, the part is loaded again the careful way.

pub mod buffers;
pub mod careful;
mod chunk;
pub mod connections;
mod copy;
pub mod cutter;
pub mod deletions;
pub mod fast;
mod guard;
mod lines;
pub mod outcomes;
pub mod prepare;
pub mod sieve;
mod table;

pub use table::parse_instant;
