//! Containment as data: what an order asks of a host's network, before any rule is made of it.
//!
//! A policy is complete in itself: it never refers to what was there before, so the newest order of a
//! stream is enough (3.6.1). Deliberately absent: interface names, addresses of the host, rule syntax.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::id::UnixMillis;
use crate::limits::MAX_POLICY_LIST;

/// How much stays open (section 4.2). The order of the variants is the order of strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Everything is open; host state is reported.
    Observe,
    /// Loopback, controllers, internal networks and exceptions stay open.
    Cut,
    /// Loopback, controllers and exceptions stay open.
    Isolate,
    /// Loopback alone stays open; orders come by courier.
    Dark,
}

/// The transport of an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Who opens an exception's flow. There is no default: a missing direction is refused (D15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The peer connects to this host's `port`.
    Inbound,
    /// This host connects to the peer's `port`.
    Outbound,
}

/// One flow that stays open during a containment: who owns it, why, and until when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// Who opens the flow.
    pub direction: Direction,
    /// Its transport.
    pub transport: Transport,
    /// The peer: a small network, see [`Policy::validate`].
    pub peer: IpNet,
    /// The port of whoever is connected to; 1 to 65535.
    pub port: u16,
    /// The person answerable for it.
    pub owner: String,
    /// Why it must stay open.
    pub reason: String,
    /// After this time the host drops it; `None` lasts as long as the containment.
    pub until_ms: Option<UnixMillis>,
}

/// What the host does when it can reach no controller during a containment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLostManagement {
    /// Stay cut. The default.
    Hold,
    /// Reopen after this many seconds, enforced by a kernel timer; needs the signatures of a release.
    ReopenAfter(u32),
}

/// The whole desired state of the `net` stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How much stays open.
    pub profile: Profile,
    /// Literal addresses of the controllers; sorted, unique. No names: there is no DNS during a cut.
    pub controllers: Vec<SocketAddr>,
    /// The organisation's internal networks (used by `cut` only); sorted, unique.
    pub internal: Vec<IpNet>,
    /// Flows that stay open; sorted, unique.
    pub exceptions: Vec<Exception>,
    /// What happens when no controller can be reached.
    pub on_lost_management: OnLostManagement,
}

