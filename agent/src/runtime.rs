//! The one loop: what the link, the kernel, timers and signals say goes to the host core, one input at a
//! time, and what the core answers is carried out.
//!
//! Two threads. This one runs the network and the timers; the worker holds the core, the disk and the
//! kernel, so that a slow disk never keeps an order from being read, and effects keep their order.
//! Architecture invariant: stopping, in whatever way, changes no rule.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use digue_proto::envelope::Envelope;
use digue_proto::frame::HEARTBEAT_SECONDS;
use digue_proto::host::{Effect, Input, Proved};
use digue_proto::id::{Digest, UnixMillis};
use digue_proto::order::Stream;
use digue_proto::report::Check;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::clocks::HostClocks;
use crate::drivers::RuleChange;
use crate::execute::{ActError, Executor, HostDriver, ProofRequest};
use crate::link::{Dialler, LinkEvent, chain, jitter};
use crate::sd::ServiceManager;
use crate::status::StatusFile;

/// Inputs that may wait; a link that brings more is made to wait.
const WAITING_EVENTS: usize = 256;
const TICK: Duration = Duration::from_secs(5);
/// Until something that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a stop waits for the effects under way.
const STOP_TIME: Duration = Duration::from_secs(10);
/// Between the tries of one proof.
const PROOF_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
/// Programs named in one alarm.
const MOST_NAMED: usize = 3;
/// Deliveries remembered until it shows whether they were accepted.
const RECENT_ORDERS: usize = 16;

/// Something for the worker.
#[derive(Debug)]
pub enum Event {
    /// From the link.
    Link(LinkEvent),
    /// Someone changed firewall rules, perhaps this agent.
    Rules(Vec<RuleChange>),
    /// Cards or routes changed.
    Cards(CardNews),
    /// A proof came to its end.
    Proved(Box<Proved>),
    /// It is time to read the rules back and say so.
    HeartbeatDue,
    /// A few seconds went by.
    Tick,
    /// Finish what is under way and end.
    Stop,
}

/// What the kernel said of cards and routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardNews {
    /// In words.
    pub detail: String,
    /// Whether a card is gone, or news were lost. Then it does not matter that everything looks as before:
    /// another card may stand in the place of one that now serves another namespace.
    pub lost: bool,
}

impl From<LinkEvent> for Event {
    fn from(event: LinkEvent) -> Self {
        Self::Link(event)
    }
}

