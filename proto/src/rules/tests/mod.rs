//! Properties of compiled rules, and snapshots of what they look like.
//!
//! The snapshots are the files beside this one. A change of the rules changes them; read the difference
//! before you commit it.

use proptest::prelude::*;

use super::*;
use crate::policy::{BlockList, Direction, Exception, OnLostManagement, Policy, Profile, Transport};

fn names() -> TableNames {
    TableNames::from_entropy([0x1a, 0x2b, 0x3c, 0x4e, 0x5a, 0x6b, 0x7c, 0x8d])
}

fn card(name: &str, ifindex: u32, link_layer: LinkLayer) -> Card {
    Card {
        name: name.to_owned(),
        ifindex,
        mac: Some([2, 0, 0, 0, 0, 1]),
        kind: "veth".to_owned(),
        link_layer,
        bond_port: false,
        carries_vlan: false,
        external: name != "lo",
        up: true,
    }
}

fn facts() -> HostFacts {
    HostFacts {
        cards: vec![
            Card { carries_vlan: true, ..card("eth0", 2, LinkLayer::Ethernet) },
            card("lo", 1, LinkLayer::Ethernet),
            card("tun0", 3, LinkLayer::Bare),
            Card { kind: "bridge".to_owned(), ..card("br0", 4, LinkLayer::Ethernet) },
        ],
        next_hops: vec!["10.77.0.1".parse().expect("address"), "fe80::1".parse().expect("address")],
        dhcp_servers: vec!["10.77.0.1".parse().expect("address")],
        support: Support::FULL,
    }
}

fn policy(profile: Profile) -> Policy {
    let parse = |text: &str| text.parse().expect("network");
    Policy {
        profile,
        controllers: vec![
            "10.77.0.2:7443".parse().expect("address"),
            "[2001:db8::2]:7443".parse().expect("address"),
        ],
        internal: vec![parse("10.77.0.0/16"), parse("10.78.0.0/16"), parse("fd77::/64")],
        exceptions: vec![Exception {
            direction: Direction::Inbound,
            transport: Transport::Tcp,
            peer: parse("192.0.2.0/28"),
            port: 22,
            owner: "forensics".to_owned(),
            reason: "jump host".to_owned(),
            until_ms: None,
        }],
        on_lost_management: OnLostManagement::Hold,
    }
}

fn blocked() -> BlockList {
    let parse = |text: &str| text.parse().expect("network");
    BlockList { networks: vec![parse("198.51.100.66/32"), parse("2001:db8:66::/64")] }
}

fn observed(rules: &RuleSet) -> ObservedNet {
    let owner = |table: &Table| if table.owner { Owner::Us } else { Owner::Nobody };
    let tables = rules.tables.iter().map(|t| ObservedTable { table: t.clone(), owner: owner(t) }).collect();
    ObservedNet {
        generation: 1,
        owner_supported: Some(true),
        tables,
        foreign: Vec::new(),
        foreign_egress: Vec::new(),
        counters: Vec::new(),
        timers: Vec::new(),
    }
}

fn compiled(profile: Profile) -> RuleSet {
    compile(&policy(profile), &blocked(), &facts(), &names())
}

#[test]
fn the_rules_of_each_profile_look_as_they_did_when_they_were_reviewed() {
    let mut timed = policy(Profile::Isolate);
    timed.on_lost_management = OnLostManagement::ReopenAfter(300);
    let observing = compile(&Policy::open(), &blocked(), &facts(), &names());
    let shown = |rules: RuleSet| rules.without_plain().render();
    for (name, text, snapshot) in [
        ("cut", shown(compiled(Profile::Cut)), include_str!("cut.txt")),
        (
            "isolate",
            shown(compile(&timed, &BlockList::default(), &facts(), &names())),
            include_str!("isolate.txt"),
        ),
        ("dark", shown(compiled(Profile::Dark)), include_str!("dark.txt")),
        ("observe", shown(observing), include_str!("observe.txt")),
        ("minimal", shown(minimal(&policy(Profile::Cut), &blocked(), &names())), include_str!("minimal.txt")),
    ] {
        assert!(text == snapshot, "{name}.txt is no longer what is compiled; now:\n{text}");
    }
}

