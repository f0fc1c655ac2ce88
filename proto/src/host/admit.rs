//! Admission: protocol steps 3 to 13. A judgement is a value; nothing happens here.

use crate::frame::Delivery;
use crate::host::state::HostState;
use crate::id::{Challenge, Digest, OrderId, PersonId, UnixMillis};
use crate::key::Fingerprint;
use crate::limits::MAX_GENERATION_JUMP;
use crate::order::{Action, LeafV1, OrderV1, Stream, Target};
use crate::policy::{OnLostManagement, Policy, Profile};
use crate::statement::StatementV1;
use crate::trust::{Class, Role, WITHOUT_VERDICT_MINIMUM};
use crate::trust_chain::Trust;
use crate::verify::{Verified, VerifyError};

/// Why an order is not obeyed. Refusals are data: sent back, stored, counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Steps 1 to 8.
    #[error("{0}")]
    Verify(#[from] VerifyError),
    /// Step 9: the order came with a leaf it does not need, or without the one it needs.
    #[error("the order came without this host's part of its target list")]
    NoLeaf,
    /// Step 9: not this host.
    #[error("the order is for {0}, not for this host")]
    OtherHost(String),
    /// Step 9: this host's name, another machine's key.
    #[error("the order is for another key of this host name (rebuilt since?)")]
    OtherKey,
    /// Step 10: not newer than what was accepted.
    #[error("generation {found:?} is not newer than {held:?} (order {}), this one is {}", held_order.short(), order.short())]
    OldGeneration {
        /// Epoch and generation of the order.
        found: (u64, u64),
        /// Epoch and generation accepted.
        held: (u64, u64),
        /// Digest of the order accepted.
        held_order: Digest,
        /// Digest of this order.
        order: Digest,
    },
    /// Step 10: an epoch other than the root's.
    #[error("the order's gen_epoch is {found}, the trust root's is {root}")]
    Epoch {
        /// Of the order.
        found: u64,
        /// Of the root.
        root: u64,
    },
    /// Step 10: too far ahead.
    #[error("generation {0} jumps too far ahead")]
    Jump(u64),
    /// Step 11: a relaxing order without the challenge.
    #[error("the order opens something and does not repeat this host's challenge")]
    NoChallenge,
    /// Step 11: another challenge: spent, rotated, another host's or guessed.
    #[error("the challenge is not this host's current one (spent, or from before a restart): plan anew")]
    WrongChallenge,
    /// Step 12: expired.
    #[error("the order expired at {0}")]
    Expired(UnixMillis),
    /// Step 13: it would cut the agent's own way to its controllers.
    #[error("none of this agent's controllers would stay reachable; say allow_self_cut if that is meant")]
    SelfCut,
    /// A protective order that would open something.
    #[error("a protective order cannot relax the containment in force ({})", .0.join(", "))]
    WouldRelax(Vec<&'static str>),
    /// A drill on a host that is contained already.
    #[error("the host is already contained; an automatic reopening would relax that")]
    DrillOnContained,
    /// An adjustment without a containment.
    #[error("there is no containment in force to adjust")]
    NothingToAdjust,
    /// A release without a clean statement.
    #[error("a release needs a clean statement for this host")]
    NoStatement,
    /// The statement is not the one that the release names.
    #[error("the clean statement attached is not the one that was signed for")]
    OtherStatement,
    /// The statement does not verify.
    #[error("clean statement refused: {0}")]
    Statement(VerifyError),
    /// The statement is about another host, another key or another boot, or not clean.
    #[error("the clean statement does not fit this host: {0}")]
    StatementUnfit(&'static str),
    /// The statement has lapsed.
    #[error("the clean statement lapsed at {0}")]
    StatementLapsed(UnixMillis),
    /// The same person vouched and released.
    #[error("{0} signed both the clean statement and the release; the trust root keeps these apart")]
    NotDisjoint(String),
    /// Too few persons for a release without verdict.
    #[error("a release without a verdict needs {WITHOUT_VERDICT_MINIMUM} persons, {0} signed")]
    WithoutVerdict(usize),
    /// The block list would cut the agent off.
    #[error("the block list covers a controller of this agent")]
    BlocksController,
    /// More refusals than can be written down; see the counter in the next report.
    #[error("the host's outbox is full; no order that opens is admitted until a controller was reached")]
    OutboxFull,
}

impl Refusal {
    /// A stable code for `digue explain`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Verify(error) => error.code(),
            Self::NoLeaf => "E0401",
            Self::OtherHost(_) => "E0402",
            Self::OtherKey => "E0403",
            Self::OldGeneration { .. } => "E0404",
            Self::Epoch { .. } => "E0405",
            Self::Jump(_) => "E0406",
            Self::NoChallenge => "E0407",
            Self::WrongChallenge => "E0408",
            Self::Expired(_) => "E0409",
            Self::SelfCut => "E0410",
            Self::WouldRelax(_) => "E0411",
            Self::DrillOnContained => "E0412",
            Self::NothingToAdjust => "E0413",
            Self::NoStatement => "E0414",
            Self::OtherStatement => "E0415",
            Self::Statement(_) => "E0416",
            Self::StatementUnfit(_) => "E0417",
            Self::StatementLapsed(_) => "E0418",
            Self::NotDisjoint(_) => "E0419",
            Self::WithoutVerdict(_) => "E0420",
            Self::BlocksController => "E0421",
            Self::OutboxFull => "E0422",
        }
    }
}

