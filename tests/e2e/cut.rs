//! Promises 4 and 5: a cut holds against whoever is root inside, and nobody is locked out.
//!
//! What gets out is judged at the other end: by every packet that arrives at the "internet", and by what its
//! services heard.

mod support;

use digue_lab::control::ProgramAction;
use digue_lab::incident::{Act, IncidentKind};
use digue_lab::network::GuestKind;
use serde_json::Value;
use support::wire::{Talk, Wire};
use support::{Scene, has, json_lines, wait_until};

/// What is outside, and answers a host that is not cut.
const OUT_TCP: [&str; 4] =
    ["198.51.100.66:443", "[2001:db8:66::66]:443", "198.51.100.80:80", "[2001:db8:66::80]:80"];
const OUT_UDP: [&str; 4] =
    ["198.51.100.66:443", "[2001:db8:66::66]:443", "198.51.100.66:4444", "[2001:db8:66::80]:7"];
const OUT_ICMP: [&str; 4] = ["198.51.100.66", "2001:db8:66::66", "198.51.100.80", "2001:db8:66::80"];
/// What is inside, and answers.
const IN: [&str; 6] =
    ["10.77.0.20:7", "[fd77::20]:7", "10.77.1.2:8080", "[fd77::1:2]:8080", "10.77.0.9:7", "[fd77::9]:7"];
const IN_ICMP: [&str; 2] = ["10.77.0.20", "fd77::20"];
/// The border's hardware address on the inside.
const ROUTER: &str = "02:77:00:00:00:01";

fn reaches_outside(scene: &Scene, machine: &str) {
    scene.reaches(machine, "tcp", &OUT_TCP);
    scene.reaches(machine, "udp", &OUT_UDP);
    scene.reaches(machine, "icmp", &OUT_ICMP);
}

fn reaches_nothing_outside(scene: &Scene, machine: &str) {
    scene.reaches_none(machine, "tcp", &OUT_TCP);
    scene.reaches_none(machine, "udp", &OUT_UDP);
    scene.reaches_none(machine, "icmp", &OUT_ICMP);
}

fn is_cut(host: &Value) -> bool {
    host["links"] == "cut" && host["fresh"] == true && host["exposed"] == false
}

fn passed(host: &Value, proof: &str) -> bool {
    host["proofs"][proof]["passed"].is_object()
}

/// An agent that starts anew has to connect anew.
fn connects_anew(scene: &Scene, host: &str) {
    scene.program(host, ProgramAction::Stop);
    scene.program(host, ProgramAction::Start);
    wait_until("a new connection to the controller", || {
        let log = scene.log(host);
        log.rsplit("link_up").next().is_some_and(|after| !after.contains("link_lost"))
            && log.matches("link_up").count() >= 2
    });
    scene.wait_host(host, "verified again, over a new connection", |h| is_cut(h) && passed(h, "management"));
}

