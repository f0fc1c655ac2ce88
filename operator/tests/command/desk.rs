//! What the command does at a desk without a controller: keys, trust roots, contexts, clear errors.

use std::process::{Command, Stdio};

use crate::support::Desk;

const PEOPLE: [&str; 2] = ["alice", "bruno"];
const PIN: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

fn verified_by_ssh_keygen(
    desk: &Desk,
    signers: &str,
    person: &str,
    namespace: &str,
    signature: &str,
    payload: &str,
) -> bool {
    let payload = std::fs::File::open(desk.path(payload)).expect("the payload");
    let status = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-f", &desk.text(signers), "-I", person, "-n", namespace])
        .args(["-s", &desk.text(signature)])
        .stdin(payload)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("ssh-keygen runs").success()
}

#[test]
fn a_root_signed_by_two_is_published_and_stock_ssh_keygen_verifies_each_signature() {
    let desk = Desk::new().with_people(&PEOPLE, PIN).with_context(&PEOPLE, "unix:///nowhere/api.sock");
    let published = desk.digue(&["trust", "publish", "root.1.json", "--offline"]).exits(0);
    let digest = published.out.trim().to_owned();
    assert_eq!(desk.read("trust/deployment_id").trim(), digest);
    desk.digue(&["trust", "publish", "root.1.json", "--offline"]).exits(0);
    for person in PEOPLE {
        let key = desk.read(&format!("keys/{person}.pub"));
        desk.write("signers", format!("{person} namespaces=\"digue-root.v1\" {key}"));
        let signature = format!("root.1.json.{person}.sig");
        assert!(verified_by_ssh_keygen(&desk, "signers", person, "digue-root.v1", &signature, "root.1.json"));
        assert!(!verified_by_ssh_keygen(
            &desk,
            "signers",
            person,
            "digue-release.v1",
            &signature,
            "root.1.json"
        ));
    }
    let shown = desk.digue(&["trust", "show", "--json"]).exits(0).json();
    assert_eq!(shown["deployment_id"], digest.as_str());
}

#[test]
fn one_signature_publishes_nothing_and_pins_nothing() {
    let desk = Desk::new().with_people(&PEOPLE, PIN).with_context(&PEOPLE, "unix:///nowhere/api.sock");
    std::fs::remove_file(desk.path("root.1.json.bruno.sig")).expect("removed");
    let ran = desk.digue(&["trust", "publish", "root.1.json", "--offline"]).exits(1);
    assert!(ran.err.contains("digue-E0632") && ran.err.contains("1 of 2"), "{}", ran.err);
    assert!(!desk.path("trust/deployment_id").exists());
}

#[test]
fn another_first_root_than_the_pinned_one_is_refused_as_tampering() {
    let desk = Desk::new().with_people(&PEOPLE, PIN).with_context(&PEOPLE, "unix:///nowhere/api.sock");
    desk.digue(&["trust", "publish", "root.1.json", "--offline"]).exits(0);
    let other = Desk::new().with_people(&PEOPLE, PIN);
    let ran = desk.digue(&["trust", "publish", &other.text("root.1.json"), "--offline"]).exits(12);
    assert!(ran.err.contains("digue-E0631"), "{}", ran.err);
}

#[test]
fn a_rotation_needs_the_old_threshold_and_the_new_one() {
    let desk = Desk::new().with_people(&PEOPLE, PIN).with_context(&PEOPLE, "unix:///nowhere/api.sock");
    desk.digue(&["trust", "publish", "root.1.json", "--offline"]).exits(0);
    let keys = desk.text("keys");
    desk.digue(&["keys", "init", "--name", "chloe", "--dir", &keys, "--no-passphrase"]).exits(0);
    let chloe = format!("chloe={keys}/chloe.pub:all");
    let rotate = ["trust", "rotate", "--add-person", &chloe, "--remove-person", "bruno", "-o", "root.2.json"];
    desk.digue(&rotate).exits(0);
    let key = desk.text("keys/chloe");
    desk.digue(&["trust", "sign", "root.2.json", "--sign", "alice", "--sign", &key]).exits(0);
    // Two of the new root have signed, but only one of the old.
    desk.digue(&["trust", "publish", "root.2.json", "--offline"]).exits(1);
    desk.digue(&["trust", "sign", "root.2.json", "--sign", "bruno"]).exits(0);
    desk.digue(&["trust", "publish", "root.2.json", "--offline"]).exits(0);
    let shown = desk.digue(&["trust", "show", "--json"]).exits(0).json();
    assert_eq!(shown["root"]["version"], 2);
    assert!(desk.path("trust/root.2.json").exists());
}

