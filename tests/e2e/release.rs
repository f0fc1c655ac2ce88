//! Promise 3, reopening is hard: what an agent refuses whoever asks, and the way that works.
//!
//! In most of these tests the controller belongs to an intruder, who has its key and every byte it stored.

mod support;

use std::collections::BTreeMap;

use digue_proto::envelope::PayloadType;
use digue_proto::frame::Delivery;
use digue_proto::id::{Nonce, UnixMillis};
use digue_proto::report::Outcome;
use serde_json::Value;
use support::forge::{Forged, delivery, read_key};
use support::rogue::Rogue;
use support::wire::{Talk, Wire};
use support::{Scene, wait_until};

const OUTSIDE: &str = "198.51.100.66:443";

fn is_cut(scene: &Scene, host: &str) {
    assert!(scene.own_tables(host) > 0, "{host} has rules");
    scene.reaches_none(host, "tcp", &[OUTSIDE, "[2001:db8:66::66]:443"]);
}

/// The sealed or waiting order as `digue order show` has it.
fn shown(scene: &Scene, id: &str) -> Value {
    scene.digue(&["order", "show", id, "--json"]).ends_with(0).json()["order"].clone()
}

/// The code with which a host refused, by `digue order show`.
fn refusal(order: &Value, host: &str) -> Option<String> {
    let host = order["hosts"].as_array()?.iter().find(|h| h["host"] == host)?;
    (host["phase"] == "refused").then(|| host["code"].as_str().map(str::to_owned))?
}

