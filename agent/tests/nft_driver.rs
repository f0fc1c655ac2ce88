//! The rules driver against the real kernel: what is loaded, what is read back, and what others do to it.

mod support;

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use digue_agent::drivers::{
    Applied, DriverError, NetDriver, NftDriver, Place, RuleChange, RuleMonitor, apply_or_minimal,
};
use digue_proto::policy::{BlockList, OnLostManagement, Profile};
use digue_proto::rules::{
    ChainKind, Drift, Expr, Family, HostFacts, Owner, Role, Rule, RuleSet, Support, Verdict, compile, diff,
    minimal,
};
use support::{has, ip, names, policy, private_network, run, wait_for};

fn place() -> Place {
    Place::current(true).expect("a private place")
}

fn driver() -> NftDriver {
    NftDriver::open(&place()).expect("a driver")
}

fn cards() -> HostFacts {
    ip("link add eth0 type veth peer name up0");
    support::tunnel();
    let targets = HostFacts::route_targets(&policy(Profile::Cut));
    let root = tempfile::tempdir().expect("a folder");
    digue_agent::drivers::facts(&place(), &targets, Support::FULL, root.path()).expect("facts")
}

fn cut(facts: &HostFacts) -> RuleSet {
    let blocked = BlockList { networks: vec!["198.51.100.0/24".parse().expect("network")] };
    compile(&policy(Profile::Cut), &blocked, facts, &names(7))
}

fn nft(arguments: &str) -> Result<String, String> {
    run("nft", arguments)
}

fn drift(driver: &mut NftDriver, meant: &RuleSet) -> Vec<Drift> {
    diff(meant, &driver.read().expect("read"))
}

/// The name under which a table was loaded.
fn name(driver: &mut NftDriver, family: Family, role: Role) -> String {
    let found = driver.read().expect("read");
    let table = found.tables.iter().find(|t| t.table.family == family && t.table.role() == Some(role));
    table.expect("a table").table.name.clone()
}

#[test]
fn what_was_applied_is_what_is_read_back() {
    if !private_network("what_was_applied_is_what_is_read_back") {
        return;
    }
    let facts = cards();
    let mut driver = driver();
    for profile in [Profile::Cut, Profile::Isolate, Profile::Dark] {
        let rules = support::rules(profile, &facts);
        driver.apply(&rules).expect("applied");
        let found = driver.read().expect("read");
        assert_eq!(diff(&rules, &found), []);
        assert_eq!(found.rule_set().digest(), rules.digest());
        assert_eq!(found.tables.len(), 6, "three tables in two copies, none left of the set before");
        assert!(found.tables.iter().all(|t| (t.owner == Owner::Us) == (t.table.role() == Some(Role::Owned))));
    }
    driver.apply(&RuleSet::empty()).expect("released");
    assert!(driver.read().expect("read").tables.is_empty());
}

#[test]
fn the_largest_policy_is_loaded_whole() {
    if !private_network("the_largest_policy_is_loaded_whole") {
        return;
    }
    let facts = cards();
    let mut policy = policy(Profile::Cut);
    let nets = |first: u32| {
        (0..1024u32).map(move |n| ipnet::Ipv4Net::new_assert((first << 24 | n << 9).into(), 24).into())
    };
    policy.internal = nets(10).collect();
    policy.controllers = (0..1024u32).map(|n| (Ipv4Addr::from(0x0ac8_0000 + n), 7443).into()).collect();
    let blocked = BlockList { networks: nets(100).collect() };
    policy.validate().expect("valid");
    blocked.validate().expect("valid");
    let rules = compile(&policy, &blocked, &facts, &names(1));
    let mut driver = driver();
    match driver.apply(&rules) {
        Err(error)
            if error.to_string().contains("too long") && std::env::var_os(support::INNER).is_some() =>
        {
            eprintln!("skipped: an ordinary user may not have a send buffer of this size");
            return;
        }
        applied => applied.expect("applied"),
    }
    assert_eq!(drift(&mut driver, &rules), []);
    let small = minimal(&policy, &blocked, &names(2));
    driver.apply(&small).expect("applied");
    assert_eq!(drift(&mut driver, &small), []);
}

