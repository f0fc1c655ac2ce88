//! Drafts of trust roots: from the command line to the exact bytes that people sign.
//!
//! A draft is a payload file; signatures lie beside it as `FILE.PERSON.sig`, so that bare
//! `ssh-keygen -Y sign` and `-Y verify` work on it too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::id::{Digest, HostId, PersonId, UnixMillis};
use digue_proto::key::PublicKey;
use digue_proto::limits::MAX_PAYLOAD;
use digue_proto::strict;
use digue_proto::trust::{ControllerKey, PROTOCOL_VERSION, Person, PersonKey, Role, RoleAssignment, RootV1};

use crate::files;
use crate::keygen;
use crate::message::msg;
use crate::problem::{OrProblem as _, Outcome, Problem};

/// `alice=alice.pub:root,protect` or `alice=alice.pub:all`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PersonSpec {
    name: PersonId,
    key: PathBuf,
    roles: Vec<Role>,
}

impl std::str::FromStr for PersonSpec {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("{text:?} is not NAME=KEYFILE[:ROLE,…]");
        let (name, rest) = text.split_once('=').ok_or_else(shape)?;
        let (key, roles) = rest.rsplit_once(':').unwrap_or((rest, ""));
        if key.is_empty() {
            return Err(shape());
        }
        let mut list = Vec::new();
        for word in roles.split(',').filter(|w| !w.is_empty()) {
            match word {
                "all" => list.extend(Role::ALL),
                word => list.push(role(word)?),
            }
        }
        list.sort();
        list.dedup();
        Ok(Self { name: name.parse().map_err(|e| format!("{e}"))?, key: PathBuf::from(key), roles: list })
    }
}

fn role(word: &str) -> Result<Role, String> {
    Role::ALL.into_iter().find(|r| r.as_str() == word).ok_or_else(|| {
        let known: Vec<_> = Role::ALL.iter().map(|r| r.as_str()).collect();
        format!("{word:?} is not a role; roles are {} or all", known.join(", "))
    })
}

/// `NAME=HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControllerSpec(ControllerKey);

impl std::str::FromStr for ControllerSpec {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pin) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=SPKI_SHA256"))?;
        let name: HostId = name.parse().map_err(|e| format!("{e}"))?;
        let spki_sha256: Digest = pin.parse().map_err(|e| format!("{e}"))?;
        Ok(Self(ControllerKey { name, spki_sha256 }))
    }
}

/// `release=3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThresholdSpec(Role, u32);

impl std::str::FromStr for ThresholdSpec {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = text.split_once('=').ok_or_else(|| format!("{text:?} is not ROLE=NUMBER"))?;
        let role = role(name)?;
        let number: u32 = number.parse().map_err(|e| format!("{text:?}: {e}"))?;
        let minimum = role.minimum();
        if usize::try_from(number).unwrap_or(usize::MAX) < minimum {
            return Err(format!("{name} needs at least {minimum}: the compiled minimum cannot be lowered"));
        }
        Ok(Self(role, number))
    }
}

/// What `trust rotate` changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Persons to add, or keys and roles to add to persons.
    pub(crate) add_persons: Vec<PersonSpec>,
    /// Persons to remove, with all their keys and roles.
    pub(crate) remove_persons: Vec<PersonId>,
    /// Fingerprints of keys to remove.
    pub(crate) remove_keys: Vec<String>,
    /// Controllers to add or replace.
    pub(crate) add_controllers: Vec<ControllerSpec>,
    /// Controllers to remove.
    pub(crate) remove_controllers: Vec<HostId>,
    /// Thresholds to set.
    pub(crate) thresholds: Vec<ThresholdSpec>,
    /// Raise `gen_epoch` by one.
    pub(crate) bump_epoch: bool,
    /// Raise the inventory floor.
    pub(crate) inventory_min_version: Option<u64>,
    /// Security keys must also say that a PIN was checked.
    pub(crate) require_pin: bool,
}

fn refused() -> Problem {
    Problem::new("E0632", msg!("trust-draft-refused"))
}

