//! The named attacks of docs/THREAT-MODEL.md on the pure core, one module an attack, and the suites around
//! them: properties over random schedules, stock `ssh-keygen` in both directions, arbitrary bytes, and the
//! dependency budget.
//!
//! Deliberately absent: attacks on sockets, files and kernels; they belong to the laboratory.

#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod a1_arbitrary_order;
