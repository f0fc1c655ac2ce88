//! The driver: one socket, kept for as long as our tables shall be ours.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use digue_proto::rules::{ObservedNet, RuleSet, TableNames};
use nix::errno::Errno;
use nix::libc;

use super::code::{self, generation, message};
use super::decode::{Dumps, RawTable, decode, set_name};
use super::encode::{Batch, describe, encode, encode_timers, makes_table};
use crate::drivers::netlink::{
    Exchange, Malformed, NetlinkSocket, Protocol, Writer, attributes, be32, first, port_of,
};
use crate::drivers::{DriverError, NetDriver, Place, kernel, sys};

/// How often a transaction is tried against a rule set that others change at the same time.
const ATTEMPTS: usize = 8;

/// Loads and reads our rules in one network namespace.
///
/// The socket is the owner of the tables: dropping the driver removes the owned copy (and takes the kernel
/// 9 to 14 ms). The plain copy stays. To live on after the agent's death, hand [`NftDriver::socket_fd`] to
/// the service manager, and give it back to the next agent's driver by [`NftDriver::adopt`].
#[derive(Debug)]
pub struct NftDriver {
    socket: NetlinkSocket,
    inherited: Vec<(OwnedFd, u32)>,
    owner_supported: Option<bool>,
    own_generation: Option<u32>,
}

impl NftDriver {
    /// A driver for the network namespace of the calling thread, which `place` names.
    ///
    /// # Errors
    /// If the socket cannot be opened.
    pub fn open(place: &Place) -> Result<Self, DriverError> {
        let socket = place.socket(Protocol::Netfilter, 0, "opening the rules")?;
        Ok(Self { socket, inherited: Vec::new(), owner_supported: None, own_generation: None })
    }

    /// The socket that owns our tables.
    pub fn socket_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes over the socket of an earlier agent, whose tables are thereby ours. It is only held: the next
    /// [`NetDriver::apply`] loads new tables beside them, and [`NftDriver::release_inherited`] lets the old
    /// ones go. Both drop, so there is no gap.
    ///
    /// # Errors
    /// If it is no netlink socket for rules.
    pub fn adopt(&mut self, fd: OwnedFd) -> Result<(), DriverError> {
        let kind = sys::socket_kind(fd.as_fd());
        if !kind.is_ok_and(|kind| kind == (libc::AF_NETLINK, libc::NETLINK_NETFILTER)) {
            return Err(DriverError::NotNetfilter);
        }
        let port = port_of(fd.as_fd()).map_err(kernel("adopting a socket"))?;
        self.inherited.push((fd, port));
        Ok(())
    }

    /// Closes adopted sockets; the kernel removes their tables. Call it once the new ones were read back.
    pub fn release_inherited(&mut self) {
        self.inherited.clear();
    }

    /// Whether adopted sockets are still held.
    pub fn holds_inherited(&self) -> bool {
        !self.inherited.is_empty()
    }

    /// Whether this kernel lets a socket own tables; `None` until rules were applied.
    pub const fn owner_supported(&self) -> Option<bool> {
        self.owner_supported
    }

    /// The kernel's number of the rule set that the last [`NetDriver::apply`] made, by which its own event
    /// is told from an intruder's; `None` if someone else changed rules at the same time.
    pub const fn own_generation(&self) -> Option<u32> {
        self.own_generation
    }

