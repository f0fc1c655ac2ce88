//! What this machine's kernel supports, measured.

mod support;

use digue_agent::drivers::{LinkChange, LinkMonitor, Place, capability, cards};
use digue_proto::report::Level;
use digue_proto::rules::LinkLayer;
use support::{Net, ip, private_network};

#[test]
fn the_level_is_what_the_trials_show_and_the_callers_namespace_is_left_alone() {
    if !private_network("the_level_is_what_the_trials_show_and_the_callers_namespace_is_left_alone") {
        return;
    }
    let before = cards(&Place::current(true).expect("a private place")).expect("cards");
    let found = capability();
    for trial in &found.trials {
        eprintln!("{}: {} ({})", trial.name, if trial.works { "yes" } else { "no" }, trial.detail);
    }
    eprintln!("level {:?}", found.level);
    assert_eq!(found.trials.len(), 7);
    assert_eq!(found.level == Level::L4, found.trials.iter().take(6).all(|trial| trial.works));
    assert_eq!(found.shortcomings().len(), found.trials.iter().filter(|trial| !trial.works).count());
    assert_eq!(cards(&Place::current(true).expect("a private place")).expect("cards"), before);
}

#[test]
fn cards_are_told_apart_and_their_comings_and_goings_heard() {
    if !private_network("cards_are_told_apart_and_their_comings_and_goings_heard") {
        return;
    }
    let place = Place::current(true).expect("a private place");
    let mut monitor = LinkMonitor::open(&place).expect("a monitor");
    let other = Net::new();
    ip("link add eth0 type veth peer name up0");
    let tunnel = support::tunnel();
    ip("link add br0 type bridge");
    let found = cards(&place).expect("cards");
    let shown: Vec<_> =
        found.iter().map(|c| (c.name.as_str(), c.link_layer, c.kind.as_str(), c.external)).collect();
    let mut expected = vec![
        ("br0", LinkLayer::Ethernet, "bridge", true),
        ("eth0", LinkLayer::Ethernet, "veth", true),
        ("lo", LinkLayer::Bare, "", false),
        ("tun0", LinkLayer::Bare, "tun", true),
        ("up0", LinkLayer::Ethernet, "veth", true),
    ];
    expected.retain(|(name, ..)| tunnel || *name != "tun0");
    assert_eq!(shown, expected);
    let heard = monitor.changes().expect("changes");
    assert!(heard.iter().any(|c| matches!(c, LinkChange::Card { name, .. } if name == "eth0")), "{heard:?}");
    ip("link set eth0 name lan0");
    let heard = monitor.changes().expect("changes");
    assert!(heard.iter().any(|c| matches!(c, LinkChange::Card { name, .. } if name == "lan0")), "{heard:?}");
    ip(&format!("link set lan0 netns {}", other.path()));
    let heard = monitor.changes().expect("changes");
    assert!(heard.iter().any(|c| matches!(c, LinkChange::Gone { name, .. } if name == "lan0")), "{heard:?}");
    ip("addr add 10.0.0.1/24 dev up0");
    ip("link set up0 up");
    let heard = monitor.changes().expect("changes");
    assert!(heard.contains(&LinkChange::Routes), "{heard:?}");
    assert_eq!(monitor.changes().expect("none"), []);
}
