//! Rules that look at frames byte by byte: the ones that no ordinary program would exercise.

mod support;

use std::fs::File;
use std::io::Read;

use digue_agent::drivers::{DriverError, NetDriver, NftDriver, Place, cards, facts};
use digue_proto::policy::{BlockList, Profile};
use digue_proto::rules::{Expr, Family, HostFacts, RuleSet, Support, compile};
use support::raw::{open_tunnel, send_frame};
use support::{CONTROLLER, OUTSIDE, World, ip, names, policy, private_network, reaches_tcp, wait_for};

const CONTROLLER_IP: [u8; 4] = [10, 77, 0, 2];
const OUTSIDE_IP: [u8; 4] = [198, 51, 100, 66];
const HOST_IP: [u8; 4] = [10, 77, 1, 1];
const CONTROLLER_IP6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const OUTSIDE_IP6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0x66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x66];
const HOST_IP6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];

fn place() -> Place {
    Place::current(true).expect("a private place")
}

fn facts_here() -> HostFacts {
    let root = tempfile::tempdir().expect("a folder");
    let targets = HostFacts::route_targets(&policy(Profile::Cut));
    facts(&place(), &targets, Support::FULL, root.path()).expect("facts")
}

fn rules(profile: Profile, facts: &HostFacts) -> RuleSet {
    compile(&policy(profile), &BlockList::default(), facts, &names(5))
}

fn ipv4(source: [u8; 4], target: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(u16::try_from(20 + payload.len()).expect("short").to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    packet.extend(source);
    packet.extend(target);
    let words = packet.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = u16::try_from(!((folded & 0xffff) + (folded >> 16)) & 0xffff).expect("masked");
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(payload);
    packet
}

fn ipv6(source: [u8; 16], target: [u8; 16], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).expect("short").to_be_bytes());
    packet.extend([protocol, 64]);
    packet.extend(source);
    packet.extend(target);
    packet.extend(payload);
    packet
}

fn tcp_head(port: u16) -> Vec<u8> {
    let mut head = vec![0xc3, 0x50];
    head.extend(port.to_be_bytes());
    head.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    head
}

fn frame(target: [u8; 6], source: [u8; 6], kind: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = target.to_vec();
    frame.extend(source);
    frame.extend(kind.to_be_bytes());
    frame.extend(packet);
    frame.resize(frame.len().max(60), 0);
    frame
}

#[test]
fn a_router_may_say_that_a_packet_to_a_controller_was_too_big_and_about_nothing_else() {
    if !private_network("a_router_may_say_that_a_packet_to_a_controller_was_too_big_and_about_nothing_else") {
        return;
    }
    let world = World::new();
    let mut driver = NftDriver::open(&place()).expect("a driver");
    let mut counted = rules(Profile::Isolate, &facts_here());
    for rule in counted.tables.iter_mut().flat_map(|t| &mut t.chains).flat_map(|chain| &mut chain.rules) {
        if rule.comment == "path mtu" {
            rule.exprs.insert(rule.exprs.len() - 1, Expr::Counter);
        }
    }
    driver.apply(&counted).expect("applied");
    let mac =
        cards(&place()).expect("cards").iter().find(|c| c.name == "eth0").and_then(|c| c.mac).expect("a mac");
    let router = [2, 0, 0, 0, 0, 9];
    let quoting = |target: [u8; 4], port: u16, kind: u8, code: u8| {
        let quoted = ipv4(HOST_IP, target, 6, &tcp_head(port)[..8]);
        let message = [&[kind, code, 0, 0, 0, 0, 5, 0][..], &quoted].concat();
        frame(mac, router, 0x0800, &ipv4([10, 77, 0, 1], HOST_IP, 1, &message))
    };
    let quoting6 = |target: [u8; 16], port: u16, kind: u8| {
        let quoted = ipv6(HOST_IP6, target, 6, &tcp_head(port));
        let message = [&[kind, 0, 0, 0, 0, 0, 5, 0][..], &quoted].concat();
        frame(mac, router, 0x86dd, &ipv6(OUTSIDE_IP6, HOST_IP6, 58, &message))
    };
    let mut passed = |frame: &[u8]| {
        let mut count = |family, chain| {
            let found = driver.read().expect("read");
            let of = |role| found.packets(family, role, chain, "path mtu");
            of(digue_proto::rules::Role::Owned) + of(digue_proto::rules::Role::Plain)
        };
        let before = (count(Family::Netdev, "ingress_ethernet"), count(Family::Inet, "input"));
        world.rest.within(|| send_frame("up0", 0, frame, false)).expect("sent");
        // What is sent afterwards has come back, so this frame has been looked at.
        assert!(reaches_tcp(CONTROLLER));
        let after = (count(Family::Netdev, "ingress_ethernet"), count(Family::Inet, "input"));
        // Two copies of the rules.
        (after.0 - before.0, after.1 - before.1)
    };
    assert_eq!(passed(&quoting(CONTROLLER_IP, 7443, 3, 4)), (2, 2));
    assert_eq!(passed(&quoting6(CONTROLLER_IP6, 7443, 2)), (2, 2));
    assert_eq!(passed(&quoting(CONTROLLER_IP, 7444, 3, 4)), (0, 0), "another port");
    assert_eq!(passed(&quoting(OUTSIDE_IP, 7443, 3, 4)), (0, 0), "another target");
    assert_eq!(passed(&quoting(CONTROLLER_IP, 7443, 3, 1)), (0, 0), "another message");
    assert_eq!(passed(&quoting(CONTROLLER_IP, 7443, 8, 0)), (0, 0), "an echo request");
    assert_eq!(passed(&quoting6(OUTSIDE_IP6, 7443, 2)), (0, 0), "another target");
    assert_eq!(passed(&quoting6(CONTROLLER_IP6, 7443, 1)), (0, 0), "another message");
}