#[test]
fn a_malicious_controller_opens_no_host_with_anything_less_than_a_release() {
    let Some(scene) = Scene::up(2) else { return };
    let mut wire = Wire::tap(&scene);
    // Alice has a second key: two keys of one person are one person.
    scene.done(&["keys", "init", "--name", "alice-spare", "--no-passphrase", "--dir", "keys"]);
    let roles = "alice=keys/alice-spare.pub:root,inventory,query,protect,release,suspect";
    scene.done(&["trust", "rotate", "--add-person", roles, "-o", "root.2.json"]);
    scene.done(&["trust", "sign", "root.2.json", "--sign", "alice", "--sign", "bruno"]);
    scene.done(&["trust", "publish", "root.2.json"]);
    for host in ["srv-001", "srv-002"] {
        scene.wait_host(host, "the second root", |h| h["root_version"] == 2);
    }
    scene.contain("cut", &["--all"]);
    scene.declare_clean("srv-001,srv-002");
    scene.plan("release.plan", &["release", "--all"]);
    scene.digue(&["apply", "release.plan", "--sign", "alice", "--wait"]).ends_with(13).says(&["1 of 2"]);
    let waiting = scene.orders().pop().expect("an order")["order_id"].as_str().expect("a name").to_owned();
    wire.arrived();

    let (alice, spare) = (scene.key("alice"), read_key(&scene.file("keys/alice-spare")));
    let (bruno, claire) = (scene.key("bruno"), scene.key("claire"));
    let two = [&alice, &bruno];
    let release = Forged::from_plan(&scene.file("release.plan"));
    let changed = |change: fn(&mut Forged)| {
        let mut changed = release.clone();
        changed.order.order_id = Nonce::from_bytes([9; 16]);
        change(&mut changed);
        changed
    };
    let old = changed(|f| f.order.generation = 1);
    let far = changed(|f| f.order.generation = u64::MAX);
    let guessed = changed(|f| f.leaf("srv-001").challenge = Some(Nonce::from_bytes([1; 16])));
    let others = changed(|f| f.leaf("srv-001").challenge = f.leaf("srv-002").challenge);
    let unchallenged = changed(|f| f.leaf("srv-001").challenge = None);
    let unnamed = changed(|f| f.leaf("srv-001").clean = None);
    let swapped = changed(|f| f.leaf("srv-001").clean = f.leaf("srv-002").clean);
    let expired = changed(|f| {
        f.order.issued_at_ms = UnixMillis(1);
        f.order.not_after_ms = UnixMillis(2);
    });
    // The order that awaits a signature is delivered with too few alone.
    let same = changed(|_| {});
    let protective = changed(|f| f.kind = PayloadType::Protect);
    let elsewhere = changed(|f| f.order.deployment_id = digue_proto::id::Digest::of(b"another deployment"));
    let rebuilt = changed(|f| f.leaf("srv-001").host_key = f.leaf("srv-002").host_key.clone());
    let without = |delivery: Delivery| Delivery { statement: None, ..delivery };
    let foreign_leaf = |whole: &Forged| {
        let mut mine = whole.delivery("srv-001", &two);
        mine.target = whole.delivery("srv-002", &two).target;
        mine
    };
    let stolen_leaf = |of: &Forged| {
        let mut mine = same.delivery("srv-001", &two);
        mine.target = of.delivery("srv-001", &two).target;
        mine
    };
    let attempts: [(&str, Delivery, &str); 20] = [
        ("one signature", release.delivery("srv-001", &[&alice]), "E0303"),
        ("two keys of one person", release.delivery("srv-001", &[&alice, &spare]), "E0303"),
        ("one signature, twice", release.delivery("srv-001", &[&alice, &alice]), "E0303"),
        ("a person without the role", release.delivery("srv-001", &[&alice, &claire]), "E0303"),
        ("no signature", release.delivery("srv-001", &[]), "E0303"),
        ("a release signed as protection", protective.delivery("srv-001", &two), "E0309"),
        ("another deployment", elsewhere.delivery("srv-001", &two), "E0307"),
        ("another host's order", same.delivery("srv-002", &two), "E0402"),
        ("another host's leaf", foreign_leaf(&same), "E0402"),
        ("a leaf that was not signed", stolen_leaf(&guessed), "E0306"),
        ("another key of this host", rebuilt.delivery("srv-001", &two), "E0403"),
        ("an old generation", old.delivery("srv-001", &two), "E0404"),
        ("the last generation of all", far.delivery("srv-001", &two), "E0406"),
        ("no challenge", unchallenged.delivery("srv-001", &two), "E0407"),
        ("a guessed challenge", guessed.delivery("srv-001", &two), "E0408"),
        ("another host's challenge", others.delivery("srv-001", &two), "E0408"),
        ("an expired order", expired.delivery("srv-001", &two), "E0409"),
        ("the clean statement withheld", without(same.delivery("srv-001", &two)), "E0414"),
        ("no clean statement", without(unnamed.delivery("srv-001", &two)), "E0414"),
        ("another host's clean statement", swapped.delivery("srv-001", &two), "E0417"),
    ];
    let mut rogue = Rogue::take_over(&scene, &["srv-001", "srv-002"]);
    let mut codes = BTreeMap::<&str, usize>::new();
    for (what, attempt, expected) in &attempts {
        let receipt = rogue.deliver("srv-001", attempt);
        let Outcome::Refused { code, detail } = &receipt.outcome else { panic!("{what}: {receipt:?}") };
        assert_eq!(code, expected, "{what}: {detail}");
        *codes.entry(expected).or_default() += 1;
        // The agent writes its log after it has answered, so that a slow log cannot hold up a cut.
        wait_until(&format!("the agent's log to tell of {what}"), || {
            scene.log("srv-001").matches(&format!("{expected}: ")).count() == codes[expected]
        });
    }
    is_cut(&scene, "srv-001");
    wire.silent("releases that lack something");

    // The agent's answers waited for a controller that stores them.
    rogue.leave();
    wait_until("the refusal of the order that awaits a signature", || {
        refusal(&shown(&scene, &waiting), "srv-001").as_deref() == Some("E0303")
    });
    let told = scene.digue(&["order", "show", &waiting]).ends_with(0).says(&["digue-E0303"]);
    assert!(told.out.contains("srv-001"), "{}", told.out);
    let host = scene.wait_host("srv-001", "all refusals", |h| h["alarms"].to_string().contains("E0417"));
    assert!(host["links"] == "cut" && host["fresh"] == true, "{host}");
    for code in codes.keys().filter(|code| !["E0303"].contains(*code)) {
        assert!(host["alarms"].to_string().contains(code), "{code}: {host}");
    }
    scene.audit();
}

