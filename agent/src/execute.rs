//! Carrying out what the host core says, in the order in which it says it.
//!
//! The executor decides nothing. If something that must be on disk cannot be written, nothing that comes
//! after it happens, and the core forgets the input as if it had never come (invariant 7): the caller
//! tries it again. What the kernel answers goes back into the core before the next input.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use digue_proto::envelope::PayloadType;
use digue_proto::frame::FromAgent;
use digue_proto::host::{Applied, Apply, Document, Effect, Host, Input, Observed, Prove};
use digue_proto::report::Check;
use tokio::sync::mpsc;

use crate::clocks::{ClockError, HostClocks};
use crate::keyfile::HostKey;
use crate::link::chain;
use crate::roots::{Roots, RootsError};
use crate::sign;
use crate::store::{Store, StoreError};

/// The kernel, as far as a host's network goes. Its implementations decide nothing; they return what they
/// observed.
pub trait HostDriver: Send {
    /// Makes the kernel's rules those of a policy, ends sessions if asked, and reads the rules back.
    fn apply(&mut self, apply: &Apply) -> Applied;
    /// Reads the rules back and compares them with those meant.
    fn read_back(&mut self) -> Observed;
    /// Proof (b): sends probes that must not get through.
    fn probe(&mut self) -> Check;
    /// Starts the kernel's rollback timer anew.
    ///
    /// # Errors
    /// Why it could not, in words.
    fn rearm(&mut self, seconds: u32) -> Result<(), String>;
    /// Whether this driver itself made the rule set that the kernel gave this number.
    fn made(&self, generation: u32) -> bool;
    /// What lets traffic of this host get around the rules in force, in words; nothing if none are.
    fn ways_around(&mut self) -> Vec<String> {
        Vec::new()
    }
    /// Whether the rules in force are no longer those that the host's cards and routes ask for.
    fn outdated(&mut self) -> bool;
}