#[test]
fn nothing_to_do_gives_no_table_and_a_block_list_alone_gives_open_chains() {
    assert!(compile(&Policy::open(), &BlockList::default(), &facts(), &names()).is_empty());
    let rules = compile(&Policy::open(), &blocked(), &facts(), &names());
    let hooks = rules.tables.iter().flat_map(|t| &t.chains).filter_map(|chain| chain.hook.as_ref());
    let policies: Vec<Verdict> = hooks.map(|hook| hook.policy).collect();
    assert!(!policies.is_empty() && policies.iter().all(|policy| *policy == Verdict::Accept));
}

#[test]
fn every_chain_of_a_containment_drops_by_default_and_counts_what_it_drops() {
    for profile in [Profile::Cut, Profile::Isolate, Profile::Dark] {
        for chain in compiled(profile).tables.iter().flat_map(|table| &table.chains) {
            let hook = chain.hook.as_ref().expect("a base chain");
            assert_eq!(hook.policy, Verdict::Drop, "{}", chain.name);
            let last = &chain.rules.last().expect("a last rule").exprs;
            assert!(matches!(
                last.as_slice(),
                [Expr::Counter, Expr::Verdict(Verdict::Drop) | Expr::Reject(_)]
            ));
        }
    }
}

#[test]
fn no_rule_lets_a_packet_out_by_its_source_alone() {
    for profile in [Profile::Cut, Profile::Isolate, Profile::Dark] {
        for table in &compiled(profile).tables {
            for chain in &table.chains {
                let point = chain.hook.as_ref().expect("a base chain").point;
                let leaving = matches!(
                    point,
                    HookPoint::Output | HookPoint::Postrouting | HookPoint::Egress | HookPoint::Forward
                );
                for rule in &chain.rules {
                    let accepts = rule.exprs.contains(&Expr::Verdict(Verdict::Accept));
                    let text = rule.render();
                    let bound = text.contains("daddr") || text.contains("oif lo");
                    assert!(!(leaving && accepts) || bound, "{}: {text}", chain.name);
                }
            }
        }
    }
}

#[test]
fn a_kernel_without_bridge_or_card_hooks_gets_no_such_table() {
    let facts = HostFacts { support: Support::INET, ..facts() };
    let rules = compile(&policy(Profile::Cut), &blocked(), &facts, &names());
    assert!(rules.tables.iter().all(|table| table.family == Family::Inet));
    assert_eq!(rules.tables.len(), 2);
}

#[test]
fn the_digest_does_not_depend_on_names_and_does_on_the_timer() {
    let other = TableNames::from_entropy([9; 8]);
    let rules = compiled(Profile::Cut);
    assert_eq!(rules.clone().renamed(&other).digest(), rules.digest());
    assert_eq!(compile(&policy(Profile::Cut), &blocked(), &facts(), &other).digest(), rules.digest());
    let mut timed = policy(Profile::Cut);
    timed.on_lost_management = OnLostManagement::ReopenAfter(300);
    let timed = compile(&timed, &blocked(), &facts(), &names());
    assert_ne!(timed.digest(), rules.digest());
    assert_ne!(timed.clone().with_timer(Some(60)).digest(), timed.digest());
}

#[test]
fn a_name_tells_its_role_and_names_of_others_tell_none() {
    for seed in 0..=255 {
        let names = TableNames::from_entropy([seed; 8]);
        assert_eq!(names::role_of(&names.owned), Some(Role::Owned));
        assert_eq!(names::role_of(&names.plain), Some(Role::Plain));
    }
    for other in ["digue_", "digue_1234567", "digue_123456789", "digue_1234567G", "filter", "Digue_12345678"]
    {
        assert_eq!(names::role_of(other), None, "{other}");
    }
}

