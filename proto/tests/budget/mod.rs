//! What the pure core may depend on: nothing that reads a clock, opens a socket or starts a thread, and
//! not much at all.
#![expect(clippy::disallowed_methods, reason = "asks cargo")]

use std::collections::BTreeSet;
use std::process::Command;

/// Crates that would bring input, output, threads, or RSA (RUSTSEC-2023-0071) into the core.
const FORBIDDEN: [&str; 14] = [
    "tokio",
    "mio",
    "rustls",
    "ring",
    "rusqlite",
    "rsa",
    "openssl-sys",
    "async-std",
    "smol",
    "socket2",
    "hyper",
    "reqwest",
    "bincode",
    "chrono",
];
const BUDGET: usize = 60;

#[test]
fn the_core_has_few_dependencies_and_none_that_does_anything() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "digue-proto", "--edges", "normal", "--prefix", "none", "--offline"])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo starts");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).expect("UTF-8");
    let crates: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains("digue-proto") && crates.contains("ssh-key"), "this is not the tree: {text}");
    let found: Vec<&&str> = FORBIDDEN.iter().filter(|name| crates.contains(**name)).collect();
    assert!(found.is_empty(), "the core depends on {found:?}");
    assert!(crates.len() < BUDGET, "{} crates, the budget is {BUDGET}: {crates:?}", crates.len());
}