#[test]
fn an_order_that_two_people_signed_wrongly_is_refused_by_the_agent_and_shown_with_its_code() {
    let Some(scene) = Scene::up(2) else { return };
    scene.contain("cut", &["--all"]);
    scene.declare_clean("srv-001,srv-002");
    scene.plan("release.plan", &["release", "--all"]);
    let release = Forged::from_plan(&scene.file("release.plan"));
    let spent = release.leaves.iter().find(|l| l.host_id.as_str() == "srv-001").and_then(|l| l.challenge);
    // The challenge is spent by a real release, and the host is cut again.
    scene.digue(&["apply", "release.plan", "--sign", "alice", "--sign", "bruno", "--wait"]).ends_with(0);
    scene.reaches("srv-001", "tcp", &[OUTSIDE]);
    scene.contain("cut", &["--all"]);
    let replay =
        serde_json::to_vec(&scene.fetch(&format!("/api/v1/orders/{}", release.order.order_id))["bundle"])
            .expect("JSON");
    scene.plan("again.plan", &["release", "--all"]);
    let again = Forged::from_plan(&scene.file("again.plan"));

    let keys = (scene.key("alice"), scene.key("bruno"));
    let post = |number: u8, change: &dyn Fn(&mut Forged)| {
        let mut wrong = again.clone();
        wrong.order.order_id = Nonce::from_bytes([number; 16]);
        change(&mut wrong);
        let bundle = serde_json::to_vec(&wrong.bundle(&[&keys.0, &keys.1])).expect("JSON");
        let answer = scene.api("POST", "/api/v1/orders", &bundle);
        assert_eq!(answer.status, 201, "the controller evaluates nothing: {answer:?}");
        wrong.order.order_id.to_string()
    };
    let statement = again.leaves.iter().find(|l| l.host_id.as_str() == "srv-002").and_then(|l| l.clean);
    let wrong = [
        (post(1, &|f| f.leaf("srv-001").challenge = spent), "E0408"),
        (post(2, &|f| f.order.generation = 1), "E0404"),
        (post(3, &|f| f.leaf("srv-001").clean = None), "E0414"),
        (post(4, &|f| f.leaf("srv-001").clean = statement), "E0417"),
        (
            post(5, &|f| {
                f.order.issued_at_ms = UnixMillis(1);
                f.order.not_after_ms = UnixMillis(2);
            }),
            "E0409",
        ),
    ];
    for (id, code) in &wrong {
        wait_until(&format!("the refusal with {code}"), || {
            refusal(&shown(&scene, id), "srv-001").as_deref() == Some(*code)
        });
        scene.digue(&["order", "show", id]).ends_with(0).says(&[&format!("digue-{code}")]);
        assert!(scene.log("srv-001").contains(&format!("{code}: ")), "the agent's log says {code}");
        scene.digue(&["explain", code]).ends_with(0);
    }
    scene.digue(&["order", "watch", &wrong[1].0, "--timeout", "20s"]).ends_with(3);
    is_cut(&scene, "srv-001");

    // The same release as the one that opened the hosts before, handed in again: nothing happens.
    let answer = scene.api("POST", "/api/v1/orders", &replay);
    assert!([200, 201].contains(&answer.status), "{answer:?}");
    let bundle = serde_json::from_slice(&replay).expect("a bundle");
    let mut rogue = Rogue::take_over(&scene, &["srv-001"]);
    let receipt = rogue.deliver("srv-001", &delivery(&bundle, "srv-001"));
    assert_eq!(receipt.outcome, Outcome::Verified {}, "the old answer again: {receipt:?}");
    is_cut(&scene, "srv-001");
    rogue.leave();
    scene.wait_host("srv-001", "still cut", |h| h["links"] == "cut" && h["fresh"] == true);
    scene.audit();
}