    /// The kernel's number of the rule set in force.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub fn generation(&mut self) -> Result<u32, DriverError> {
        let operation = "reading the generation of the rules";
        let answer = self.socket.request(message(code::GETGEN), 0, header(0)).map_err(kernel(operation))?;
        let (_, body) = answer.ok_or(Malformed("no generation"))?;
        let attributes = attributes(body.get(4..).unwrap_or_default())?;
        Ok(be32(first(&attributes, generation::ID).ok_or(Malformed("no generation"))?)?)
    }

    /// Sets the kernel's timer of rules that are loaded to the timeouts that `rules` holds, in one
    /// transaction and without touching anything else (trap 16). Names are found in the kernel.
    ///
    /// # Errors
    /// If the kernel refuses, as when the timer has run out and the rules are gone.
    pub fn rearm(&mut self, rules: &RuleSet) -> Result<(), DriverError> {
        let mut loaded = rules.clone();
        let present = self.our_tables()?;
        for table in &mut loaded.tables {
            let role = table.role();
            let same = |raw: &&RawTable| {
                raw.key.0 == code::family(table.family)
                    && role_of(&raw.key.1, table) == role
                    && role.is_some()
            };
            let ours = |raw: &&RawTable| raw.owner.is_none_or(|port| port == self.socket.port());
            if let Some(raw) = present.iter().filter(ours).find(same) {
                table.name.clone_from(&raw.key.1);
            }
        }
        let first = self.socket.reserve(message_count(&loaded));
        let batch = encode_timers(&loaded, first);
        if batch.last == batch.first {
            return Ok(());
        }
        self.socket.transact(&batch.bytes, batch.first, batch.last).map_err(kernel("setting the timer"))
    }

    fn our_tables(&mut self) -> Result<Vec<RawTable>, DriverError> {
        let operation = "listing tables";
        let listed = self.socket.dump(message(code::GETTABLE), header(0)).map_err(kernel(operation))?;
        let mut ours = Vec::new();
        for (_, body) in listed {
            let raw = RawTable::parse(&body)?;
            if raw.is_ours() {
                ours.push(raw);
            }
        }
        Ok(ours)
    }

    fn read_once(&mut self) -> Result<Dumps, DriverError> {
        let mut dumps = Dumps { generation: self.generation()?, ..Dumps::default() };
        let mut list = |kind, operation, family, body: &dyn Fn(&mut Writer)| {
            let listed = self.socket.dump(message(kind), |w| {
                header(family)(w);
                body(w);
            });
            listed
                .map(|found| found.into_iter().map(|(_, body)| body).collect::<Vec<_>>())
                .map_err(kernel(operation))
        };
        dumps.tables = list(code::GETTABLE, "listing tables", 0, &|_| {})?;
        let mut ours = Vec::new();
        for body in &dumps.tables {
            let raw = RawTable::parse(body)?;
            if raw.is_ours() {
                ours.push(raw.key);
            }
        }
        if ours.is_empty() {
            return Ok(dumps);
        }
        dumps.chains = list(code::GETCHAIN, "listing chains", 0, &|_| {})?;
        for (family, name) in &ours {
            let of_table = |w: &mut Writer| w.text(code::rule::TABLE, name);
            dumps.rules.extend(list(code::GETRULE, "listing rules", *family, &of_table)?);
            let sets = list(code::GETSET, "listing sets", *family, &of_table)?;
            for body in &sets {
                let set = set_name(body)?;
                let of_set = |w: &mut Writer| {
                    w.text(code::set::TABLE, name);
                    w.text(code::set::NAME, &set);
                };
                dumps.elements.extend(list(code::GETSETELEM, "listing elements", *family, &of_set)?);
            }
            dumps.sets.extend(sets);
        }
        Ok(dumps)
    }

    /// One try; `Ok(None)` if it should be tried again.
    fn apply_once(&mut self, rules: &mut RuleSet) -> Result<Option<()>, DriverError> {
        let port = self.socket.port();
        let present = self.our_tables()?;
        let removable = present.iter().filter(|raw| raw.owner.is_none_or(|owner| owner == port));
        let removals: Vec<(u8, &str)> = removable.map(|raw| (raw.key.0, raw.key.1.as_str())).collect();
        if rules.is_empty() && removals.is_empty() {
            return Ok(Some(()));
        }
        let before = self.generation()?;
        let count = message_count(rules) + u32::try_from(removals.len()).unwrap_or(0);
        let first = self.socket.reserve(count);
        let Batch { bytes, last, .. } = encode(rules, &removals, first);
        match self.socket.transact(&bytes, first, last) {
            Ok(()) => {
                let after = self.generation()?;
                self.own_generation = (after == before.wrapping_add(1)).then_some(after);
                Ok(Some(()))
            }
            Err(Exchange::Refused { seq, source }) => {
                let errno = source.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
                let making_table = makes_table(rules, first, seq);
                let owned = rules.tables.iter().any(|table| table.owner);
                #[expect(clippy::wildcard_enum_match_arm, reason = "every other refusal is final")]
                match errno {
                    // The name is taken, maybe on purpose (trap 13): take another.
                    Errno::EEXIST | Errno::EPERM if making_table => {
                        *rules = std::mem::take(rules).renamed(&fresh_names()?);
                        Ok(None)
                    }
                    Errno::EINVAL | Errno::EOPNOTSUPP if making_table && owned => {
                        self.owner_supported = Some(false);
                        *rules = std::mem::take(rules).without_owner();
                        Ok(None)
                    }
                    // Someone removed a table of ours meanwhile, or the rule set was busy.
                    Errno::ENOENT if seq.wrapping_sub(first) > count.saturating_sub(removed(&removals)) => {
                        Ok(None)
                    }
                    Errno::EAGAIN | Errno::EINTR | Errno::EBUSY => Ok(None),
                    _ => Err(DriverError::Refused { part: describe(rules, &removals, first, seq), source }),
                }
            }
            Err(other) => Err(DriverError::Kernel { operation: "loading rules", source: other }),
        }
    }
}