/// Root version 1.
pub(crate) fn first(changes: &Changes, now: UnixMillis) -> Outcome<RootV1> {
    let roles = Role::ALL.map(|role| RoleAssignment {
        role,
        persons: Vec::new(),
        threshold: u32::try_from(role.minimum()).unwrap_or(u32::MAX),
        disjoint_from: Vec::new(),
    });
    let empty = RootV1 {
        deployment_id: None,
        version: 1,
        issued_at_ms: now,
        gen_epoch: 1,
        protocol_min: PROTOCOL_VERSION,
        persons: Vec::new(),
        roles: roles.to_vec(),
        controllers: Vec::new(),
        inventory_min_version: 1,
    };
    edited(empty, changes)
}

/// The root after `current`.
pub(crate) fn next(
    current: &RootV1,
    deployment: Digest,
    changes: &Changes,
    now: UnixMillis,
) -> Outcome<RootV1> {
    let root = RootV1 {
        deployment_id: Some(deployment),
        version: current.version.saturating_add(1),
        issued_at_ms: now,
        ..current.clone()
    };
    edited(root, changes)
}

fn edited(mut root: RootV1, changes: &Changes) -> Outcome<RootV1> {
    for name in &changes.remove_persons {
        let before = root.persons.len();
        root.persons.retain(|p| p.id != *name);
        if root.persons.len() == before {
            return Err(Problem::new("E0611", msg!("trust-no-person", name = name.to_string())));
        }
        root.roles.iter_mut().for_each(|r| r.persons.retain(|p| p != name));
    }
    for fingerprint in &changes.remove_keys {
        let count = |root: &RootV1| root.persons.iter().map(|p| p.keys.len()).sum::<usize>();
        let before = count(&root);
        for person in &mut root.persons {
            person.keys.retain(|k| k.key.fingerprint().as_str() != fingerprint);
        }
        if count(&root) == before {
            return Err(Problem::new("E0611", msg!("trust-no-key", fingerprint = fingerprint)));
        }
    }
    for spec in &changes.add_persons {
        let key = person_key(keygen::public_key(&spec.key)?, changes.require_pin);
        match root.persons.iter_mut().find(|p| p.id == spec.name) {
            Some(person) => person.keys.push(key),
            None => root.persons.push(Person { id: spec.name.clone(), keys: vec![key] }),
        }
        for role in root.roles.iter_mut().filter(|r| spec.roles.contains(&r.role)) {
            role.persons.push(spec.name.clone());
        }
    }
    root.persons.sort_by(|a, b| a.id.cmp(&b.id));
    for role in &mut root.roles {
        role.persons.sort();
        role.persons.dedup();
        if let Some(ThresholdSpec(_, number)) = changes.thresholds.iter().rfind(|t| t.0 == role.role) {
            role.threshold = *number;
        }
    }
    root.controllers.retain(|c| !changes.remove_controllers.contains(&c.name));
    for ControllerSpec(controller) in &changes.add_controllers {
        root.controllers.retain(|c| c.name != controller.name);
        root.controllers.push(controller.clone());
    }
    root.controllers.sort_by(|a, b| a.name.cmp(&b.name));
    root.gen_epoch += u64::from(changes.bump_epoch);
    if let Some(floor) = changes.inventory_min_version {
        root.inventory_min_version = root.inventory_min_version.max(floor);
    }
    root.validate().map_err(|rule| refused().because(rule))?;
    Ok(root)
}

fn person_key(key: PublicKey, require_pin: bool) -> PersonKey {
    let hardware = key.is_security_key();
    PersonKey { key, require_touch: hardware, require_pin: hardware && require_pin }
}

/// The bytes of a draft: indented, because people read them before they sign.
pub(crate) fn payload(root: &RootV1) -> Outcome<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(root).or_problem(refused)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A draft on disk with the signatures that lie beside it.
pub(crate) struct Draft {
    /// The parsed root.
    pub(crate) root: RootV1,
    /// The bytes and the signatures found.
    pub(crate) envelope: Envelope,
}

