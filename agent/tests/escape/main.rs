//! Trying to get out of a cut, in the ways of section 4.4, with a real kernel and two or three namespaces.

mod guests;
mod raw_frames;
#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::net::Shutdown;
use std::process::Command;

use digue_agent::drivers::{
    NetDriver, NftDriver, Place, end_sessions, facts, flush_conntrack, namespaces, probe, ways_around, within,
};
use digue_proto::policy::{BlockList, Direction, Exception, Policy, Profile, Transport};
use digue_proto::rules::{Drift, Family, HostFacts, Role, RuleSet, Support, allows, compile, coverage, diff};
use support::{
    CONTROLLER, CONTROLLER6, INTERNAL, INTERNAL6, Net, OUTSIDE, OUTSIDE6, World, has, ip, names, policy,
    private_network, reaches_tcp, reaches_udp, run, session, talk, wait_for,
};

struct Host {
    world: World,
    driver: NftDriver,
    place: Place,
}

impl Host {
    fn new() -> Self {
        let world = World::new();
        let place = Place::current(true).expect("a private place");
        let driver = NftDriver::open(&place).expect("a driver");
        for open in [CONTROLLER, CONTROLLER6, INTERNAL, INTERNAL6, OUTSIDE, OUTSIDE6] {
            wait_for("the way there", || reaches_tcp(open));
            assert!(reaches_udp(open), "{open}");
        }
        Self { world, driver, place }
    }

    fn facts(&self, policy: &Policy) -> HostFacts {
        let root = tempfile::tempdir().expect("a folder");
        facts(&self.place, &HostFacts::route_targets(policy), Support::FULL, root.path()).expect("facts")
    }

    fn contain(&mut self, policy: &Policy, blocked: &BlockList) -> RuleSet {
        let facts = self.facts(policy);
        let rules = compile(policy, blocked, &facts, &names(5));
        self.driver.apply(&rules).expect("applied");
        assert_eq!(coverage(&rules, &facts), []);
        self.world.wire.frames();
        rules
    }

    fn cut(&mut self, profile: Profile) -> RuleSet {
        self.contain(&policy(profile), &BlockList::default())
    }

    fn release(&mut self) {
        self.driver.apply(&RuleSet::empty()).expect("released");
    }

    /// Frames that hold an address of the outside, since the last look. A message to the controller goes
    /// first, so that everything sent before it has arrived.
    fn leaks(&self) -> usize {
        assert!(reaches_tcp(CONTROLLER), "the controller");
        let frames = self.world.wire.frames();
        let outside: [&[u8]; 2] = [&[198, 51, 100, 66], &[0x20, 0x01, 0x0d, 0xb8, 0, 0x66]];
        let holds = |frame: &Vec<u8>| outside.iter().any(|a| frame.windows(a.len()).any(|w| w == *a));
        frames.iter().filter(|frame| holds(frame)).count()
    }

    fn mac(&self) -> [u8; 6] {
        let facts = self.facts(&policy(Profile::Cut));
        facts
            .cards
            .iter()
            .find(|card| card.name == "eth0")
            .and_then(|card| card.mac)
            .expect("a hardware address")
    }
}

#[test]
fn a_cut_keeps_controllers_and_internal_networks_and_nothing_else() {
    if !private_network("a_cut_keeps_controllers_and_internal_networks_and_nothing_else") {
        return;
    }
    let mut host = Host::new();
    host.cut(Profile::Cut);
    for open in [CONTROLLER, CONTROLLER6, INTERNAL, INTERNAL6] {
        assert!(reaches_tcp(open) && reaches_udp(open), "{open} is internal");
    }
    for shut in [OUTSIDE, OUTSIDE6] {
        assert!(!reaches_tcp(shut) && !reaches_udp(shut), "{shut} is outside");
    }
    if has("ping") {
        assert!(run("ping", "-c 1 -W 1 10.77.0.9").is_ok());
        assert!(run("ping", "-c 1 -W 1 198.51.100.66").is_err());
        assert!(run("ping", "-c 1 -W 1 2001:db8:66::66").is_err());
    }
    assert_eq!(host.leaks(), 0);
    host.release();
    assert!(reaches_tcp(OUTSIDE) && reaches_tcp(OUTSIDE6));
}