impl NetDriver for NftDriver {
    fn apply(&mut self, rules: &RuleSet) -> Result<(), DriverError> {
        let mut rules = rules.clone();
        if self.owner_supported == Some(false) {
            rules = rules.without_owner();
        }
        for _ in 0..ATTEMPTS {
            if self.apply_once(&mut rules)?.is_some() {
                if rules.tables.iter().any(|table| table.owner) {
                    self.owner_supported = Some(true);
                }
                if rules.is_empty() {
                    // Nothing may be left of an earlier agent's either.
                    self.release_inherited();
                }
                return Ok(());
            }
        }
        Err(DriverError::Unstable)
    }

    fn read(&mut self) -> Result<ObservedNet, DriverError> {
        for _ in 0..ATTEMPTS {
            let dumps = match self.read_once() {
                Ok(dumps) => dumps,
                // A table that vanished between two lists.
                Err(DriverError::Kernel { source, .. }) if source.errno() == Some(Errno::ENOENT) => continue,
                Err(other) => return Err(other),
            };
            if self.generation()? == dumps.generation {
                let mut sockets: Vec<u32> = self.inherited.iter().map(|(_, port)| *port).collect();
                sockets.push(self.socket.port());
                return Ok(decode(&dumps, &sockets, self.owner_supported)?);
            }
        }
        Err(DriverError::Unstable)
    }
}

fn header(family: u8) -> impl Fn(&mut Writer) {
    move |w| w.raw(&[family, 0, 0, 0])
}

fn removed(removals: &[(u8, &str)]) -> u32 {
    u32::try_from(removals.len()).unwrap_or(0)
}

/// An upper bound of the messages that a rule set takes.
fn message_count(rules: &RuleSet) -> u32 {
    let of_table = |table: &digue_proto::rules::Table| {
        let sets: usize = table.sets.iter().map(|set| 3 + 2 * set.elements.len()).sum();
        let chains: usize = table.chains.iter().map(|chain| 1 + chain.rules.len()).sum();
        1 + sets + chains
    };
    u32::try_from(rules.tables.iter().map(of_table).sum::<usize>() + 2).unwrap_or(u32::MAX / 2)
}

/// The role that a name tells, by the only function that knows: that of a table.
fn role_of(name: &str, like: &digue_proto::rules::Table) -> Option<digue_proto::rules::Role> {
    let named = digue_proto::rules::Table {
        name: name.to_owned(),
        sets: Vec::new(),
        chains: Vec::new(),
        ..like.clone()
    };
    named.role()
}

fn fresh_names() -> Result<TableNames, DriverError> {
    let mut random = [0; 8];
    rand_core::RngCore::try_fill_bytes(&mut rand_core::OsRng, &mut random).map_err(|error| {
        DriverError::Os { operation: "drawing names of tables", source: std::io::Error::other(error) }
    })?;
    Ok(TableNames::from_entropy(random))
}
