//! Promise 6: nothing acknowledged is lost when a program is killed, and no crash opens a host. And promise
//! 1: what was ordered and not measured changes nothing that is shown.

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use digue_lab::control::ProgramAction::{Kill, Start, Stop};
use serde_json::Value;
use support::wire::Wire;
use support::{Scene, wait_until};

const OUTSIDE: [&str; 2] = ["198.51.100.66:443", "[2001:db8:66::66]:443"];

fn is_cut(host: &Value) -> bool {
    host["links"] == "cut" && host["fresh"] == true && host["exposed"] == false
}

/// What is shown of hosts, without when they were last in contact: heartbeats are not kept.
fn standing(hosts: Vec<Value>) -> Vec<Value> {
    let without_times = |mut host: Value| {
        for time in ["last_contact_ms", "clock_offset_ms", "fresh", "exposed"] {
            host[time].take();
        }
        host
    };
    hosts.into_iter().map(without_times).collect()
}

fn ready(scene: &Scene) {
    wait_until("the controller", || {
        support::api::request(&scene.api_socket(), "GET", "/readyz", b"").is_ok_and(|a| a.status == 200)
    });
}

/// An order's phase on one host.
fn phase(scene: &Scene, id: &str, host: &str) -> String {
    let order = scene.fetch(&format!("/api/v1/orders/{id}"));
    let hosts = order["order"]["hosts"].as_array().expect("hosts").clone();
    let found = hosts.iter().find(|h| h["host"] == host).expect("a target");
    found["phase"].as_str().expect("a phase").to_owned()
}

