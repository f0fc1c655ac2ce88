//! Digue's agent: it verifies signed orders, cuts its host's links in the kernel, reads back what it did
//! and reports it signed.
//!
//! It listens on nothing, starts no program, and decides nothing: `digue_proto::host` decides. Stopping
//! it, in whatever way, opens nothing.

pub mod boot;
pub mod clocks;
pub mod config;
pub mod doctor;
pub mod drivers;
pub mod execute;
pub mod files;
pub mod init;
pub mod kernel;
pub mod keyfile;
pub mod level;
pub mod link;
pub mod monitor;
pub mod roots;
pub mod runtime;
pub mod sd;
pub mod sessions;
pub mod sign;
pub mod start;
pub mod status;
pub mod store;
pub mod tls;
pub mod view;
pub mod wire;
pub mod words;