#[test]
fn a_table_of_another_socket_or_of_none_is_not_ours() {
    let rules = compiled(Profile::Cut);
    let mut found = observed(&rules);
    assert_eq!(diff(&rules, &found), []);
    found.tables[0].owner = Owner::Other(7);
    let drift = diff(&rules, &found);
    assert_eq!(drift.len(), 1);
    assert!(drift[0].to_string().contains("owner should be"), "{}", drift[0]);
    found.tables.iter_mut().for_each(|table| table.owner = Owner::Nobody);
    assert_eq!(diff(&rules, &found).len(), 3);
    found.owner_supported = Some(false);
    assert_eq!(diff(&rules, &found), []);
}

#[test]
fn an_expired_timer_is_told_from_a_removed_element() {
    let mut timed = policy(Profile::Isolate);
    timed.on_lost_management = OnLostManagement::ReopenAfter(300);
    let rules = compile(&timed, &blocked(), &facts(), &names());
    let mut found = observed(&rules);
    let armed = found.tables[0].table.sets.iter_mut().find(|set| set.name == "armed").expect("the set");
    armed.elements.clear();
    assert!(matches!(diff(&rules, &found).as_slice(), [Drift::Lifted { .. }]));
    let armed = found.tables[0].table.sets.iter_mut().find(|set| set.name == "armed").expect("the set");
    armed.elements = vec![Element { from: [2].into(), to: [2].into(), timeout_ms: Some(1000) }];
    assert!(diff(&rules, &found).len() > 1);
}

#[test]
fn a_card_without_a_chain_and_a_chain_without_a_card_are_found() {
    let rules = compiled(Profile::Cut);
    assert_eq!(coverage(&rules, &facts()), []);
    let mut more = facts();
    more.cards.push(card("eth1", 9, LinkLayer::Ethernet));
    assert_eq!(coverage(&rules, &more).len(), 2);
    let mut fewer = facts();
    fewer.cards.retain(|card| card.name != "eth0");
    assert!(coverage(&rules, &fewer).iter().all(|drift| matches!(drift, Drift::MissingCard { .. })));
    assert_eq!(coverage(&rules, &fewer).len(), 4);
    let mut half = rules.clone();
    let plain =
        half.tables.iter_mut().find(|t| t.family == Family::Netdev && !t.owner).expect("the plain table");
    plain.chains.retain(|chain| !chain.name.starts_with("egress"));
    assert_eq!(coverage(&half, &facts()).len(), 3);
}

#[test]
fn an_observation_survives_its_document_form() {
    let found = observed(&compiled(Profile::Cut));
    let text = serde_json::to_vec(&found).expect("serialises");
    assert_eq!(serde_json::from_slice::<ObservedNet>(&text).expect("parses"), found);
}

/// One change to one place of a rule set, chosen by `pick`.
fn mutate(rules: &mut RuleSet, kind: u8, pick: usize) {
    fn at<T>(list: &mut [T], pick: usize) -> &mut T {
        let index = pick % list.len();
        &mut list[index]
    }
    let table = at(&mut rules.tables, pick);
    let family = table.family;
    match kind {
        0 => drop(rules.tables.remove(pick % rules.tables.len())),
        1 => table.dormant = true,
        2 => table.other_flags = 8,
        3 => table.other_objects = 1,
        4 => drop(table.chains.remove(pick % table.chains.len())),
        5 => table.chains.push(Chain { name: "mine".into(), hook: None, rules: Vec::new() }),
        6 => drop(table.sets.remove(pick % table.sets.len())),
        7 => at(&mut table.sets, pick).other_flags = 1,
        8 => {
            let set = at(&mut table.sets, pick / 7);
            drop(set.elements.remove(pick % set.elements.len()));
        }
        9 => at(&mut at(&mut table.sets, pick / 7).elements, pick).timeout_ms = Some(5000),
        10 => {
            let set = at(&mut table.sets, pick / 7);
            let key = vec![0x42; set.key_len as usize];
            set.elements.push(Element { from: key.clone().into(), to: key.into(), timeout_ms: None });
        }
        11..=15 => {
            let hook = at(&mut table.chains, pick).hook.as_mut().expect("a base chain");
            match kind {
                11 => hook.policy = Verdict::Accept,
                12 => hook.priority = hook.priority.wrapping_add(1),
                13 => hook.point = HookPoint::Other(9),
                14 => hook.kind = ChainKind::Other("nat".into()),
                _ => hook.devices.push("eth9".into()),
            }
        }
        16..=20 => {
            let chain = at(&mut table.chains, pick);
            let place = pick / 5 % chain.rules.len();
            match kind {
                16 => drop(chain.rules.remove(place)),
                17 => {
                    let exprs = vec![Expr::Verdict(Verdict::Accept)];
                    chain.rules.insert(place, Rule { comment: String::new(), exprs });
                }
                18 => {
                    chain.rules[place].exprs.push(Expr::Foreign { name: "quota".into(), bytes: [1].into() })
                }
                19 => chain.rules[place].exprs.truncate(1),
                _ => {
                    let same = chain.rules[place].clone();
                    chain.rules.push(same);
                }
            }
        }
        _ => {
            let copy = Table { name: "digue_00000000".into(), family, ..table.clone() };
            rules.tables.push(copy);
        }
    }
}