/// Why a policy, though well formed, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A list is longer than [`MAX_POLICY_LIST`].
    #[error("{0} has more than {MAX_POLICY_LIST} entries")]
    TooLong(&'static str),
    /// A list is not strictly ascending.
    #[error("{0} is not sorted, or holds an entry twice")]
    NotSorted(&'static str),
    /// A network with bits set behind its prefix (10.0.0.1/8).
    #[error("{0} has bits set behind its prefix; write {1}")]
    HostBits(IpNet, IpNet),
    /// A network so wide that it would open everything.
    #[error("{0} is too wide for {1}: the shortest prefix is /{2}")]
    TooWide(IpNet, &'static str, u8),
    /// So many internal addresses that the cut would cut nothing.
    #[error("the internal networks hold {0} IPv4 addresses, the limit is {MAX_INTERNAL_V4}")]
    TooMuchInternal(u64),
    /// An address that can never be a peer.
    #[error("{0} cannot be used as {1}: it is unspecified, multicast or loopback")]
    NotAPeer(IpAddr, &'static str),
    /// Port zero.
    #[error("port 0 in {0}")]
    PortZero(&'static str),
    /// A contained profile without a controller, other than `dark`.
    #[error("a containment names no controller; name one or use the profile dark")]
    NoController,
    /// A text that is empty, too long or holds control characters.
    #[error("the {0} of an exception is empty, too long or holds control characters")]
    BadText(&'static str),
    /// `reopen_after` outside its bounds.
    #[error("reopen_after must be between 30 seconds and 7 days")]
    ReopenBounds,
    /// The profile `observe` with settings that would have no effect.
    #[error("the profile observe takes no controllers, networks or exceptions")]
    ObserveWithSettings,
}

/// Shortest prefixes accepted, for IPv4 and IPv6.
const INTERNAL_MIN: (u8, u8) = (8, 7);
/// Shortest prefix of an internal IPv6 network outside the unique local addresses, fc00::/7.
const INTERNAL_PUBLIC_V6_MIN: u8 = 32;
/// Most IPv4 addresses in internal networks together: four networks of the size of 10.0.0.0/8. Without
/// it a list of all the /8 networks would reopen a host without a clean statement.
const MAX_INTERNAL_V4: u64 = 4 << 24;
const EXCEPTION_MIN: (u8, u8) = (24, 64);
const BLOCK_MIN: (u8, u8) = (8, 16);

impl Policy {
    /// The policy of a host that was never contained.
    pub const fn open() -> Self {
        Self {
            profile: Profile::Observe,
            controllers: Vec::new(),
            internal: Vec::new(),
            exceptions: Vec::new(),
            on_lost_management: OnLostManagement::Hold,
        }
    }

    /// The policy of a host that must be contained but whose state cannot be read (invariant 9):
    /// closed but for the controllers that its configuration names.
    pub fn closed(mut controllers: Vec<SocketAddr>) -> Self {
        controllers.sort_unstable();
        controllers.dedup();
        let profile = if controllers.is_empty() { Profile::Dark } else { Profile::Isolate };
        Self { profile, controllers, ..Self::open() }
    }

    /// Whether this policy cuts anything.
    pub const fn contains(&self) -> bool {
        !matches!(self.profile, Profile::Observe)
    }

    /// Checks every bound and the canonical order of the lists.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), PolicyError> {
        ascending("controllers", &self.controllers)?;
        ascending("internal", &self.internal)?;
        ascending("exceptions", &self.exceptions)?;
        for controller in &self.controllers {
            if controller.port() == 0 {
                return Err(PolicyError::PortZero("controllers"));
            }
            peer(controller.ip(), "a controller")?;
        }
        for net in &self.internal {
            network(*net, "an internal network", internal_min(net))?;
        }
        let v4 = self.internal.iter().filter(|net| matches!(net, IpNet::V4(_)));
        let internal = v4.map(|net| 1u64 << (32 - net.prefix_len().min(32))).sum();
        if internal > MAX_INTERNAL_V4 {
            return Err(PolicyError::TooMuchInternal(internal));
        }
        for exception in &self.exceptions {
            network(exception.peer, "an exception", EXCEPTION_MIN)?;
            if exception.port == 0 {
                return Err(PolicyError::PortZero("exceptions"));
            }
            text("owner", &exception.owner)?;
            text("reason", &exception.reason)?;
        }
        if let OnLostManagement::ReopenAfter(seconds) = self.on_lost_management
            && !(30..=7 * 86_400).contains(&seconds)
        {
            return Err(PolicyError::ReopenBounds);
        }
        match self.profile {
            Profile::Observe if *self != Self::open() => Err(PolicyError::ObserveWithSettings),
            Profile::Cut | Profile::Isolate if self.controllers.is_empty() => Err(PolicyError::NoController),
            Profile::Observe | Profile::Cut | Profile::Isolate | Profile::Dark => Ok(()),
        }
    }

    /// What of this policy is more open than `current`, in words; empty if nothing is.
    ///
    /// A protective order must never relax a containment in force (promise 3), so the host asks this
    /// before it obeys one.
    pub fn relaxes(&self, current: &Self) -> Vec<&'static str> {
        let mut found = Vec::new();
        if !current.contains() {
            return found;
        }
        if self.profile < current.profile {
            found.push("profile");
        }
        let reach = |p: &Self| if p.profile == Profile::Cut { p.internal.clone() } else { Vec::new() };
        let covered = |net: &IpNet, by: &[IpNet]| by.iter().any(|b| b.contains(net));
        let now = reach(current);
        if self.contains() && reach(self).iter().any(|net| !covered(net, &now)) {
            found.push("internal networks");
        }
        if self.controllers.iter().any(|c| !current.controllers.contains(c)) {
            found.push("controllers");
        }
        if self.exceptions.iter().any(|e| !current.exceptions.contains(e)) {
            found.push("exceptions");
        }
        if matches!(self.on_lost_management, OnLostManagement::ReopenAfter(_))
            && self.on_lost_management != current.on_lost_management
        {
            found.push("on_lost_management");
        }
        found
    }
}

/// The whole desired state of the `block` stream: networks dropped in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockList {
    /// Blocked addresses and networks; sorted, unique.
    pub networks: Vec<IpNet>,
}

impl BlockList {
    /// Checks bounds and order.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), PolicyError> {
        ascending("blocked networks", &self.networks)?;
        self.networks.iter().try_for_each(|net| network(*net, "a blocked network", BLOCK_MIN))
    }

    /// Whether something that `current` blocks would be let through.
    pub fn relaxes(&self, current: &Self) -> bool {
        current.networks.iter().any(|net| !self.networks.iter().any(|own| own.contains(net)))
    }

    /// Whether a controller address would be blocked.
    pub fn covers(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|net| net.contains(&address))
    }
}

fn ascending<T: Ord>(what: &'static str, list: &[T]) -> Result<(), PolicyError> {
    if list.len() > MAX_POLICY_LIST {
        return Err(PolicyError::TooLong(what));
    }
    if list.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err(PolicyError::NotSorted(what)) }
}

