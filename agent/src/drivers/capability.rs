//! How far a containment can hold on this host: tried, not read off a version number (trap 33).
//!
//! Everything happens in a network namespace of its own, on a thread that ends with it. The rules tried
//! are those that a containment would load.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

use digue_proto::policy::{BlockList, OnLostManagement, Policy, Profile};
use digue_proto::report::Level;
use digue_proto::rules::{
    Card, Family, HostFacts, LinkLayer, Role, RuleSet, Support, TableNames, compile, diff,
};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

use super::canary::send_canary;
use super::netlink::Protocol;
use super::nft::encode;
use super::{DriverError, NetDriver, NftDriver, Place, end_sessions, flush_conntrack, kernel, os};

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// What.
    pub name: String,
    /// Whether it works here.
    pub works: bool,
    /// What was seen.
    pub detail: String,
}

/// What this host's kernel and the agent's rights allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// The level; each includes those below it.
    pub level: Level,
    /// The hooks that rules may use.
    pub support: Support,
    /// What was tried.
    pub trials: Vec<Trial>,
}

impl Capability {
    /// What does not work, in words: why the level is not higher.
    pub fn shortcomings(&self) -> Vec<String> {
        self.trials.iter().filter(|t| !t.works).map(|t| format!("{}: {}", t.name, t.detail)).collect()
    }
}

const IP_RULES: &str = "rules on IP traffic";
const BRIDGE: &str = "rules on bridged frames";
const EGRESS: &str = "rules on sent frames";
const INGRESS: &str = "rules on received frames";
const OWNER: &str = "tables that only their owner can remove";
const SESSIONS: &str = "destruction of sessions";
const CONNTRACK: &str = "flushing the connection table";

/// Tries everything. Never fails: what cannot be tried does not work.
pub fn capability() -> Capability {
    let trials = std::thread::scope(|scope| scope.spawn(try_all).join());
    let trials = match trials {
        Ok(Ok(trials)) => trials,
        Ok(Err(error)) => vec![trial(IP_RULES, Err(error.to_string()))],
        Err(_) => vec![trial(IP_RULES, Err("the trial ended abnormally".to_owned()))],
    };
    let works = |name: &str| trials.iter().any(|trial| trial.name == name && trial.works);
    let support = Support { bridge: works(BRIDGE), ingress: works(INGRESS), egress: works(EGRESS) };
    let steps = [works(IP_RULES), support == Support::FULL, works(OWNER), works(SESSIONS)];
    let level = match steps.iter().take_while(|step| **step).count() {
        0 => Level::L0,
        1 => Level::L1,
        2 => Level::L2,
        3 => Level::L3,
        _ => Level::L4,
    };
    Capability { level, support, trials }
}

fn trial(name: &str, outcome: Result<String, String>) -> Trial {
    let works = outcome.is_ok();
    let detail = outcome.unwrap_or_else(|why| why);
    Trial { name: name.to_owned(), works, detail }
}

fn try_all() -> Result<Vec<Trial>, DriverError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(os("making a private network namespace to try rules in"))?;
    let place = Place::current(true)?;
    raise_loopback(&place)?;
    let shown = |outcome: Result<String, DriverError>| outcome.map_err(|error| error.to_string());
    Ok(vec![
        trial(IP_RULES, try_ip(&place)),
        trial(BRIDGE, shown(try_bridge(&place))),
        trial(EGRESS, try_frames(&place, true)),
        trial(INGRESS, try_frames(&place, false)),
        trial(OWNER, try_owner(&place)),
        trial(SESSIONS, try_sessions(&place)),
        trial(CONNTRACK, shown(flush_conntrack(&place).map(|n| format!("{n} entries")))),
    ])
}

fn policy(profile: Profile) -> Policy {
    let v4 = ([192, 0, 2, 1], 7443).into();
    let v6 = ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 7443).into();
    let internal = [([10, 0, 0, 0].into(), 8), ([0xfd00, 0, 0, 0, 0, 0, 0, 0].into(), 8)];
    Policy {
        profile,
        controllers: vec![v4, v6],
        internal: internal.map(|(address, prefix)| ipnet::IpNet::new_assert(address, prefix)).to_vec(),
        exceptions: Vec::new(),
        on_lost_management: OnLostManagement::ReopenAfter(3600),
    }
}

fn names() -> TableNames {
    TableNames::from_entropy([0; 8])
}

/// Rules of a policy that count the loopback as an external card.
fn rules(profile: Profile, support: Support) -> RuleSet {
    let facts = HostFacts { cards: vec![loopback()], support, ..HostFacts::unknown() };
    let blocked = BlockList { networks: vec![ipnet::IpNet::new_assert([198, 51, 100, 0].into(), 24)] };
    compile(&policy(profile), &blocked, &facts, &names())
}

fn loopback() -> Card {
    Card {
        name: "lo".to_owned(),
        ifindex: 1,
        mac: Some([0; 6]),
        kind: String::new(),
        link_layer: LinkLayer::Ethernet,
        bond_port: false,
        carries_vlan: false,
        external: true,
        up: true,
    }
}