#[test]
fn nft_can_read_what_was_loaded_and_cannot_change_what_is_owned() {
    if !private_network("nft_can_read_what_was_loaded_and_cannot_change_what_is_owned") || !has("nft") {
        return;
    }
    let facts = cards();
    let rules = cut(&facts);
    let mut driver = driver();
    driver.apply(&rules).expect("applied");
    let listed = nft("list ruleset").expect("listed");
    assert!(listed.contains("ip daddr . tcp dport @controllers4"), "{listed}");
    assert!(listed.contains("10.77.0.0/16") && listed.contains("fd77::/64"), "{listed}");
    let owned = name(&mut driver, Family::Inet, Role::Owned);
    for attack in [
        format!("delete table inet {owned}"),
        format!("flush table inet {owned}"),
        format!("insert rule inet {owned} output accept"),
        format!("flush chain inet {owned} output"),
        format!("add element inet {owned} internal4 {{ 192.0.2.0/24 }}"),
    ] {
        let refusal = nft(&attack).expect_err("refused");
        assert!(refusal.contains("not permitted") || refusal.contains("No such file"), "{attack}: {refusal}");
    }
    assert_eq!(drift(&mut driver, &rules), []);
}

#[test]
fn a_flush_of_all_rules_leaves_the_owned_copy_and_shows_that_the_plain_one_is_gone() {
    if !private_network("a_flush_of_all_rules_leaves_the_owned_copy_and_shows_that_the_plain_one_is_gone")
        || !has("nft")
    {
        return;
    }
    let facts = cards();
    let rules = cut(&facts);
    let mut driver = driver();
    driver.apply(&rules).expect("applied");
    nft("flush ruleset").expect("flushed");
    let missing = drift(&mut driver, &rules);
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(missing.iter().all(|d| matches!(d, Drift::MissingTable { role: Role::Plain, .. })));
    let start = Instant::now();
    driver.apply(&rules).expect("applied again");
    eprintln!("applied again in {:?}", start.elapsed());
    assert_eq!(drift(&mut driver, &rules), []);
}

#[test]
fn every_change_of_the_plain_copy_is_found() {
    if !private_network("every_change_of_the_plain_copy_is_found") || !has("nft") {
        return;
    }
    let facts = cards();
    let rules = cut(&facts);
    let mut driver = driver();
    type Expected = fn(&Drift) -> bool;
    let attacks: [(&str, Expected); 9] = [
        ("insert rule inet NAME output accept", |d| matches!(d, Drift::ForeignRule { position: 1, .. })),
        ("insert rule inet NAME output meta mark 7 accept", |d| matches!(d, Drift::ForeignRule { .. })),
        ("add rule inet NAME forward quota over 1 mbytes drop", |d| matches!(d, Drift::ForeignRule { .. })),
        ("flush chain inet NAME output", |d| matches!(d, Drift::MissingRule { .. })),
        (
            "add table inet NAME { flags dormant; }",
            |d| matches!(d, Drift::Changed { property, .. } if property == "dormant"),
        ),
        ("add chain inet NAME mine", |d| matches!(d, Drift::Extra { .. })),
        ("add set inet NAME mine { type ipv4_addr; }", |d| matches!(d, Drift::Extra { .. })),
        (
            "add counter inet NAME mine",
            |d| matches!(d, Drift::Changed { property, .. } if property.contains("objects")),
        ),
        (
            "chain inet NAME output { policy accept; }",
            |d| matches!(d, Drift::Changed { property, .. } if property == "policy"),
        ),
    ];
    for (attack, expected) in attacks {
        driver.apply(&rules).expect("applied");
        assert_eq!(drift(&mut driver, &rules), []);
        let plain = name(&mut driver, Family::Inet, Role::Plain);
        nft(&attack.replace("NAME", &plain)).unwrap_or_else(|error| panic!("{attack}: {error}"));
        let found = drift(&mut driver, &rules);
        assert!(found.iter().any(expected), "{attack}: {found:?}");
    }
    // Sets that have no timeout are constant: an address cannot be slipped in.
    driver.apply(&rules).expect("applied");
    let plain = name(&mut driver, Family::Inet, Role::Plain);
    nft(&format!("add element inet {plain} internal4 {{ 192.0.2.0/24 }}")).expect_err("refused");
}