#[test]
fn tagged_frames_pass_by_the_same_rules_only_on_hosts_that_use_tags() {
    if !private_network("tagged_frames_pass_by_the_same_rules_only_on_hosts_that_use_tags") {
        return;
    }
    let world = World::new();
    let mut driver = NftDriver::open(&place()).expect("a driver");
    let mut facts = facts_here();
    let mac = facts.external().next().and_then(|card| card.mac).expect("a mac");
    let secret = b"tagged payload";
    let tagged = |target| {
        let packet = ipv4(HOST_IP, target, 17, &[&[0, 53, 0, 53, 0, 22, 0, 0][..], secret].concat());
        frame([0xff; 6], mac, 0x8100, &[&[0, 10, 0x08, 0x00][..], &packet].concat())
    };
    let leaves = |frame: &[u8], claim: u16| {
        world.wire.frames();
        _ = send_frame("eth0", claim, frame, false);
        assert!(reaches_tcp(CONTROLLER));
        world.wire.holding(secret) > 0
    };
    for (uses_tags, internal, claim) in
        [(false, false, 0), (true, true, 0), (true, true, 0x0800), (true, true, 0x8100)]
    {
        facts.cards.iter_mut().for_each(|card| card.carries_vlan = uses_tags);
        driver.apply(&rules(Profile::Cut, &facts)).expect("applied");
        assert_eq!(leaves(&tagged([10, 77, 0, 9]), claim), internal, "tags {uses_tags}, claim {claim:#06x}");
        assert!(!leaves(&tagged(OUTSIDE_IP), claim), "tags {uses_tags}, claim {claim:#06x}");
    }
}

#[test]
fn link_aggregation_goes_on_for_ports_of_a_bond_and_only_to_the_switch() {
    if !private_network("link_aggregation_goes_on_for_ports_of_a_bond_and_only_to_the_switch") {
        return;
    }
    let world = World::new();
    let mut driver = NftDriver::open(&place()).expect("a driver");
    let mut facts = facts_here();
    let mac = facts.external().next().and_then(|card| card.mac).expect("a mac");
    let secret = b"aggregation";
    let to_switch = frame([0x01, 0x80, 0xc2, 0, 0, 2], mac, 0x8809, secret);
    let elsewhere = frame([0xff; 6], mac, 0x8809, secret);
    for bond_port in [false, true] {
        facts.cards.iter_mut().for_each(|card| card.bond_port = bond_port);
        driver.apply(&rules(Profile::Dark, &facts)).expect("applied");
        for (frame, expected) in [(&to_switch, bond_port), (&elsewhere, false)] {
            world.wire.frames();
            let sent = send_frame("eth0", 0, frame, false);
            assert_eq!(sent.is_ok(), expected, "{sent:?}");
            if expected {
                wait_for("the frame", || world.wire.holding(secret) > 0);
            }
        }
    }
    assert_eq!(world.wire.holding(secret), 0);
}

#[test]
fn a_tunnel_lets_out_packets_to_controllers_and_no_others() {
    if !private_network("a_tunnel_lets_out_packets_to_controllers_and_no_others") {
        return;
    }
    let mut tunnel: File = match open_tunnel("tun0") {
        Ok(tunnel) => tunnel,
        Err(error) => {
            eprintln!("skipped: no tunnel: {error}");
            return;
        }
    };
    ip("addr add 10.77.1.1/16 dev tun0");
    ip("link set tun0 up");
    ip("route add default dev tun0");
    let mut sent = |holding: &[u8]| {
        let mut buffer = [0; 2048];
        let mut found = 0;
        while let Ok(length) = tunnel.read(&mut buffer) {
            found += usize::from(buffer[..length].windows(holding.len()).any(|window| window == holding));
        }
        found
    };
    let datagram = |to: &str| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
        _ = socket.send_to(b"through the tunnel", to);
    };
    datagram(OUTSIDE);
    assert_eq!(sent(b"through the tunnel"), 1, "open at first");
    let mut driver = NftDriver::open(&place()).expect("a driver");
    driver.apply(&rules(Profile::Isolate, &facts_here())).expect("applied");
    datagram(OUTSIDE);
    datagram(CONTROLLER);
    assert_eq!(sent(b"through the tunnel"), 0);
    assert!(!reaches_tcp(CONTROLLER), "nobody answers");
    assert!(sent(&CONTROLLER_IP) > 0, "yet the attempt left");
    let raw = ipv4(HOST_IP, OUTSIDE_IP, 17, b"\0\x35\0\x35\0\x10\0\0raw");
    for claim in [0x0800, 0x86dd, 0x0806] {
        _ = send_frame("tun0", claim, &raw, false);
    }
    assert_eq!(sent(b"raw"), 0);
}

#[test]
fn a_driver_is_not_opened_from_a_thread_in_another_namespace() {
    if !private_network("a_driver_is_not_opened_from_a_thread_in_another_namespace") {
        return;
    }
    let here = place();
    let elsewhere = support::Net::new();
    let opened = elsewhere.within(|| NftDriver::open(&here));
    assert!(matches!(opened, Err(DriverError::Elsewhere(_))));
}