/// Why the agent ended on its own.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A thread, a signal handler or a timer is not to be had.
    #[error("{0}")]
    System(&'static str, #[source] std::io::Error),
    /// What was found at the start could not be put on disk.
    #[error("starting")]
    Act(#[from] ActError),
    /// The worker is gone; only a defect can do that.
    #[error("the worker thread ended unexpectedly")]
    WorkerLost,
}

/// What the loop serves.
pub struct Service<D> {
    /// The core and its hands.
    pub executor: Executor<D>,
    /// The effects of waking.
    pub effects: Vec<Effect>,
    /// The link.
    pub dialler: Dialler,
    /// What waits for a new management connection.
    pub proofs: mpsc::Receiver<ProofRequest>,
    /// The status file.
    pub status: StatusFile,
    /// The service manager.
    pub manager: Arc<ServiceManager>,
}

/// Serves until a signal asks to stop. `monitor` turns what the kernel says into inputs.
///
/// # Errors
/// [`ServeError`]; no rule was changed by the failure.
pub async fn serve<D, M>(
    service: Service<D>,
    monitor: impl FnOnce(mpsc::Sender<Event>) -> M,
) -> Result<(), ServeError>
where
    D: HostDriver + 'static,
    M: Future<Output = ()>,
{
    let Service { executor, effects, dialler, mut proofs, status, manager } = service;
    let (events, inbox) = mpsc::channel(WAITING_EVENTS);
    let (ended, worker_ended) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let clocks = executor.clocks().clone();
    let worker = Worker {
        executor,
        status,
        manager,
        stop: Arc::clone(&stop),
        recent: VecDeque::new(),
        told_ways: BTreeSet::new(),
        kept: [None; 3],
        trouble: None,
    };
    let work = move || {
        let _ = ended.send(worker.run(effects, inbox, ready));
    };
    let thread = std::thread::Builder::new().name("worker".to_owned()).stack_size(1 << 20);
    thread.spawn(work).map_err(|e| ServeError::System("starting the worker thread", e))?;
    let handler = |kind| signal(kind).map_err(|e| ServeError::System("installing a signal handler", e));
    let (mut terminate, mut interrupt) =
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    // A terminal that goes away must not take the agent along.
    let _hangup = handler(SignalKind::hangup())?;

    let link = async {
        // First the rules of an earlier order, then the network.
        if is_ready.await.is_ok() {
            dialler.run(events.clone()).await;
        }
        std::future::pending::<()>().await;
    };
    let mut worker_ended = worker_ended;
    tokio::select! {
        () = Box::pin(link) => {}
        () = Box::pin(prove(&dialler, &mut proofs, &events, &clocks)) => {}
        () = beat(&events) => {}
        () = tick(&events) => {}
        () = Box::pin(monitor(events.clone())) => {}
        _ = terminate.recv() => tracing::info!("stopping; the rules stay"),
        _ = interrupt.recv() => tracing::info!("stopping; the rules stay"),
        outcome = &mut worker_ended => return finished(outcome),
    }
    stop.store(true, Ordering::Relaxed);
    let asked = timeout(STOP_TIME, async {
        let _ = events.send(Event::Stop).await;
        worker_ended.await
    });
    asked.await.map_or(Ok(()), finished)
}

fn finished(outcome: Result<Result<(), ActError>, oneshot::error::RecvError>) -> Result<(), ServeError> {
    outcome.map_err(|_| ServeError::WorkerLost)?.map_err(ServeError::Act)
}

/// Makes the new connections that proofs ask for; a newer request replaces an older one.
async fn prove(
    dialler: &Dialler,
    requests: &mut mpsc::Receiver<ProofRequest>,
    events: &mpsc::Sender<Event>,
    clocks: &HostClocks,
) {
    let mut next = requests.recv().await;
    while let Some(ProofRequest { request, probes }) = next.take() {
        let management = tokio::select! {
            newer = requests.recv() => {
                next = newer;
                continue;
            }
            made = Box::pin(connect_anew(dialler)) => {
                let at_ms = clocks.read().map_or_else(|_| UnixMillis::default(), |c| c.wall_ms);
                match made {
                    Ok(address) => {
                        let detail = format!("a new connection to {address} was answered");
                        Check::Passed { detail, at_ms }
                    }
                    Err(detail) => Check::Failed { detail, at_ms },
                }
            }
        };
        let proved = Box::new(Proved { request, probes, management });
        if events.send(Event::Proved(proved)).await.is_err() {
            return;
        }
        next = requests.recv().await;
    }
}

/// One lost packet is no verdict: the core would wait long before it asks again.
async fn connect_anew(dialler: &Dialler) -> Result<SocketAddr, String> {
    for pause in PROOF_PAUSES {
        if let Ok(address) = dialler.probe().await {
            return Ok(address);
        }
        sleep(pause).await;
    }
    dialler.probe().await
}

async fn beat(events: &mpsc::Sender<Event>) {
    const FIFTH_MS: u64 = HEARTBEAT_SECONDS * 1_000 / 5;
    loop {
        sleep(Duration::from_millis(4 * FIFTH_MS + jitter(2 * FIFTH_MS))).await;
        // A worker that is behind will find the next one.
        let _ = events.try_send(Event::HeartbeatDue);
    }
}

async fn tick(events: &mpsc::Sender<Event>) {
    loop {
        sleep(TICK).await;
        let _ = events.try_send(Event::Tick);
    }
}

/// Joins what the kernel said meanwhile of rules: a storm of changes is read back once, not once each.
/// Events of other kinds keep their order.
fn with_later_changes(
    mut changes: Vec<RuleChange>,
    inbox: &mut mpsc::Receiver<Event>,
    waiting: &mut VecDeque<Event>,
) -> Vec<RuleChange> {
    while let Ok(event) = inbox.try_recv() {
        match event {
            Event::Rules(more) => changes.extend(more),
            other @ (Event::Link(_)
            | Event::Cards(_)
            | Event::Proved(_)
            | Event::HeartbeatDue
            | Event::Tick
            | Event::Stop) => waiting.push_back(other),
        }
    }
    changes
}

/// The thread that holds the core.
struct Worker<D> {
    executor: Executor<D>,
    status: StatusFile,
    manager: Arc<ServiceManager>,
    stop: Arc<AtomicBool>,
    recent: VecDeque<Envelope>,
    /// Ways around the rules that were there at the last look.
    told_ways: BTreeSet<String>,
    /// Orders of each stream already kept for people.
    kept: [Option<Digest>; 3],
    trouble: Option<String>,
}

impl<D: HostDriver> Worker<D> {
    fn run(
        mut self,
        effects: Vec<Effect>,
        mut inbox: mpsc::Receiver<Event>,
        ready: oneshot::Sender<()>,
    ) -> Result<(), ActError> {
        self.executor.begin(effects)?;
        self.after();
        self.manager.ready();
        let _ = ready.send(());
        let mut waiting = VecDeque::new();
        while let Some(event) = waiting.pop_front().or_else(|| inbox.blocking_recv()) {
            let event = match event {
                Event::Stop => break,
                Event::Rules(changes) => Event::Rules(with_later_changes(changes, &mut inbox, &mut waiting)),
                other @ (Event::Link(_)
                | Event::Cards(_)
                | Event::Proved(_)
                | Event::HeartbeatDue
                | Event::Tick) => other,
            };
            for input in self.inputs(event) {
                self.act(input);
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
            self.after();
        }
        Ok(())
    }

    fn inputs(&mut self, event: Event) -> Vec<Input> {
        match event {
            Event::Link(LinkEvent::Up { nonce, out }) => {
                self.executor.set_link(Some(out));
                // A heartbeat at once: whoever looks at this host waited for it.
                vec![Input::Connected(nonce), Input::HeartbeatDue(self.executor.driver().read_back())]
            }
            Event::Link(LinkEvent::Down) => {
                self.executor.set_link(None);
                vec![Input::Disconnected]
            }
            Event::Link(LinkEvent::Deliver(delivery)) => {
                self.recent.push_back(delivery.order.clone());
                let surplus = self.recent.len().saturating_sub(RECENT_ORDERS);
                self.recent.drain(..surplus);
                vec![Input::Deliver(delivery)]
            }
            Event::Link(LinkEvent::Roots(roots)) => vec![Input::Roots(roots)],
            Event::Link(LinkEvent::Stored(digest)) => vec![Input::Stored(digest)],
            Event::Rules(changes) => self.rules_changed(changes),
            Event::Cards(CardNews { detail, lost }) => {
                let mut inputs = self.ways_around();
                if lost || self.executor.driver().outdated() {
                    inputs.push(Input::CardsChanged { detail });
                }
                inputs
            }
            Event::Proved(proved) => vec![Input::Proved(proved)],
            Event::HeartbeatDue => vec![Input::HeartbeatDue(self.executor.driver().read_back())],
            Event::Tick => {
                self.manager.alive();
                let mut inputs = self.ways_around();
                inputs.push(Input::Tick);
                inputs
            }
            Event::Stop => Vec::new(),
        }
    }

    /// What lets traffic around the rules, as far as it was not told before.
    fn ways_around(&mut self) -> Vec<Input> {
        let found: BTreeSet<String> = self.executor.driver().ways_around().into_iter().collect();
        let new = found.difference(&self.told_ways).cloned();
        let inputs = new.map(|detail| Input::WayAround { detail }).collect();
        self.told_ways = found;
        inputs
    }

    /// One input for all that is news; what this agent made itself is none.
    fn rules_changed(&mut self, changes: Vec<RuleChange>) -> Vec<Input> {
        let mut by = BTreeSet::new();
        for change in changes {
            match change {
                RuleChange::Changed { generation, .. } if self.executor.driver().made(generation) => {}
                RuleChange::Changed { process, program, .. } => {
                    by.insert(format!("{program} (process {process})"));
                }
                RuleChange::Missed => {
                    by.insert("unknown: the kernel's news of rules were not heard".to_owned());
                }
            }
        }
        let named: Vec<String> = by.into_iter().take(MOST_NAMED).collect();
        if named.is_empty() { Vec::new() } else { vec![Input::RulesChanged { by: named.join(", ") }] }
    }

    /// Acts on an input, however long it takes until it can be written down.
    fn act(&mut self, input: Input) {
        let mut waiting = VecDeque::from([input]);
        while let Some(input) = waiting.pop_front() {
            let mut left = VecDeque::new();
            match self.executor.take(input, &mut left) {
                Ok(()) => self.trouble = None,
                Err(error) => {
                    left.append(&mut waiting);
                    waiting = left;
                    let trouble = chain(&error);
                    if self.trouble.as_ref() != Some(&trouble) {
                        tracing::error!(trouble, "nothing_is_done");
                        self.trouble = Some(trouble);
                    }
                    self.after();
                    if self.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    self.manager.alive();
                    self.executor.hold();
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    /// Tells people on this host what is so.
    fn after(&mut self) {
        let Ok(clocks) = self.executor.clocks().read() else { return };
        self.keep_accepted(clocks.wall_ms);
        let (host, connected) = (self.executor.host(), self.executor.connected());
        self.status.update(host, &clocks.boot_id, clocks.wall_ms, connected, self.trouble.clone());
    }

    /// Keeps the orders that were accepted, for `status` and for anyone who wants to check them.
    fn keep_accepted(&mut self, at_ms: UnixMillis) {
        let streams = [Stream::Net, Stream::Block, Stream::Query];
        for (stream, kept) in streams.into_iter().zip(&mut self.kept) {
            let Some(order) = self.executor.host().state().stream(stream).map(|s| s.order) else { continue };
            if *kept == Some(order) {
                continue;
            }
            if let Some(envelope) = self.recent.iter().find(|e| e.digest() == order) {
                self.status.orders().keep(stream, envelope, at_ms);
            }
            *kept = Some(order);
        }
    }
}