#[test]
fn isolation_keeps_controllers_only_and_darkness_keeps_nothing() {
    if !private_network("isolation_keeps_controllers_only_and_darkness_keeps_nothing") {
        return;
    }
    let mut host = Host::new();
    host.cut(Profile::Isolate);
    for round in 0..2 {
        assert!(reaches_tcp(CONTROLLER) && reaches_tcp(CONTROLLER6), "round {round}");
        // The neighbours are forgotten, so they must be found again through the rules.
        ip("neigh flush dev eth0");
    }
    for shut in [INTERNAL, INTERNAL6, OUTSIDE, OUTSIDE6] {
        assert!(!reaches_tcp(shut) && !reaches_udp(shut), "{shut}");
    }
    assert!(!reaches_udp(CONTROLLER), "the controller's port is open to TCP only");
    assert_eq!(host.leaks(), 0);
    assert!(host.world.rest.within(|| !reaches_tcp("10.77.1.1:22")));
    host.cut(Profile::Dark);
    assert!(!reaches_tcp(CONTROLLER) && !reaches_tcp(CONTROLLER6));
    support::serve("127.0.0.1:8080");
    support::serve("10.77.1.1:8080");
    assert!(reaches_tcp("127.0.0.1:8080") && reaches_tcp("10.77.1.1:8080"), "the host still reaches itself");
    let left = host.world.wire.frames();
    assert!(left.is_empty(), "left a dark host: {left:02x?}");
}

#[test]
fn an_exception_opens_one_flow_in_one_direction() {
    if !private_network("an_exception_opens_one_flow_in_one_direction") {
        return;
    }
    let mut host = Host::new();
    support::serve("10.77.1.1:22");
    support::serve("10.77.1.1:23");
    let exception = |direction, peer: &str, port| Exception {
        direction,
        transport: Transport::Tcp,
        peer: peer.parse().expect("network"),
        port,
        owner: "forensics".to_owned(),
        reason: "jump host".to_owned(),
        until_ms: None,
    };
    let mut isolated = policy(Profile::Isolate);
    isolated.exceptions = vec![
        exception(Direction::Inbound, "10.77.0.9/32", 22),
        exception(Direction::Outbound, "198.51.100.66/32", 443),
    ];
    host.contain(&isolated, &BlockList::default());
    let from = |source: &str, to: &str| host.world.rest.within(|| connect_from(source, to));
    assert!(from("10.77.0.9", "10.77.1.1:22"));
    assert!(!from("10.77.0.9", "10.77.1.1:23"));
    assert!(!from("10.77.0.1", "10.77.1.1:22"));
    assert!(reaches_tcp(OUTSIDE));
    assert!(!reaches_udp(OUTSIDE) && !reaches_tcp(INTERNAL));
}

/// Whether a connection from one of several own addresses can be made.
fn connect_from(source: &str, to: &str) -> bool {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
    };
    use std::os::fd::AsRawFd;
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    let source: std::net::Ipv4Addr = source.parse().expect("address");
    let to: std::net::SocketAddrV4 = to.parse().expect("address");
    bind(fd.as_raw_fd(), &SockaddrIn::from(std::net::SocketAddrV4::new(source, 0))).expect("bound");
    // The kernel gives up after this long, which a refused packet never reaches.
    let patience = nix::sys::time::TimeValLike::milliseconds(700);
    setsockopt(&fd, sockopt::SendTimeout, &patience).expect("a timeout");
    connect(fd.as_raw_fd(), &SockaddrIn::from(to)).is_ok()
}

