//! Names and addresses of the laboratory (section 9.1), before anything of it exists.
//!
//! Pure data: no system call, so that tests and benchmarks can ask for the address of a host without a
//! running laboratory. Deliberately absent: interface indices, process ids, guests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// The attacker's addresses, on the "internet" side of the border.
pub const ATTACKER: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(198, 51, 100, 66), Ipv6Addr::new(0x2001, 0xdb8, 0x66, 0, 0, 0, 0, 0x66));
/// An outside service that is not the attacker.
pub const OUTSIDE_SERVICE: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(198, 51, 100, 80), Ipv6Addr::new(0x2001, 0xdb8, 0x66, 0, 0, 0, 0, 0x80));
/// The name server that answers anything with the attacker's address.
pub const OUTSIDE_DNS: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(198, 51, 100, 53), Ipv6Addr::new(0x2001, 0xdb8, 0x66, 0, 0, 0, 0, 0x53));
/// The border's address on the "internet".
pub const BORDER_OUTSIDE: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(198, 51, 100, 1), Ipv6Addr::new(0x2001, 0xdb8, 0x66, 0, 0, 0, 0, 1));
/// The border's address on the inside: everybody's default gateway.
pub const BORDER_INSIDE: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(10, 77, 0, 1), inside_v6(0, 1));
/// Where the first controller listens for agents.
pub const CONTROLLER_PORT: u16 = 7443;
/// The echo port that every machine answers, TCP and UDP.
pub const ECHO_PORT: u16 = 7;
/// The port of each server's own small service, TCP and UDP; it echoes too.
pub const SERVICE_PORT: u16 = 8080;
/// The ports that the "internet" answers beside [`ECHO_PORT`], TCP and UDP.
pub const OUTSIDE_PORTS: [u16; 3] = [80, 443, 4444];
/// Prefix lengths of the inside, IPv4 and IPv6.
pub const INSIDE_PREFIX: (u8, u8) = (16, 64);
/// Prefix lengths of the "internet", IPv4 and IPv6.
pub const OUTSIDE_PREFIX: (u8, u8) = (24, 64);
/// One bridge takes at most 1,024 ports (`BR_MAX_PORTS`), and the machines beside the servers need some.
pub const MAX_SERVERS: u16 = 1000;

/// What a machine of the laboratory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The attacker, the outside service and the name server.
    Internet,
    /// Router between inside and "internet", with network address translation.
    Border,
    /// Runs `digue-controller`.
    Controller,
    /// The operators' workstation.
    Operator,
    /// The forensic partner's jump host.
    Forensic,
    /// Holds backup repositories.
    Backup,
    /// A machine without an agent.
    Printer,
    /// A server with an agent and a small service.
    Server,
}

/// One machine: its name and its addresses on `eth0` (for the border: on the inside).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The name that `digue-lab exec` takes, also its host name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

impl Machine {
    fn inside(name: &str, role: Role, last: u8) -> Self {
        let v4 = Ipv4Addr::new(10, 77, 0, last);
        Self { name: name.to_owned(), role, v4, v6: inside_v6(0, last) }
    }

    /// The server with this number, from 1: `srv-001` at 10.77.1.1 and fd77::1:1.
    ///
    /// # Errors
    /// A number of zero or beyond [`MAX_SERVERS`].
    pub fn server(number: u16) -> Result<Self> {
        ensure!((1..=MAX_SERVERS).contains(&number), "servers are numbered from 1 to {MAX_SERVERS}");
        let (third, fourth) = ((number - 1) / 254 + 1, (number - 1) % 254 + 1);
        let (third, fourth) = (u8::try_from(third)?, u8::try_from(fourth)?);
        Ok(Self {
            name: server_name(number),
            role: Role::Server,
            v4: Ipv4Addr::new(10, 77, third, fourth),
            v6: inside_v6(third, fourth),
        })
    }

    /// Both addresses with `port`, IPv4 first.
    pub fn sockets(&self, port: u16) -> [SocketAddr; 2] {
        [SocketAddr::new(self.v4.into(), port), SocketAddr::new(self.v6.into(), port)]
    }

