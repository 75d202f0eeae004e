//! The sandbox over real HTTP.

mod auth;
mod export;
mod fault;
mod file;
mod folder;
mod harness;
mod kick_off;
mod search;
mod state;