#[test]
fn keys_and_drafts_are_never_overwritten() {
    let desk = Desk::new().with_people(&PEOPLE, PIN);
    let before = desk.read("keys/alice");
    let keys = desk.text("keys");
    let again = desk.digue(&["keys", "init", "--name", "alice", "--dir", &keys, "--no-passphrase"]).exits(1);
    assert!(again.err.contains("digue-E0606"), "{}", again.err);
    assert_eq!(desk.read("keys/alice"), before);
    let person = |name: &str| format!("{name}={keys}/{name}.pub:all");
    let (alice, bruno) = (person("alice"), person("bruno"));
    desk.digue(&["trust", "init", "--person", &alice, "--person", &bruno, "-o", "root.1.json"]).exits(1);
}

#[test]
fn a_key_that_the_root_does_not_name_signs_nothing() {
    let desk = Desk::new().with_people(&PEOPLE, PIN);
    let keys = desk.text("keys");
    desk.digue(&["keys", "init", "--name", "mallory", "--dir", &keys, "--no-passphrase"]).exits(0);
    let key = desk.text("keys/mallory");
    let ran = desk.digue(&["trust", "sign", "root.1.json", "--sign", &key]).exits(11);
    assert!(ran.err.contains("digue-E0612"), "{}", ran.err);
    assert!(!desk.path("root.1.json.mallory.sig").exists());
}

