//! Ending sessions in every network namespace of this host: containers have sockets of their own, and a
//! frozen session goes on after a release (04, traps 3 and 4).
//!
//! In a laboratory many hosts share a kernel, and some of what `/proc` shows may belong to the machine
//! itself: other namespaces are then entered only if this agent has a process table of its own.

use std::os::unix::fs::MetadataExt as _;

use digue_proto::policy::{BlockList, Policy};
use digue_proto::rules::{self, Flow};

use crate::drivers::{self, Ended, Place};

/// The inode of the machine's first process namespace.
const INITIAL_PROCESSES: u64 = 0xefff_fffc;

/// Ends every session that a policy does not allow; returns how many sockets died and flows were
/// forgotten, and logs what could not be done.
pub fn end(place: &Place, lab: bool, policy: &Policy, blocked: &BlockList) -> u64 {
    let allowed = |flow: &Flow| rules::allows(policy, blocked, flow);
    let mut total = match drivers::end_sessions(place, allowed) {
        Ok(ended) => ended,
        Err(error) => {
            tracing::error!(%error, "sessions_not_ended");
            Ended::default()
        }
    };
    if !lab || owns_process_table() {
        total = total.and(in_other_namespaces(place, lab, policy, blocked));
    }
    let flows = drivers::flush_conntrack(place).unwrap_or_else(|error| {
        tracing::debug!(%error, "connection_table_not_flushed");
        0
    });
    if total.refused > 0 {
        let Ended { destroyed, refused, unsupported, .. } = total;
        tracing::warn!(destroyed, refused, unsupported, "sessions_left");
    }
    total.destroyed.saturating_add(flows)
}

fn in_other_namespaces(place: &Place, lab: bool, policy: &Policy, blocked: &BlockList) -> Ended {
    // A laboratory keeps process 1 of each host outside that host's network.
    let first = std::fs::metadata("/proc/1/ns/net").map(|m| (m.dev(), m.ino())).ok();
    let found = match drivers::namespaces(place, |_, identity| !lab || Some(identity) != first) {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "namespaces_not_listed");
            return Ended::default();
        }
    };
    let mut total = Ended::default();
    for namespace in found {
        let job = || {
            let inside = Place::current(lab)?;
            drivers::end_sessions(&inside, |flow| rules::allows(policy, blocked, flow))
        };
        match drivers::within(&namespace, job).and_then(|ended| ended) {
            Ok(ended) => total = total.and(ended),
            Err(error) => {
                tracing::warn!(process = namespace.process, %error, "sessions_of_a_namespace_not_ended");
            }
        }
    }
    total
}

/// Whether `/proc` shows a process table that is not the machine's first and is this agent's own.
fn owns_process_table() -> bool {
    let inode = |path: &str| std::fs::metadata(path).map(|m| m.ino()).ok();
    let own = inode("/proc/self/ns/pid");
    own.is_some() && own != Some(INITIAL_PROCESSES) && own == inode("/proc/1/ns/pid")
}