fn peer(address: IpAddr, what: &'static str) -> Result<(), PolicyError> {
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(PolicyError::NotAPeer(address, what));
    }
    Ok(())
}

fn network(net: IpNet, what: &'static str, minimum: (u8, u8)) -> Result<(), PolicyError> {
    if net.trunc() != net {
        return Err(PolicyError::HostBits(net, net.trunc()));
    }
    let shortest = match net {
        IpNet::V4(_) => minimum.0,
        IpNet::V6(_) => minimum.1,
    };
    if net.prefix_len() < shortest {
        return Err(PolicyError::TooWide(net, what, shortest));
    }
    peer(net.network(), what)
}

fn internal_min(net: &IpNet) -> (u8, u8) {
    match net {
        IpNet::V6(v6) if v6.network().segments()[0] & 0xfe00 != 0xfc00 => {
            (INTERNAL_MIN.0, INTERNAL_PUBLIC_V6_MIN)
        }
        IpNet::V4(_) | IpNet::V6(_) => INTERNAL_MIN,
    }
}

fn text(what: &'static str, value: &str) -> Result<(), PolicyError> {
    let ok = !value.trim().is_empty() && value.len() <= 200 && !value.chars().any(char::is_control);
    if ok { Ok(()) } else { Err(PolicyError::BadText(what)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut() -> Policy {
        Policy {
            profile: Profile::Cut,
            controllers: vec!["10.77.0.2:7443".parse().expect("address")],
            internal: vec!["10.77.0.0/16".parse().expect("network")],
            ..Policy::open()
        }
    }

    #[test]
    fn isolating_a_cut_host_is_stricter_and_the_way_back_is_not() {
        let isolate = Policy { profile: Profile::Isolate, internal: Vec::new(), ..cut() };
        assert_eq!(isolate.relaxes(&cut()), Vec::<&str>::new());
        assert_eq!(cut().relaxes(&isolate), ["profile", "internal networks"]);
        assert_eq!(Policy::open().relaxes(&cut()), ["profile"]);
        assert!(cut().relaxes(&Policy::open()).is_empty());
    }

    #[test]
    fn a_wider_internal_network_another_controller_or_a_new_exception_relaxes() {
        let mut wider = cut();
        wider.internal = vec!["10.0.0.0/8".parse().expect("network")];
        assert_eq!(wider.relaxes(&cut()), ["internal networks"]);
        let mut elsewhere = cut();
        elsewhere.controllers = vec!["198.51.100.66:7443".parse().expect("address")];
        assert_eq!(elsewhere.relaxes(&cut()), ["controllers"]);
        let mut timer = cut();
        timer.on_lost_management = OnLostManagement::ReopenAfter(60);
        assert_eq!(timer.relaxes(&cut()), ["on_lost_management"]);
        let mut narrower = cut();
        narrower.internal = vec!["10.77.3.0/24".parse().expect("network")];
        assert!(narrower.relaxes(&cut()).is_empty());
    }

    #[test]
    fn a_policy_that_would_open_everything_is_refused() {
        let mut policy = cut();
        policy.internal = vec!["0.0.0.0/0".parse().expect("network")];
        assert!(matches!(policy.validate(), Err(PolicyError::TooWide(..))));
        policy.internal = vec!["10.77.0.1/16".parse().expect("network")];
        assert!(matches!(policy.validate(), Err(PolicyError::HostBits(..))));
        policy.internal.clear();
        policy.controllers.clear();
        assert_eq!(policy.validate(), Err(PolicyError::NoController));
        policy = cut();
        policy.internal = (1..=5).map(|n| format!("{n}.0.0.0/8").parse().expect("network")).collect();
        assert_eq!(policy.validate(), Err(PolicyError::TooMuchInternal(5 << 24)));
        policy.internal = vec!["2000::/7".parse().expect("network")];
        assert!(matches!(policy.validate(), Err(PolicyError::TooWide(_, _, 32))));
        policy.internal =
            vec!["2001:db8::/32".parse().expect("network"), "fc00::/7".parse().expect("network")];
        assert_eq!(policy.validate(), Ok(()));
        assert_eq!(cut().validate(), Ok(()));
    }

    #[test]
    fn dropping_an_address_from_the_block_list_relaxes_and_adding_one_does_not() {
        let one = BlockList { networks: vec!["198.51.100.66/32".parse().expect("network")] };
        let two = BlockList { networks: vec!["198.51.100.0/24".parse().expect("network")] };
        assert!(!two.relaxes(&one));
        assert!(one.relaxes(&two));
        assert!(BlockList::default().relaxes(&one));
    }
}
