//! The sandbox over real HTTP.

mod auth;
mod export;
mod fault;
mod file;
mod folder;
mod harness;
mod search;
mod state;
