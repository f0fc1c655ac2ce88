//! The command at a real controller without agents: what was never measured is never shown, plans are
//! frozen, signatures are counted, and the store verifies.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Controller, Desk, desk_at_a_controller, sibling};

const HOSTS: &str = "nom;ip;site;criticité\nsrv-001;10.77.1.1;annexe;haute\nsrv-002;10.77.1.2;mairie;basse\n";

/// Enters made-up keys for both hosts, as if by courier.
fn enrol_by_hand(desk: &Desk) {
    for host in ["srv-001", "srv-002"] {
        desk.digue(&["keys", "init", "--name", host, "--dir", &desk.text("hosts"), "--no-passphrase"])
            .exits(0);
    }
    let line = |host: &str| {
        let key = desk.read(&format!("hosts/{host}.pub"));
        let key: Vec<&str> = key.split(' ').take(2).collect();
        format!("{{\"host_id\":\"{host}\",\"host_key\":\"{}\",\"fingerprint\":\"x\"}}\n", key.join(" "))
    };
    desk.write("keys.jsonl", format!("{}{}", line("srv-001"), line("srv-002")));
    desk.digue(&["hosts", "enroll", "--keys-from", "keys.jsonl", "--sign", "alice", "--yes"]).exits(0);
}

#[test]
fn an_imported_server_is_listed_as_never_measured_and_exposed() {
    let Some((desk, _controller)) = desk_at_a_controller(HOSTS) else { return };
    let listed = desk.digue(&["hosts", "list", "-o", "json"]).exits(0).json();
    assert_eq!(listed["apiVersion"], "digue/v1");
    let host = &listed["hosts"][0];
    assert_eq!(host["name"], "srv-001");
    assert_eq!(
        (&host["verdict"], &host["exposed"], &host["fresh"]),
        (&"unassessed".into(), &true.into(), &false.into())
    );
    assert!(host["links"].is_null() && host["level"].is_null());
    let status = desk.digue(&["status", "--lang", "fr"]).exits(0).out;
    assert!(
        status.contains("0 sain confirmé sur 2, 2 exposés") && status.contains("jamais enrôlés 2"),
        "{status}"
    );
    let chosen = desk.digue(&["hosts", "list", "-l", "criticality=haute", "-o", "name"]).exits(0).out;
    assert_eq!(chosen.trim(), "srv-001");
    desk.digue(&["status", "--expect", "exposed==2 and clean>=0%"]).exits(0);
    assert!(desk.digue(&["status", "--expect", "exposed==0"]).exits(1).err.contains("exposed=2/2"));
    desk.digue(&["hosts", "is-cut", "srv-001"]).exits(1);
    desk.digue(&["hosts", "is-clean", "srv-009"]).exits(2);
}

#[test]
fn an_import_previews_three_ways_and_never_retires() {
    let Some((desk, _controller)) = desk_at_a_controller(HOSTS) else { return };
    desk.write(
        "next.csv",
        "name,ip,site\nsrv-001,10.77.1.1,nouveau\nsrv-003,10.77.1.3,annexe\nsrv-2bis,10.77.1.2,x\n",
    );
    let dry = desk.digue(&["hosts", "import", "next.csv", "--from", "csv", "--dry-run"]).exits(3);
    for expected in
        ["+ srv-003", "~ srv-001", "? srv-2bis", "srv-002", "added 1, changed 1, unchanged 0, ambiguous 1"]
    {
        assert!(dry.out.contains(expected), "{expected:?} is missing:\n{}", dry.out);
    }
    assert_eq!(desk.digue(&["hosts", "list", "-o", "name"]).exits(0).out.lines().count(), 2);
    let unconfirmed =
        desk.digue(&["hosts", "import", "next.csv", "--from", "csv", "--sign", "alice"]).exits(2);
    assert!(unconfirmed.err.contains("digue-E0607"), "{}", unconfirmed.err);
    desk.digue(&["hosts", "import", "next.csv", "--from", "csv", "--sign", "alice", "--yes"]).exits(3);
    let names = desk.digue(&["hosts", "list", "-o", "name"]).exits(0).out;
    assert_eq!(names.split_whitespace().collect::<Vec<_>>(), ["srv-001", "srv-002", "srv-003"]);
    desk.digue(&["hosts", "label", "srv-003", "site-", "role=bdd", "--sign", "bruno", "--yes"]).exits(0);
    let shown = desk.digue(&["hosts", "show", "srv-003", "--json"]).exits(0).json();
    assert_eq!(shown["inventory"]["labels"], serde_json::json!([{"key": "role", "value": "bdd"}]));
    let retired = desk
        .digue(&["hosts", "retire", "srv-003", "--reason", "démonté", "--sign", "alice", "--yes"])
        .exits(0);
    assert!(retired.out.contains("démonté"));
    assert_eq!(desk.digue(&["hosts", "list", "-o", "name"]).exits(0).out.lines().count(), 2);
}

