//! Probes that must fail: a listed rule is not yet a working rule (traps 9 and 14).
//!
//! The host tries to get out, in every way that it has, to addresses set aside for documentation and with
//! a frame type set aside for experiments, and looks whether the counters of the chains moved by just that
//! much. If the cut works, nothing leaves. What only traffic from outside could show is not claimed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use digue_proto::rules::{
    CANARY_ETHERTYPE, Card, Family, HookPoint, HostFacts, LinkLayer, ObservedNet, Role, RuleSet, Verdict,
};
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use serde::{Deserialize, Serialize};

use super::{DriverError, NetDriver, Place, os, sys};

/// TEST-NET-1 and the documentation prefix of IPv6; the discard port.
const TARGETS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1)), 9),
];
/// A refused connection is refused at once; anything longer is no refusal.
const PATIENCE: Duration = Duration::from_millis(500);

/// What came of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Probe {
    /// It failed as it must, and the chain counted it.
    Held {
        /// What was seen.
        detail: String,
    },
    /// It got through, or was not counted.
    Escaped {
        /// What was seen.
        detail: String,
    },
    /// It cannot be tried here.
    NotPossible {
        /// Why.
        detail: String,
    },
}

/// One place where traffic must stop, and what was found there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// The place, in words.
    pub place: String,
    /// What came of probing it.
    pub probe: Probe,
}

/// All places and what was found there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// In the order in which they were probed.
    pub points: Vec<Point>,
}

impl Canary {
    /// Whether any probe got through.
    pub fn escaped(&self) -> bool {
        self.points.iter().any(|point| matches!(point.probe, Probe::Escaped { .. }))
    }

    /// Whether at least one probe was tried and held, and none got through.
    pub fn held(&self) -> bool {
        !self.escaped() && self.points.iter().any(|point| matches!(point.probe, Probe::Held { .. }))
    }

    /// One line that sums it up.
    pub fn summary(&self) -> String {
        let lines = |wanted: fn(&Probe) -> Option<&String>| -> Vec<String> {
            let found =
                self.points.iter().filter_map(|p| wanted(&p.probe).map(|d| format!("{}: {d}", p.place)));
            found.collect()
        };
        let escaped = lines(|p| if let Probe::Escaped { detail } = p { Some(detail) } else { None });
        if !escaped.is_empty() {
            return escaped.join("; ");
        }
        let held = lines(|p| if let Probe::Held { detail } = p { Some(detail) } else { None });
        let rest = lines(|p| if let Probe::NotPossible { detail } = p { Some(detail) } else { None });
        format!("{} probes failed as they must; not possible: {}", held.len(), rest.len())
    }
}

/// Probes every chain of a containment that this host can probe itself. `rules` are those in force; rules
/// that let everything pass but blocked networks are not probed.
///
/// # Errors
/// If the counters cannot be read.
pub fn probe(
    driver: &mut impl NetDriver,
    place: &Place,
    rules: &RuleSet,
    facts: &HostFacts,
) -> Result<Canary, DriverError> {
    place.require_current("probing")?;
    let mut canary = Canary::default();
    let hooks = || rules.tables.iter().flat_map(|t| &t.chains).filter_map(|chain| chain.hook.as_ref());
    if !hooks().any(|hook| hook.policy == Verdict::Drop) {
        return Ok(canary);
    }
    for target in TARGETS {
        canary.points.push(programs(driver, target)?);
    }
    let egress = || hooks().filter(|hook| hook.point == HookPoint::Egress);
    for card in facts.external() {
        let place = format!("raw frames by card {}", card.name);
        let probe = if !egress().any(|hook| hook.devices.contains(&card.name)) {
            Probe::NotPossible { detail: "no chain on sent frames".to_owned() }
        } else if card.link_layer == LinkLayer::Bare {
            Probe::NotPossible { detail: "the card takes no frames".to_owned() }
        } else {
            frame(driver, card)?
        };
        canary.points.push(Point { place, probe });
    }
    for (point, place) in [
        (HookPoint::Input, "traffic to this host"),
        (HookPoint::Forward, "traffic through this host"),
        (HookPoint::Postrouting, "traffic changed on its way out"),
        (HookPoint::Ingress, "received frames"),
    ] {
        if hooks().any(|hook| hook.point == point) {
            let detail = "only traffic that this host does not start passes here".to_owned();
            canary.points.push(Point { place: place.to_owned(), probe: Probe::NotPossible { detail } });
        }
    }
    Ok(canary)
}