#[test]
fn a_session_from_before_dies_and_does_not_resume_after_the_release() {
    if !private_network("a_session_from_before_dies_and_does_not_resume_after_the_release") {
        return;
    }
    let mut host = Host::new();
    let policy = policy(Profile::Cut);
    let none = BlockList::default();
    let mut outside = session(OUTSIDE).expect("a session");
    let mut outside6 = session(OUTSIDE6).expect("a session");
    let mut internal = session(INTERNAL).expect("a session");
    let mut controller = session(CONTROLLER).expect("a session");
    let datagrams = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    datagrams.connect(OUTSIDE).expect("connected");

    host.contain(&policy, &none);
    let ended = end_sessions(&host.place, |flow| allows(&policy, &none, flow)).expect("ended");
    assert!(!ended.unsupported, "this kernel cannot destroy sockets");
    assert!(ended.destroyed >= 3, "two TCP sessions and a UDP one: {ended:?}");
    assert_eq!(ended.refused, 0);
    assert!(ended.kept >= 2);
    _ = flush_conntrack(&host.place);
    assert!(!talk(&mut outside) && !talk(&mut outside6));
    assert!(datagrams.send(b"hello").is_err());
    assert!(talk(&mut internal) && talk(&mut controller), "allowed sessions live on");
    // Bytes written to a session that rules alone had frozen would leave now.
    assert!(outside.write_all(b"queued").is_err());
    assert_eq!(host.leaks(), 0);

    host.release();
    host.world.wire.frames();
    assert!(!talk(&mut outside) && !talk(&mut outside6), "nothing resumes");
    assert_eq!(host.leaks(), 0);
    assert!(reaches_tcp(OUTSIDE), "a new session is possible");
    _ = internal.shutdown(Shutdown::Both);
}

#[test]
fn rules_alone_only_freeze_a_session_which_is_why_sockets_are_destroyed() {
    if !private_network("rules_alone_only_freeze_a_session_which_is_why_sockets_are_destroyed") {
        return;
    }
    let mut host = Host::new();
    // Without the reset that output sends to the program, as a forwarded session would see it.
    let mut outside = session(OUTSIDE).expect("a session");
    let facts = host.facts(&policy(Profile::Cut));
    let mut rules = compile(&policy(Profile::Cut), &BlockList::default(), &facts, &names(5));
    for chain in rules.tables.iter_mut().flat_map(|t| &mut t.chains).filter(|chain| chain.name == "output") {
        chain.rules.retain(|rule| rule.comment != "refused");
    }
    host.driver.apply(&rules).expect("applied");
    assert!(!talk(&mut outside));
    host.release();
    wait_for("the resumed session", || talk(&mut outside));
}

#[test]
fn address_translation_of_the_controllers_own_tuple_does_not_leak() {
    if !private_network("address_translation_of_the_controllers_own_tuple_does_not_leak") || !has("nft") {
        return;
    }
    let mut host = Host::new();
    for (family, from, to) in
        [("ip", "10.77.0.2", "198.51.100.66:443"), ("ip6", "fd77::2", "[2001:db8:66::66]:443")]
    {
        run("nft", &format!("add table {family} trick")).expect("a table");
        let hook = "{ type nat hook output priority -100; }";
        if run("nft", &format!("add chain {family} trick out {hook}")).is_err() {
            eprintln!("skipped: this kernel has no address translation for {family}");
            return;
        }
        let rule = format!("add rule {family} trick out {family} daddr {from} tcp dport 7443 dnat to {to}");
        run("nft", &rule).expect("a rule");
    }
    assert!(reaches_tcp(CONTROLLER), "through the trick, at the outside");
    let wire = host.world.wire.holding(&[198, 51, 100, 66]);
    assert!(wire > 0, "the trick works on an open host");
    host.cut(Profile::Isolate);
    for controller in [CONTROLLER, CONTROLLER6] {
        assert!(!reaches_tcp(controller), "the channel is lost, and seen to be lost");
    }
    assert_eq!(host.world.wire.holding(&[198, 51, 100, 66]), 0);
    assert_eq!(host.world.wire.holding(&[0x20, 0x01, 0x0d, 0xb8, 0, 0x66]), 0);
}

