//! What the demonstration looks at, beside what Digue says: arrivals at the "internet", what an incident
//! wrote down about itself, and what can be reached from inside each server.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::stage::{Stage, text_of};
use crate::incident::Act;
use crate::probe::Probed;
use crate::service::Arrival;
use crate::topology::{ATTACKER, ECHO_PORT, Machine, OUTSIDE_SERVICE, SERVICE_PORT};

/// `digue hosts list -o json`.
#[derive(Debug, Deserialize)]
pub(super) struct HostTable {
    pub(super) hosts: Vec<HostRow>,
}

/// One server, as its own signed reports and the signed statements show it.
#[derive(Debug, Deserialize)]
pub(super) struct HostRow {
    pub(super) name: String,
    pub(super) fresh: bool,
    pub(super) level: Option<String>,
    pub(super) links: Option<String>,
    pub(super) verdict: String,
    pub(super) verdict_by: Vec<String>,
    pub(super) alarms: Vec<String>,
    proofs: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

impl HostRow {
    /// Whether a proof of the last report passed: `read_back`, `probes` or `management`.
    pub(super) fn proved(&self, proof: &str) -> bool {
        self.proofs.get(proof).is_some_and(|result| result.contains_key("passed"))
    }

    /// Whether the server counts as cut, and its agent has shown it in all three ways.
    pub(super) fn cut_and_proved(&self) -> bool {
        self.fresh
            && self.links.as_deref() == Some("cut")
            && ["read_back", "probes", "management"].iter().all(|proof| self.proved(proof))
    }
}

/// What reached the "internet" so far.
pub(super) fn arrivals(stage: &Stage) -> Result<Vec<Arrival>> {
    lines(&stage.place().arrivals())
}

/// IP packets that the "internet" has received so far, whatever they carried and whether or not anything
/// listens: by the kernel's own counters, without what neighbours on one cable say to each other.
pub(super) fn packets_outside(stage: &Stage) -> Result<u64> {
    let files = ["/proc/net/snmp", "/proc/net/netstat", "/proc/net/snmp6"];
    let words = [&["digue-lab", "exec", "internet", "--", "cat"][..], &files].concat();
    let counters = stage.run(&words)?.must_end_with(0)?.out;
    received(&counters).context("reading the counters of the \"internet\"")
}

/// What became of an IPv6 packet that was meant for one machine: each is counted in one of these. Multicast
/// for groups that nobody joined is in none, and no router passes it on.
const MEANT_FOR_ONE: [&str; 7] = [
    "Ip6InDelivers",
    "Ip6InUnknownProtos",
    "Ip6InHdrErrors",
    "Ip6InAddrErrors",
    "Ip6InNoRoutes",
    "Ip6InDiscards",
    "Ip6OutForwDatagrams",
];
/// What is among the delivered, but never leaves its cable.
const OF_THE_CABLE: [&str; 8] = [
    "Icmp6InNeighborSolicits",
    "Icmp6InNeighborAdvertisements",
    "Icmp6InRouterSolicits",
    "Icmp6InRouterAdvertisements",
    "Icmp6InGroupMembQueries",
    "Icmp6InGroupMembResponses",
    "Icmp6InGroupMembReductions",
    "Icmp6InMLDv2Reports",
];

fn received(counters: &str) -> Option<u64> {
    let v4 =
        column(counters, "Ip: ", "InReceives")?.checked_sub(column(counters, "IpExt: ", "InMcastPkts")?)?;
    let of = |name: &str| -> Option<u64> {
        let mut lines = counters.lines().map(str::split_whitespace);
        lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()?.parse().ok())?)
    };
    let meant: u64 = MEANT_FOR_ONE.iter().map(|name| of(name)).sum::<Option<u64>>()?;
    let cable: u64 = OF_THE_CABLE.iter().map(|name| of(name)).sum::<Option<u64>>()?;
    Some(v4 + meant.checked_sub(cable)?)
}

/// A value of a table with a line of names above the line of values.
fn column(counters: &str, table: &str, name: &str) -> Option<u64> {
    let mut lines = counters.lines().filter_map(|line| line.strip_prefix(table));
    let (names, values) = (lines.next()?, lines.next()?);
    let column = names.split(' ').position(|other| other == name)?;
    values.split(' ').nth(column)?.parse().ok()
}

/// What an incident says about itself.
pub(super) fn acts(stage: &Stage, server: &str, incident: &str) -> Result<Vec<Act>> {
    lines(&stage.place().host(server).join(format!("incident-{incident}.jsonl")))
}

/// JSON lines; a last line that is still being written is not there yet.
fn lines<T: DeserializeOwned>(file: &Path) -> Result<Vec<T>> {
    let text = text_of(file)?;
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    let read = whole.lines().map(serde_json::from_str);
    read.collect::<Result<_, _>>().with_context(|| format!("reading {}", file.display()))
}

