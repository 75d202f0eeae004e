//! `/new`: a new export in three steps. First the server and its credentials: they are kept sealed with the source, and a check of it goes to a
//! worker. Then, named by that check, what to export: its Groups as the worker found them. Then a summary, and many exports at once.

mod choice;
mod kept;
mod pick;
mod send;
mod start;

pub use pick::{choose, pick};
pub use send::{send, sent};
pub use start::{form, kept_source, start};