/// Applies a plan in the background.
fn apply(scene: &Scene, plan: &str) -> Child {
    let mut command = scene.digue_command(&["apply", plan, "--sign", "alice", "--wait", "--timeout", "60s"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("digue")
}

/// The order that a plan file holds.
fn order_of(scene: &Scene, plan: &str) -> String {
    support::forge::Forged::from_plan(&scene.file(plan)).order.order_id.to_string()
}

#[test]
fn an_agent_killed_before_while_or_after_it_cuts_loses_nothing_and_opens_nothing() {
    let Some(scene) = Scene::up(4) else { return };
    let mut wire = Wire::tap(&scene);
    scene.plan("cut.plan", &["cut", "--all"]);
    let id = order_of(&scene, "cut.plan");
    scene.program("srv-001", Kill);
    let mut applying = apply(&scene, "cut.plan");
    // The order is on the disk of these two, and on its way into the kernel.
    for host in ["srv-002", "srv-003"] {
        wait_until("the order's arrival", || scene.log(host).contains("order_accepted"));
        scene.program(host, Kill);
    }
    wait_until("a proven cut", || phase(&scene, &id, "srv-004") == "verified");
    scene.program("srv-004", Kill);
    scene.reaches_none("srv-004", "tcp", &OUTSIDE);
    scene.reaches_none("srv-004", "udp", &OUTSIDE);
    assert_ne!(phase(&scene, &id, "srv-001"), "verified");
    scene.reaches("srv-001", "tcp", &OUTSIDE[..1]);
    wire.arrived();

    for host in ["srv-001", "srv-002", "srv-003", "srv-004"] {
        scene.program(host, Start);
        scene.wait_host(host, "cut and verified", |h| {
            is_cut(h) && h["chain_gaps"] == Value::Array(Vec::new())
        });
        wait_until("the order's proof", || phase(&scene, &id, host) == "verified");
    }
    assert!(applying.wait().expect("digue ended").success(), "whoever waits sees every host verified");
    wire.arrived();
    // Killed again and again on cut hosts: they stay cut while nobody looks after the rules.
    for _ in 0..3 {
        for host in ["srv-001", "srv-002", "srv-003", "srv-004"] {
            scene.program(host, Kill);
            assert!(scene.own_tables(host) > 0, "{host} keeps its rules");
            scene.reaches_none(host, "udp", &OUTSIDE);
        }
        for host in ["srv-001", "srv-002", "srv-003", "srv-004"] {
            let links = || scene.log(host).matches("link_up").count();
            let before = links();
            scene.program(host, Start);
            wait_until("a new connection", || links() > before);
            scene.reaches_none(host, "tcp", &OUTSIDE);
        }
    }
    wire.silent("agents that were killed and started");
    for host in ["srv-001", "srv-002", "srv-003", "srv-004"] {
        scene.wait_host(host, "cut and verified", is_cut);
    }
    scene.audit();
}

#[test]
fn an_agent_killed_during_a_release_ends_open_or_cut_as_it_says_and_never_in_between() {
    let Some(scene) = Scene::up(2) else { return };
    scene.contain("cut", &["--all"]);
    scene.declare_clean("srv-001,srv-002");
    scene.plan("release.plan", &["release", "--all"]);
    let id = order_of(&scene, "release.plan");
    let mut command =
        scene.digue_command(&["apply", "release.plan", "--sign", "alice", "--sign", "bruno", "--wait"]);
    let mut applying = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("digue");
    wait_until("the order's arrival", || scene.log("srv-001").matches("order_accepted").count() == 2);
    scene.program("srv-001", Kill);
    wait_until("the release of the other host", || phase(&scene, &id, "srv-002") == "verified");
    scene.program("srv-001", Start);
    wait_until("the release", || phase(&scene, &id, "srv-001") == "verified");
    assert!(applying.wait().expect("digue ended").success());
    let host = scene.wait_host("srv-001", "open, measured", |h| h["links"] == "open");
    assert_eq!(scene.own_tables("srv-001"), 0, "{host}");
    scene.reaches("srv-001", "tcp", &OUTSIDE);
    scene.audit();
}

#[test]
fn a_controller_killed_at_any_moment_comes_back_with_the_same_view_and_every_order() {
    let Some(scene) = Scene::up(3) else { return };
    let restart = || {
        scene.program("controller", Kill);
        scene.program("controller", Start);
        ready(&scene);
    };
    // Idle.
    let before = standing(scene.hosts());
    restart();
    assert_eq!(standing(scene.hosts()), before);
    scene.audit();
    // While an order is being carried out: as soon as it is known, which is when it was acknowledged.
    scene.plan("cut.plan", &["cut", "--all"]);
    let id = order_of(&scene, "cut.plan");
    let mut applying = apply(&scene, "cut.plan");
    wait_until("the order", || {
        let answer = support::api::request(&scene.api_socket(), "GET", &format!("/api/v1/orders/{id}"), b"");
        answer.is_ok_and(|answer| answer.status == 200)
    });
    restart();
    let _ = applying.wait().expect("digue ended");
    for host in ["srv-001", "srv-002", "srv-003"] {
        wait_until("the order's proof", || phase(&scene, &id, host) == "verified");
        scene.wait_host(host, "cut and verified", is_cut);
    }
    scene.audit();
    // Right after statements were acknowledged.
    scene.declare_clean("srv-001,srv-002");
    restart();
    for host in ["srv-001", "srv-002"] {
        scene.wait_host(host, "still confirmed clean", |h| h["verdict"] == "clean");
    }
    // With an order that awaits a signature.
    scene.plan("release.plan", &["release", "--all"]);
    scene.digue(&["apply", "release.plan", "--sign", "alice"]).ends_with(13);
    let (hosts, orders) = (standing(scene.hosts()), scene.orders());
    restart();
    assert_eq!(scene.orders(), orders);
    for (now, then) in standing(scene.hosts()).iter().zip(&hosts) {
        assert_eq!(
            (&now["name"], &now["links"], &now["heads"]),
            (&then["name"], &then["links"], &then["heads"])
        );
    }
    for host in ["srv-001", "srv-002"] {
        scene.wait_host(host, "in contact", |h| h["fresh"] == true);
    }
    let id = order_of(&scene, "release.plan");
    scene.digue(&["order", "sign", &id, "--sign", "bruno", "--wait", "--timeout", "60s"]).ends_with(0);
    restart();
    // Every host again, over a new connection: nobody was cut or reopened by the controller's trouble.
    for (host, links) in [("srv-001", "open"), ("srv-002", "open"), ("srv-003", "cut")] {
        scene.wait_host(host, links, |h| h["links"] == links && h["fresh"] == true);
    }
    scene.audit();
    // The projections can be thrown away: they are made anew from the documents.
    scene.program("controller", Stop);
    let view = || standing(scene.hosts());
    let config = scene.lab.place().host("controller").join("controller.toml");
    scene.inside("controller", &["digue-controller", "rebuild", "--config", support::text(&config)]);
    scene.program("controller", Start);
    ready(&scene);
    for host in view() {
        assert!(host["links"] == "open" || host["links"] == "cut", "{host}");
    }
    scene.audit();
}

#[test]
fn an_operator_killed_at_any_moment_leaves_an_order_whole_or_unsent_and_may_apply_it_again() {
    let Some(scene) = Scene::up(3) else { return };
    // Killed while it waits: the order goes on.
    scene.plan("a.plan", &["cut", "srv-001", "srv-002"]);
    let id = order_of(&scene, "a.plan");
    let mut applying = apply(&scene, "a.plan");
    let progress = BufReader::new(applying.stderr.take().expect("standard error"));
    let told = progress.lines().map_while(Result::ok).any(|line| line.contains("is signed and on its way"));
    assert!(told, "the order was sent");
    applying.kill().expect("killed");
    applying.wait().expect("ended");
    for host in ["srv-001", "srv-002"] {
        wait_until("the order's proof", || phase(&scene, &id, host) == "verified");
    }
    scene.digue(&["order", "watch", &id, "--timeout", "20s"]).ends_with(0);
    // Killed as soon as it has started, and later each time: sent whole, or not at all.
    for round in 0..6_u64 {
        let plan = format!("b{round}.plan");
        scene.plan(&plan, &["isolate", "srv-003"]);
        let id = order_of(&scene, &plan);
        let mut applying = apply(&scene, &plan);
        std::thread::park_timeout(std::time::Duration::from_millis(6 * round));
        applying.kill().expect("killed");
        applying.wait().expect("ended");
        let known = scene.api("GET", &format!("/api/v1/orders/{id}"), b"");
        match known.status {
            200 => {
                assert_eq!(known.json()["order"]["signers"][0], "alice", "{known:?}");
                wait_until("the order's proof", || phase(&scene, &id, "srv-003") == "verified");
                break;
            }
            404 => assert_eq!(scene.host("srv-003")["links"], "open"),
            other => panic!("{other}: {known:?}"),
        }
    }
    // The same plan again is the same order, not a second one.
    scene.plan("c.plan", &["isolate", "--all"]);
    let first =
        scene.digue(&["apply", "c.plan", "--sign", "alice", "--wait", "--timeout", "60s"]).ends_with(0);
    let orders = scene.orders().len();
    let again = scene.digue(&["apply", "c.plan", "--sign", "alice", "--wait", "--timeout", "60s"]);
    assert!([0, 14].contains(&again.code), "done, or the fleet has moved on by it: {first:?} {again:?}");
    assert_eq!(scene.orders().len(), orders);
    for host in scene.hosts() {
        assert!(is_cut(&host), "{host}");
    }
    scene.audit();
}

#[test]
fn an_order_for_a_host_that_is_offline_changes_nothing_shown_and_is_delivered_when_it_returns() {
    let Some(scene) = Scene::up(3) else { return };
    scene.cable("srv-002", false);
    scene.program("srv-003", Stop);
    let shown = |host: &str| {
        let mut shown = scene.host(host);
        let unconfirmed = shown["unconfirmed"].take();
        (shown, unconfirmed)
    };
    let before: Vec<Value> = ["srv-002", "srv-003"].iter().map(|host| shown(host).0).collect();
    scene.plan("cut.plan", &["cut", "--all"]);
    let id = order_of(&scene, "cut.plan");
    let applied = scene.digue(&["apply", "cut.plan", "--sign", "alice", "--wait", "--timeout", "2s"]);
    applied.ends_with(4).says(&["verified 1"]);
    scene.wait_host("srv-001", "cut and verified", is_cut);
    let nothing_changed = || {
        for (host, then) in ["srv-002", "srv-003"].iter().zip(&before) {
            let (now, unconfirmed) = shown(host);
            assert_eq!(&now, then, "an order alone changes nothing that is shown");
            assert_eq!(unconfirmed, Value::from(vec![id.clone()]));
            assert!(["waiting", "sent"].contains(&phase(&scene, &id, host).as_str()));
        }
        scene.done(&["status", "--expect", "cut==1"]);
        scene.digue(&["status", "--expect", "cut==2"]).ends_with(1);
    };
    nothing_changed();
    assert_eq!(scene.own_tables("srv-002") + scene.own_tables("srv-003"), 0);
    scene.audit();

    // The order outlives the controller.
    scene.program("controller", Kill);
    scene.program("controller", Start);
    ready(&scene);
    for host in ["srv-002", "srv-003"] {
        let (now, unconfirmed) = shown(host);
        assert_eq!((&now["links"], unconfirmed), (&Value::from("open"), Value::from(vec![id.clone()])));
    }
    scene.cable("srv-002", true);
    scene.program("srv-003", Start);
    for host in ["srv-001", "srv-002", "srv-003"] {
        let host = scene.wait_host(host, "cut and verified", is_cut);
        assert_eq!(host["unconfirmed"], Value::Array(Vec::new()));
        assert_eq!(phase(&scene, &id, host["name"].as_str().expect("a name")), "verified");
    }
    scene.digue(&["order", "watch", &id, "--timeout", "20s"]).ends_with(0);
    scene.audit();
}