#[test]
fn a_plan_for_silent_servers_is_frozen_and_sending_it_changes_nothing_that_is_shown() {
    let Some((desk, _controller)) = desk_at_a_controller(HOSTS) else { return };
    let plan = |name: &str, more: &[&str]| {
        let common = ["plan", "cut", "--incident", "INC-1", "--reason", "essai", "-o", name];
        desk.digue(&[&common[..], more].concat())
    };
    assert!(plan("none.plan", &[]).exits(2).err.contains("digue-E0654"));
    plan("never.plan", &["--all"]).exits(0);
    let nothing = desk.digue(&["apply", "never.plan", "--sign", "alice", "--yes"]).exits(3);
    assert!(nothing.out.contains("never enrolled: srv-001, srv-002"), "{}", nothing.out);
    enrol_by_hand(&desk);
    let moved = desk.digue(&["apply", "never.plan", "--sign", "alice", "--yes"]).exits(14);
    assert!(moved.err.contains("digue-E0651"), "an old plan spoke for today's servers:\n{}", moved.err);
    let planned = plan("a.plan", &["--all", "--detailed-exitcode", "--keep", "ssh-from=10.77.0.6"]).exits(20);
    for expected in [
        "Cut 2 servers",
        "10.77.0.2:7443",
        "tcp/22 from 10.77.0.6/32",
        "the order waits for them: srv-001, srv-002",
    ] {
        assert!(planned.out.contains(expected), "{expected:?} is missing:\n{}", planned.out);
    }
    assert!(plan("a.plan", &["--all"]).exits(1).err.contains("digue-E0606"), "a plan was overwritten");
    assert!(desk.digue(&["diff", "a.plan", "--host", "srv-001"]).exits(0).out.contains("+table inet"));
    assert!(desk.digue(&["apply", "a.plan", "--sign", "alice"]).exits(2).err.contains("digue-E0607"));
    assert_eq!(desk.digue(&["order", "list", "-o", "name"]).exits(0).out, "");
    let before = desk.digue(&["status", "-o", "json"]).exits(0).json();
    desk.digue(&["apply", "a.plan", "--sign", "alice", "--yes"]).exits(0);
    let after = desk.digue(&["status", "-o", "json"]).exits(0).json();
    assert_eq!(before["summary"], after["summary"], "an order changed what is shown");
    let waited =
        desk.digue(&["apply", "a.plan", "--sign", "alice", "--yes", "--wait", "--timeout", "1s"]).exits(4);
    assert!(waited.err.contains("no contact 2"), "{}", waited.err);
    let order = desk.digue(&["order", "list", "-o", "json"]).exits(0).json();
    assert_eq!(order["orders"].as_array().expect("orders").len(), 1, "the same plan made two orders");
}

