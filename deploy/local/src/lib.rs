//! Bulkhead on one machine.

pub mod postgres;