/// What admission knows of the host.
pub(crate) struct Admission<'a> {
    pub(crate) host_id: &'a crate::id::HostId,
    pub(crate) fingerprint: &'a Fingerprint,
    pub(crate) controllers: &'a [std::net::SocketAddr],
    pub(crate) trust: &'a Trust,
    pub(crate) state: &'a HostState,
    pub(crate) challenge: Challenge,
    pub(crate) boot_id: &'a str,
    /// The wall clock, never earlier than the floor.
    pub(crate) now: UnixMillis,
}

/// An order that the host will obey.
#[must_use]
pub(crate) struct Admitted {
    pub(crate) order: Verified<OrderV1>,
    /// Flags that are not refusals.
    pub(crate) remarks: Vec<String>,
}

/// A refusal, with the order's name if it was signed well enough to be parsed.
pub(crate) type Refused = Box<(Refusal, Option<OrderId>)>;

impl Admission<'_> {
    /// Judges one delivery.
    pub(crate) fn admit(&self, delivery: &Delivery) -> Result<Admitted, Refused> {
        let order = self.trust.verify_order(&delivery.order).map_err(|e| Box::new((e.into(), None)))?;
        let id = order.value().order_id;
        let remarks = self.judge(&order, delivery).map_err(|refusal| Box::new((refusal, Some(id))))?;
        Ok(Admitted { order, remarks })
    }

    fn judge(&self, order: &Verified<OrderV1>, delivery: &Delivery) -> Result<Vec<String>, Refusal> {
        let value = order.value();
        let relaxing = value.action.class() == Class::Release;
        if relaxing && self.state.outbox_full() {
            return Err(Refusal::OutboxFull);
        }
        if relaxing && self.trust.version() < self.state.root_version {
            // Roots were taken off the disk: the one left may trust people whom a later one does not.
            let (named, held) = (self.state.root_version, self.trust.version());
            return Err(VerifyError::NewerRoot { named, held }.into());
        }
        let leaf = self.leaf(value, delivery)?; // step 9
        self.generation(order)?; // step 10
        if relaxing {
            self.challenge(leaf.as_ref())?; // step 11
        }
        let mut remarks = self.gaps(value);
        if self.now > value.not_after_ms {
            // Step 12: hard for what opens, soft for what closes.
            if relaxing {
                return Err(Refusal::Expired(value.not_after_ms));
            }
            remarks.push("expired_by_local_clock".to_owned());
        }
        self.action(order, leaf.as_ref(), delivery)?; // step 13 and what each action asks
        Ok(remarks)
    }

    fn leaf(&self, order: &OrderV1, delivery: &Delivery) -> Result<Option<LeafV1>, Refusal> {
        let (root, count) = match (order.target, &delivery.target) {
            (Target::All {}, None) => return Ok(None),
            (Target::All {}, Some(_)) | (Target::List { .. }, None) => return Err(Refusal::NoLeaf),
            (Target::List { root, count }, Some(_)) => (root, count),
        };
        let Some(target) = &delivery.target else { return Err(Refusal::NoLeaf) };
        let leaf = target.open(&root, count).map_err(VerifyError::from)?;
        if leaf.host_id != *self.host_id {
            return Err(Refusal::OtherHost(leaf.host_id.to_string()));
        }
        if leaf.host_key != *self.fingerprint {
            return Err(Refusal::OtherKey);
        }
        Ok(Some(leaf))
    }

    fn generation(&self, order: &Verified<OrderV1>) -> Result<(), Refusal> {
        let value = order.value();
        let root = self.trust.root().gen_epoch;
        let held = self.state.stream(value.stream);
        let held_number = self.state.head(value.stream).order();
        let found = (value.gen_epoch, value.generation);
        if value.gen_epoch != root {
            return Err(Refusal::Epoch { found: value.gen_epoch, root });
        }
        if found <= held_number {
            let held_order = held.map_or_else(|| Digest::of(&[]), |s| s.order);
            return Err(Refusal::OldGeneration {
                found,
                held: held_number,
                held_order,
                order: order.digest(),
            });
        }
        let base = if held_number.0 == value.gen_epoch { held_number.1 } else { 0 };
        if value.generation - base > MAX_GENERATION_JUMP {
            return Err(Refusal::Jump(value.generation));
        }
        Ok(())
    }

    fn challenge(&self, leaf: Option<&LeafV1>) -> Result<(), Refusal> {
        match leaf.and_then(|l| l.challenge) {
            None => Err(Refusal::NoChallenge),
            Some(named) if named != self.challenge => Err(Refusal::WrongChallenge),
            Some(_) => Ok(()),
        }
    }

    /// Streams that have moved on without this host: shown, never a reason to refuse.
    fn gaps(&self, order: &OrderV1) -> Vec<String> {
        let behind = |h: &&crate::order::Head| h.order() > self.state.head(h.stream).order();
        let remark = |h: &crate::order::Head| {
            format!("gap: stream {} is at {:?}, this host at {:?}", name(h.stream), h.order(), {
                self.state.head(h.stream).order()
            })
        };
        order.heads.iter().filter(behind).map(remark).collect()
    }

    fn action(
        &self,
        order: &Verified<OrderV1>,
        leaf: Option<&LeafV1>,
        delivery: &Delivery,
    ) -> Result<(), Refusal> {
        let current = &self.state.policy;
        match &order.value().action {
            Action::Contain { policy, allow_self_cut } => {
                if !*allow_self_cut {
                    self.keeps_own_controller(policy)?;
                }
                if order.value().action.class() == Class::Release && current.contains() {
                    return Err(Refusal::DrillOnContained);
                }
                let relaxed = policy.relaxes(current);
                if relaxed.is_empty() { Ok(()) } else { Err(Refusal::WouldRelax(relaxed)) }
            }
            Action::Adjust { policy } => {
                if !current.contains() {
                    return Err(Refusal::NothingToAdjust);
                }
                let lost = policy.on_lost_management;
                if lost != OnLostManagement::Hold && lost != current.on_lost_management {
                    // It would reopen the host without a clean statement.
                    return Err(Refusal::DrillOnContained);
                }
                self.keeps_own_controller(policy)
            }
            Action::Release { without_verdict: true } => {
                let signed = order.signers().len();
                if signed < WITHOUT_VERDICT_MINIMUM { Err(Refusal::WithoutVerdict(signed)) } else { Ok(()) }
            }
            Action::Release { without_verdict: false } => self.clean_statement(order, leaf, delivery),
            Action::Block { blocked } => {
                if self.controllers.iter().any(|c| blocked.covers(c.ip())) {
                    return Err(Refusal::BlocksController);
                }
                if blocked.relaxes(&self.state.blocked) {
                    return Err(Refusal::WouldRelax(vec!["blocked networks"]));
                }
                Ok(())
            }
            Action::Unblock { blocked } => {
                if self.controllers.iter().any(|c| blocked.covers(c.ip())) {
                    return Err(Refusal::BlocksController);
                }
                Ok(())
            }
            Action::Report {} => Ok(()),
        }
    }

    fn keeps_own_controller(&self, policy: &Policy) -> Result<(), Refusal> {
        let reachable = policy.profile != Profile::Dark
            && self
                .controllers
                .iter()
                .any(|own| policy.controllers.contains(own) && !self.state.blocked.covers(own.ip()));
        if reachable { Ok(()) } else { Err(Refusal::SelfCut) }
    }

    /// The gate of promise 3: the agent itself checks that people vouched for this host.
    fn clean_statement(
        &self,
        order: &Verified<OrderV1>,
        leaf: Option<&LeafV1>,
        delivery: &Delivery,
    ) -> Result<(), Refusal> {
        let envelope = delivery.statement.as_ref().ok_or(Refusal::NoStatement)?;
        let named = leaf.and_then(|l| l.clean).ok_or(Refusal::NoStatement)?;
        if envelope.digest() != named {
            return Err(Refusal::OtherStatement);
        }
        let statement = self.trust.verify_statement(envelope).map_err(Refusal::Statement)?;
        self.fits(statement.value())?;
        if self.now > statement.value().valid_until_ms {
            return Err(Refusal::StatementLapsed(statement.value().valid_until_ms));
        }
        let apart = |person: &&PersonId| {
            let forensic = self.trust.holds(person, Role::Forensic);
            self.trust.disjoint(Role::Release, Role::Clean)
                || (forensic && self.trust.disjoint(Role::Release, Role::Forensic))
        };
        match statement.signers().intersection(order.signers()).find(apart) {
            Some(person) => Err(Refusal::NotDisjoint(person.to_string())),
            None => Ok(()),
        }
    }

    fn fits(&self, statement: &StatementV1) -> Result<(), Refusal> {
        let unfit = |why| Err(Refusal::StatementUnfit(why));
        if statement.verdict != crate::statement::Stated::Clean {
            return unfit("it does not say clean");
        }
        if statement.host_id != *self.host_id {
            return unfit("it names another host");
        }
        if statement.host_key != *self.fingerprint {
            return unfit("it names another key");
        }
        if statement.boot_id.as_deref() != Some(self.boot_id) {
            return unfit("the host has booted since");
        }
        Ok(())
    }
}

/// The name of a stream as it stands in documents.
const fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Net => "net",
        Stream::Block => "block",
        Stream::Query => "query",
    }
}