#[test]
fn a_signed_order_verifies_offline_and_with_stock_ssh_keygen() {
    let Some((desk, controller)) = desk_at_a_controller(HOSTS) else { return };
    enrol_by_hand(&desk);
    desk.digue(&["plan", "isolate", "srv-001", "--incident", "i", "--reason", "r", "-o", "a.plan"]).exits(0);
    desk.digue(&["apply", "a.plan", "--sign", "bruno", "--yes"]).exits(0);
    let id = desk.digue(&["order", "list", "-o", "name"]).exits(0).out.trim().to_owned();
    let short = &id[..8];
    desk.digue(&["order", "export", short, "-d", "out"]).exits(0);
    desk.digue(&["keys", "export", "-o", "allowed_signers"]).exits(0);
    for signers in ["allowed_signers", "out/allowed_signers"] {
        let payload = std::fs::File::open(desk.path("out/payload.json")).expect("the payload");
        let status = std::process::Command::new("ssh-keygen")
            .args(["-Y", "verify", "-f", &desk.text(signers), "-I", "bruno", "-n", "digue-protect.v1"])
            .args(["-s", &desk.text("out/bruno.sig")])
            .stdin(payload)
            .stdout(std::process::Stdio::null())
            .status();
        assert!(status.expect("ssh-keygen runs").success());
    }
    drop(controller);
    assert!(desk.digue(&["order", "verify", "out/bundle.json"]).exits(0).out.contains("signed by bruno"));
    let bundle = desk.read("out/bundle.json");
    let leaf_at = bundle.find("\"leaves\":[\"").expect("leaves") + 12;
    let mut changed = bundle.clone().into_bytes();
    changed[leaf_at] = if changed[leaf_at] == b'A' { b'B' } else { b'A' };
    desk.write("changed.json", changed);
    desk.digue(&["order", "verify", "changed.json"]).exits(12);
    let payload_at = bundle.find("\"payload\":\"").expect("a payload") + 30;
    let mut forged = bundle.into_bytes();
    forged[payload_at] = if forged[payload_at] == b'A' { b'B' } else { b'A' };
    desk.write("forged.json", forged);
    desk.digue(&["order", "verify", "forged.json"]).exits(13);
}

#[test]
fn an_order_that_needs_two_waits_for_the_second_person_and_can_be_withdrawn_until_then() {
    let Some((desk, _controller)) = desk_at_a_controller(HOSTS) else { return };
    enrol_by_hand(&desk);
    // Without a report there is no challenge, and nothing that opens can be planned.
    let drill = ["plan", "cut", "--all", "--on-lost-management", "reopen-after=10m"];
    let drill =
        desk.digue(&[&drill[..], &["--incident", "i", "--reason", "r", "-o", "d.plan"]].concat()).exits(0);
    assert!(drill.out.contains("no challenge is known"), "{}", drill.out);
    // A root that asks two persons for a cut makes any order wait.
    desk.digue(&["trust", "rotate", "--threshold", "protect=2", "-o", "root.2.json"]).exits(0);
    desk.digue(&["trust", "sign", "root.2.json", "--sign", "alice", "--sign", "bruno"]).exits(0);
    desk.digue(&["trust", "publish", "root.2.json"]).exits(0);
    let plan = |name: &str| {
        desk.digue(&["plan", "cut", "--all", "--incident", "i", "--reason", "r", "-o", name]).exits(0);
    };
    plan("a.plan");
    let first = desk.digue(&["apply", "a.plan", "--sign", "alice", "--yes"]).exits(13);
    assert!(first.err.contains("1 of 2") && first.err.contains("digue order sign"), "{}", first.err);
    let id = desk.digue(&["approvals", "list", "-o", "name"]).exits(0).out.trim().to_owned();
    let again = desk.digue(&["order", "sign", &id, "--sign", "alice", "--yes"]).exits(13);
    assert!(again.err.contains("count once"), "{}", again.err);
    let second = desk.digue(&["approvals", "sign", &id[..10], "--sign", "bruno", "--yes"]).exits(0);
    assert!(second.out.contains("Cut 2 servers"), "the order was not shown from its bytes: {}", second.out);
    assert!(desk.digue(&["approvals", "list"]).exits(0).err.contains("Nothing waits"));
    desk.digue(&["order", "cancel", &id]).exits(14);
    plan("b.plan");
    desk.digue(&["apply", "b.plan", "--sign", "alice", "--yes"]).exits(13);
    let id = desk.digue(&["approvals", "list", "-o", "name"]).exits(0).out.trim().to_owned();
    desk.digue(&["order", "cancel", &id]).exits(0);
    desk.digue(&["order", "sign", &id, "--sign", "bruno", "--yes"]).exits(14);
}