#[test]
fn a_cut_is_planned_shown_signed_applied_and_verified_on_every_host() {
    let Some(scene) = Scene::up(3) else { return };
    let before = scene.hosts();
    let planned = scene.plan("a.plan", &["cut", "--all"]);
    assert!(planned.contains("3 to act on") && planned.contains("10.77.0.2:7443"), "{planned}");
    let shown = scene.done(&["diff", "a.plan", "--host", "srv-002"]);
    assert!(
        shown.contains("hook output priority 0; policy drop;") && shown.contains("10.77.0.0/16"),
        "{shown}"
    );
    let keep = |hosts: Vec<Value>| {
        hosts
            .into_iter()
            .map(|mut host| {
                host["last_contact_ms"].take();
                host["clock_offset_ms"].take();
                host
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(keep(scene.hosts()), keep(before), "a plan changes nothing");
    for host in ["srv-001", "srv-002", "srv-003"] {
        reaches_outside(&scene, host);
    }

    scene
        .digue(&["apply", "a.plan", "--sign", "alice", "--wait", "--timeout", "60s"])
        .ends_with(0)
        .says(&["3 of 3"]);
    let order = scene.orders().pop().expect("an order");
    assert_eq!(order["hosts"].as_array().map(Vec::len), Some(3));
    for host in scene.hosts() {
        assert!(is_cut(&host), "{host}");
        assert_eq!(host["level"], "L4", "{host}");
        assert_eq!(host["order_id"], order["order_id"]);
        for proof in ["read_back", "probes", "management"] {
            assert!(passed(&host, proof), "{proof}: {host}");
        }
        let name = host["name"].as_str().expect("a name");
        reaches_nothing_outside(&scene, name);
        let told = scene.agent_status(name);
        assert!(told.to_string().contains("exercise-1"), "a person on the host reads why: {told}");
    }
    scene.done(&["status", "--expect", "cut==3 and stale==0 and exposed==0"]);
    scene.digue(&["status", "--expect", "cut==2"]).ends_with(1);
    scene.done(&["hosts", "is-cut", "srv-001"]);
    scene.audit();
}

#[test]
fn nothing_new_leaves_a_cut_host_while_the_inside_stays_and_isolation_closes_that_too() {
    let Some(scene) = Scene::up(2) else { return };
    let mut wire = Wire::tap(&scene);
    reaches_outside(&scene, "srv-001");
    assert!(wire.arrived().iter().any(|packet| packet.protocol == 58), "the tap sees ICMPv6");
    scene.contain("cut", &["srv-001"]);
    wire.arrived();

    reaches_nothing_outside(&scene, "srv-001");
    scene.reaches_none("srv-001", "udp", &["198.51.100.53:53", "[2001:db8:66::53]:53"]);
    if has("getent") {
        scene.exec("srv-001", &["getent", "hosts", "stolen.words.example"]);
    }
    wire.silent("new flows and a DNS tunnel from a cut host");
    scene.reaches("srv-001", "tcp", &IN);
    scene.reaches("srv-001", "udp", &IN);
    scene.reaches("srv-001", "icmp", &IN_ICMP);
    scene.reaches("printer", "tcp", &["10.77.1.1:8080", "[fd77::1:1]:8080"]);
    connects_anew(&scene, "srv-001");
    reaches_outside(&scene, "srv-002");
    assert!(!wire.arrived().is_empty(), "the other host is not cut");

    scene.contain("isolate", &["srv-001"]);
    reaches_nothing_outside(&scene, "srv-001");
    scene.reaches_none("srv-001", "tcp", &IN);
    scene.reaches_none("srv-001", "udp", &IN);
    scene.reaches_none("srv-001", "icmp", &IN_ICMP);
    scene.reaches_none("printer", "tcp", &["10.77.1.1:8080", "[fd77::1:1]:8080"]);
    scene.reaches("srv-001", "tcp", &["127.0.0.1:8080", "[::1]:8080"]);
    connects_anew(&scene, "srv-001");
    wire.silent("flows from an isolated host");
    scene.audit();
}

#[test]
fn sessions_from_before_end_with_the_cut_and_do_not_resume_after_the_release() {
    let Some(scene) = Scene::up(1) else { return };
    let mut wire = Wire::tap(&scene);
    scene.incident("srv-001", IncidentKind::Beacon);
    let acts = scene.lab.place().host("srv-001").join("incident-beacon.jsonl");
    let acts = || json_lines::<Act>(&acts);
    wait_until("the beacon's connection", || acts().iter().any(|act| act.what == "connected"));
    let old = [
        "tcp:198.51.100.66:443",
        "tcp:[2001:db8:66::66]:443",
        "udp:198.51.100.66:443",
        "udp:[2001:db8:66::66]:443",
    ];
    let talk = Talk::open(&scene, "srv-001", "old-session", &old);
    let internal = "tcp:10.77.0.20:7";
    let inside = Talk::open(&scene, "srv-001", "inside", &[internal]);
    wire.heard("old-session");

    scene.contain("cut", &["srv-001"]);
    wire.arrived();
    for target in old {
        talk.wait_dead(target);
    }
    let answers = inside.answers(internal);
    wait_until("ten answers from inside", || inside.answers(internal) >= answers + 10);
    wait_until("the end of the beacon's connection", || acts().iter().any(|act| act.what == "lost"));
    wire.silent("sessions from before the cut");

    scene.declare_clean("srv-001");
    scene.order(&["release", "srv-001"], &["alice", "bruno"]).ends_with(0);
    let answers = inside.answers(internal);
    wait_until("ten answers from inside", || inside.answers(internal) >= answers + 10);
    for target in old {
        assert_eq!(talk.said(target).last().map(|said| said.event.clone()), Some("error".into()), "{target}");
    }
    let after = wire.arrived();
    assert!(!after.iter().any(|packet| packet.text.contains("old-session")), "{after:?}");
    wait_until("the beacon's new connection", || {
        acts().iter().filter(|act| act.what == "connected").count() >= 2
    });
    let mut ports: Vec<String> =
        acts().iter().filter(|act| act.what == "connected").map(|act| act.detail.clone()).collect();
    let connections = ports.len();
    ports.dedup();
    assert_eq!(ports.len(), connections, "each connection of the beacon is a new one: {ports:?}");
    assert_eq!(scene.own_tables("srv-001"), 0);
    reaches_outside(&scene, "srv-001");
}

#[test]
fn address_translation_of_what_is_allowed_leads_nowhere() {
    let Some(scene) = Scene::up(1) else { return };
    if !has("nft") {
        return;
    }
    let mut wire = Wire::tap(&scene);
    scene.contain("cut", &["srv-001"]);
    wire.arrived();
    let trick = "
        table ip trick {
            chain out {
                type nat hook output priority -100;
                ip daddr 10.77.0.2 tcp dport 7443 dnat to 198.51.100.66:443
                ip daddr 10.77.0.20 dnat to 198.51.100.66
            }
        }
        table ip6 trick {
            chain out {
                type nat hook output priority -100;
                ip6 daddr fd77::20 dnat to 2001:db8:66::66
            }
        }";
    scene.inside("srv-001", &["nft", trick]);
    scene.reaches_none(
        "srv-001",
        "tcp",
        &["10.77.0.2:7443", "10.77.0.20:443", "[fd77::20]:443", "10.77.0.20:7"],
    );
    scene.reaches_none("srv-001", "udp", &["10.77.0.20:4444", "[fd77::20]:4444"]);
    scene.reaches_none("srv-001", "icmp", &["10.77.0.20", "fd77::20"]);
    wire.silent("translated destinations");
    scene.inside("srv-001", &["nft", "delete table ip trick; delete table ip6 trick"]);
    // The trick cost the host its controller, too: it is told of once there is one again.
    let host = scene.wait_host("srv-001", "an alarm about the rules", |h| {
        is_cut(h) && h["alarms"].to_string().contains("rules_changed")
    });
    assert!(host["alarms"].to_string().contains("nft"), "the alarm names the program: {host}");
    scene.reaches("srv-001", "tcp", &IN[..2]);
    connects_anew(&scene, "srv-001");
}

#[test]
fn guests_are_cut_with_their_host_however_they_are_connected() {
    let Some(scene) = Scene::up(4) else { return };
    let guests = [
        ("srv-001", GuestKind::Routed, "routed"),
        ("srv-002", GuestKind::Bridged, "bridged"),
        ("srv-003", GuestKind::Macvlan, "macvlan"),
    ];
    for (host, kind, name) in guests {
        scene.guest(host, kind, name);
        reaches_outside(&scene, name);
    }
    let mut wire = Wire::tap(&scene);
    let sessions: Vec<Talk> = guests
        .iter()
        .map(|(_, _, name)| {
            Talk::open(&scene, name, name, &["tcp:198.51.100.66:443", "udp:[2001:db8:66::66]:443"])
        })
        .collect();
    scene.contain("cut", &["--all"]);
    wire.arrived();
    for (_, _, name) in guests {
        reaches_nothing_outside(&scene, name);
    }
    wire.silent("new and old flows of guests");
    // A guest that comes during the cut brings a new card to its host.
    for (host, kind, name) in [
        ("srv-004", GuestKind::Routed, "late-r"),
        ("srv-001", GuestKind::Bridged, "late-b"),
        ("srv-003", GuestKind::Macvlan, "late-m"),
    ] {
        scene.guest(host, kind, name);
        reaches_nothing_outside(&scene, name);
    }
    wire.silent("guests that came during the cut");
    drop(sessions);
    for host in ["srv-001", "srv-002", "srv-003", "srv-004"] {
        scene.wait_host(host, "cut, or failed and saying so", |h| {
            is_cut(h) || (h["links"] == "failed" && h["alarms"].as_array().is_some_and(|a| !a.is_empty()))
        });
    }
}

/// Frames with a UDP datagram to the outside, as root can write them: with the own address, as the
/// controller, and as somebody inside.
fn write_frames(scene: &Scene, host: &str, card: &str, text: &str) {
    let sources = [
        ("10.77.1.1:5353", "198.51.100.66:4444"),
        ("10.77.0.2:7443", "198.51.100.66:4444"),
        ("10.77.0.20:7", "198.51.100.66:53"),
        ("[fd77::1:1]:5353", "[2001:db8:66::66]:4444"),
        ("[fd77::20]:7", "[2001:db8:66::66]:53"),
    ];
    for (from, to) in sources {
        let frame =
            ["digue-intruder", "frame", "--card", card, "--router", ROUTER, "--from", from, "--to", to];
        scene.inside(host, &[&frame[..], &["--text", text]].concat());
    }
}

#[test]
fn frames_written_past_the_packet_filter_do_not_leave() {
    let Some(scene) = Scene::up(1) else { return };
    let mut wire = Wire::tap(&scene);
    write_frames(&scene, "srv-001", "eth0", "frame-open");
    wire.heard("frame-open");
    for profile in ["cut", "isolate"] {
        scene.contain(profile, &["srv-001"]);
        wire.arrived();
        write_frames(&scene, "srv-001", "eth0", "frame-closed");
        wire.silent(&format!("frames under {profile}"));
    }
}

/// Datagrams to the outside without a pause, for as long as this lives.
fn hammer(scene: &Scene, host: &str) -> impl Drop + use<> {
    struct Hammer(std::process::Child);
    impl Drop for Hammer {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let words = [
        "digue-lab",
        "probe",
        "udp",
        "--timeout",
        "20",
        "--within",
        "60000",
        "198.51.100.66:4444",
        "[2001:db8:66::66]:4444",
    ];
    let mut command = scene.lab.exec(host, words);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    Hammer(command.spawn().expect("digue-lab exec"))
}

#[test]
fn flushing_and_deleting_rules_inside_a_cut_host_opens_nothing_even_for_a_moment() {
    let Some(scene) = Scene::up(1) else { return };
    if !has("nft") {
        return;
    }
    scene.contain("cut", &["srv-001"]);
    let whole = scene.own_tables("srv-001");
    assert!(whole >= 4, "two copies of each table: {whole}");
    let mut wire = Wire::tap(&scene);
    let hammering = hammer(&scene, "srv-001");
    for _ in 0..5 {
        scene.inside("srv-001", &["nft", "flush", "ruleset"]);
        scene.exec("srv-001", &["sh", "-c", "nft list tables | grep digue_ | while read table family name; do nft delete table $family $name; nft flush table $family $name; done"]);
        wait_until("all tables again", || scene.own_tables("srv-001") == whole);
    }
    reaches_nothing_outside(&scene, "srv-001");
    drop(hammering);
    wire.silent("flushed and deleted rules");
    let host = scene.wait_host("srv-001", "cut again", |h| {
        is_cut(h) && h["alarms"].to_string().contains("rules_changed")
    });
    assert!(host["alarms"].to_string().contains("nft"), "the alarm names the program: {host}");
    scene.audit();
}

#[test]
fn the_rules_of_a_cut_host_are_read_by_stock_nft() {
    let Some(scene) = Scene::up(1) else { return };
    if !has("nft") {
        return;
    }
    scene.contain("cut", &["srv-001"]);
    let listed = scene.inside("srv-001", &["nft", "list", "ruleset"]);
    for family in ["inet", "bridge", "netdev"] {
        assert_eq!(listed.matches(&format!("table {family} digue_")).count(), 2, "{family}: {listed}");
    }
    for word in
        ["policy drop", "10.77.0.2 . 7443", "hook postrouting priority 300", "hook egress", "\"eth0\""]
    {
        assert!(listed.contains(word), "{word}: {listed}");
    }
    for table in scene.inside("srv-001", &["nft", "list", "tables"]).lines() {
        let words: Vec<&str> = table.split(' ').collect();
        scene.inside("srv-001", &[&["nft", "list"], &words[..]].concat());
    }
}

#[test]
fn foreign_rules_are_byte_identical_after_the_release() {
    let Some(scene) = Scene::up(1) else { return };
    if !has("nft") {
        return;
    }
    let foreign = "
        table inet firewall {
            set friends { type ipv4_addr; flags interval; elements = { 10.77.0.0/16, 192.0.2.7 }; }
            map ports { type inet_service : verdict; elements = { 22 : accept, 8080 : accept }; }
            chain input {
                type filter hook input priority filter; policy accept;
                ct state established,related accept
                ip saddr @friends tcp dport vmap @ports
                tcp dport 23 log prefix \"telnet \" drop
            }
            chain forward { type filter hook forward priority filter - 5; policy accept; }
        }
        table ip nat {
            chain post {
                type nat hook postrouting priority srcnat;
                ip saddr 172.16.0.0/12 masquerade
            }
        }
        table bridge lan { chain forward { type filter hook forward priority 0; }; }
        table netdev in {
            chain eth {
                type filter hook ingress device eth0 priority 0;
                ip saddr 203.0.113.9 drop
            }
        }";
    scene.inside("srv-001", &["nft", foreign]);
    let listed = || scene.inside("srv-001", &["nft", "-s", "-a", "list", "ruleset"]);
    let before = listed();
    assert!(before.contains("table inet firewall") && before.contains("# handle"), "{before}");
    scene.contain("cut", &["srv-001"]);
    assert!(listed().len() > before.len());
    scene.contain("isolate", &["srv-001"]);
    connects_anew(&scene, "srv-001");
    scene.declare_clean("srv-001");
    scene.order(&["release", "srv-001"], &["alice", "bruno"]).ends_with(0);
    assert_eq!(listed(), before);
    reaches_outside(&scene, "srv-001");
}

#[test]
fn a_card_that_is_renamed_or_new_during_a_cut_is_covered_or_raises_an_alarm() {
    let Some(scene) = Scene::up(1) else { return };
    if !has("ip") {
        return;
    }
    scene.contain("cut", &["srv-001"]);
    let mut wire = Wire::tap(&scene);
    let hammering = hammer(&scene, "srv-001");
    let covered = |what: &str, card: &str| {
        let host = scene.wait_host("srv-001", what, |h| {
            let told = h["alarms"].to_string().contains(card);
            told && (is_cut(h) || h["links"] == "failed")
        });
        is_cut(&host)
    };
    let new = "ip link add link eth0 name extra type macvlan mode bridge && ip addr add 10.77.9.9/16 dev extra && ip link set extra up && ip route replace default via 10.77.0.1 dev extra";
    scene.inside("srv-001", &["sh", "-c", new]);
    assert!(covered("a new card is noticed", "extra"));
    reaches_nothing_outside(&scene, "srv-001");
    write_frames(&scene, "srv-001", "extra", "frame-new-card");
    wire.silent("a new card");

    let rename = "ip link del extra; ip link set eth0 down && ip link set eth0 name other && ip link set other up && ip addr replace fd77::1:1/64 dev other nodad && ip route replace default via 10.77.0.1 && ip -6 route replace default via fd77::1";
    scene.inside("srv-001", &["sh", "-c", rename]);
    assert!(covered("the renamed card is noticed", "other"));
    reaches_nothing_outside(&scene, "srv-001");
    write_frames(&scene, "srv-001", "other", "frame-renamed");
    drop(hammering);
    wire.silent("a renamed card");
    scene.reaches("srv-001", "tcp", &IN[..2]);
}
