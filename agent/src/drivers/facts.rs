//! What the host looks like, put together for the rules.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use digue_proto::rules::{HostFacts, Support};

use super::links::{cards, next_hops};
use super::{DriverError, Place};

/// Reads cards, the routers on the way to `targets`, and the servers that leased this host's addresses.
/// `support` is what [`super::capability`] measured; `root` is the root of the file system (`/`).
///
/// # Errors
/// If the kernel does not answer. Unreadable lease files only mean that no server is known.
pub fn facts(
    place: &Place,
    targets: &[IpAddr],
    support: Support,
    root: &Path,
) -> Result<HostFacts, DriverError> {
    let cards = cards(place)?;
    let next_hops = next_hops(place, targets)?;
    let indexes: Vec<u32> = cards.iter().map(|card| card.ifindex).collect();
    let facts = HostFacts { cards, next_hops, dhcp_servers: dhcp_servers(root, &indexes), support };
    Ok(facts.sorted())
}

/// Servers named in the lease files of systemd-networkd, NetworkManager and dhclient.
fn dhcp_servers(root: &Path, indexes: &[u32]) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    for index in indexes {
        let lease = root.join(format!("run/systemd/netif/leases/{index}"));
        found.extend(std::fs::read_to_string(lease).ok().and_then(|text| keyed_server(&text)));
    }
    for (folder, ending, parse) in [
        ("var/lib/NetworkManager", ".lease", keyed_server as fn(&str) -> Option<Ipv4Addr>),
        ("var/lib/dhcp", ".leases", dhclient_server),
    ] {
        let entries = std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        let leases = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending));
        found.extend(leases.filter_map(|entry| parse(&std::fs::read_to_string(entry.path()).ok()?)));
    }
    found
}

fn keyed_server(text: &str) -> Option<Ipv4Addr> {
    text.lines().find_map(|line| line.strip_prefix("SERVER_ADDRESS=")?.trim().parse().ok())
}

/// The last lease in the file is the one in force.
fn dhclient_server(text: &str) -> Option<Ipv4Addr> {
    let option = "option dhcp-server-identifier ";
    text.lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix(option)?.trim_end_matches(';').trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_of_each_kind_of_lease_file_is_found() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, text).expect("a file");
        };
        write("run/systemd/netif/leases/2", "# private\nADDRESS=10.0.0.5\nSERVER_ADDRESS=10.0.0.1\n");
        write("run/systemd/netif/leases/9", "SERVER_ADDRESS=10.9.9.9\n");
        write("var/lib/NetworkManager/internal-abc-eth1.lease", "SERVER_ADDRESS=10.1.0.1\n");
        write(
            "var/lib/dhcp/dhclient.eth2.leases",
            "lease {\n  option dhcp-server-identifier 10.2.0.9;\n}\nlease {\n  option dhcp-server-identifier 10.2.0.1;\n}\n",
        );
        write("var/lib/dhcp/notes.txt", "option dhcp-server-identifier 10.3.0.1;\n");
        let mut found = dhcp_servers(root.path(), &[1, 2]);
        found.sort_unstable();
        let expected = [[10, 0, 0, 1], [10, 1, 0, 1], [10, 2, 0, 1]].map(Ipv4Addr::from);
        assert_eq!(found, expected);
        assert!(dhcp_servers(&root.path().join("none"), &[2]).is_empty());
    }
}