#[test]
fn a_warning_takes_one_person_and_a_clean_statement_about_a_silent_server_is_refused() {
    let Some((desk, _controller)) = desk_at_a_controller(HOSTS) else { return };
    enrol_by_hand(&desk);
    let warn = [
        "verdict",
        "set",
        "srv-001,srv-002",
        "compromised",
        "--reason",
        "balise",
        "--sign",
        "alice",
        "--yes",
    ];
    desk.digue(&warn).exits(0);
    let status = desk.digue(&["status", "-o", "json"]).exits(0).json();
    assert_eq!(status["summary"]["compromised"], 2);
    let listed = desk.digue(&["verdict", "list", "-o", "json"]).exits(0).json();
    assert_eq!(listed["statements"].as_array().expect("statements").len(), 2);
    let clean = [
        "verdict", "set", "srv-001", "clean", "--reason", "x", "--sign", "alice", "--sign", "bruno", "--yes",
    ];
    assert!(desk.digue(&clean).exits(2).err.contains("--assurance"));
    let clean = [&clean[..], &["--assurance", "L1"]].concat();
    assert!(desk.digue(&clean).exits(1).err.contains("nothing was ever heard"));
}

#[test]
fn a_verdict_takes_labels_or_all_and_names_every_server_before_it_is_signed() {
    let Some((desk, _controller)) = desk_at_a_controller(HOSTS) else { return };
    enrol_by_hand(&desk);
    let warn = |which: &[&str], signer: &str| {
        let end = ["--reason", "balise", "--sign", signer, "--yes"];
        desk.digue(&[&["verdict", "set"], which, &end].concat())
    };
    let all = warn(&["suspect", "--all"], "alice").exits(0);
    assert!(all.out.contains("srv-001") && all.out.contains("srv-002"), "{}", all.out);
    let mistyped = warn(&["suspect", "-l", "site=nulle-part"], "alice").exits(2);
    assert!(mistyped.err.contains("digue-E0654") && mistyped.err.contains("site="), "{}", mistyped.err);
    assert!(warn(&["suspect"], "alice").exits(2).err.contains("digue-E0654"));
    let both = warn(&["srv-001", "suspect", "--all"], "alice").exits(2);
    assert!(both.err.contains("digue-E0601"), "{}", both.err);
}

#[test]
fn the_whole_store_verifies_and_a_replan_follows_the_fleet() {
    let Some((desk, _controller)) = desk_at_a_controller(HOSTS) else { return };
    enrol_by_hand(&desk);
    desk.digue(&["plan", "cut", "--all", "--incident", "i", "--reason", "r", "-o", "a.plan"]).exits(0);
    // srv-001 is rebuilt between plan and order.
    desk.digue(&["keys", "init", "--name", "rebuilt", "--dir", &desk.text("hosts"), "--no-passphrase"])
        .exits(0);
    let key = format!("srv-001={}", desk.text("hosts/rebuilt.pub"));
    let enrolled = desk.digue(&["hosts", "enroll", "--key", &key, "--sign", "alice", "--yes"]).exits(0);
    assert!(enrolled.err.contains("ANOTHER KEY"), "{}", enrolled.err);
    let moved = desk.digue(&["apply", "a.plan", "--sign", "alice", "--yes"]).exits(14);
    assert!(moved.err.contains("srv-001") && !moved.err.contains("srv-002"), "{}", moved.err);
    desk.digue(&["apply", "a.plan", "--sign", "alice", "--yes", "--replan"]).exits(0);
    let audit = desk.digue(&["audit", "verify", "--json"]).exits(0).json();
    assert_eq!(audit["audit"]["failures"], serde_json::json!([]));
    assert_eq!(audit["audit"]["by_type"]["digue-inventory.v1"], 3);
    // A local root that the store does not know is a failure.
    desk.digue(&["trust", "rotate", "--bump-epoch", "-o", "root.2.json"]).exits(0);
    desk.digue(&["trust", "sign", "root.2.json", "--sign", "alice", "--sign", "bruno"]).exits(0);
    desk.digue(&["trust", "publish", "root.2.json", "--offline"]).exits(0);
    desk.digue(&["audit", "verify"]).exits(12);
}

#[test]
fn a_new_desk_fetches_the_roots_by_their_digest_and_by_no_other() {
    let Some((desk, controller)) = desk_at_a_controller(HOSTS) else { return };
    let other = Desk::new().with_context(&[], &controller.endpoint);
    other.digue(&["trust", "fetch"]).exits(2);
    other.digue(&["trust", "fetch", "--root-sha256", &"ab".repeat(32)]).exits(12);
    other.digue(&["status"]).exits(2);
    let digest = desk.read("trust/deployment_id");
    other.digue(&["trust", "fetch", "--root-sha256", digest.trim()]).exits(0);
    assert_eq!(other.digue(&["hosts", "list", "-o", "name"]).exits(0).out.lines().count(), 2);
}

