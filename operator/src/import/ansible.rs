//! Inventories as `ansible-inventory --list` prints them. INI and YAML sources are left to Ansible itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use digue_proto::trust::Label;
use serde::Deserialize;
use serde_json::Value;

use super::Imported;

/// Groups that say nothing about a host.
const MEANINGLESS: [&str; 3] = ["all", "ungrouped", "_meta"];
/// Host variables that become labels.
const LABELS: [&str; 6] = ["site", "service", "criticality", "role", "owner", "inventory"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Group {
    hosts: Vec<String>,
    children: Vec<String>,
}

/// Reads the JSON; all problems are listed.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Imported>, Vec<String>> {
    let document: BTreeMap<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| vec![format!("not a JSON object: {error}")])?;
    let variables = document.get("_meta").and_then(|meta| meta.get("hostvars"));
    let Some(variables) = variables.and_then(Value::as_object) else {
        return Err(vec!["no _meta.hostvars: make the file with `ansible-inventory --list`".to_owned()]);
    };
    let mut problems = Vec::new();
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for (name, value) in document.iter().filter(|(name, _)| *name != "_meta") {
        match Group::deserialize(value) {
            Ok(group) => {
                groups.insert(name, group);
            }
            Err(error) => problems.push(format!("group {name}: {error}")),
        }
    }
    let mut names: BTreeSet<&str> = variables.keys().map(String::as_str).collect();
    names.extend(groups.values().flat_map(|g| g.hosts.iter().map(String::as_str)));
    let mut hosts: Vec<Imported> = Vec::new();
    for name in names {
        let parsed = match name.to_lowercase().parse() {
            Ok(parsed) => parsed,
            Err(error) => {
                problems.push(format!("host {name}: {error}"));
                continue;
            }
        };
        if hosts.iter().any(|h| h.name == parsed) {
            problems.push(format!("host {name}: another host differs by upper and lower case only"));
            continue;
        }
        let variables = variables.get(name);
        let address = variables.and_then(|v| v.get("ansible_host")).and_then(Value::as_str).unwrap_or(name);
        let mut labels: Vec<Label> = groups_of(name, &groups)
            .into_iter()
            .filter(|group| !MEANINGLESS.contains(group))
            .map(|group| Label { key: "group".to_owned(), value: group.to_owned() })
            .collect();
        for key in LABELS {
            let value = variables
                .and_then(|v| v.get(key))
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            labels.extend(value.filter(|v| !v.is_empty()).map(|value| Label { key: key.to_owned(), value }));
        }
        hosts.push(Imported {
            name: parsed,
            addresses: address.parse::<IpAddr>().into_iter().collect(),
            labels,
        });
    }
    if hosts.is_empty() && problems.is_empty() {
        problems.push("the inventory names no host".to_owned());
    }
    if problems.is_empty() { Ok(hosts) } else { Err(problems) }
}

/// The groups that hold a host, directly or through their children.
fn groups_of<'a>(host: &str, groups: &BTreeMap<&'a str, Group>) -> BTreeSet<&'a str> {
    let mut found: BTreeSet<&str> =
        groups.iter().filter(|(_, g)| g.hosts.iter().any(|h| h == host)).map(|(name, _)| *name).collect();
    loop {
        let parents = groups.iter().filter(|(_, g)| g.children.iter().any(|c| found.contains(c.as_str())));
        let more: Vec<&str> = parents.map(|(name, _)| *name).filter(|name| !found.contains(name)).collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = r#"{
        "_meta": {"hostvars": {"srv-1": {"ansible_host": "10.0.0.1", "site": "hdv", "criticality": 3}, "srv-2": {}}},
        "all": {"children": ["ungrouped", "prod"]},
        "prod": {"children": ["db"]},
        "db": {"hosts": ["srv-1"]},
        "ungrouped": {"hosts": ["srv-2"]}
    }"#;

    #[test]
    fn groups_and_their_parents_become_labels() {
        let hosts = read(LISTED.as_bytes()).expect("hosts");
        let labels: Vec<_> = hosts[0].labels.iter().map(|l| format!("{}={}", l.key, l.value)).collect();
        assert_eq!(labels, ["group=db", "group=prod", "site=hdv", "criticality=3"]);
        assert_eq!(hosts[0].addresses, ["10.0.0.1".parse::<IpAddr>().expect("address")]);
        assert!(hosts[1].labels.is_empty() && hosts[1].addresses.is_empty());
    }

    #[test]
    fn groups_that_contain_each_other_end() {
        let text =
            r#"{"_meta":{"hostvars":{"a":{}}},"x":{"children":["y"],"hosts":["a"]},"y":{"children":["x"]}}"#;
        assert_eq!(read(text.as_bytes()).expect("hosts")[0].labels.len(), 2);
    }

    #[test]
    fn what_ansible_did_not_print_is_refused() {
        for bad in ["", "[]", "{}", r#"{"_meta":{"hostvars":{"A B":{}}}}"#, r#"{"_meta":{"hostvars":{}}}"#] {
            assert!(read(bad.as_bytes()).is_err(), "{bad:?} was accepted");
        }
    }
}
