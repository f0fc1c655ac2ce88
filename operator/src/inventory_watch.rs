//! Servers that turn into other machines: one signature on an inventory is enough to put another key under
//! a server's name, so every desk says so when it first sees it, whoever signed it.
//!
//! Deliberately absent: a refusal. Rebuilding a server changes its key, and takes one person.

use digue_proto::id::HostId;
use digue_proto::strict;
use digue_proto::trust::{InventoryHost, InventoryV1};
use digue_proto::verify::Verified;

use crate::app::{App, Session};
use crate::files;
use crate::message::{Message, msg};
use crate::plan::show::names;
use crate::problem::{OrProblem as _, Outcome, Problem};

/// Largest inventory that is read back, in bytes.
const MAX_INVENTORY: usize = 8 * 1024 * 1024;

/// Says what the newest verified inventory changed about machines since this desk last looked.
pub(crate) fn note_changes(app: &App, session: &Session, newest: &Verified<InventoryV1>) -> Outcome<()> {
    let path = session.context.trust_dir.join("inventory_known.json");
    let known = files::read_if_there(&path)?;
    let known: Option<InventoryV1> = known.and_then(|bytes| strict::from_slice(&bytes, MAX_INVENTORY).ok());
    if known.as_ref() == Some(newest.value()) {
        return Ok(());
    }
    if let Some(known) = known {
        let signers = newest.signers().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        changes(&known, newest.value(), &signers).iter().for_each(|change| app.note(change));
    }
    let bytes = strict::to_vec(newest.value()).or_problem(|| Problem::of("E0605"))?;
    files::write(&path, &bytes, 0o600)
}

fn changes(known: &InventoryV1, newest: &InventoryV1, signers: &str) -> Vec<Message> {
    let other = |before: &&InventoryHost| {
        newest.host(&before.host_id).is_some_and(|now| {
            before.host_key.is_some()
                && (&now.host_key, now.incarnation) != (&before.host_key, before.incarnation)
        })
    };
    let list = |hosts: Vec<&HostId>| names(hosts.into_iter());
    let replaced: Vec<_> = known.hosts.iter().filter(other).map(|host| &host.host_id).collect();
    let gone = known.hosts.iter().filter(|before| newest.host(&before.host_id).is_none());
    let gone: Vec<_> = gone.map(|host| &host.host_id).collect();
    let mut said = Vec::new();
    if !replaced.is_empty() {
        said.push(msg!(
            "inventory-replaced",
            version = newest.version,
            names = signers,
            list = list(replaced)
        ));
    }
    if !gone.is_empty() {
        said.push(msg!("inventory-gone", version = newest.version, names = signers, list = list(gone)));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::tests::{inventory_host, inventory_of};

    #[test]
    fn another_key_and_a_missing_server_are_said_and_an_enrolment_is_not() {
        let waiting = InventoryHost { host_key: None, ..inventory_host("c", 3) };
        let known = inventory_of(vec![inventory_host("a", 1), inventory_host("b", 2), waiting]);
        let next = inventory_of(vec![inventory_host("a", 9), inventory_host("c", 3), inventory_host("d", 4)]);
        let expected = [
            msg!("inventory-replaced", version = 3u64, names = "alice", list = "a"),
            msg!("inventory-gone", version = 3u64, names = "alice", list = "b"),
        ];
        assert_eq!(changes(&known, &next, "alice"), expected);
        assert!(changes(&next, &next, "alice").is_empty());
        let rebuilt = InventoryHost { incarnation: 2, ..inventory_host("a", 1) };
        assert_eq!(
            changes(&inventory_of(vec![inventory_host("a", 1)]), &inventory_of(vec![rebuilt]), "x").len(),
            1
        );
    }
}
