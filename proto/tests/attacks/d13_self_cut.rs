//! D13 to D15, as far as they concern the core: orders that would cut the agent's own way to its
//! controllers, arguments that smuggle something, and members that were left out.

use digue_proto::envelope::PayloadType;
use digue_proto::frame::Delivery;
use digue_proto::order::Action;
use digue_proto::policy::{Policy, Profile};

use crate::support::people::seal_by;
use crate::support::world::{block_list, cut_policy, isolate_policy};
use crate::support::{Machine, World};

#[test]
fn d13_an_order_that_cuts_the_agents_own_way_is_refused_unless_it_says_so() {
    let world = World::new();
    let elsewhere =
        Policy { controllers: vec!["10.77.0.3:7443".parse().expect("an address")], ..cut_policy() };
    let dark = Policy { profile: Profile::Dark, internal: Vec::new(), ..cut_policy() };
    let other_port =
        Policy { controllers: vec!["10.77.0.2:443".parse().expect("an address")], ..cut_policy() };
    for policy in [elsewhere, dark, other_port] {
        let mut machine = Machine::new(&world);
        machine.refuses(&world.contain(1, policy.clone()).deliver(), "E0410");
        let meant = world.order(1, Action::Contain { policy, allow_self_cut: true });
        machine.obeys_though_full(&meant.deliver());
        assert!(machine.contained());
    }
}

#[test]
fn d13_an_adjustment_never_cuts_the_agents_own_way() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let elsewhere =
        Policy { controllers: vec!["10.77.0.3:7443".parse().expect("an address")], ..isolate_policy() };
    machine.refuses(&world.adjust(2, elsewhere, machine.challenge()).deliver(), "E0410");
}

#[test]
fn d13_a_block_list_never_covers_a_controller() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    for network in ["10.77.0.2/32", "10.77.0.0/16", "10.0.0.0/8"] {
        machine.refuses(&world.block(1, block_list(&[network])).deliver(), "E0421");
        let challenge = machine.challenge();
        machine.refuses(&world.unblock(1, block_list(&[network]), challenge).deliver(), "E0421");
    }
    machine.obeys(&world.block(1, block_list(&["10.77.0.3/32"])).deliver());
}

/// The configuration named another controller after its network was blocked.
#[test]
fn d13_a_containment_whose_only_controller_is_blocked_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.block(1, block_list(&["198.51.100.0/24"])).deliver());
    let second = "198.51.100.7:7443".parse().expect("an address");
    machine.world.identity.controllers.push(second);
    machine.restart().expect("it starts again");
    machine.connect().expect("it connects again");
    machine
        .refuses(&world.contain(1, Policy { controllers: vec![second], ..cut_policy() }).deliver(), "E0410");
    machine.obeys(&world.cut(1).deliver());
}

fn refused_text(world: &World, from: &str, to: &str) {
    let mut machine = Machine::new(world);
    let mut policy = cut_policy();
    policy.exceptions.push(digue_proto::policy::Exception {
        direction: digue_proto::policy::Direction::Inbound,
        transport: digue_proto::policy::Transport::Tcp,
        peer: "203.0.113.7/32".parse().expect("a network"),
        port: 22,
        owner: "alice".to_owned(),
        reason: "forensics".to_owned(),
        until_ms: None,
    });
    let good = String::from_utf8(world.contain(1, policy).envelope().payload).expect("UTF-8");
    let bad = good.replacen(from, to, 1);
    assert_ne!(bad, good, "{from} is not there");
    let order = seal_by(PayloadType::Protect, bad.into_bytes(), &["alice"]);
    machine.refuses(&Delivery { order, target: None, statement: None }, "E0306");
}

#[test]
fn d14_arguments_are_typed_and_nothing_else_fits_into_them() {
    let world = World::new();
    let shell = "10.77.0.2:7443; nft flush ruleset";
    for (from, to) in [
        ("10.77.0.2:7443", shell),
        ("10.77.0.2:7443", "controller.example.org:7443"),
        ("10.77.0.2:7443", "10.77.0.2:0"),
        ("10.77.0.2:7443", "0.0.0.0:7443"),
        ("10.77.0.2:7443", "127.0.0.1:7443"),
        ("10.77.0.2:7443", "224.0.0.1:7443"),
        ("10.77.0.0/16", "10.77.0.0/16 accept"),
        ("10.77.0.0/16", "../../etc"),
        ("10.77.0.0/16", "10.77.0.1/16"),
        ("10.77.0.0/16", "0.0.0.0/0"),
        ("203.0.113.7/32", "203.0.112.0/23"),
        ("203.0.113.7/32", "::/0"),
        ("\"port\":22", "\"port\":0"),
        ("\"port\":22", "\"port\":65536"),
        ("\"owner\":\"alice\"", "\"owner\":\"\""),
        ("\"owner\":\"alice\"", "\"owner\":\"al\\u0000ice\""),
        ("\"reason\":\"forensics\"", "\"reason\":\"for\\u001b[2Jensics\""),
        ("\"incident\":\"exercise\"", "\"incident\":\"exer\\u0007cise\""),
    ] {
        refused_text(&world, from, to);
    }
    let long = format!("\"reason\":\"{}\"", "x".repeat(64 * 1024));
    refused_text(&world, "\"reason\":\"a test\"", &long);
    refused_text(&world, "\"reason\":\"forensics\"", &long);
}

#[test]
fn d15_what_another_standard_leaves_open_must_be_said() {
    let world = World::new();
    for member in [
        "\"direction\":\"inbound\",",
        "\"transport\":\"tcp\",",
        "\"peer\":\"203.0.113.7/32\",",
        "\"port\":22,",
        "\"owner\":\"alice\",",
        "\"profile\":\"cut\",",
        "\"stream\":\"net\",",
        "\"gen_epoch\":0,",
        ",\"allow_self_cut\":false",
        ",\"on_lost_management\":\"hold\"",
    ] {
        refused_text(&world, member, "");
    }
    refused_text(&world, "\"inbound\"", "\"both\"");
    refused_text(&world, "\"inbound\"", "null");
}
