//! What was acknowledged survives anything.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use digue_proto::frame::{FromAgent, FromController};
use digue_proto::report::{Links, Outcome};
use digue_proto::statement::Stated;
use serde_json::{Value, json};

use crate::documents::Deployment;
use crate::process::{Controller, command, init, wait_for, write_config};

/// Everything that a restart must not change.
fn remembered(controller: &Controller) -> Vec<Value> {
    let paths = ["roots", "inventory", "orders", "statements", "approvals", "envelopes"];
    let mut all: Vec<Value> = paths.iter().map(|path| controller.get(&format!("/api/v1/{path}")).1).collect();
    let mut fleet = controller.get("/api/v1/hosts").1;
    fleet["computed_at_ms"] = json!(0);
    all.push(fleet);
    // Sent is what this run did; it is not remembered and does not have to be.
    all.iter_mut().for_each(forget_sent);
    all
}

fn forget_sent(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.get("phase").is_some_and(|phase| phase == "sent") {
                members.insert("phase".to_owned(), json!("waiting"));
                members.insert("at_ms".to_owned(), json!(null));
            }
            members.values_mut().for_each(forget_sent);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_sent),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_and_a_restart_lose_nothing_that_was_acknowledged() {
    let (mut controller, deployment) = Controller::with_fleet(3);
    let mut agent = controller.agent(&deployment, 1).await;
    let open = agent.report(Links::Open);
    agent.stored(open).await;
    let bundle = deployment.cut(1, 1, &[1, 2]);
    assert_eq!(controller.post("/api/v1/orders", &bundle).0, 201);
    let receipt = agent.receipt(bundle.order.digest(), Outcome::Verified {});
    agent.stored(receipt).await;
    let cut = agent.report(Links::Cut);
    agent.stored(cut).await;
    for (verdict, signers) in [(Stated::Clean, 2), (Stated::Clean, 1)] {
        let statement = deployment.statement(1, verdict, signers);
        assert_eq!(controller.post("/api/v1/statements", &statement).0, 200);
    }
    let waiting = deployment.order(2, 2, crate::documents::contain(), &[3]);
    assert_eq!(controller.post("/api/v1/orders", &waiting).0, 201);
    let before = remembered(&controller);
    controller.kill();
    controller.run();
    assert_eq!(remembered(&controller), before);
    // And what was on its way still is.
    let mut offline = controller.agent(&deployment, 2).await;
    assert_eq!(offline.order().await.order, bundle.order);
    // What the host sends again is known already.
    let mut agent = controller.agent(&deployment, 1).await.continuing(&agent);
    let next = agent.report(Links::Open);
    agent.stored(next.clone()).await;
    agent.stored(next).await;
    let (_, stored) = controller.get("/api/v1/envelopes");
    assert_eq!(
        stored["envelopes"].as_array().map(Vec::len),
        before[5]["envelopes"].as_array().map(|all| all.len() + 1),
        "a repeat was stored twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_of_a_stream_of_reports_loses_none_that_was_acknowledged() {
    let (mut controller, deployment) = Controller::with_fleet(4);
    for round in 0..3_u64 {
        let mut tasks = Vec::new();
        for index in 1..=4 {
            let mut agent = controller.agent(&deployment, index).await;
            agent.seq = round * 100_000;
            agent.prev = (round > 0).then(|| digue_proto::id::Digest::of(b"lost"));
            tasks.push(tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for _ in 0..400 {
                    let report = agent.report(Links::Open);
                    let sent = FromAgent::Document(report).encode().expect("frame");
                    if agent.send_raw(&sent).await.is_err() {
                        break;
                    }
                    match agent.next().await {
                        Ok(FromController::Stored(digest)) => acknowledged.push(digest),
                        Ok(_) => {}
                        Err(_) => break,
                    }
                }
                acknowledged
            }));
        }
        wait_for("some reports are stored", || {
            let after = format!("/api/v1/envelopes?limit=1&after={}", round * 20 + 20);
            (!controller.get(&after).1["envelopes"].as_array()?.is_empty()).then_some(())
        });
        controller.kill();
        let mut acknowledged = Vec::new();
        for task in tasks {
            acknowledged.extend(task.await.expect("agent"));
        }
        controller.run();
        let mut stored = std::collections::BTreeSet::new();
        let mut after = json!(0);
        while !after.is_null() {
            let (_, page) = controller.get(&format!("/api/v1/envelopes?after={after}"));
            for entry in page["envelopes"].as_array().expect("envelopes") {
                let envelope: digue_proto::envelope::Envelope =
                    serde_json::from_value(entry["envelope"].clone()).expect("envelope");
                stored.insert(envelope.digest());
            }
            after = page["next"].clone();
        }
        assert!(!acknowledged.is_empty());
        let lost = acknowledged.iter().filter(|digest| !stored.contains(digest)).count();
        assert_eq!(lost, 0, "of {} acknowledged", acknowledged.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_order_and_a_second_controller_on_the_same_data_is_refused() {
    let (mut controller, deployment) = Controller::with_fleet(1);
    let mut agent = controller.agent(&deployment, 1).await;
    let report = agent.report(Links::Open);
    agent.stored(report).await;
    let second = command(controller.folder.path(), &["run"]).stderr(Stdio::piped()).output().expect("ran");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another controller"), "{said}");
    let rebuilt = command(controller.folder.path(), &["rebuild"]).output().expect("ran");
    assert!(!rebuilt.status.success(), "rebuilt under a running controller");
    assert!(controller.stop());
    agent.closed().await;
    assert!(!controller.socket().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_makes_the_projections_anew_and_early_receipts_are_found_by_them() {
    let (mut controller, deployment) = Controller::with_fleet(1);
    let bundle = deployment.cut(1, 1, &[1]);
    // A courier brought the order: its receipt is here first.
    let mut agent = controller.agent(&deployment, 1).await;
    let receipt = agent.receipt(bundle.order.digest(), Outcome::Verified {});
    agent.stored(receipt).await;
    assert!(controller.stop());
    let output = command(controller.folder.path(), &["rebuild"]).output().expect("ran");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "projections made anew from 3 envelopes\n");
    controller.run();
    assert_eq!(controller.post("/api/v1/orders", &bundle).0, 201);
    assert_eq!(controller.phases(1), ["verified"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_acknowledged_and_everything_works_again_once_there_is_room() {
    let folder = tempfile::tempdir().expect("folder");
    write_config(folder.path(), "", "");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("data folder");
    // A small file system of its own, seen by this controller alone.
    let script = r#"set -e
        mount -t tmpfs -o size=1m,mode=700 tmpfs "$1/data"
        "$2" init --config "$1/controller.toml" > "$1/pins"
        head -c 600k /dev/zero > "$1/data/filler"
        exec "$2" run --config "$1/controller.toml""#;
    let program = env!("CARGO_BIN_EXE_digue-controller");
    let possible =
        Command::new("unshare").args(["-Urm", "mount", "-t", "tmpfs", "tmpfs"]).arg(&data).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("skipped: this machine lets no ordinary process mount a file system of its own");
        return;
    }
    let mut run = Command::new("unshare");
    run.args(["-Urm", "sh", "-c", script, "sh"]).arg(folder.path()).arg(program).stderr(Stdio::null());
    // Its own process group, so that nothing else is hit when it is killed.
    run.process_group(0);
    let mut controller = Controller::at(folder, run);
    let pins: Value =
        serde_json::from_slice(&std::fs::read(controller.folder.path().join("pins")).expect("pins"))
            .expect("json");
    controller.pin = pins["spki_sha256"].as_str().expect("pin").parse().expect("digest");
    let deployment = controller.found(1);
    let mut agent = controller.agent(&deployment, 1).await;
    let open = agent.report(Links::Open);
    agent.stored(open).await;

    // Fill the disk with orders until one does not fit.
    let refused = (1..=250_u8).find_map(|number| {
        let (status, problem) = controller.post("/api/v1/orders", &large_order(&deployment, number));
        (status != 201).then_some((number, status, problem))
    });
    let (number, status, problem) = refused.expect("a megabyte holds 250 large orders");
    assert_eq!((status, &problem["code"]), (507, &json!("E0520")), "{problem}");
    assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("free space")));
    let (_, orders) = controller.get("/api/v1/orders");
    assert_eq!(orders["orders"].as_array().map(Vec::len), Some(usize::from(number) - 1));
    assert_eq!(controller.get("/readyz").0, 503);

    // A report is not acknowledged, and what it proves is not shown: only heartbeats pass.
    let cut = agent.report(Links::Cut);
    agent.send(&FromAgent::Document(cut.clone())).await;
    agent.heartbeat(Links::Cut, true).await;
    wait_for("the heartbeat", || {
        let host = controller.host(1);
        (host["last_contact_ms"].as_u64() > host["reported_at_ms"].as_u64()).then_some(())
    });
    assert_eq!(controller.host(1)["links"], "cutting");

    let filler =
        format!("/proc/{}/root{}/data/filler", controller.process_id(), controller.folder.path().display());
    std::fs::remove_file(filler).expect("room");
    wait_for("the disk is tried again", || (controller.get("/readyz").0 == 200).then_some(()));
    // The next heartbeat ends the connection, so that the agent sends again what was not acknowledged.
    agent.heartbeat(Links::Cut, true).await;
    loop {
        match agent.next().await {
            Ok(FromController::Stored(digest)) => panic!("{digest} was acknowledged"),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let mut agent = controller.agent(&deployment, 1).await;
    agent.stored(cut).await;
    assert_eq!(controller.host(1)["links"], "cut");
    assert_eq!(controller.post("/api/v1/orders", &large_order(&deployment, number)).0, 201);
}

/// An order that takes some kilobytes.
fn large_order(deployment: &Deployment, number: u8) -> digue_proto::bundle::OrderBundle {
    deployment.cut(number, u64::from(number), &(1..=40).collect::<Vec<_>>())
}

#[test]
fn init_twice_changes_nothing_and_a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("folder");
    let token = folder.path().join("token");
    let api = format!("listen = \"127.0.0.1:0\"\ntoken_file = \"{}\"", token.display());
    write_config(folder.path(), "", &api);
    let pins = init(folder.path());
    let secret = std::fs::read_to_string(&token).expect("token");
    assert_eq!(init(folder.path()), pins);
    assert_eq!(std::fs::read_to_string(&token).expect("token"), secret);
    for key in ["tls.key", "api.key"] {
        let path = folder.path().join("data").join(key);
        let mode = |path| std::fs::metadata(path).expect("key").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600, "{key}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("mode");
        let run = command(folder.path(), &["run"]).stderr(Stdio::piped()).output().expect("ran");
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!run.status.success() && said.contains("chmod 600"), "{said}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
    }
}

#[test]
fn init_with_a_root_takes_exactly_the_one_that_is_pinned() {
    let folder = tempfile::tempdir().expect("folder");
    write_config(folder.path(), "", "");
    let pins = init(folder.path());
    let pin = pins["spki_sha256"].as_str().expect("pin").parse().expect("digest");
    let deployment = Deployment::new(pin);
    let file = folder.path().join("root.1.json");
    std::fs::write(&file, deployment.root.to_json().expect("json")).expect("written");
    let init = |pinned: &str| {
        let root = file.to_str().expect("path");
        let mut init = command(folder.path(), &["init", "--root", root, "--root-sha256", pinned]);
        init.output().expect("ran").status.success()
    };
    assert!(!init(&"0".repeat(64)));
    assert!(init(&deployment.id.to_string()));
    assert!(init(&deployment.id.to_string()), "the second time");
    assert!(!init(&"0".repeat(64)));
}

#[test]
fn a_bad_configuration_ends_with_78_and_says_everything_that_is_wrong() {
    let folder = tempfile::tempdir().expect("folder");
    let text = "data_dir = \"here\"\n[agents]\nlisten = \"nowhere\"\n[api]\nsocket = \"api.sock\"\n";
    std::fs::write(folder.path().join("controller.toml"), text).expect("written");
    for words in [["check-config"], ["run"], ["init"]] {
        let output = command(folder.path(), &words).stderr(Stdio::piped()).output().expect("ran");
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for part in ["data_dir", "agents.listen", "api.socket"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