proptest! {
    #[test]
    fn any_single_change_of_what_was_found_is_a_drift(kind in 0u8..=21, pick in 0usize..10_000) {
        let meant = compiled(Profile::Cut);
        let mut changed = meant.clone();
        mutate(&mut changed, kind, pick);
        prop_assume!(changed.normal() != meant.normal());
        let mut found = observed(&changed);
        found.tables.iter_mut().for_each(|t| t.owner = if t.table.owner { Owner::Us } else { Owner::Nobody });
        let drift = diff(&meant, &found);
        prop_assert!(!drift.is_empty(), "mutation {} of pick {} went unseen", kind, pick);
        prop_assert!(drift.iter().all(|d| !d.to_string().is_empty()));
        prop_assert_ne!(changed.digest(), meant.digest());
    }

    #[test]
    fn the_order_of_facts_and_of_what_was_found_means_nothing(seed in any::<u64>()) {
        let mut shuffled = facts();
        let turn = |n: usize| usize::try_from(seed % 7).unwrap_or(0) % n;
        let (cards, hops) = (shuffled.cards.len(), shuffled.next_hops.len());
        shuffled.cards.rotate_left(turn(cards));
        shuffled.next_hops.rotate_left(turn(hops));
        let meant = compiled(Profile::Cut);
        prop_assert_eq!(&compile(&policy(Profile::Cut), &blocked(), &shuffled, &names()), &meant);
        let mut found = observed(&meant);
        found.tables.rotate_left(turn(6));
        for table in &mut found.tables {
            let chains = table.table.chains.len();
            table.table.chains.rotate_left(turn(chains));
            table.table.sets.reverse();
            table.table.sets.iter_mut().for_each(|set| set.elements.reverse());
        }
        prop_assert_eq!(diff(&meant, &found), []);
        prop_assert_eq!(found.rule_set().digest(), meant.digest());
    }

    #[test]
    fn intervals_hold_exactly_the_addresses_of_their_networks(
        networks in proptest::collection::vec((any::<u32>(), 8u8..=32), 1..12),
        probe in any::<u32>(),
    ) {
        let networks: Vec<ipnet::IpNet> = networks
            .into_iter()
            .map(|(bits, prefix)| ipnet::Ipv4Net::new_assert(bits.into(), prefix).trunc().into())
            .collect();
        let elements = ranges::intervals(&networks, view::Version::V4);
        let number = |bytes: &Hex| u32::from_be_bytes(<[u8; 4]>::try_from(&**bytes).expect("four bytes"));
        let bounds: Vec<(u32, u32)> = elements.iter().map(|e| (number(&e.from), number(&e.to))).collect();
        prop_assert!(bounds.windows(2).all(|w| w[0].1.checked_add(1).is_some_and(|next| next < w[1].0)));
        let edges = bounds.iter().flat_map(|(a, b)| [*a, *b, a.wrapping_sub(1), b.wrapping_add(1)]);
        for address in edges.chain([probe]) {
            let meant = networks.iter().any(|net| net.contains(&std::net::IpAddr::V4(address.into())));
            let held = bounds.iter().any(|(a, b)| (*a..=*b).contains(&address));
            prop_assert_eq!(meant, held, "{}", std::net::Ipv4Addr::from(address));
        }
    }
}