/// An Ethernet frame with an IPv4 packet from `source` to `target`.
/// A chain that gives datagrams to an internal address another destination.
fn redirect_internal(chain: &str, priority: i32) {
    let hook = format!("{{ type filter hook egress device eth0 priority {priority}; }}");
    run("nft", &format!("add chain netdev trick {chain} {hook}")).expect("a chain");
    let rule = "ip daddr 10.77.0.9 udp dport 445 ip daddr set 198.51.100.66";
    run("nft", &format!("add rule netdev trick {chain} {rule}")).expect("a rule");
}

#[test]
fn a_chain_that_redirects_what_the_rules_let_pass_does_not_leak_or_is_told() {
    let name = "a_chain_that_redirects_what_the_rules_let_pass_does_not_leak_or_is_told";
    if !private_network(name) || !has("nft") {
        return;
    }
    let mut host = Host::new();
    let outside = [198, 51, 100, 66];
    let send = || {
        let socket = std::net::UdpSocket::bind("10.77.1.1:0").expect("a socket");
        _ = socket.send_to(b"hidden", INTERNAL);
    };
    run("nft", "add table netdev trick").expect("a table");
    redirect_internal("before", i32::MAX);
    host.world.wire.frames();
    send();
    assert!(host.leaks() > 0, "the trick works on an open host");
    run("nft", "delete table netdev trick").expect("the table is gone");

    let rules = host.cut(Profile::Cut);
    run("nft", "add table netdev trick").expect("a table");
    for (chain, priority) in [("early", 0), ("late", i32::MAX - 1), ("last", i32::MAX)] {
        redirect_internal(chain, priority);
        send();
        assert_eq!(host.world.wire.holding(&outside), 0, "{chain}");
    }
    let told = diff(&rules, &host.driver.read().expect("read"));
    assert!(matches!(told.as_slice(), [Drift::LaterChain { place }] if place.contains("last")), "{told:#?}");

    // Loaded anew, ours come before it: that cannot be helped, so it is never called verified.
    let rules = host.cut(Profile::Cut);
    assert!(!diff(&rules, &host.driver.read().expect("read")).is_empty());
    run("nft", "delete table netdev trick").expect("the table is gone");
    assert_eq!(diff(&rules, &host.driver.read().expect("read")), []);
}

#[test]
fn filters_that_act_after_the_rules_are_found() {
    if !private_network("filters_that_act_after_the_rules_are_found") || !has("tc") {
        return;
    }
    let host = Host::new();
    let found = || ways_around(&host.place).expect("looked for");
    let before = found();
    if run("tc", "qdisc add dev eth0 clsact").is_err() {
        eprintln!("skipped: this kernel has no clsact");
        return;
    }
    assert_eq!(found(), before, "a queue alone does nothing");
    let filter =
        "filter add dev eth0 egress protocol ip u32 match u32 0 0 action mirred egress mirror dev lo";
    if run("tc", filter).is_err() {
        eprintln!("skipped: this kernel has no u32 filter or no mirred action");
        return;
    }
    let after = found();
    let new: Vec<&String> = after.iter().filter(|way| !before.contains(way)).collect();
    assert_eq!(new, ["traffic control on eth0: filter u32 in clsact"]);
}

