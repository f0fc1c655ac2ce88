//! The pure core of Digue.
//!
//! It decides and does nothing: no input or output, no clock, no randomness, no threads. The time,
//! entropy and observations are arguments; what to do comes back as data. The agent and the controller
//! are shells around it, and the same code runs in tests, the simulator and the fuzzer.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic))]

pub mod bundle;
pub mod enrol;
pub mod envelope;
pub mod fleet;
pub mod frame;
pub mod host;
pub mod id;
pub mod key;
pub mod limits;
pub mod merkle;
pub mod order;
pub mod policy;
pub mod report;
pub mod rules;
pub mod sign;
pub mod statement;
pub mod strict;
pub mod trust;
pub mod trust_chain;
pub mod verify;
pub mod words;