#[test]
fn two_people_confirm_a_host_clean_and_two_people_reopen_it() {
    let Some(scene) = Scene::up(3) else { return };
    let mut wire = Wire::tap(&scene);
    let target = "tcp:198.51.100.66:443";
    let session = Talk::open(&scene, "srv-001", "old", &[target]);
    scene.contain("cut", &["--all"]);
    session.wait_dead(target);
    wire.arrived();

    let planned = scene.plan("early.plan", &["release", "--all"]);
    assert!(planned.contains("not confirmed clean"), "{planned}");
    let state = |hosts: &str, verdict: &str, signers: &[&str]| {
        let signers: Vec<&str> = signers.iter().flat_map(|s| ["--sign", s]).collect();
        let strength: &[&str] = if verdict == "clean" { &["--assurance", "L1"] } else { &[] };
        scene.digue(
            &[&["verdict", "set", hosts, verdict, "--reason", "examined"], strength, &signers[..]].concat(),
        )
    };
    assert_ne!(state("srv-001", "clean", &["alice"]).code, 0, "alice may not vouch for a host");
    let half = state("srv-001,srv-002", "clean", &["claire"]).ends_with(13);
    assert_eq!(scene.host("srv-001")["verdict"], "unassessed", "one person is not enough: {half:?}");
    let waiting = scene.fetch("/api/v1/approvals");
    let waiting = waiting["statements"].as_array().expect("statements").clone();
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    for statement in &waiting {
        scene.done(&["verdict", "sign", statement["digest"].as_str().expect("a digest"), "--sign", "bruno"]);
    }
    state("srv-003", "compromised", &["alice"]).ends_with(0);
    for host in ["srv-001", "srv-002"] {
        let host = scene.host(host);
        assert_eq!((&host["verdict"], &host["links"]), (&"clean".into(), &"cut".into()), "{host}");
    }
    let planned = scene.plan("release.plan", &["release", "--all"]);
    assert!(planned.contains("Left out, not confirmed clean: srv-003"), "{planned}");
    assert!(planned.contains("Reopen 2 servers: srv-001, srv-002"), "{planned}");
    is_cut(&scene, "srv-001");

    scene.digue(&["apply", "release.plan", "--sign", "alice", "--wait"]).ends_with(13);
    let order = scene.orders().pop().expect("an order");
    let id = order["order_id"].as_str().expect("a name");
    assert_eq!(order["state"], "awaiting_signatures");
    is_cut(&scene, "srv-001");
    scene.digue(&["order", "sign", id, "--sign", "alice"]).ends_with(13);
    scene.digue(&["order", "sign", id, "--sign", "bruno", "--wait", "--timeout", "60s"]).ends_with(0);
    for host in ["srv-001", "srv-002"] {
        scene.wait_host(host, "open, measured", |h| h["links"] == "open" && h["fresh"] == true);
        assert_eq!(scene.own_tables(host), 0);
        scene.reaches(host, "tcp", &[OUTSIDE, "[2001:db8:66::66]:443"]);
        scene.reaches(host, "udp", &[OUTSIDE]);
    }
    assert_eq!(session.said(target).last().map(|said| said.event.clone()), Some("error".into()));
    assert!(
        !wire.arrived().iter().any(|packet| packet.text.starts_with("old")),
        "the old session stays dead"
    );
    let left = scene.host("srv-003");
    assert_eq!((&left["verdict"], &left["links"]), (&"compromised".into(), &"cut".into()));
    is_cut(&scene, "srv-003");
    scene.done(&["status", "--expect", "cut==1 and clean==2 and compromised==1"]);
    scene.audit();
}

#[test]
fn a_host_that_turns_out_compromised_after_the_plan_is_not_reopened() {
    let Some(scene) = Scene::up(1) else { return };
    scene.contain("cut", &["srv-001"]);
    scene.declare_clean("srv-001");
    scene.plan("release.plan", &["release", "--all"]);
    let words = ["verdict", "set", "srv-001", "compromised", "--reason", "a web shell", "--sign", "claire"];
    scene.done(&words);
    let moved = scene.digue(&["apply", "release.plan", "--sign", "alice", "--sign", "bruno", "--wait"]);
    moved.ends_with(14).says(&["srv-001", "digue-E0651"]);
    let replanned = scene.plan("release.plan", &["release", "--all"]);
    assert!(replanned.contains("Left out, not confirmed clean: srv-001"), "{replanned}");
    is_cut(&scene, "srv-001");
}