/// Addresses to try, by protocol.
pub(super) type Targets = Vec<(&'static str, Vec<String>)>;

/// The attacker and a harmless outside service, over both versions of IP: TCP, UDP and ICMP.
pub(super) fn outside() -> Targets {
    let sockets = |port: u16| {
        let addresses = [ATTACKER, OUTSIDE_SERVICE].into_iter();
        let both = addresses.flat_map(|(v4, v6)| [IpAddr::from(v4), v6.into()]);
        both.map(|address| SocketAddr::new(address, port).to_string()).collect()
    };
    vec![
        ("tcp", sockets(443)),
        ("udp", sockets(4444)),
        ("icmp", vec![ATTACKER.0.to_string(), ATTACKER.1.to_string()]),
    ]
}

/// The printer, and a neighbour's service, over both versions of IP.
pub(super) fn inside(neighbour: &Machine) -> Targets {
    let mut targets = vec![format!("10.77.0.20:{ECHO_PORT}"), format!("[fd77::20]:{ECHO_PORT}")];
    targets.extend(neighbour.sockets(SERVICE_PORT).iter().map(ToString::to_string));
    vec![("tcp", targets)]
}

/// How many of so many tries reached their target.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) tried: usize,
    /// `srv-003 > 198.51.100.66:443`, for each that was reached.
    pub(super) reached: Vec<String>,
    /// The same for each that was not, with the reason.
    pub(super) missed: Vec<String>,
}

impl Tally {
    pub(super) const fn none_reached(&self) -> bool {
        self.tried > 0 && self.reached.is_empty()
    }

    pub(super) const fn all_reached(&self) -> bool {
        self.tried > 0 && self.missed.is_empty()
    }

    /// The first few of a list, for a reason.
    pub(super) fn some(list: &[String]) -> String {
        let mut text = list.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        if list.len() > 3 {
            text.push_str(", …");
        }
        text
    }
}

/// How often a target is tried before it counts as out of reach.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expecting {
    /// It is to be reached: tried for a few seconds, since the machine may be busy.
    Reach,
    /// It is to be out of reach: tried again and again for half a second.
    Silence,
}

/// Tries from all `servers` at once. `text` is what is sent, so that an arrival can be told from others.
pub(super) fn try_from(
    stage: &Stage,
    servers: &[String],
    targets: impl Fn(&str) -> Result<Targets> + Sync,
    text: &str,
    expecting: Expecting,
) -> Result<Tally> {
    let one = |server: &String| -> Result<Vec<(String, Probed)>> {
        let mut all = Vec::new();
        for (protocol, addresses) in targets(server)? {
            let probed = probe(stage, server, protocol, &addresses, text, expecting)?;
            all.extend(probed.into_iter().map(|probed| (server.clone(), probed)));
        }
        Ok(all)
    };
    let results = std::thread::scope(|scope| {
        let running: Vec<_> = servers.iter().map(|server| scope.spawn(move || one(server))).collect();
        running.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    let mut tally = Tally::default();
    for result in results {
        let probed = result.map_err(|_| anyhow::anyhow!("a thread that tried addresses has ended early"))?;
        for (server, probed) in probed? {
            tally.tried += 1;
            let named = format!("{server} > {}", probed.target);
            match probed.error {
                None => tally.reached.push(named),
                Some(error) => tally.missed.push(format!("{named} ({error})")),
            }
        }
    }
    Ok(tally)
}

fn probe(
    stage: &Stage,
    server: &str,
    protocol: &str,
    addresses: &[String],
    text: &str,
    expecting: Expecting,
) -> Result<Vec<Probed>> {
    let within = match expecting {
        Expecting::Reach => "5000",
        Expecting::Silence => "500",
    };
    let mut words = vec!["digue-lab", "exec", server, "--", "digue-lab", "probe", protocol];
    words.extend(addresses.iter().map(String::as_str));
    words.extend(["--timeout", "1000", "--within", within, "--text", text, "--output", "json"]);
    let ran = stage.run(&words)?;
    let probed: Vec<Probed> = serde_json::from_str(&ran.out)
        .with_context(|| format!("trying {protocol} from {server}: {}{}", ran.out, ran.err))?;
    ensure!(probed.len() == addresses.len(), "{} of {} were tried", probed.len(), addresses.len());
    Ok(probed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_neighbours_say_to_each_other_is_not_counted_as_arrived() {
        let mut counters = String::from(
            "Ip: Forwarding DefaultTTL InReceives InHdrErrors\nIp: 2 64 40 0\nIcmp: InMsgs\nIcmp: 3\n\
             IpExt: InNoRoutes InMcastPkts\nIpExt: 0 2\nIp6InReceives \t99\n",
        );
        for name in MEANT_FOR_ONE.iter().chain(&OF_THE_CABLE) {
            let value = match *name {
                "Ip6InDelivers" => 9,
                "Ip6InAddrErrors" | "Icmp6InNeighborSolicits" => 1,
                _ => 0,
            };
            counters.push_str(&format!("{name}                         \t{value}\n"));
        }
        assert_eq!(received(&counters), Some(40 - 2 + 9 + 1 - 1));
        let missing = counters.replace("Ip6InDelivers", "Ip6InSomething");
        assert_eq!(received(&missing), None, "counters that are missing are not zero");
    }
}