/// What programs can send: a datagram and a connection.
fn programs(driver: &mut impl NetDriver, target: SocketAddr) -> Result<Point, DriverError> {
    let version = if target.is_ipv4() { "IPv4" } else { "IPv6" };
    let place = format!("{version} traffic of programs");
    let before = refused(&driver.read()?);
    let datagram = send_datagram(target);
    let stream = TcpStream::connect_timeout(&target, PATIENCE);
    let counted = refused(&driver.read()?).saturating_sub(before);
    let unreachable = |error: &io::Error| {
        let no_way = [libc::ENETUNREACH, libc::EADDRNOTAVAIL, libc::EAFNOSUPPORT];
        error.raw_os_error().is_some_and(|code| no_way.contains(&code))
    };
    let probe = match (datagram, stream) {
        (Ok(()), _) => Probe::Escaped { detail: format!("a datagram to {target} was let out") },
        (_, Ok(_)) => Probe::Escaped { detail: format!("a connection to {target} was made") },
        (Err(error), Err(_)) if counted == 0 && unreachable(&error) => {
            Probe::NotPossible { detail: format!("no way to {target}: {error}") }
        }
        (Err(datagram), Err(stream)) if counted < 2 => Probe::Escaped {
            detail: format!(
                "{counted} of 2 probes were counted (datagram: {datagram}; connection: {stream})"
            ),
        },
        (Err(datagram), Err(_)) => {
            Probe::Held { detail: format!("{counted} packets refused, the program was told: {datagram}") }
        }
    };
    Ok(Point { place, probe })
}

fn send_datagram(target: SocketAddr) -> io::Result<()> {
    let any: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target)?;
    socket.send(b"digue").map(drop)
}

/// Packets of programs that were refused, by either copy: the one that comes first takes them all.
fn refused(observed: &ObservedNet) -> u64 {
    let role = |role| observed.packets(Family::Inet, role, "output", "refused");
    role(Role::Owned) + role(Role::Plain)
}

/// A frame of a type that nothing else sends, so its counter moves by exactly one.
fn frame(driver: &mut impl NetDriver, card: &Card) -> Result<Probe, DriverError> {
    if !card.up {
        return Ok(Probe::NotPossible { detail: "the card is down".to_owned() });
    }
    let before = canaries(&driver.read()?);
    let sent = match send_canary(card) {
        Ok(sent) => sent,
        Err(error) => return Ok(Probe::NotPossible { detail: format!("no raw frames: {error}") }),
    };
    let counted = canaries(&driver.read()?).saturating_sub(before);
    Ok(match (sent, counted) {
        (_, 1..) => Probe::Held { detail: "the frame was dropped and counted".to_owned() },
        (Err(error), 0) if error.raw_os_error() == Some(libc::ENETDOWN) => {
            Probe::NotPossible { detail: "the card is down".to_owned() }
        }
        (Ok(()), 0) => Probe::Escaped { detail: "the frame was sent and no chain counted it".to_owned() },
        (Err(error), 0) => Probe::Escaped { detail: format!("no chain counted the frame ({error})") },
    })
}

fn canaries(observed: &ObservedNet) -> u64 {
    let ours = observed.counters.iter().filter(|c| c.family == Family::Netdev && c.comment == "canary");
    ours.map(|counter| counter.packets).sum()
}

/// Sends the canary by a card. The outer result says whether it could be tried, the inner one what the
/// kernel answered; "no buffer space" is its answer for a frame that a chain dropped.
pub(super) fn send_canary(card: &Card) -> Result<io::Result<()>, DriverError> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd =
        socket(AddressFamily::Packet, SockType::Raw, flags, None).map_err(os("opening a raw socket"))?;
    let mut frame = vec![0x02, 0, 0, 0, 0, 0];
    frame.extend(card.mac.unwrap_or([0x02, 0, 0, 0, 0, 1]));
    frame.extend(CANARY_ETHERTYPE.to_be_bytes());
    frame.extend(b"digue: this frame must not leave");
    frame.resize(60, 0);
    Ok(sys::send_frame(socket.as_fd(), card.ifindex, &frame))
}
