//! What lets traffic get around the rules: none of it can be stopped by them, so it must be seen.
//!
//! The kernel looks at frames in this order: chains on sent frames, traffic control, the card. Whatever
//! comes after the chains, or sends without passing them, is listed here. Deliberately absent: programs
//! attached by `bpf(2)` alone, which no list of netlink's shows.

use std::path::Path;

use super::links::cards;
use super::netlink::{Exchange, NetlinkSocket, Protocol, attributes, first, ne32, text};
use super::{DriverError, Place, kernel};

const GETLINK: u16 = 18;
const GETQDISC: u16 = 38;
const GETFILTER: u16 = 46;
const OPERATION: &str = "looking for ways around the rules";

const TC_KIND: u16 = 1;
/// `TC_H_CLSACT` with its two halves.
const CLSACT: [u32; 2] = [0xffff_fff2, 0xffff_fff3];
const LINK_XDP: u16 = 43;
const XDP_ATTACHED: u16 = 2;

/// Every way around that is open in this network namespace, in words.
///
/// # Errors
/// If the kernel does not list its cards or queues.
pub fn ways_around(place: &Place) -> Result<Vec<String>, DriverError> {
    let mut socket = place.socket(Protocol::Route, 0, OPERATION)?;
    let cards = cards(place)?;
    let name = |ifindex: u32| {
        let card = cards.iter().find(|card| card.ifindex == ifindex);
        card.map_or_else(|| format!("card {ifindex}"), |card| card.name.clone())
    };
    let mut found = traffic_control(&mut socket, name)?;
    found.extend(receive_programs(&mut socket, name)?);
    found.extend(modules(Path::new("/")));
    let protocols = std::fs::read_to_string("/proc/thread-self/net/protocols").unwrap_or_default();
    if let Some(sockets @ 1..) = express_sockets(&protocols) {
        found.push(format!("AF_XDP sockets that send past the rules: {sockets}"));
    }
    Ok(found)
}

/// Filters that act after the chains: they can change frames, or send them by another card. A plain queue
/// does neither.
fn traffic_control(
    socket: &mut NetlinkSocket,
    name: impl Fn(u32) -> String,
) -> Result<Vec<String>, DriverError> {
    let mut found = Vec::new();
    for (_, body) in socket.dump(GETQDISC, |w| w.raw(&[0; 20])).map_err(kernel(OPERATION))? {
        let Some((head, rest)) = body.split_at_checked(20) else { continue };
        let number = |at: usize| ne32(head.get(at..at + 4).unwrap_or_default());
        let (ifindex, handle) = (number(4)?, number(8)?);
        let kind = first(&attributes(rest)?, TC_KIND).map(text).unwrap_or_default();
        let parents = match kind.as_str() {
            "clsact" => CLSACT.to_vec(),
            "ingress" => vec![handle],
            _ if handle != 0 => vec![handle],
            _ => continue,
        };
        for parent in parents {
            let filters = socket.dump(GETFILTER, |w| {
                w.raw(&[0; 4]);
                w.raw(&ifindex.to_ne_bytes());
                w.raw(&[0; 4]);
                w.raw(&parent.to_ne_bytes());
                w.raw(&[0; 4]);
            });
            let filters = match filters {
                Ok(filters) => filters,
                // A queue without classes takes no filter.
                Err(Exchange::Refused { .. }) => continue,
                Err(other) => return Err(kernel(OPERATION)(other)),
            };
            let mut kinds = Vec::new();
            for (_, body) in &filters {
                let parts = attributes(body.get(20..).unwrap_or_default())?;
                kinds.extend(first(&parts, TC_KIND).map(text));
            }
            kinds.sort_unstable();
            kinds.dedup();
            if !kinds.is_empty() {
                let (card, kinds) = (name(ifindex), kinds.join(", "));
                found.push(format!("traffic control on {card}: filter {kinds} in {kind}"));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Programs on received frames, which can send them back or by another card before any chain sees them.
fn receive_programs(
    socket: &mut NetlinkSocket,
    name: impl Fn(u32) -> String,
) -> Result<Vec<String>, DriverError> {
    let mut found = Vec::new();
    for (_, body) in socket.dump(GETLINK, |w| w.raw(&[0; 16])).map_err(kernel(OPERATION))? {
        let Some((head, rest)) = body.split_at_checked(16) else { continue };
        let ifindex = ne32(head.get(4..8).unwrap_or_default())?;
        let program = first(&attributes(rest)?, LINK_XDP).map(attributes).transpose()?.unwrap_or_default();
        if first(&program, XDP_ATTACHED).is_some_and(|how| how.iter().any(|byte| *byte != 0)) {
            found.push(format!("an XDP program on {}", name(ifindex)));
        }
    }
    Ok(found)
}

/// Parts of the kernel that hand frames to cards themselves; only one that was loaded has a state.
fn modules(root: &Path) -> Vec<String> {
    let names = ["netconsole", "pktgen"].into_iter();
    let loaded = names.filter(|name| root.join("sys/module").join(name).join("initstate").exists());
    loaded.map(|name| format!("the kernel module {name} sends past the rules")).collect()
}

/// How many sockets of the kernel's express path there are, from its table of protocols.
fn express_sockets(protocols: &str) -> Option<u64> {
    let line = protocols.lines().find(|line| line.split_whitespace().next() == Some("XDP"))?;
    line.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_the_express_path_are_counted_from_the_table_of_protocols() {
        let table = "protocol  size sockets  memory press maxhdr  slab module\n\
                     XDP        960      2      -1   NI       0   no   kernel\n\
                     TCP       2432      9       1   no     320   yes  kernel\n";
        assert_eq!(express_sockets(table), Some(2));
        assert_eq!(express_sockets("TCP 2432 9\n"), None);
    }

    #[test]
    fn modules_that_send_by_themselves_are_found_by_name() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(modules(root.path()).is_empty());
        let module = root.path().join("sys/module/netconsole");
        std::fs::create_dir_all(&module).expect("a folder");
        assert!(modules(root.path()).is_empty(), "built in, as far as is known");
        std::fs::write(module.join("initstate"), "live").expect("a file");
        assert_eq!(modules(root.path()).len(), 1);
    }
}