#[test]
fn foreign_rules_are_the_same_after_a_release_to_the_byte() {
    if !private_network("foreign_rules_are_the_same_after_a_release_to_the_byte") || !has("nft") {
        return;
    }
    let facts = cards();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let foreign = "
        table ip nat {
            chain out { type nat hook output priority -100
                ip daddr 192.0.2.9 dnat to 192.0.2.8
            }
        }
        table inet filter {
            set s { type ipv4_addr
                elements = { 192.0.2.1 }
            }
            chain in { type filter hook input priority 0
                ip saddr @s drop
            }
        }
        table inet digue_mine {
            chain x { }
        }
        table netdev edge {
            chain e { type filter hook egress device eth0 priority 0; }
        }
    ";
    std::fs::write(file.path(), foreign).expect("written");
    nft(&format!("-f {}", file.path().display())).expect("loaded");
    let before = nft("-a list ruleset").expect("listed");
    let mut driver = driver();
    driver.apply(&cut(&facts)).expect("applied");
    let found = driver.read().expect("read");
    let named: Vec<&str> = found.foreign.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(named, ["digue_mine", "filter", "nat", "edge"]);
    assert_ne!(nft("-a list ruleset").expect("listed"), before);
    driver.apply(&RuleSet::empty()).expect("released");
    assert_eq!(nft("-a list ruleset").expect("listed"), before);
}

#[test]
fn a_name_that_someone_took_first_is_replaced_by_another() {
    if !private_network("a_name_that_someone_took_first_is_replaced_by_another") || !has("nft") {
        return;
    }
    let facts = cards();
    let rules = cut(&facts);
    // Taken by a socket that owns it, so that it cannot be removed.
    let mut squatter = driver();
    squatter.apply(&rules).expect("applied");
    let mut driver = driver();
    driver.apply(&rules).expect("applied under other names");
    let found = driver.read().expect("read");
    assert!(found.tables.iter().any(|t| t.table.name != names(7).owned && t.owner == Owner::Us));
    let extra = diff(&rules, &found);
    assert!(extra.iter().any(|d| matches!(d, Drift::ExtraTable { .. } | Drift::Changed { .. })), "{extra:?}");
}

#[test]
fn the_kernels_timer_lifts_the_cut_by_itself_and_can_be_set_and_stopped() {
    if !private_network("the_kernels_timer_lifts_the_cut_by_itself_and_can_be_set_and_stopped") {
        return;
    }
    let facts = cards();
    let mut timed = policy(Profile::Isolate);
    timed.on_lost_management = OnLostManagement::ReopenAfter(30);
    let rules = compile(&timed, &BlockList::default(), &facts, &names(7));
    let mut driver = driver();
    driver.apply(&rules).expect("applied");
    let found = driver.read().expect("read");
    assert_eq!(found.timers.len(), 8);
    assert!(found.timers.iter().all(|timer| (25_000..=30_000).contains(&timer.left_ms)));
    let longer = rules.clone().with_timer(Some(500));
    driver.rearm(&longer).expect("set");
    let found = driver.read().expect("read");
    assert!(
        found.timers.iter().all(|timer| (495_000..=500_000).contains(&timer.left_ms)),
        "{:?}",
        found.timers
    );
    assert_eq!(diff(&longer, &found), []);
    assert!(!diff(&rules, &found).is_empty(), "another timeout than the one meant is a drift");
    let confirmed = rules.clone().with_timer(None);
    driver.rearm(&confirmed).expect("stopped");
    assert_eq!(drift(&mut driver, &confirmed), []);
    assert_eq!(driver.read().expect("read").timers, []);

    let soon = rules.with_timer(Some(1));
    driver.rearm(&soon).expect("set");
    reach_the_internet();
    let tried = || socket_to("10.77.0.9:9");
    assert_eq!(tried(), Err(std::io::ErrorKind::PermissionDenied));
    wait_for("the kernel's release", || tried().is_ok());
    assert!(drift(&mut driver, &soon).iter().all(|d| matches!(d, Drift::Lifted { .. })));
}