    /// What listens on this machine: its role decides.
    pub fn listens(&self) -> Listens {
        match self.role {
            Role::Internet => {
                let mut echo = Vec::new();
                for (v4, v6) in [ATTACKER, OUTSIDE_SERVICE] {
                    for port in [ECHO_PORT].into_iter().chain(OUTSIDE_PORTS) {
                        echo.extend([(IpAddr::from(v4), port), (v6.into(), port)]);
                    }
                }
                let dns = [OUTSIDE_DNS, ATTACKER];
                let dns = dns.into_iter().flat_map(|(v4, v6)| [(IpAddr::from(v4), 53), (v6.into(), 53)]);
                Listens { echo: sockets(echo), dns: sockets(dns) }
            }
            Role::Server => Listens { echo: any(&[ECHO_PORT, SERVICE_PORT]), dns: Vec::new() },
            Role::Border
            | Role::Controller
            | Role::Operator
            | Role::Forensic
            | Role::Backup
            | Role::Printer => Listens { echo: any(&[ECHO_PORT]), dns: Vec::new() },
        }
    }
}

/// The sockets that a machine's service opens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listens {
    /// Sent back as it came, TCP and UDP.
    pub echo: Vec<SocketAddr>,
    /// Any question is answered, UDP.
    pub dns: Vec<SocketAddr>,
}

fn sockets(of: impl IntoIterator<Item = (IpAddr, u16)>) -> Vec<SocketAddr> {
    of.into_iter().map(SocketAddr::from).collect()
}

fn any(ports: &[u16]) -> Vec<SocketAddr> {
    sockets(ports.iter().map(|port| (IpAddr::from(Ipv6Addr::UNSPECIFIED), *port)))
}

/// `srv-001`.
pub fn server_name(number: u16) -> String {
    format!("srv-{number:03}")
}

/// fd77::`third`:`fourth`, where the hexadecimal digits read like the decimal ones of the IPv4 address.
pub const fn inside_v6(third: u8, fourth: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, decimal_digits(third), decimal_digits(fourth))
}

const fn decimal_digits(value: u8) -> u16 {
    let value = value as u16;
    (value / 100) * 0x100 + (value / 10 % 10) * 0x10 + value % 10
}

/// Every machine of a laboratory with `servers` servers, in the order in which they are made.
///
/// # Errors
/// More than [`MAX_SERVERS`] servers.
pub fn machines(servers: u16, second_controller: bool) -> Result<Vec<Machine>> {
    ensure!(
        servers <= MAX_SERVERS,
        "{servers} servers were asked for, but one bridge holds at most {MAX_SERVERS}; use --hosts {MAX_SERVERS} or fewer"
    );
    let mut all = vec![
        Machine { name: "internet".into(), role: Role::Internet, v4: ATTACKER.0, v6: ATTACKER.1 },
        Machine::inside("border", Role::Border, 1),
        Machine::inside("controller", Role::Controller, 2),
    ];
    if second_controller {
        all.push(Machine::inside("controller-2", Role::Controller, 3));
    }
    all.push(Machine::inside("operator", Role::Operator, 5));
    all.push(Machine::inside("forensic", Role::Forensic, 6));
    all.push(Machine::inside("backup", Role::Backup, 9));
    all.push(Machine::inside("printer", Role::Printer, 20));
    for number in 1..=servers {
        all.push(Machine::server(number)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_numbered_without_network_or_broadcast_addresses() {
        let address = |n| Machine::server(n).map(|m| (m.v4.to_string(), m.v6.to_string())).expect("server");
        assert_eq!(address(1), ("10.77.1.1".into(), "fd77::1:1".into()));
        assert_eq!(address(12), ("10.77.1.12".into(), "fd77::1:12".into()));
        assert_eq!(address(254), ("10.77.1.254".into(), "fd77::1:254".into()));
        assert_eq!(address(255), ("10.77.2.1".into(), "fd77::2:1".into()));
        assert!(Machine::server(0).is_err());
    }

    #[test]
    fn no_two_machines_share_a_name_or_an_address() {
        let all = machines(MAX_SERVERS, true).expect("machines");
        let keys: [fn(&Machine) -> String; 3] =
            [|m| m.name.clone(), |m| m.v4.to_string(), |m| m.v6.to_string()];
        for key in keys {
            let mut keys: Vec<String> = all.iter().map(key).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), all.len());
        }
        assert!(machines(MAX_SERVERS + 1, false).is_err());
    }
}