impl Draft {
    /// Reads a payload file, or an envelope.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let bytes = files::read(path)?;
        let unreadable =
            || Problem::new("E0632", msg!("trust-not-a-root", path = path.display().to_string()));
        let envelope = match Envelope::from_json(&bytes) {
            Ok(envelope) if envelope.payload_type == PayloadType::Root => envelope,
            Ok(_) => return Err(unreadable()),
            Err(_) => {
                let signatures = signatures_beside(path)?;
                Envelope { payload_type: PayloadType::Root, payload: bytes, signatures }
            }
        };
        let root: RootV1 = strict::from_slice(&envelope.payload, MAX_PAYLOAD).or_problem(unreadable)?;
        root.validate().map_err(|rule| refused().because(rule))?;
        Ok(Self { root, envelope })
    }

    /// The keys of those who may sign roots, by this draft.
    pub(crate) fn tally(&self, envelope: &Envelope) -> digue_proto::verify::Tally<PersonId> {
        let members =
            |id: &PersonId| self.root.roles.iter().any(|r| r.role == Role::Root && r.persons.contains(id));
        let signers = self.root.persons.iter().filter(|p| members(&p.id));
        let keys: Vec<_> = signers.flat_map(|p| p.keys.iter().map(|k| (p.id.clone(), k))).collect();
        digue_proto::verify::tally(envelope, &keys)
    }
}

/// The armoured signatures in `FILE.*.sig`, in the order of their names.
fn signatures_beside(path: &Path) -> Outcome<Vec<String>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Ok(Vec::new());
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(folder)
        .or_problem(|| Problem::new("E0604", msg!("file-not-read", path = folder.display().to_string())))?;
    let prefix = format!("{name}.");
    let files: BTreeSet<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str().map(ToOwned::to_owned))
        .filter(|file| file.starts_with(&prefix) && file.ends_with("sig"))
        .collect();
    files.iter().map(|file| files::read_text(&folder.join(file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn people(folder: &Path, names: &[&str]) -> Vec<PersonSpec> {
        let mut specs = Vec::new();
        for name in names {
            let key = folder.join(name);
            keygen::make(&key, keygen::KeyType::Ed25519, name, true).await.expect("a key");
            specs.push(format!("{name}={}:all", key.display()).parse().expect("a spec"));
        }
        specs
    }

    #[test]
    fn a_threshold_below_the_compiled_minimum_is_refused() {
        assert!("release=1".parse::<ThresholdSpec>().is_err());
        assert!("release=3".parse::<ThresholdSpec>().is_ok());
        assert!("sleep=3".parse::<ThresholdSpec>().is_err());
        assert!("alice=key.pub:sleep".parse::<PersonSpec>().is_err());
        assert!("alice".parse::<PersonSpec>().is_err());
    }

    #[tokio::test]
    async fn one_person_cannot_hold_a_root_that_needs_two() {
        let folder = tempfile::tempdir().expect("a folder");
        let changes = Changes { add_persons: people(folder.path(), &["alice"]).await, ..Changes::default() };
        let problem = first(&changes, UnixMillis(1)).expect_err("refused");
        assert!(problem.cause.is_some_and(|c| c.contains("can never sign")));
    }

    #[tokio::test]
    async fn a_rotation_removes_a_person_everywhere_and_follows_the_version() {
        let folder = tempfile::tempdir().expect("a folder");
        let add_persons = people(folder.path(), &["alice", "bruno", "chloe"]).await;
        let root = first(&Changes { add_persons, ..Changes::default() }, UnixMillis(1)).expect("a root");
        let changes = Changes {
            remove_persons: vec!["chloe".parse().expect("name")],
            bump_epoch: true,
            ..Changes::default()
        };
        let next = next(&root, Digest::of(b"x"), &changes, UnixMillis(2)).expect("a root");
        assert_eq!((next.version, next.gen_epoch, next.persons.len()), (2, 2, 2));
        assert!(next.roles.iter().all(|r| r.persons.len() == 2));
    }
}
