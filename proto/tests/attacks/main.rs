//! The named attacks of docs/THREAT-MODEL.md on the pure core, one module an attack, and the suites around
//! them: properties over random schedules, stock `ssh-keygen` in both directions, arbitrary bytes, and the
//! dependency budget.
//!
//! Deliberately absent: attacks on sockets, files and kernels; they belong to the laboratory.

#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod a10_compromise_below_threshold;
#[cfg(test)]
mod a11_wrong_target;
#[cfg(test)]
mod a12_intermediate_root;
#[cfg(test)]
mod a13_root_initialisation;
#[cfg(test)]
mod a1_arbitrary_order;
#[cfg(test)]
mod a2_endless_data;
#[cfg(test)]
mod a4_extraneous_dependency;
#[cfg(test)]
mod a5_fast_forward;
#[cfg(test)]
mod a6_indefinite_freeze;
#[cfg(test)]
mod a7_malicious_relay;
#[cfg(test)]
mod a8_mix_and_match;
#[cfg(test)]
mod a9_rollback;
#[cfg(test)]
mod b11_bad_sshsig;
#[cfg(test)]
mod b14_whose_root;
#[cfg(test)]
mod b1_one_signature_twice;
#[cfg(test)]
mod b3_wrong_namespace;
#[cfg(test)]
mod b5_security_keys;
#[cfg(test)]
mod b6_bad_keys_in_a_root;
#[cfg(test)]
mod b8_malleable_signatures;
#[cfg(test)]
mod b9_other_bytes;
#[cfg(test)]
mod c10_lost_state;
#[cfg(test)]
mod c12_gaps;
#[cfg(test)]
mod c1_exact_repeat;
#[cfg(test)]
mod c3_withheld_release;
#[cfg(test)]
mod c5_clocks;
#[cfg(test)]
mod c9_crash_at_every_step;
#[cfg(test)]
mod d13_self_cut;
#[cfg(test)]
mod stale_answers;

#[cfg(test)]
#[path = "../properties/mod.rs"]
mod properties;

#[cfg(test)]
#[path = "../interop/mod.rs"]
mod interop;

#[cfg(test)]
#[path = "../robustness/mod.rs"]
mod robustness;

#[cfg(test)]
#[path = "../budget/mod.rs"]
mod budget;
