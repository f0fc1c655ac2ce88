//! Importing an inventory: a three-way preview of what is added, changed and missing.
//!
//! A host that the file does not name is never retired, and a match that is not certain is listed, not
//! guessed.

pub(crate) mod ansible;
pub(crate) mod csv;
mod decode;

use std::collections::BTreeMap;
use std::net::IpAddr;

use digue_proto::id::HostId;
use digue_proto::trust::{InventoryHost, InventoryV1, Label};

/// A host as a file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Imported {
    /// Its name.
    pub(crate) name: HostId,
    /// Its addresses; empty if the file says nothing of them.
    pub(crate) addresses: Vec<IpAddr>,
    /// Its labels.
    pub(crate) labels: Vec<Label>,
}

/// A row that could mean an existing host under another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ambiguous {
    /// The name in the file.
    pub(crate) name: HostId,
    /// The host of the inventory that has the same address.
    pub(crate) existing: HostId,
    /// The address.
    pub(crate) address: IpAddr,
}

/// What an import would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Preview {
    /// New hosts, without an agent's key.
    pub(crate) added: Vec<InventoryHost>,
    /// Hosts with other addresses or labels, and the differences in words.
    pub(crate) changed: Vec<(InventoryHost, Vec<String>)>,
    /// Hosts that stay as they are.
    pub(crate) unchanged: usize,
    /// Hosts of the inventory that the file does not name; they stay.
    pub(crate) missing: Vec<HostId>,
    /// Rows that are left out because they could mean an existing host.
    pub(crate) ambiguous: Vec<Ambiguous>,
}

impl Preview {
    /// Hosts that would be different.
    pub(crate) const fn count(&self) -> usize {
        self.added.len() + self.changed.len()
    }

    /// The inventory with the changes in it.
    pub(crate) fn applied_to(&self, mut inventory: InventoryV1) -> InventoryV1 {
        let mut changed: BTreeMap<_, _> =
            self.changed.iter().map(|(host, _)| (&host.host_id, host)).collect();
        for host in &mut inventory.hosts {
            if let Some(new) = changed.remove(&host.host_id) {
                *host = new.clone();
            }
        }
        inventory.hosts.extend(self.added.iter().cloned());
        inventory.hosts.sort_by(|a, b| a.host_id.cmp(&b.host_id));
        inventory
    }
}

/// Compares a file with the inventory.
pub(crate) fn preview(current: Option<&InventoryV1>, imported: &[Imported]) -> Preview {
    let mut preview = Preview::default();
    let existing = current.map_or(&[][..], |inventory| &inventory.hosts);
    let by_address: BTreeMap<IpAddr, &HostId> =
        existing.iter().flat_map(|h| h.addresses.iter().map(move |a| (*a, &h.host_id))).collect();
    let named = |id: &HostId| imported.iter().any(|i| i.name == *id);
    for row in imported {
        if let Some(host) = existing.iter().find(|h| h.host_id == row.name) {
            let (new, differences) = merged(host, row);
            if differences.is_empty() {
                preview.unchanged += 1;
            } else {
                preview.changed.push((new, differences));
            }
            continue;
        }
        let clash = row.addresses.iter().find_map(|a| Some((*a, *by_address.get(a)?)));
        match clash {
            Some((address, other)) if !named(other) => {
                preview.ambiguous.push(Ambiguous {
                    name: row.name.clone(),
                    existing: other.clone(),
                    address,
                });
            }
            Some(_) | None => preview.added.push(InventoryHost {
                host_id: row.name.clone(),
                host_key: None,
                incarnation: 1,
                addresses: sorted(row.addresses.clone()),
                labels: sorted(row.labels.clone()),
            }),
        }
    }
    preview.missing = existing.iter().map(|h| &h.host_id).filter(|id| !named(id)).cloned().collect();
    preview
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}

/// The host with the file's addresses and labels. A label key that the file names is the file's; the
/// others stay. Key and incarnation are never touched by an import.
fn merged(host: &InventoryHost, row: &Imported) -> (InventoryHost, Vec<String>) {
    let mut new = host.clone();
    if !row.addresses.is_empty() {
        new.addresses = sorted(row.addresses.clone());
    }
    new.labels.retain(|l| !row.labels.iter().any(|r| r.key == l.key));
    new.labels.extend(row.labels.iter().cloned());
    new.labels = sorted(new.labels);
    let mut differences = Vec::new();
    if new.addresses != host.addresses {
        let join = |list: &[IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        differences.push(format!("ip: {} > {}", join(&host.addresses), join(&new.addresses)));
    }
    let plus =
        new.labels.iter().filter(|l| !host.labels.contains(l)).map(|l| format!("+{}={}", l.key, l.value));
    let minus =
        host.labels.iter().filter(|l| !new.labels.contains(l)).map(|l| format!("-{}={}", l.key, l.value));
    differences.extend(minus.chain(plus));
    (new, differences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::tests::{inventory_host, inventory_of};

    fn imported(name: &str, address: &str, labels: &[(&str, &str)]) -> Imported {
        let label =
            |(key, value): &(&str, &str)| Label { key: (*key).to_owned(), value: (*value).to_owned() };
        Imported {
            name: name.parse().expect("name"),
            addresses: vec![address.parse().expect("address")],
            labels: labels.iter().map(label).collect(),
        }
    }

    #[test]
    fn a_missing_host_stays_and_a_key_is_never_touched() {
        let current = inventory_of(vec![inventory_host("a", 1), inventory_host("b", 2)]);
        let preview = preview(Some(&current), &[imported("a", "10.77.1.1", &[("site", "hdv")])]);
        assert_eq!((preview.added.len(), preview.changed.len()), (0, 1));
        assert_eq!(preview.missing, ["b".parse().expect("name")]);
        assert_eq!(preview.changed[0].1, ["+site=hdv"]);
        let new = preview.applied_to(current.clone());
        assert_eq!(new.hosts.len(), 2);
        assert_eq!(new.hosts[0].host_key, current.hosts[0].host_key);
    }

    #[test]
    fn a_new_name_with_a_known_address_is_listed_and_not_guessed() {
        let current = inventory_of(vec![inventory_host("a", 1)]);
        let renamed = preview(Some(&current), &[imported("a2", "10.77.1.1", &[])]);
        assert_eq!(renamed.ambiguous.len(), 1);
        assert!(renamed.added.is_empty());
        // If the file names the old host too, they are two hosts.
        let both =
            preview(Some(&current), &[imported("a2", "10.77.1.1", &[]), imported("a", "10.77.1.1", &[])]);
        assert_eq!((both.added.len(), both.unchanged, both.ambiguous.len()), (1, 1, 0));
    }

    #[test]
    fn importing_the_same_file_twice_changes_nothing() {
        let file = [imported("a", "10.0.0.1", &[("site", "x")]), imported("b", "10.0.0.2", &[])];
        let first = preview(None, &file);
        let inventory = first.applied_to(inventory_of(Vec::new()));
        let again = preview(Some(&inventory), &file);
        assert_eq!((again.count(), again.unchanged), (0, 2));
    }
}
