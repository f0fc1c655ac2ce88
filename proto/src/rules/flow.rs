//! Whether a policy lets a session of this host live on: asked before sockets are destroyed.

use std::net::SocketAddr;

use crate::policy::{BlockList, Direction, Policy, Profile, Transport};

/// A session of this host, as its kernel lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Its transport.
    pub transport: Transport,
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

/// Whether the rules of [`super::compile`] let this session go on.
pub fn allows(policy: &Policy, blocked: &BlockList, flow: &Flow) -> bool {
    let (local, remote) = (plain(flow.local), plain(flow.remote));
    if remote.ip().is_loopback() || remote.ip() == local.ip() {
        return true;
    }
    if blocked.covers(remote.ip()) {
        return false;
    }
    let controller = flow.transport == Transport::Tcp && policy.controllers.contains(&remote);
    let excepted = policy.exceptions.iter().any(|e| {
        let port = match e.direction {
            Direction::Inbound => local.port(),
            Direction::Outbound => remote.port(),
        };
        e.transport == flow.transport && e.peer.contains(&remote.ip()) && e.port == port
    });
    match policy.profile {
        Profile::Observe => true,
        Profile::Cut => {
            controller || excepted || policy.internal.iter().any(|net| net.contains(&remote.ip()))
        }
        Profile::Isolate => controller || excepted,
        Profile::Dark => false,
    }
}

/// An IPv4 session of an IPv6 socket is an IPv4 session.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Exception, OnLostManagement};

    fn policy(profile: Profile) -> Policy {
        Policy {
            profile,
            controllers: vec!["10.77.0.2:7443".parse().expect("address")],
            internal: vec!["10.77.0.0/16".parse().expect("network")],
            exceptions: vec![Exception {
                direction: Direction::Inbound,
                transport: Transport::Tcp,
                peer: "192.0.2.6/32".parse().expect("network"),
                port: 22,
                owner: "a".into(),
                reason: "b".into(),
                until_ms: None,
            }],
            on_lost_management: OnLostManagement::Hold,
        }
    }

    fn tcp(local: &str, remote: &str) -> Flow {
        let parse = |text: &str| text.parse().expect("address");
        Flow { transport: Transport::Tcp, local: parse(local), remote: parse(remote) }
    }

    #[test]
    fn a_session_lives_on_only_if_the_rules_let_its_packets_pass() {
        let none = BlockList::default();
        let internal = tcp("10.77.1.1:40000", "10.77.0.9:445");
        let controller = tcp("10.77.1.1:40000", "10.77.0.2:7443");
        let outside = tcp("10.77.1.1:40000", "198.51.100.66:443");
        let jump = tcp("10.77.1.1:22", "192.0.2.6:50000");
        let not_the_port = tcp("10.77.1.1:50000", "192.0.2.6:22");
        let local = tcp("127.0.0.1:1", "127.0.0.1:2");
        let mapped = tcp("[::ffff:10.77.1.1]:40000", "[::ffff:10.77.0.2]:7443");
        let verdicts = |profile, flow: &Flow| allows(&policy(profile), &none, flow);
        for profile in [Profile::Cut, Profile::Isolate] {
            assert!(verdicts(profile, &controller) && verdicts(profile, &mapped) && verdicts(profile, &jump));
            assert!(!verdicts(profile, &outside) && !verdicts(profile, &not_the_port));
        }
        assert!(verdicts(Profile::Cut, &internal) && !verdicts(Profile::Isolate, &internal));
        assert!(!verdicts(Profile::Dark, &controller) && verdicts(Profile::Dark, &local));
        let blocked = BlockList { networks: vec!["10.77.0.9/32".parse().expect("network")] };
        assert!(!allows(&policy(Profile::Cut), &blocked, &internal));
    }

    #[test]
    fn udp_to_the_controllers_port_is_not_management() {
        let flow = Flow { transport: Transport::Udp, ..tcp("10.77.1.1:40000", "10.77.0.2:7443") };
        assert!(!allows(&policy(Profile::Isolate), &BlockList::default(), &flow));
    }
}
