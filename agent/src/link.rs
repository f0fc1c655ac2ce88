//! The link to a controller: dial out, say hello, carry frames both ways, and dial again.
//!
//! Nothing that arrives here is trusted; it is handed to the host core as it is. Deliberately absent: any
//! listening socket, name resolution, and queues without a bound. Documents that a broken connection loses
//! are in the host's outbox and are sent again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use digue_proto::envelope::Envelope;
use digue_proto::frame::{Delivery, FrameError, FromAgent, FromController, Hello, Welcome};
use digue_proto::id::{Digest, HostId, Nonce};
use digue_proto::limits::{MAX_FRAME, MAX_FRAME_UNAUTHORISED};
use digue_proto::trust::PROTOCOL_VERSION;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clocks;
use crate::config::Controller;
use crate::keyfile::HostKey;
use crate::tls;
use crate::wire::{self, WireError};

/// From dialling to the controller's welcome.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// The same for a connection that only proves that one can be made.
const PROBE_TIME: Duration = Duration::from_secs(5);
/// Unacknowledged data after which the kernel gives a connection up: two heartbeats.
const DEAD_AFTER: Duration = Duration::from_secs(60);
/// Frames that may wait for a connection; more means that it is broken.
const OUT_QUEUE: usize = 1_024;
/// The widest first delay before dialling again, and the widest of all; drawn evenly from zero.
const FIRST_DELAY_MS: u64 = 500;
const LAST_DELAY_MS: u64 = 60_000;
/// How long a host that is not in the inventory waits before it asks again.
const ENROLMENT_WAIT: Duration = Duration::from_secs(15);

/// The widest delay after that before it dials again.
const ENROLMENT_DELAY_MS: u64 = 2_000;

/// How far a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Nothing,
    NotEnrolled,
    Welcome,
}

/// What the link tells the runtime.
#[derive(Debug)]
pub enum LinkEvent {
    /// A controller welcomed this host; encoded frames may be put on `out`.
    Up {
        /// Heartbeats repeat it.
        nonce: Nonce,
        /// Bounded; dropping it ends the connection.
        out: mpsc::Sender<Vec<u8>>,
    },
    /// The connection ended.
    Down,
    /// An order arrived.
    Deliver(Box<Delivery>),
    /// Trust roots arrived.
    Roots(Vec<Envelope>),
    /// A document is on the controller's disk.
    Stored(Digest),
}

