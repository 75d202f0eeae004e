//! The sandbox over real HTTP.

mod auth;
mod export;
mod fault;
mod file;
mod folder;
mod harness;
mod hostile;
mod kick_off;
mod preset;
mod readme;
mod search;
mod state;