#[test]
fn a_blocked_network_is_dropped_in_both_directions_whatever_the_profile() {
    if !private_network("a_blocked_network_is_dropped_in_both_directions_whatever_the_profile") {
        return;
    }
    let mut host = Host::new();
    support::serve("10.77.1.1:22");
    let parse = |text: &str| text.parse().expect("network");
    let blocked = BlockList {
        networks: vec![parse("10.77.0.9/32"), parse("198.51.100.0/24"), parse("2001:db8:66::/64")],
    };
    for policy in [Policy::open(), policy(Profile::Cut)] {
        host.contain(&policy, &blocked);
        for shut in [INTERNAL, OUTSIDE, OUTSIDE6] {
            assert!(!reaches_tcp(shut) && !reaches_udp(shut), "{shut}");
        }
        assert!(reaches_tcp(CONTROLLER) && reaches_tcp(INTERNAL6));
        assert!(host.world.rest.within(|| connect_from("10.77.0.1", "10.77.1.1:22")));
        assert!(!host.world.rest.within(|| connect_from("10.77.0.9", "10.77.1.1:22")));
        let counted = host.driver.read().expect("read");
        let dropped: u64 = [Role::Owned, Role::Plain]
            .iter()
            .map(|role| counted.packets(Family::Netdev, *role, "ingress_ethernet", "blocked"))
            .sum();
        assert!(dropped > 0, "what a blocked peer sends is counted");
        assert_eq!(host.leaks(), 0);
    }
}

#[test]
fn the_canary_finds_a_working_cut_and_a_card_that_no_chain_covers() {
    if !private_network("the_canary_finds_a_working_cut_and_a_card_that_no_chain_covers") {
        return;
    }
    let mut host = Host::new();
    let rules = host.cut(Profile::Cut);
    let facts = host.facts(&policy(Profile::Cut));
    let canary = probe(&mut host.driver, &host.place, &rules, &facts).expect("probed");
    assert!(canary.held(), "{canary:#?}");
    assert!(host.world.wire.holding(b"this frame must not leave") == 0);
    // Renaming the card takes it from under its chain, or not, according to the kernel: either the chain
    // still drops, or the canary tells.
    ip("link set eth0 down");
    ip("link set eth0 name lan0");
    ip("link set lan0 up");
    let renamed = host.facts(&policy(Profile::Cut));
    assert!(!coverage(&rules, &renamed).is_empty());
    let mut covered = rules.clone();
    for device in covered.tables.iter_mut().flat_map(|t| &mut t.chains).filter_map(|c| c.hook.as_mut()) {
        device.devices.iter_mut().for_each(|name| "lan0".clone_into(name));
    }
    let canary = probe(&mut host.driver, &host.place, &covered, &renamed).expect("probed");
    let left = host.world.wire.holding(b"this frame must not leave");
    assert_eq!(canary.escaped(), left > 0, "{canary:#?}");
    host.cut(Profile::Cut);
    let rules = host.cut(Profile::Cut);
    let canary = probe(&mut host.driver, &host.place, &rules, &renamed).expect("probed");
    assert!(canary.held(), "{canary:#?}");
}

#[test]
fn sessions_of_containers_end_too_and_only_in_the_namespaces_asked_for() {
    if !private_network("sessions_of_containers_end_too_and_only_in_the_namespaces_asked_for") {
        return;
    }
    let here = Place::current(true).expect("a private place");
    let container = Net::new();
    let mut resident = container.within(|| {
        support::serve("127.0.0.1:8080");
        Command::new("sleep").arg("60").spawn().expect("a process")
    });
    let mut inner = container.within(|| session("127.0.0.1:8080")).expect("a session");
    support::serve("127.0.0.1:8080");
    let mut outer = session("127.0.0.1:8080").expect("a session");
    assert!(namespaces(&here, |_, _| false).expect("listed").is_empty());
    let wanted = resident.id();
    let found = namespaces(&here, |process, _| process == wanted).expect("listed");
    assert_eq!(found.len(), 1);
    let ended = within(&found[0], || end_sessions(&Place::current(true)?, |_| false)).expect("entered");
    assert!(ended.expect("ended").destroyed > 0);
    assert!(!talk(&mut inner) && talk(&mut outer));
    resident.kill().expect("killed");
    resident.wait().expect("gone");
}