/// Gives the host an address and a default route by `eth0`.
fn reach_the_internet() {
    ip("addr add 10.77.1.1/16 dev eth0");
    ip("link set eth0 up");
    ip("link set up0 up");
    ip("route add default via 10.77.0.1");
}

fn socket_to(target: &str) -> Result<(), std::io::ErrorKind> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.send_to(b"digue", target).map(drop).map_err(|error| error.kind())
}

#[test]
fn the_monitor_names_who_changed_rules_and_tells_our_own_changes_apart() {
    if !private_network("the_monitor_names_who_changed_rules_and_tells_our_own_changes_apart") || !has("nft")
    {
        return;
    }
    let mut monitor = RuleMonitor::open(&place()).expect("a monitor");
    assert_eq!(monitor.changes().expect("none"), []);
    let mut driver = driver();
    driver.apply(&support::rules(Profile::Dark, &HostFacts::unknown())).expect("applied");
    let changes = monitor.changes().expect("changes");
    let [RuleChange::Changed { generation, .. }] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(driver.own_generation(), Some(*generation));
    nft("flush ruleset").expect("flushed");
    let changes = monitor.changes().expect("changes");
    let [RuleChange::Changed { generation, process, program }] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_ne!(driver.own_generation(), Some(*generation));
    assert_eq!(program, "nft");
    assert_ne!(*process, 0);
}

#[test]
fn a_rule_that_the_kernel_refuses_changes_nothing_and_the_minimal_profile_holds_instead() {
    if !private_network(
        "a_rule_that_the_kernel_refuses_changes_nothing_and_the_minimal_profile_holds_instead",
    ) {
        return;
    }
    let facts = cards();
    let mut driver = driver();
    let good = cut(&facts);
    driver.apply(&good).expect("applied");
    let mut bad = good.clone();
    let foreign = Expr::Foreign { name: "no-such-thing".into(), bytes: [].into() };
    bad.tables[2].chains[0].rules.push(Rule { comment: String::new(), exprs: vec![foreign] });
    let error = driver.apply(&bad).expect_err("refused");
    assert!(matches!(&error, DriverError::Refused { part, .. } if part.contains("rule")), "{error}");
    assert_eq!(drift(&mut driver, &good), [], "the rules before are still in force");
    let smaller = minimal(&policy(Profile::Cut), &BlockList::default(), &names(9));
    assert!(matches!(apply_or_minimal(&mut driver, &bad, &smaller), Ok(Applied::Minimal(_))));
    assert_eq!(drift(&mut driver, &smaller), []);
    let mut wrong_type = good;
    for hook in wrong_type.tables[0].chains.iter_mut().filter_map(|chain| chain.hook.as_mut()) {
        hook.kind = ChainKind::Other("route".into());
        hook.policy = Verdict::Drop;
    }
    driver.apply(&wrong_type).expect_err("refused");
    assert_eq!(drift(&mut driver, &smaller), []);
}

#[test]
fn a_laboratory_driver_is_refused_in_the_machines_own_network() {
    // Before any unshare: whatever namespace the tests were started in, process 1's is refused.
    let same = |a: &str, b: &str| {
        let inode =
            |path: &str| std::fs::metadata(path).map(|m| std::os::unix::fs::MetadataExt::ino(&m)).ok();
        inode(a).is_some() && inode(a) == inode(b)
    };
    if !same("/proc/self/ns/net", "/proc/1/ns/net") {
        eprintln!("skipped: these tests do not run in the network namespace of process 1");
        return;
    }
    assert!(matches!(Place::current(true), Err(DriverError::InitialNamespace(_))));
}

