//! `init`, `check-config` and `doctor`, as people and installation scripts use them.

mod deployment;

use std::path::Path;
use std::process::{Command, Output};

use deployment::Deployment;
use digue_proto::id::Digest;

const PIN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn host() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("directory");
    // An address set aside for documentation: nothing answers there.
    let config = format!(
        "host_id = \"srv-001\"\nstate_dir = \"{0}/state\"\nrun_dir = \"{0}/run\"\n\
         [[controllers]]\naddress = \"192.0.2.7:7443\"\nspki_sha256 = \"{PIN}\"\n",
        dir.path().display()
    );
    std::fs::write(dir.path().join("agent.toml"), config).expect("configuration");
    dir
}

fn agent(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_digue-agent"));
    command.arg("--config").arg(dir.join("agent.toml")).args(arguments).output().expect("agent")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(output)))
}

#[test]
fn init_can_be_run_again_and_keeps_the_key_and_the_root() {
    let (dir, deployment) = (host(), Deployment::new());
    let root = deployment.write_root(dir.path());
    let sha256 = deployment.id().to_string();
    let arguments = ["init", "--root", root.to_str().expect("path"), "--root-sha256", &sha256];
    let first = agent(dir.path(), &arguments);
    assert!(first.status.success(), "{}", said(&first));
    assert_eq!(json(&first)["host_id"], "srv-001");
    assert!(json(&first)["fingerprint"].as_str().is_some_and(|f| f.starts_with("SHA256:")));
    assert_eq!(json(&agent(dir.path(), &arguments)), json(&first));
    assert_eq!(json(&agent(dir.path(), &["init"])), json(&first));
}

#[test]
fn a_root_that_is_not_the_pinned_one_is_refused_and_nothing_is_replaced() {
    let (dir, deployment) = (host(), Deployment::new());
    let root = deployment.write_root(dir.path());
    let root = root.to_str().expect("path");
    let wrong = Digest::of(b"another root").to_string();
    let refused = agent(dir.path(), &["init", "--root", root, "--root-sha256", &wrong]);
    assert!(!refused.status.success() && said(&refused).contains("E0311"), "{}", said(&refused));
    assert!(!dir.path().join("state/root.sha256").exists());
    let alone = agent(dir.path(), &["init", "--root", root]);
    assert_eq!(alone.status.code(), Some(2), "a root without its digest: {}", said(&alone));

    let right = deployment.id().to_string();
    assert!(agent(dir.path(), &["init", "--root", root, "--root-sha256", &right]).status.success());
    let other = deployment.next_root();
    let path = dir.path().join("root.2.json");
    std::fs::write(&path, other.to_json().expect("JSON")).expect("written");
    let sha256 = other.digest().to_string();
    let second =
        agent(dir.path(), &["init", "--root", path.to_str().expect("path"), "--root-sha256", &sha256]);
    assert!(!second.status.success(), "version 2 was pinned as the first");
    let pinned = std::fs::read_to_string(dir.path().join("state/root.sha256")).expect("pin");
    assert_eq!(pinned.trim(), right);
}

#[test]
fn a_join_secret_is_copied_for_root_alone_and_anything_else_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = host();
    let file = dir.path().join("secret");
    let path = file.to_str().expect("path");
    std::fs::write(&file, "not a secret\n").expect("written");
    let refused = agent(dir.path(), &["init", "--join-secret-file", path]);
    assert!(!refused.status.success() && said(&refused).contains("32 hexadecimal digits"));
    std::fs::write(&file, "00112233445566778899aabbccddeeff\n").expect("written");
    assert!(agent(dir.path(), &["init", "--join-secret-file", path]).status.success());
    let kept = dir.path().join("state/join_secret");
    assert_eq!(std::fs::metadata(&kept).expect("kept").permissions().mode() & 0o777, 0o600);
    let secret = digue_agent::init::join_secret(&dir.path().join("state")).expect("a secret");
    assert_eq!(secret[..2], [0x00, 0x11]);
    digue_agent::init::forget_join_secret(&dir.path().join("state"));
    assert!(!kept.exists());
}

#[test]
fn a_bad_configuration_is_told_with_exit_code_78_by_every_command_that_needs_it() {
    let dir = host();
    let config = dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&config).expect("read").replace("srv-001", "SRV 1").replace(PIN, "x");
    std::fs::write(&config, text).expect("written");
    for command in ["check-config", "init"] {
        let output = agent(dir.path(), &[command]);
        assert_eq!(output.status.code(), Some(78), "{command}");
        assert!(said(&output).contains("2 problems"), "{command}: {}", said(&output));
    }
    // The person on the host gets an answer nonetheless.
    let status = agent(dir.path(), &["status"]);
    assert_eq!(status.status.code(), Some(3));
    assert!(!status.stdout.is_empty());
}

#[test]
fn doctor_names_what_is_missing_and_measures_the_kernel() {
    let dir = host();
    let report = json(&agent(dir.path(), &["doctor", "-o", "json"]));
    let finding = |report: &serde_json::Value, name: &str| {
        let checks = report["checks"].as_array().expect("checks").clone();
        let check =
            checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}"));
        check["finding"].as_str().expect("finding").to_owned()
    };
    for (name, expected) in [
        ("configuration", "ok"),
        ("agent", "warning"),
        ("host key", "failed"),
        ("trust root", "failed"),
        ("state", "ok"),
        ("clock", "ok"),
    ] {
        assert_eq!(finding(&report, name), expected, "{name}");
    }
    assert!(report["level"].as_str().is_some_and(|l| l.starts_with('L')), "{report}");
    assert!(report["checks"].as_array().is_some_and(|c| c.len() > 6), "nothing was tried in the kernel");

    assert!(agent(dir.path(), &["init"]).status.success());
    let key = dir.path().join("state/host_key");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    let output = agent(dir.path(), &["doctor"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("FAILED   host key:") && text.contains("chmod 600"), "{text}");
}
