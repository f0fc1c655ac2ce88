//! `--keep`: one flow that stays open during a containment.

use digue_proto::policy::{Direction, Exception, Transport};
use ipnet::IpNet;

/// A flow without its owner and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keep {
    direction: Direction,
    transport: Transport,
    peer: IpNet,
    port: u16,
}

impl std::str::FromStr for Keep {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || {
            format!(
                "{text:?} is not ssh-from=NET, in:tcp:PEER:PORT or out:udp:PEER:PORT (IPv6 peers in brackets)"
            )
        };
        if let Some(peer) = text.strip_prefix("ssh-from=") {
            let peer = network(peer)?;
            return Ok(Self { direction: Direction::Inbound, transport: Transport::Tcp, peer, port: 22 });
        }
        let (direction, rest) = text.split_once(':').ok_or_else(shape)?;
        let (transport, rest) = rest.split_once(':').ok_or_else(shape)?;
        let (peer, port) = rest.rsplit_once(':').ok_or_else(shape)?;
        let direction = match direction {
            "in" => Direction::Inbound,
            "out" => Direction::Outbound,
            _ => return Err(shape()),
        };
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(shape()),
        };
        let peer = match peer.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(shape)?,
            None => peer,
        };
        let port: u16 = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
        if port == 0 {
            return Err("port 0 does not exist".to_owned());
        }
        Ok(Self { direction, transport, peer: network(peer)?, port })
    }
}

/// A network, or one address as the smallest network.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => text
            .parse::<std::net::IpAddr>()
            .map(IpNet::from)
            .map_err(|_| format!("{text:?} is not a network"))?,
    };
    if net.trunc() == net {
        Ok(net)
    } else {
        Err(format!("{net} has bits set behind its prefix; write {}", net.trunc()))
    }
}

impl Keep {
    /// The exception that stands in the order.
    pub(crate) fn exception(&self, owner: &str, reason: &str) -> Exception {
        let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
        let mut end = reason.len().min(200);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Exception {
            direction: self.direction,
            transport: self.transport,
            peer: self.peer,
            port: self.port,
            owner: owner.to_owned(),
            reason: reason.get(..end).unwrap_or_default().to_owned(),
            until_ms: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_read_as_flows() {
        let keep = |text: &str| text.parse::<Keep>().expect("a flow");
        assert_eq!(keep("ssh-from=10.0.9.0/24"), keep("in:tcp:10.0.9.0/24:22"));
        assert_eq!(keep("out:udp:10.0.9.53:53").peer, "10.0.9.53/32".parse().expect("a network"));
        assert_eq!(keep("in:tcp:[fd00::/64]:443").port, 443);
        for bad in [
            "ssh",
            "ssh-from=x",
            "in:icmp:10.0.0.1:1",
            "tcp:10.0.0.1:1",
            "in:tcp:10.0.0.1",
            "in:tcp:10.0.0.1:0",
            "in:tcp:10.0.0.1/8:22",
            "in:tcp:[fd00::1:22",
        ] {
            assert!(bad.parse::<Keep>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_long_reason_is_cut_at_a_letter() {
        let exception =
            "ssh-from=10.0.9.0/24".parse::<Keep>().expect("a flow").exception("alice", &"é".repeat(150));
        assert_eq!(exception.reason.chars().count(), 100);
    }
}