const CHILD: &str = "DIGUE_TEST_CHILD";

/// Not a test of its own: the agent that the two tests below kill.
#[test]
fn child_agent() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let mut driver = driver();
    driver.apply(&support::rules(Profile::Cut, &HostFacts::unknown())).expect("applied");
    println!("applied");
    _ = std::io::stdin().read_line(&mut String::new());
}

fn start_child() -> Child {
    let exe = std::env::current_exe().expect("own path");
    let mut child = Command::new(exe)
        .args(["--exact", "child_agent", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("applied")));
    child
}

#[test]
fn a_killed_agent_leaves_the_plain_copy_and_the_next_one_takes_over_without_a_gap() {
    if !private_network("a_killed_agent_leaves_the_plain_copy_and_the_next_one_takes_over_without_a_gap") {
        return;
    }
    cards();
    reach_the_internet();
    let rules = support::rules(Profile::Cut, &HostFacts::unknown());
    assert_eq!(socket_to("192.0.2.1:9"), Ok(()), "the host was open");
    let mut child = start_child();
    let mut driver = driver();
    assert!(driver.read().expect("read").tables.iter().any(|t| matches!(t.owner, Owner::Other(_))));
    child.kill().expect("killed");
    child.wait().expect("gone");
    wait_for("the end of the owned copy", || driver.read().expect("read").tables.len() == 2);
    let left = drift(&mut driver, &rules);
    assert!(left.iter().all(|d| matches!(d, Drift::MissingTable { role: Role::Owned, .. })), "{left:?}");
    assert_eq!(socket_to("192.0.2.1:9"), Err(std::io::ErrorKind::PermissionDenied), "the host is still cut");
    driver.apply(&rules).expect("applied");
    assert_eq!(drift(&mut driver, &rules), [], "the plain copy of the dead agent was replaced");
}

#[test]
fn a_kept_socket_keeps_the_owned_copy_and_its_heir_replaces_it() {
    if !private_network("a_kept_socket_keeps_the_owned_copy_and_its_heir_replaces_it") || !has("nft") {
        return;
    }
    let rules = support::rules(Profile::Cut, &HostFacts::unknown());
    let kept = {
        let mut first = driver();
        first.apply(&rules).expect("applied");
        first.socket_fd().try_clone_to_owned().expect("a second descriptor, as a service manager holds")
    };
    let mut heir = driver();
    heir.adopt(kept).expect("adopted");
    assert_eq!(drift(&mut heir, &rules), [], "its tables are ours");
    nft("flush ruleset").expect("flushed");
    assert!(heir.read().expect("read").tables.iter().all(|t| t.table.role() == Some(Role::Owned)));
    heir.apply(&rules).expect("applied beside the old ones");
    assert!(heir.holds_inherited());
    let both = drift(&mut heir, &rules);
    assert!(both.iter().all(|d| matches!(d, Drift::ExtraTable { .. })), "{both:?}");
    heir.release_inherited();
    wait_for("the end of the old tables", || drift(&mut heir, &rules).is_empty());
    let other = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    assert!(matches!(heir.adopt(other.into()), Err(DriverError::NotNetfilter)));
}

#[test]
fn applying_is_fast_enough_to_be_measured() {
    if !private_network("applying_is_fast_enough_to_be_measured") {
        return;
    }
    let rules = cut(&cards());
    let mut driver = driver();
    for _ in 0..5 {
        let start = Instant::now();
        driver.apply(&rules).expect("applied");
        let applied = start.elapsed();
        let start = Instant::now();
        assert_eq!(drift(&mut driver, &rules), []);
        let count: usize = rules.tables.iter().flat_map(|t| &t.chains).map(|c| c.rules.len()).sum();
        eprintln!("{count} rules applied in {applied:?}, read back and compared in {:?}", start.elapsed());
        driver.apply(&RuleSet::empty()).expect("released");
    }
}