fn raise_loopback(place: &Place) -> Result<(), DriverError> {
    const NEWLINK: u16 = 16;
    const UP: [u8; 4] = 1u32.to_ne_bytes();
    let operation = "raising the loopback";
    let mut socket = place.socket(Protocol::Route, 0, operation)?;
    let raised = socket.request(NEWLINK, 0, |w| {
        w.raw(&[0; 4]);
        w.raw(&1i32.to_ne_bytes());
        w.raw(&UP);
        w.raw(&UP);
    });
    raised.map(drop).map_err(kernel(operation))
}

/// Loads rules, looks that they are there, runs `check`, removes them.
fn with_rules<T>(
    place: &Place,
    rules: &RuleSet,
    check: impl FnOnce(&mut NftDriver) -> Result<T, DriverError>,
) -> Result<T, String> {
    let run = || -> Result<Result<T, String>, DriverError> {
        let mut driver = NftDriver::open(place)?;
        driver.apply(rules)?;
        let found = driver.read()?;
        let drift = diff(rules, &found);
        let checked = check(&mut driver)?;
        driver.apply(&RuleSet::empty())?;
        Ok(match drift.first() {
            None => Ok(checked),
            Some(drift) => Err(format!("read back otherwise than loaded: {drift}")),
        })
    };
    run().map_err(|error| error.to_string())?
}

/// The loopback stays open in a containment and there is no other way to send, so the rules are tried
/// whole, and then without their rule for the loopback.
fn try_ip(place: &Place) -> Result<String, String> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    let target = socket.local_addr().map_err(|error| error.to_string())?;
    let mut rules = rules(Profile::Cut, Support::INET);
    with_rules(place, &rules, |_| Ok(()))?;
    for chain in rules.tables.iter_mut().flat_map(|table| &mut table.chains) {
        chain.rules.retain(|rule| rule.comment != "loopback");
    }
    match with_rules(place, &rules, |_| Ok(socket.send_to(b"digue", target)))? {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok("a datagram was refused".to_owned()),
        Err(error) => Err(format!("a datagram failed otherwise than by a rule: {error}")),
        Ok(_) => Err("a datagram passed rules that refuse it".to_owned()),
    }
}

fn try_bridge(place: &Place) -> Result<String, DriverError> {
    let mut rules = rules(Profile::Cut, Support { bridge: true, ..Support::INET });
    rules.tables.retain(|table| table.family == Family::Bridge);
    let mut driver = NftDriver::open(place)?;
    driver.apply(&rules)?;
    driver.apply(&RuleSet::empty())?;
    Ok("loaded".to_owned())
}

/// A frame sent by the loopback passes the chain on sent frames and, if that one is not there, comes back
/// through the chain on received frames.
fn try_frames(place: &Place, egress: bool) -> Result<String, String> {
    let support = Support { egress, ingress: !egress, ..Support::INET };
    let mut rules = rules(Profile::Cut, support);
    rules.tables.retain(|table| table.family == Family::Netdev);
    let (chain, comment) =
        if egress { ("egress_ethernet", "canary") } else { ("ingress_ethernet", "dropped") };
    let counted = with_rules(place, &rules, |driver| {
        _ = send_canary(&loopback())?;
        let found = driver.read()?;
        let of = |role| found.packets(Family::Netdev, role, chain, comment);
        Ok(of(Role::Owned) + of(Role::Plain))
    })?;
    if counted > 0 {
        Ok("a frame was dropped and counted".to_owned())
    } else {
        Err("a frame was not counted".to_owned())
    }
}

fn try_owner(place: &Place) -> Result<String, String> {
    let rules = rules(Profile::Dark, Support::INET).without_plain();
    with_rules(place, &rules, |driver| {
        if driver.owner_supported() != Some(true) {
            return Ok(Err("the kernel does not know owners".to_owned()));
        }
        let found = driver.read()?;
        let table = found.tables.first().map(|found| found.table.name.clone()).unwrap_or_default();
        let operation = "trying to remove another's table";
        let mut other = place.socket(Protocol::Netfilter, 0, operation)?;
        let start = other.reserve(4);
        let inet = 1;
        let batch = encode(&RuleSet::empty(), &[(inet, &table)], start);
        Ok(match other.transact(&batch.bytes, batch.first, batch.last) {
            Ok(()) => Err("another socket removed the table".to_owned()),
            Err(refusal) => Ok(format!("another socket was told: {refusal}")),
        })
    })?
}

fn try_sessions(place: &Place) -> Result<String, String> {
    let run = || -> std::io::Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        Ok((client, server))
    };
    let (mut client, _server) = run().map_err(|error| error.to_string())?;
    let ended = end_sessions(place, |_| false).map_err(|error| error.to_string())?;
    if ended.unsupported {
        return Err("the kernel cannot destroy sockets".to_owned());
    }
    // Which end is destroyed first decides how the other one learns of it.
    match client.read(&mut [0; 1]) {
        Err(error)
            if ended.destroyed > 0
                && matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) =>
        {
            Ok("a session was ended and its program told so".to_owned())
        }
        other => Err(format!("a session lived on ({} destroyed, read: {other:?})", ended.destroyed)),
    }
}
