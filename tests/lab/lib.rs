//! The laboratory (section 9.1): real agents, a real controller and a small "internet" in network
//! namespaces of one machine. The demonstration, the whole-program tests and the benchmarks use it.
//!
//! It never touches the machine's own network: its process first enters new network, mount and process id
//! namespaces, and everything else is made inside. Deliberately absent: any simulation; what runs inside is
//! what runs on a server.

pub mod control;
pub mod daemon;
pub mod demo;
pub mod exec;
mod fleet;
pub mod incident;
pub mod laboratory;
mod machines;
#[expect(unsafe_code, reason = "fork hooks, descriptors and pidfd_open; audited: each block has its reason")]
pub mod namespace;
mod neighbours;
pub mod network;
pub mod options;
pub mod place;
pub mod probe;
pub mod service;
pub mod topology;