/// Why an input was not acted upon.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The state is not on disk.
    #[error("the state cannot be written; nothing is done until it can")]
    Persist(#[from] StoreError),
    /// A trust root is not on disk.
    #[error("a trust root cannot be written; nothing is done until it can")]
    Root(#[from] RootsError),
    /// No time or entropy.
    #[error("the kernel gives no time or entropy")]
    Clock(#[from] ClockError),
}

/// Proofs that wait for a new management connection.
#[derive(Debug, Clone)]
pub struct ProofRequest {
    /// Of the request.
    pub request: u64,
    /// What came of the probes.
    pub probes: Check,
}

/// Where effects go.
pub struct Outlets<D> {
    /// The kernel.
    pub driver: D,
    /// The state on disk.
    pub store: Store,
    /// The trust roots on disk.
    pub roots: Roots,
    /// Signs what the host says.
    pub key: HostKey,
    /// The clocks.
    pub clocks: HostClocks,
    /// Who makes new management connections.
    pub proofs: mpsc::Sender<ProofRequest>,
    /// What the link says about the trust root in force.
    pub root_version: Arc<AtomicU64>,
}

/// The host core with its hands.
pub struct Executor<D> {
    host: Host,
    outlets: Outlets<D>,
    link: Option<mpsc::Sender<Vec<u8>>>,
    /// What was last made of the kernel's rules.
    applied: Option<Apply>,
    dangerous_stop_after: Option<u64>,
}

impl<D: HostDriver> Executor<D> {
    /// An executor for a host that has been woken; the effects of waking are the caller's to
    /// [`Self::begin`] with.
    pub fn new(host: Host, outlets: Outlets<D>) -> Self {
        outlets.root_version.store(host.trust().version(), Ordering::Relaxed);
        Self { host, outlets, link: None, applied: None, dangerous_stop_after: dangerous_stop_after() }
    }

    /// Carries out the effects of waking, and what follows from them.
    ///
    /// # Errors
    /// [`ActError`]; the agent must then not go on.
    pub fn begin(&mut self, effects: Vec<Effect>) -> Result<(), ActError> {
        let inputs = self.execute(effects)?;
        self.settle(inputs.into())
    }

    /// Takes one input, and everything that follows from it.
    ///
    /// # Errors
    /// [`ActError`] if something could not be written. What was done before that stays done; what was not
    /// is put into `left`, first what must come first, to be tried again.
    pub fn take(&mut self, input: Input, left: &mut VecDeque<Input>) -> Result<(), ActError> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            match self.step(input.clone()) {
                Ok(answers) => answers.into_iter().rev().for_each(|answer| inputs.push_front(answer)),
                Err(error) => {
                    inputs.push_front(input);
                    left.extend(inputs);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn settle(&mut self, inputs: VecDeque<Input>) -> Result<(), ActError> {
        for input in inputs {
            self.take(input, &mut VecDeque::new())?;
        }
        Ok(())
    }

    fn step(&mut self, input: Input) -> Result<Vec<Input>, ActError> {
        let now = self.outlets.clocks.now()?;
        let before = self.host.clone();
        let effects = self.host.handle(input, &now);
        let done = self.execute(effects);
        if done.is_err() {
            self.host = before;
        }
        done
    }

    /// Carries out effects in order; returns what the core must hear of them.
    fn execute(&mut self, effects: Vec<Effect>) -> Result<Vec<Input>, ActError> {
        let mut notes = Vec::new();
        let done = self.carry_out(effects, &mut notes);
        // Last: a log that does not keep up must not hold up a cut.
        for (event, detail) in notes {
            tracing::warn!(event, detail, "host");
        }
        done
    }

    fn carry_out(
        &mut self,
        effects: Vec<Effect>,
        notes: &mut Vec<(&'static str, String)>,
    ) -> Result<Vec<Input>, ActError> {
        let mut answers = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(state) => self.outlets.store.write(&state)?,
                Effect::PersistRoot(envelope) => {
                    self.outlets.roots.write(&envelope)?;
                    self.outlets.root_version.store(self.host.trust().version(), Ordering::Relaxed);
                }
                Effect::Apply(apply) => {
                    answers.push(Input::Applied(Box::new(self.outlets.driver.apply(&apply))));
                    self.applied = Some(*apply);
                }
                Effect::Prove(prove) => self.prove(&prove),
                Effect::ReadBack => answers.push(Input::ReadBack(self.outlets.driver.read_back())),
                Effect::RearmRollback { seconds } => {
                    if let Err(error) = self.outlets.driver.rearm(seconds) {
                        tracing::error!(error, "rollback_not_rearmed");
                    }
                }
                Effect::Send(document) => self.send(&document),
                Effect::Note { event, detail } => notes.push((event, detail)),
            }
            self.dangerous_count_effect();
        }
        Ok(answers)
    }

    fn prove(&mut self, prove: &Prove) {
        let probes = if prove.contained {
            self.outlets.driver.probe()
        } else {
            Check::NotPossible { detail: "nothing is cut, so nothing must fail".to_owned() }
        };
        // A request that finds no room is made again by the core when its time has run out.
        if self.outlets.proofs.try_send(ProofRequest { request: prove.request, probes }).is_err() {
            tracing::warn!("proof_not_started");
        }
    }

    /// Signs a document and puts it on the link. What finds no room is in the outbox of the state.
    fn send(&mut self, document: &Document) {
        let Some(link) = &self.link else { return };
        let signed = match sign::document(&self.outlets.key, document) {
            Ok(signed) => signed,
            Err(error) => return tracing::error!(error = chain(&error), "not_signed"),
        };
        let frame = match document.payload_type {
            PayloadType::Heartbeat => FromAgent::Heartbeat(signed),
            PayloadType::Receipt
            | PayloadType::Report
            | PayloadType::Root
            | PayloadType::Inventory
            | PayloadType::Query
            | PayloadType::Protect
            | PayloadType::Release
            | PayloadType::Clean
            | PayloadType::Suspect
            | PayloadType::Enrol => FromAgent::Document(signed),
        };
        match frame.encode() {
            Ok(frame) => {
                if link.try_send(frame).is_err() {
                    // Full or closed: letting go ends the connection, and the outbox is sent on the next.
                    self.link = None;
                }
            }
            Err(error) => tracing::error!(error = chain(&error), "not_encoded"),
        }
    }

    /// Where signed documents go from now on.
    pub fn set_link(&mut self, link: Option<mpsc::Sender<Vec<u8>>>) {
        self.link = link;
    }

    /// Whether a controller is connected.
    pub fn connected(&self) -> bool {
        self.link.is_some()
    }

    /// Keeps up what was last applied, while nothing new can be done: a disk that cannot be written must
    /// not help whoever flushes the rules.
    pub fn hold(&mut self) {
        if self.outlets.driver.read_back().drift.is_empty() {
            return;
        }
        if let Some(apply) = &self.applied {
            tracing::warn!("rules_repaired_without_a_record");
            self.outlets.driver.apply(apply);
        }
    }

    /// The kernel.
    pub const fn driver(&mut self) -> &mut D {
        &mut self.outlets.driver
    }

    /// The host core.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The clocks.
    pub const fn clocks(&self) -> &HostClocks {
        &self.outlets.clocks
    }

    /// Test hook of debug builds: the process kills itself after so many effects, as a power cut would.
    fn dangerous_count_effect(&mut self) {
        if let Some(left) = &mut self.dangerous_stop_after {
            *left = left.saturating_sub(1);
            if *left == 0 {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

#[cfg(debug_assertions)]
fn dangerous_stop_after() -> Option<u64> {
    std::env::var("DIGUE_DANGEROUS_STOP_AFTER").ok()?.parse().ok()
}

#[cfg(not(debug_assertions))]
const fn dangerous_stop_after() -> Option<u64> {
    None
}