#[test]
fn a_signer_without_the_role_is_told_which_role_it_takes_and_who_has_it() {
    let desk = Desk::new().with_people(&PEOPLE, PIN);
    let keys = desk.text("keys");
    desk.digue(&["keys", "init", "--name", "dora", "--dir", &keys, "--no-passphrase"]).exits(0);
    let person = |name: &str, roles: &str| format!("{name}={keys}/{name}.pub:{roles}");
    let mut init = vec!["trust".to_owned(), "init".to_owned()];
    for (name, roles) in [("alice", "all"), ("bruno", "all"), ("dora", "clean")] {
        init.extend(["--person".to_owned(), person(name, roles)]);
    }
    init.extend(["--controller", &format!("c={PIN}"), "-o", "dora.json"].map(ToOwned::to_owned));
    desk.digue(&init.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
    let key = desk.text("keys/dora");
    let refused = desk.digue(&["trust", "sign", "dora.json", "--sign", &key, "--lang", "fr"]).exits(11);
    let why = "dora n'a pas le rôle « root » ; l'ont : alice, bruno";
    assert!(refused.err.contains(why), "{}", refused.err);
}

#[test]
fn the_command_signs_with_a_key_held_by_an_agent() {
    let desk = Desk::new().with_people(&PEOPLE, PIN);
    let socket = desk.path("agent.sock");
    let mut agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("ssh-agent runs");
    let add = || {
        let added =
            Command::new("ssh-add").arg(desk.path("keys/alice")).env("SSH_AUTH_SOCK", &socket).output();
        added.expect("ssh-add runs").status.success()
    };
    // ssh-add fails until the agent listens.
    while !add() {
        assert!(agent.try_wait().expect("a state").is_none(), "the agent ended");
        std::thread::yield_now();
    }
    std::fs::remove_file(desk.path("keys/alice")).expect("removed");
    std::fs::remove_file(desk.path("root.1.json.alice.sig")).expect("removed");
    let output = Command::new(env!("CARGO_BIN_EXE_digue"))
        .args(["trust", "sign", &desk.text("root.1.json"), "--sign", &desk.text("keys/alice.pub")])
        .env("SSH_AUTH_SOCK", &socket)
        .env("DIGUE_CONFIG_DIR", desk.path("config"))
        .stdin(Stdio::null())
        .output()
        .expect("digue runs");
    agent.kill().expect("ended");
    agent.wait().expect("ended");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(desk.path("root.1.json.alice.sig").exists());
}

#[test]
fn bad_configuration_lists_every_problem_and_changes_nothing() {
    let desk = Desk::new();
    let ran =
        desk.digue(&["context", "add", "x", "--controller", "https://h:1", "--trust-dir", "t"]).exits(2);
    assert!(
        ran.err.contains("certificate_sha256 is missing") && ran.err.contains("token_file is missing"),
        "{}",
        ran.err
    );
    assert!(!desk.path("config/contexts/x.toml").exists());
    std::fs::create_dir_all(desk.path("config/contexts")).expect("made");
    desk.write("config/contexts/y.toml", "controller = \"unix:///s\"\ntrust_dir = \"/t\"\nsurprise = 1\n");
    let ran = desk.digue(&["--context", "y", "status"]).exits(2);
    assert!(ran.err.contains("surprise") && ran.err.contains("y.toml"), "{}", ran.err);
    desk.digue(&["--context", "z", "status"]).exits(2);
}

#[test]
fn an_unreachable_controller_and_a_missing_root_have_their_own_exit_codes() {
    let desk = Desk::new().with_people(&PEOPLE, PIN).with_context(&PEOPLE, "unix:///nowhere/api.sock");
    assert!(desk.digue(&["status"]).exits(2).err.contains("digue-E0630"));
    desk.digue(&["trust", "publish", "root.1.json", "--offline"]).exits(0);
    let ran = desk.digue(&["status"]).exits(10);
    assert!(ran.err.contains("digue-E0620"), "{}", ran.err);
    let ran = desk.digue(&["--lang", "fr", "status"]).exits(10);
    assert!(ran.err.contains("contrôleur injoignable :"), "{}", ran.err);
}

#[test]
fn bad_files_are_refused_before_the_controller_is_asked_for_anything() {
    let desk = Desk::new().with_people(&PEOPLE, PIN).with_context(&PEOPLE, "unix:///nowhere/api.sock");
    desk.digue(&["trust", "publish", "root.1.json", "--offline"]).exits(0);
    desk.write("bad.csv", "nom;ip\nsrv-1;10.0.0.300\n");
    let import = ["hosts", "import", "bad.csv", "--from", "csv", "--sign", "alice", "--yes"];
    let ran = desk.digue(&import).exits(1);
    assert!(ran.err.contains("line 2, column 2 (ip)"), "{}", ran.err);
    desk.write("bad.json", "[]");
    desk.digue(&["hosts", "import", "bad.json", "--from", "ansible", "--sign", "alice", "--yes"]).exits(1);
    desk.write("bad.jsonl", "{\"host_id\":\"a\"}\n");
    desk.digue(&["hosts", "enroll", "--keys-from", "bad.jsonl", "--sign", "alice", "--yes"]).exits(1);
    desk.write("bad.plan", "{}");
    assert!(
        desk.digue(&["apply", "bad.plan", "--sign", "alice", "--yes"]).exits(12).err.contains("digue-E0650")
    );
    desk.write("bad.order", "{\"payload_type\":\"digue-protect.v1\",\"payload\":\"e30=\",\"signatures\":[]}");
    desk.digue(&["order", "verify", "bad.order"]).exits(13);
    desk.digue(&["apply", "missing.plan", "--sign", "alice", "--yes"]).exits(1);
}

#[test]
fn every_code_is_explained_in_both_languages() {
    let desk = Desk::new();
    let listed = desk.digue(&["explain"]).exits(0).out;
    assert!(listed.lines().count() > 60);
    for code in ["E0303", "digue-E0412", "e0620"] {
        let english = desk.digue(&["explain", code]).exits(0).out;
        let french = desk.digue(&["explain", code, "--lang", "fr"]).exits(0).out;
        assert_ne!(english, french);
    }
    desk.digue(&["explain", "E9999"]).exits(2);
}

#[test]
fn completion_scripts_and_versions_are_printed() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(desk.digue(&["completion", shell]).exits(0).out.contains("approvals"));
    }
    assert!(desk.digue(&["version", "--verbose"]).exits(0).out.contains("api digue/v1"));
    desk.digue(&["nonsense"]).exits(2);
}