/// Why there is no connection, or no longer one.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// TCP.
    #[error("connecting")]
    Connect(#[source] std::io::Error),
    /// TLS: a wrong key, a certificate in its place, an old version.
    #[error("TLS handshake")]
    Tls(#[source] std::io::Error),
    /// No welcome in time.
    #[error("no answer within {} seconds", .0.as_secs())]
    Slow(Duration),
    /// Another protocol than ours.
    #[error("the controller did not choose this protocol (ALPN)")]
    Alpn,
    /// A frame.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Our own frame cannot be encoded.
    #[error("encoding a frame")]
    Encode(#[source] FrameError),
    /// The first frame was no welcome.
    #[error("the first frame was not a welcome")]
    NoWelcome,
    /// It speaks another version.
    #[error("the controller speaks protocol {0}, this agent {PROTOCOL_VERSION}")]
    Protocol(u32),
    /// The runtime has stopped listening.
    #[error("the agent is stopping")]
    Stopping,
    /// More frames waited than the queue holds, or the runtime let go of the connection.
    #[error("the connection did not keep up and was given up")]
    LetGo,
}

/// Makes the request to enter the inventory, for the controller with this key.
pub type Enrolment = Box<dyn Fn(Digest) -> Option<Envelope> + Send + Sync>;
/// Called once the host is in the inventory.
pub type Enrolled = Box<dyn Fn() + Send + Sync>;

/// What is needed to dial.
pub struct Dialler {
    host_id: HostId,
    targets: Vec<Target>,
    /// The version of the trust root in force, kept current by the runtime.
    pub root_version: Arc<AtomicU64>,
    /// Which target answered last.
    current: AtomicUsize,
    enrolment: Option<(Enrolment, Enrolled)>,
}

struct Target {
    controller: Controller,
    tls: Arc<ClientConfig>,
}

impl Dialler {
    /// Prepares TLS for every controller.
    ///
    /// # Errors
    /// If the host key cannot be used for TLS.
    pub fn new(
        host_id: HostId,
        key: &HostKey,
        controllers: &[Controller],
        enrolment: Option<(Enrolment, Enrolled)>,
    ) -> Result<Self, rustls::Error> {
        let target =
            |c: &Controller| tls::client(key, c.spki_sha256).map(|tls| Target { controller: c.clone(), tls });
        let targets = controllers.iter().map(target).collect::<Result<_, _>>()?;
        let root_version = Arc::new(AtomicU64::new(0));
        Ok(Self { host_id, targets, root_version, current: AtomicUsize::new(0), enrolment })
    }

    /// Keeps a connection to one of the controllers until the runtime stops listening.
    pub async fn run<E: From<LinkEvent> + Send>(&self, events: mpsc::Sender<E>) {
        let mut failures = 0;
        for index in (0..self.targets.len()).cycle() {
            let Some(target) = self.targets.get(index) else { return };
            let controller = target.controller.address;
            let (reached, error) = self.session(index, target, &events).await;
            let cause = chain(&error);
            match reached {
                _ if matches!(error, LinkError::Stopping) => return,
                Reached::Nothing => {
                    tracing::debug!(%controller, cause, "link_failed");
                    failures += 1;
                    // The others are tried at once; only a round without success waits.
                    if failures % self.targets.len() == 0 {
                        sleep(delay(failures / self.targets.len())).await;
                    }
                }
                Reached::NotEnrolled => {
                    tracing::info!(%controller, cause, "not_enrolled");
                    failures = 0;
                    sleep(Duration::from_millis(jitter(ENROLMENT_DELAY_MS))).await;
                }
                Reached::Welcome => {
                    tracing::warn!(%controller, cause, "link_lost");
                    failures = 0;
                    if events.send(LinkEvent::Down.into()).await.is_err() {
                        return;
                    }
                    sleep(delay(1)).await;
                }
            }
        }
    }

    /// One connection, from dialling to its end.
    async fn session<E: From<LinkEvent> + Send>(
        &self,
        index: usize,
        target: &Target,
        events: &mpsc::Sender<E>,
    ) -> (Reached, LinkError) {
        let (stream, welcome) = match self.dial(target, false, HANDSHAKE_TIME).await {
            Ok(dialled) => dialled,
            Err(error) => return (Reached::Nothing, error),
        };
        self.current.store(index, Ordering::Relaxed);
        if !welcome.enrolled {
            return (Reached::NotEnrolled, self.ask_to_enrol(target, stream).await);
        }
        if let Some((_, enrolled)) = &self.enrolment {
            enrolled();
        }
        tracing::info!(controller = %target.controller.address, "link_up");
        let (out, queue) = mpsc::channel(OUT_QUEUE);
        if events.send(LinkEvent::Up { nonce: welcome.nonce, out }.into()).await.is_err() {
            return (Reached::Welcome, LinkError::Stopping);
        }
        (Reached::Welcome, carry(stream, queue, events).await)
    }

    async fn dial(
        &self,
        target: &Target,
        probe: bool,
        time: Duration,
    ) -> Result<(TlsStream<TcpStream>, Welcome), LinkError> {
        let dial = async {
            let tcp = connect(target.controller.address).await.map_err(LinkError::Connect)?;
            let connector = TlsConnector::from(Arc::clone(&target.tls));
            let name = tls::name(target.controller.address);
            let mut stream = connector.connect(name, tcp).await.map_err(LinkError::Tls)?;
            if stream.get_ref().1.alpn_protocol() != Some(digue_proto::frame::ALPN) {
                return Err(LinkError::Alpn);
            }
            let hello = Hello {
                protocol: PROTOCOL_VERSION,
                host_id: self.host_id.clone(),
                root_version: self.root_version.load(Ordering::Relaxed),
                probe,
            };
            let hello = FromAgent::Hello(hello).encode().map_err(LinkError::Encode)?;
            wire::write(&mut stream, &hello).await?;
            match wire::read(&mut stream, MAX_FRAME_UNAUTHORISED).await? {
                FromController::Welcome(welcome) if welcome.protocol == PROTOCOL_VERSION => {
                    Ok((stream, welcome))
                }
                FromController::Welcome(welcome) => Err(LinkError::Protocol(welcome.protocol)),
                FromController::Roots(_) | FromController::Deliver(_) | FromController::Stored(_) => {
                    Err(LinkError::NoWelcome)
                }
            }
        };
        timeout(time, Box::pin(dial)).await.map_err(|_| LinkError::Slow(time))?
    }

    /// Asks to enter the inventory, and waits a while: people decide, not the controller.
    async fn ask_to_enrol(&self, target: &Target, mut stream: TlsStream<TcpStream>) -> LinkError {
        let asked = self.enrolment.as_ref().and_then(|(make, _)| make(target.controller.spki_sha256));
        if let Some(envelope) = asked {
            let frame = match FromAgent::Enrol(envelope).encode() {
                Ok(frame) => frame,
                Err(error) => return LinkError::Encode(error),
            };
            if let Err(error) = wire::write(&mut stream, &frame).await {
                return error.into();
            }
        }
        match timeout(ENROLMENT_WAIT, wire::read(&mut stream, MAX_FRAME_UNAUTHORISED)).await {
            Ok(Ok(_)) => LinkError::NoWelcome,
            Ok(Err(error)) => error.into(),
            Err(_) => LinkError::Slow(ENROLMENT_WAIT),
        }
    }

    /// Proof (d): makes a *new* connection to a controller and lets it answer.
    ///
    /// # Errors
    /// What happened with each controller, in words.
    pub async fn probe(&self) -> Result<SocketAddr, String> {
        let mut problems = Vec::new();
        let first = self.current.load(Ordering::Relaxed);
        for step in 0..self.targets.len() {
            let Some(target) = self.targets.get((first + step) % self.targets.len()) else { break };
            let address = target.controller.address;
            match self.dial(target, true, PROBE_TIME).await {
                Ok(_) => return Ok(address),
                Err(error) => problems.push(format!("{address}: {}", chain(&error))),
            }
        }
        Err(problems.join("; "))
    }
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let dead_after = u32::try_from(DEAD_AFTER.as_millis()).unwrap_or(u32::MAX);
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::TcpUserTimeout, &dead_after)?;
    Ok(stream)
}

/// Carries frames both ways until something ends it.
async fn carry<E: From<LinkEvent> + Send>(
    stream: TlsStream<TcpStream>,
    mut queue: mpsc::Receiver<Vec<u8>>,
    events: &mpsc::Sender<E>,
) -> LinkError {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let hear = async {
        loop {
            let event = match wire::read(&mut reader, MAX_FRAME).await {
                Ok(FromController::Deliver(delivery)) => LinkEvent::Deliver(delivery),
                Ok(FromController::Roots(roots)) => LinkEvent::Roots(roots),
                Ok(FromController::Stored(digest)) => LinkEvent::Stored(digest),
                // Said once at the start; a second one would replace the nonce in the middle.
                Ok(FromController::Welcome(_)) => return LinkError::NoWelcome,
                Err(error) => return error.into(),
            };
            if events.send(event.into()).await.is_err() {
                return LinkError::Stopping;
            }
        }
    };
    let say = async {
        while let Some(frame) = queue.recv().await {
            if let Err(error) = wire::write(&mut writer, &frame).await {
                return error.into();
            }
        }
        LinkError::LetGo
    };
    tokio::select! {
        error = Box::pin(hear) => error,
        error = Box::pin(say) => error,
    }
}

/// Full jitter: evenly between nothing and a bound that doubles with each failed round.
fn delay(rounds: usize) -> Duration {
    let shift = u32::try_from(rounds.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let bound = (FIRST_DELAY_MS << shift).min(LAST_DELAY_MS);
    Duration::from_millis(jitter(bound))
}

/// A number from 0 to `bound`, evenly; `bound` itself if the kernel has no entropy to give.
pub fn jitter(bound: u64) -> u64 {
    clocks::entropy().map_or(bound, |bytes| u64::from_le_bytes(bytes) % (bound + 1))
}