#[test]
fn over_https_the_certificate_is_pinned_and_the_token_is_asked_for() {
    let Some(controller) = Controller::start(true) else { return };
    let desk = Desk::new().with_people(&["alice", "bruno"], &controller.pin);
    let (url, certificate) = controller.https.clone().expect("https");
    let token = controller.token_file.to_str().expect("UTF-8").to_owned();
    let wrong_token = desk.write("wrong-token", "nonsense\n");
    let (good, wrong_pin, bad_token) = (desk.text("t1"), desk.text("t2"), desk.text("t3"));
    let add = |name: &str, pin: &str, token: &str, trust: &str| {
        let args = [
            "context",
            "add",
            name,
            "--controller",
            &url,
            "--certificate-sha256",
            pin,
            "--token-file",
            token,
        ];
        desk.digue(&[&args[..], &["--trust-dir", trust]].concat()).exits(0);
    };
    add("good", &certificate, &token, &good);
    add("wrong-pin", &"ab".repeat(32), &token, &wrong_pin);
    add("bad-token", &certificate, &wrong_token, &bad_token);
    let publish = |context: &str| desk.digue(&["--context", context, "trust", "publish", "root.1.json"]);
    let ran = publish("wrong-pin").exits(12);
    assert!(ran.err.contains("digue-E0625"), "{}", ran.err);
    publish("bad-token").exits(11);
    publish("good").exits(0);
    desk.digue(&["--context", "good", "order", "list"]).exits(0);
}

#[test]
fn an_agent_is_enrolled_over_ssh_and_a_host_that_calls_itself_otherwise_is_not() {
    let (Some(agent), Some((desk, _controller))) = (sibling("digue-agent"), desk_at_a_controller(HOSTS))
    else {
        return;
    };
    let config = desk.text("agent.toml");
    let pin = "00".repeat(32);
    desk.write(
        "agent.toml",
        format!(
            "host_id = \"srv-001\"\nstate_dir = {:?}\nrun_dir = {:?}\n[[controllers]]\naddress = \"10.77.0.2:7443\"\nspki_sha256 = \"{pin}\"\n",
            desk.text("agent-state"),
            desk.text("agent-run"),
        ),
    );
    // Stands for ssh: runs the remote command here, and the destination is its last argument but one.
    let ssh = desk.write("ssh", "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n");
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let command = format!("{} init --config {config}", agent.display());
    let enroll = |host: &str| {
        let args = ["hosts", "enroll", "--ssh", host, "--ssh-command", &ssh, "--agent-command", &command];
        desk.digue(&[&args[..], &["--sign", "alice", "--yes"]].concat())
    };
    enroll("srv-001=root@10.77.1.1").exits(0);
    let shown = desk.digue(&["hosts", "show", "srv-001", "--json"]).exits(0).json();
    assert!(shown["inventory"]["host_key"].as_str().is_some_and(|key| key.starts_with("ssh-ed25519 ")));
    let other = enroll("srv-002").exits(3);
    assert!(other.err.contains("calls itself srv-001"), "{}", other.err);
}

#[test]
fn a_join_secret_is_written_for_its_owner_alone_and_nothing_uninvited_is_accepted() {
    let Some((desk, _controller)) = desk_at_a_controller(HOSTS) else { return };
    desk.digue(&["hosts", "enroll", "--invite", "srv-009"]).exits(2);
    let path = desk.digue(&["hosts", "enroll", "--invite", "srv-001"]).exits(0).out.trim().to_owned();
    let mode = std::fs::metadata(&path).expect("the secret").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = std::fs::read_to_string(&path).expect("the secret");
    assert_eq!((secret.trim().len(), secret.len()), (32, 33));
    desk.digue(&["hosts", "enroll", "--invite", "srv-001"]).exits(0);
    assert_ne!(
        std::fs::read_to_string(&path).expect("the secret"),
        secret,
        "a new invitation keeps the old secret"
    );
    let accepted = desk.digue(&["hosts", "enroll", "--accept", "--sign", "alice", "--yes"]).exits(0);
    assert!(accepted.err.contains("No request"), "{}", accepted.err);
}
