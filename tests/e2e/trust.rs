//! Promises 2 and 7: what is stored can be checked without Digue, a controller that lies is found out, and
//! keys can be taken back.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use digue_lab::control::ProgramAction;
use digue_proto::bundle::OrderBundle;
use digue_proto::envelope::Envelope;
use digue_proto::id::Nonce;
use digue_proto::report::Outcome;
use serde_json::Value;
use support::forge::{Forged, read_key};
use support::rogue::Rogue;
use support::{Scene, has, text, wait_until};

/// A fleet with some history: cut, judged, partly reopened.
fn with_history() -> Option<Scene> {
    let scene = Scene::up(2)?;
    scene.contain("cut", &["--all"]);
    scene.declare_clean("srv-001");
    scene.done(&["verdict", "set", "srv-002", "suspect", "--reason", "odd logins", "--sign", "claire"]);
    scene.order(&["release", "--all"], &["alice", "bruno"]).ends_with(0);
    scene.order(&["block", "--all", "--net", "198.51.100.66"], &["alice"]).ends_with(0);
    scene.order(&["report", "--all"], &["alice"]).ends_with(0);
    Some(scene)
}

/// `ssh-keygen -Y verify` by the allowed-signers file that the operator exported.
fn verifies(scene: &Scene, principal: &str, namespace: &str, payload: &[u8], armour: &str) -> bool {
    let (data, signature) = (scene.file("payload"), scene.file("payload.sig"));
    fs::write(&data, payload).expect("written");
    fs::write(&signature, armour).expect("written");
    let mut command = Command::new("ssh-keygen");
    command.args([
        "-Y",
        "verify",
        "-f",
        text(&scene.file("allowed_signers")),
        "-I",
        principal,
        "-n",
        namespace,
    ]);
    command.args(["-s", text(&signature)]).stdin(fs::File::open(&data).expect("payload"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("ssh-keygen").success()
}

/// Whose signature it is, by the allowed-signers file.
fn principal(scene: &Scene, armour: &str) -> Option<String> {
    let signature = scene.file("principal.sig");
    fs::write(&signature, armour).expect("written");
    let mut command = Command::new("ssh-keygen");
    command.args([
        "-Y",
        "find-principals",
        "-f",
        text(&scene.file("allowed_signers")),
        "-s",
        text(&signature),
    ]);
    let output = command.stderr(Stdio::null()).output().expect("ssh-keygen");
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

#[test]
fn ssh_keygen_accepts_every_stored_order_receipt_and_report_and_no_altered_byte() {
    if !has("ssh-keygen") {
        return;
    }
    let Some(scene) = with_history() else { return };
    scene.done(&["keys", "export", "-o", "allowed_signers"]);
    let mut kinds = BTreeMap::<String, usize>::new();
    for stored in scene.stored() {
        let envelope: Envelope = serde_json::from_value(stored["envelope"].clone()).expect("an envelope");
        let namespace = envelope.payload_type.namespace();
        assert!(!envelope.signatures.is_empty());
        for armour in &envelope.signatures {
            let who = principal(&scene, armour).unwrap_or_else(|| panic!("nobody signed {stored}"));
            if namespace.contains("receipt") || namespace.contains("report") {
                assert_eq!(stored["host_id"], who, "a host signs for itself");
            }
            assert!(verifies(&scene, &who, namespace, &envelope.payload, armour), "{who}: {stored}");
        }
        let seen = kinds.entry(namespace.to_owned()).or_default();
        *seen += 1;
        if *seen == 1 {
            let (armour, who) = (&envelope.signatures[0], principal(&scene, &envelope.signatures[0]));
            let who = who.expect("a principal");
            for at in [0, envelope.payload.len() / 2, envelope.payload.len() - 1] {
                let mut altered = envelope.payload.clone();
                altered[at] ^= 1;
                assert!(!verifies(&scene, &who, namespace, &altered, armour), "{namespace}: byte {at}");
            }
            assert!(!verifies(&scene, &who, "file", &envelope.payload, armour), "another namespace");
            for other in ["alice", "bruno", "claire", "srv-001", "srv-002"].iter().filter(|&&o| o != who) {
                assert!(
                    !verifies(&scene, other, namespace, &envelope.payload, armour),
                    "{other} did not sign"
                );
            }
        }
    }
    let expected =
        ["clean", "inventory", "protect", "query", "receipt", "release", "report", "root", "suspect"];
    let expected: Vec<String> = expected.iter().map(|kind| format!("digue-{kind}.v1")).collect();
    assert_eq!(kinds.keys().cloned().collect::<Vec<_>>(), expected);
}

#[test]
fn an_exported_order_is_checked_by_stock_tools_alone() {
    if !has("ssh-keygen") || !has("sha256sum") {
        return;
    }
    let Some(scene) = with_history() else { return };
    for (number, order) in scene.orders().iter().enumerate() {
        let (id, folder) = (order["order_id"].as_str().expect("a name"), format!("order-{number}"));
        scene.done(&["order", "export", id, "-d", &folder]);
        let folder = scene.file(&folder);
        let run = |command: &str| {
            let mut sh = Command::new("sh");
            sh.args(["-c", command]).current_dir(&folder).stdout(Stdio::null()).stderr(Stdio::null());
            sh.status().expect("sh").success()
        };
        assert!(run("sha256sum -c SHA256SUMS"));
        let mut signatures = 0;
        for file in fs::read_dir(&folder).expect("the folder").flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let Some(person) = name.strip_suffix(".sig") else { continue };
            let namespace = order["payload_type"].as_str().expect("a type");
            let verify =
                format!("ssh-keygen -Y verify -f allowed_signers -I {person} -n {namespace} -s {name}");
            assert!(run(&format!("{verify} < payload.json")), "{name}");
            assert!(!run(&format!("sed 's/exercise/exerciSe/' payload.json | {verify}")), "{name}, altered");
            signatures += 1;
        }
        assert_eq!(signatures, order["signers"].as_array().map_or(0, Vec::len));
        let bundle = folder.join("bundle.json");
        scene.done(&["order", "verify", text(&bundle)]);
        // Each byte of the signed payload counts.
        let whole: Value = serde_json::from_slice(&fs::read(&bundle).expect("the bundle")).expect("JSON");
        let mut bundle: OrderBundle = serde_json::from_value(whole).expect("a bundle");
        let last = bundle.order.payload.len() - 2;
        for at in [1, last / 2, last] {
            bundle.order.payload[at] ^= 1;
            fs::write(scene.file("altered.json"), serde_json::to_vec(&bundle).expect("JSON"))
                .expect("written");
            bundle.order.payload[at] ^= 1;
            let verified = scene.digue(&["order", "verify", "altered.json"]);
            assert!([12, 13].contains(&verified.code), "byte {at}: {verified:?}");
        }
    }
}

#[test]
fn a_controller_that_alters_hides_or_invents_is_found_out_by_the_operators_own_check() {
    let Some(scene) = with_history() else { return };
    scene.audit();
    let documents = scene.stored().len();
    // One byte of any kind of stored document.
    for number in [0, documents / 3, documents / 2, documents - 1] {
        let altered = scene.digue_lied_to(&["audit", "verify"], move |path, answer| {
            if path.starts_with("/api/v1/envelopes") {
                let payload = &mut answer["envelopes"][number]["envelope"]["payload"];
                let text = payload.as_str().expect("base64").to_owned();
                let other = if text.as_bytes()[40] == b'A' { "B" } else { "A" };
                *payload = Value::from([&text[..40], other, &text[41..]].concat());
            }
        });
        altered.ends_with(12).says(&["digue-E0680"]);
    }
    // A document left out.
    let hidden = scene.digue_lied_to(&["audit", "verify"], move |path, answer| {
        if path.starts_with("/api/v1/envelopes") {
            answer["envelopes"].as_array_mut().expect("envelopes").remove(documents / 2);
        }
    });
    hidden.ends_with(12);
    // A host shown cut that said something else, and one shown clean.
    let lies = [("links", Value::from("cut")), ("verdict", Value::from("clean"))];
    for (field, value) in lies {
        let claimed = scene.digue_lied_to(&["audit", "verify"], move |path, answer| {
            if path.starts_with("/api/v1/hosts") {
                for host in answer["hosts"].as_array_mut().expect("hosts") {
                    host[field] = value.clone();
                }
            }
        });
        claimed.ends_with(12).says(&["srv-00"]);
    }
    // A ghost in the list, and a host that is left out of it: the signed inventory decides.
    let ghost = scene.digue_lied_to(&["hosts", "list", "-o", "json"], |path, answer| {
        if path.starts_with("/api/v1/hosts") {
            let hosts = answer["hosts"].as_array_mut().expect("hosts");
            let mut ghost = hosts[0].clone();
            ghost["name"] = Value::from("srv-000");
            hosts.remove(1);
            hosts.push(ghost);
        }
    });
    assert!(!ghost.out.contains("srv-000"), "a ghost is shown: {ghost:?}");
    assert!(ghost.code != 0 || ghost.out.contains("srv-002"), "a missing host goes unnoticed: {ghost:?}");
}

#[test]
fn a_key_that_is_taken_back_counts_nowhere_any_more_and_the_news_reaches_every_agent() {
    let Some(scene) = Scene::up(2) else { return };
    let stolen = scene.key("alice");
    scene.program("srv-002", ProgramAction::Stop);
    scene.done(&["keys", "init", "--name", "alice-new", "--no-passphrase", "--dir", "keys"]);
    let fingerprint = stolen.fingerprint(ssh_key::HashAlg::Sha256).to_string();
    let roles = "alice=keys/alice-new.pub:root,inventory,query,protect,release,suspect";
    let rotate =
        ["trust", "rotate", "--add-person", roles, "--remove-key", &fingerprint, "-o", "root.2.json"];
    scene.done(&rotate);
    // One person is not enough, and the old root must agree to the new one.
    scene.done(&["trust", "sign", "root.2.json", "--sign", "bruno"]);
    let refused = scene.digue(&["trust", "publish", "root.2.json"]);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert_eq!(scene.fetch("/api/v1/roots")["roots"].as_array().map(Vec::len), Some(1));
    scene.done(&["trust", "sign", "root.2.json", "--sign", "alice"]);
    scene.done(&["trust", "sign", "root.2.json", "--sign", text(&scene.file("keys/alice-new"))]);
    scene.done(&["trust", "publish", "root.2.json"]);
    // The inventory was signed by the key that no longer counts: it still reads, loudly, and is signed anew.
    let warned = scene.digue(&["hosts", "list"]).ends_with(0).says(&["WARNING", "digue hosts renew"]);
    assert!(warned.out.contains("srv-002"), "{warned:?}");
    scene.digue(&["hosts", "renew", "--sign", "alice"]).ends_with(11).says(&["digue-E0612"]);
    scene.done(&["hosts", "renew", "--sign", text(&scene.file("keys/alice-new"))]);
    assert!(!scene.digue(&["hosts", "list"]).ends_with(0).err.contains("WARNING"));
    scene.wait_host("srv-001", "the second root", |h| h["root_version"] == 2);
    assert_eq!(scene.host("srv-002")["root_version"], 1, "it is away");

    // The operator's command, the controller and the agent each refuse the old key.
    scene.plan("cut.plan", &["cut", "--all"]);
    let order = Forged::from_plan(&scene.file("cut.plan"));
    let refused = scene.digue(&["apply", "cut.plan", "--sign", "alice", "--wait"]);
    refused.ends_with(11).says(&["digue-E0612"]);
    assert_eq!(scene.orders().len(), 0);
    let bundle = serde_json::to_vec(&order.bundle(&[&stolen])).expect("JSON");
    let answer = scene.api("POST", "/api/v1/orders", &bundle);
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert!(answer.content_type.starts_with("application/problem+json"), "{answer:?}");
    let mut rogue = Rogue::take_over(&scene, &["srv-001"]);
    let mut attempt = order.clone();
    for (number, root_version) in [(1, 2), (2, 1)] {
        // Also as an order made when the key still counted.
        attempt.order.order_id = Nonce::from_bytes([number; 16]);
        attempt.order.root_version = root_version;
        let receipt = rogue.deliver("srv-001", &attempt.delivery("srv-001", &[&stolen]));
        let Outcome::Refused { code, .. } = &receipt.outcome else { panic!("{receipt:?}") };
        assert_eq!(code, "E0303");
    }
    rogue.leave();
    assert_eq!(scene.own_tables("srv-001"), 0, "the stolen key did nothing");

    // A host that was away learns of the new root before it judges the order.
    scene.program("srv-002", ProgramAction::Start);
    scene.wait_host("srv-002", "the second root", |h| h["root_version"] == 2);
    wait_until("contact with both", || scene.hosts().iter().all(|h| h["fresh"] == true));
    scene.plan("cut.plan", &["cut", "--all"]);
    let new = scene.file("keys/alice-new");
    assert!(read_key(&new).public_key().key_data().is_ed25519());
    scene.digue(&["apply", "cut.plan", "--sign", text(&new), "--wait", "--timeout", "60s"]).ends_with(0);
    for host in scene.hosts() {
        assert!(host["links"] == "cut" && host["root_version"] == 2, "{host}");
    }
    scene.audit();
}
