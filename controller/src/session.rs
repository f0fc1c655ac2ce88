//! One connection of one agent, from the handshake to its end.
//!
//! Who is talking is decided by the key of the handshake and the signed inventory, never by what is said
//! (D5). An unknown key may only ask to enter the inventory. Everything unexpected ends the connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use digue_proto::frame::{ALPN, FrameError, FromAgent, FromController, Hello, Welcome};
use digue_proto::id::{HostId, Nonce};
use digue_proto::key::PublicKey;
use digue_proto::limits::{MAX_FRAME, MAX_FRAME_UNAUTHORISED};
use digue_proto::trust::PROTOCOL_VERSION;
use rand_core::{OsRng, RngCore as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _, ReadHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock;
use crate::config::Agents;
use crate::controller::{Controller, NotHeard};
use crate::dispatch::{Deliveries, root_frames, stored_frame};
use crate::hub::Outgoing;
use crate::pace::Pace;
use crate::runtime::Admission;
use crate::wire::{FrameReader, Patience, WireError};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// TLS and the first frame took too long.
    #[error("the handshake took too long")]
    HandshakeTimeout,
    /// TLS failed.
    #[error("TLS handshake: {0}")]
    Tls(#[source] std::io::Error),
    /// Another protocol than ours.
    #[error("the peer did not ask for this protocol (ALPN)")]
    Alpn,
    /// No acceptable key.
    #[error("the peer showed no acceptable key")]
    NoKey,
    /// What was said.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The first frame was not a hello.
    #[error("the first frame was not a hello")]
    NoHello,
    /// A protocol that the trust root no longer allows, or that this program does not speak.
    #[error("protocol version {0} is not spoken here")]
    Protocol(u32),
    /// A frame that has no place in this connection.
    #[error("a {0} has no place here")]
    OutOfPlace(&'static str),
    /// A document that is not taken.
    #[error("not heard: {0}")]
    NotHeard(#[from] NotHeard),
    /// The peer did not take what was sent.
    #[error("sending: {0}")]
    Send(#[source] std::io::Error),
    /// A newer connection of the same host, or the host is no longer in the inventory.
    #[error("its place was taken, or its key is no longer in the inventory")]
    Displaced,
    /// The inventory now names the key.
    #[error("the inventory now names this key: connect again")]
    Enrolled,
    /// What was lost to a full disk can be sent again.
    #[error("the disk takes writes again: connect and send again")]
    SendAgain,
    /// More roots are missing than one connection carries.
    #[error("the agent's trust root is too old to bring it up to date here; use a courier")]
    TooManyRoots,
    /// The process ends.
    #[error("the controller is stopping")]
    Stopping,
}

impl Ended {
    /// A stable word, for the figures.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Tls(_) => "tls",
            Self::Alpn => "alpn",
            Self::NoKey => "no_key",
            Self::Wire(WireError::Frame(_)) => "frame",
            Self::Wire(WireError::Slow) => "slow",
            Self::Wire(WireError::Closed | WireError::Lost(_) | WireError::Idle) | Self::Send(_) => "lost",
            Self::NoHello => "no_hello",
            Self::Protocol(_) => "protocol",
            Self::OutOfPlace(_) => "out_of_place",
            Self::NotHeard(_) => "not_heard",
            Self::TooManyRoots => "too_many_roots",
            Self::Displaced | Self::Enrolled | Self::SendAgain | Self::Stopping => "other",
        }
    }

    /// Whether someone should look at it.
    pub(crate) const fn suspicious(&self) -> bool {
        !matches!(
            self,
            Self::Wire(WireError::Closed | WireError::Lost(_) | WireError::Idle)
                | Self::Displaced
                | Self::Enrolled
                | Self::SendAgain
                | Self::Stopping
                | Self::Send(_)
        )
    }
}

type Reader = FrameReader<ReadHalf<TlsStream<TcpStream>>>;
type Writer = tokio::io::WriteHalf<TlsStream<TcpStream>>;

/// A connection whose peer has shown its key and said hello.
struct Peer {
    key: PublicKey,
    address: IpAddr,
    hello: Hello,
    nonce: Nonce,
    reader: Reader,
    writer: Writer,
}

/// Serves one connection until it ends.
pub(crate) async fn serve(
    controller: Arc<Controller>,
    acceptor: TlsAcceptor,
    times: Agents,
    stream: TcpStream,
    address: SocketAddr,
    admission: Admission,
) -> Ended {
    // In boxes, so that an idle connection does not keep the room that only its beginning needed.
    let greeting = Box::pin(greet(&acceptor, &times, stream, address.ip()));
    let greeted = timeout(times.handshake_timeout, greeting).await;
    let peer = match greeted {
        Err(_) => return Ended::HandshakeTimeout,
        Ok(Err(ended)) => return ended,
        Ok(Ok(peer)) => peer,
    };
    if let Err(ended) = check_protocol(&controller, &peer.hello) {
        return ended;
    }
    let host = controller.host_of(&peer.key);
    let ended = match host {
        None => Box::pin(serve_unknown(&controller, &times, peer)).await,
        Some(_) if peer.hello.probe => Box::pin(serve_probe(&times, peer)).await,
        Some(host) => {
            drop(admission);
            Box::pin(serve_host(&controller, &times, peer, host)).await
        }
    };
    ended.err().unwrap_or(Ended::Stopping)
}

async fn greet(
    acceptor: &TlsAcceptor,
    times: &Agents,
    stream: TcpStream,
    address: IpAddr,
) -> Result<Box<Peer>, Ended> {
    stream.set_nodelay(true).map_err(Ended::Tls)?;
    let stream = acceptor.accept(stream).await.map_err(Ended::Tls)?;
    let (_, session) = stream.get_ref();
    if session.alpn_protocol() != Some(ALPN) {
        return Err(Ended::Alpn);
    }
    let shown = session.peer_certificates().and_then(|keys| keys.first());
    let key = shown.and_then(|spki| PublicKey::from_ed25519_spki(spki).ok()).ok_or(Ended::NoKey)?;
    let (read, writer) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read);
    let patience = Patience { idle: times.handshake_timeout, frame: times.handshake_timeout };
    let first = reader.next(MAX_FRAME_UNAUTHORISED, patience).await?;
    let FromAgent::Hello(hello) = FromAgent::decode(&first).map_err(WireError::Frame)? else {
        return Err(Ended::NoHello);
    };
    let mut nonce = [0; 16];
    OsRng.fill_bytes(&mut nonce);
    Ok(Box::new(Peer { key, address, hello, nonce: Nonce::from_bytes(nonce), reader, writer }))
}

/// The oldest version is the trust root's to say (D3).
fn check_protocol(controller: &Controller, hello: &Hello) -> Result<(), Ended> {
    let oldest = controller.read().fleet.trust().map_or(0, |trust| trust.root().protocol_min);
    if (oldest..=PROTOCOL_VERSION).contains(&hello.protocol) {
        Ok(())
    } else {
        Err(Ended::Protocol(hello.protocol))
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), times: &Agents, frame: &[u8]) -> Result<(), Ended> {
    let write = async {
        writer.write_all(frame).await?;
        writer.flush().await
    };
    match timeout(times.frame_timeout, write).await {
        Ok(written) => written.map_err(Ended::Send),
        Err(_) => Err(Ended::Send(std::io::ErrorKind::TimedOut.into())),
    }
}

fn welcome(nonce: Nonce, enrolled: bool) -> Result<Bytes, Ended> {
    let welcome = FromController::Welcome(Welcome { protocol: PROTOCOL_VERSION, nonce, enrolled });
    Ok(welcome.encode().map_err(WireError::Frame)?.into())
}

/// A connection that only proves that one can be made (4.5 d): it takes nobody's place.
async fn serve_probe(times: &Agents, mut peer: Box<Peer>) -> Result<(), Ended> {
    send(&mut peer.writer, times, &welcome(peer.nonce, true)?).await?;
    let patience = Patience { idle: times.handshake_timeout, frame: times.handshake_timeout };
    peer.reader.next(MAX_FRAME_UNAUTHORISED, patience).await?;
    Err(Ended::OutOfPlace("frame on a probe connection"))
}

/// A key that the inventory does not name: it may ask to enter it, and nothing else.
async fn serve_unknown(controller: &Controller, times: &Agents, mut peer: Box<Peer>) -> Result<(), Ended> {
    let mut inventory = controller.inventory_version.subscribe();
    let mut stopping = controller.stopping.subscribe();
    send(&mut peer.writer, times, &welcome(peer.nonce, false)?).await?;
    let patience = Patience { idle: times.idle_timeout, frame: times.frame_timeout };
    loop {
        let frame = tokio::select! {
            frame = peer.reader.next(MAX_FRAME_UNAUTHORISED, patience) => frame?,
            _ = stopping.wait_for(|stop| *stop) => return Err(Ended::Stopping),
            _ = inventory.changed() => {
                if controller.host_of(&peer.key).is_some() {
                    return Err(Ended::Enrolled);
                }
                continue;
            }
        };
        match FromAgent::decode(&frame).map_err(WireError::Frame)? {
            FromAgent::Enrol(envelope) => {
                // There is no answer: people decide, and then the connection ends.
                controller.hear_enrolment(&peer.key, peer.address, &envelope).await?;
            }
            FromAgent::Hello(_) => return Err(Ended::OutOfPlace("second hello")),
            FromAgent::Heartbeat(_) => return Err(Ended::OutOfPlace("heartbeat of an unknown key")),
            FromAgent::Document(_) => return Err(Ended::OutOfPlace("document of an unknown key")),
        }
    }
}

async fn serve_host(
    controller: &Arc<Controller>,
    times: &Agents,
    peer: Box<Peer>,
    host: HostId,
) -> Result<(), Ended> {
    let Peer { key, hello, nonce, reader, writer, .. } = *peer;
    // Queued before the place is taken, so that no order can come first.
    let held = usize::try_from(hello.root_version).unwrap_or(usize::MAX);
    let mut first = vec![welcome(nonce, true)?];
    let roots_sent = {
        let state = controller.read();
        let missing = state.roots.get(held..).unwrap_or_default();
        first.extend(root_frames(missing).map_err(WireError::Frame)?);
        state.roots.len()
    };
    let seat = controller.hub.join(&host, &key, first, Instant::now()).ok_or(Ended::TooManyRoots)?;
    if seat.flapping {
        tracing::warn!(%host, "connections with this host's key displace each other");
        let text = "connection_flapping: connections with this host's key displace each other; is the key in use on two machines?";
        controller.write().fleet.remark(&host, text);
        controller.changes.host(&host);
    }
    let id = seat.id;
    let mut sender =
        tokio::spawn(send_all(Arc::clone(controller), times.clone(), host.clone(), writer, seat.outgoing));
    let session = Session { controller, host: &host, key: &key, nonce, queue: seat.queue, unstored: false };
    let ended = session.run(times, roots_sent, reader, seat.alive).await;
    controller.hub.leave(&host, id);
    // The queue is closed by now; what is in it (acknowledgements) still goes out, within its time.
    let sent = timeout(times.frame_timeout, &mut sender).await;
    sender.abort();
    match (ended, sent) {
        (Err(Ended::Wire(WireError::Closed)), Ok(Ok(Err(send)))) => Err(send),
        (ended, _) => ended,
    }
}

/// Writes what is queued for one agent. An order that was written is noted as sent, which proves nothing.
async fn send_all(
    controller: Arc<Controller>,
    times: Agents,
    host: HostId,
    mut writer: Writer,
    mut queue: mpsc::Receiver<Box<Outgoing>>,
) -> Result<(), Ended> {
    while let Some(next) = queue.recv().await {
        let Outgoing { frame, order } = *next;
        send(&mut writer, &times, &frame).await?;
        if let Some(order) = order
            && controller.write().fleet.note_sent(order, &host, clock::now())
        {
            controller.changes.order(order);
        }
    }
    writer.shutdown().await.map_err(Ended::Send)
}

struct Session<'a> {
    controller: &'a Arc<Controller>,
    host: &'a HostId,
    key: &'a PublicKey,
    nonce: Nonce,
    queue: mpsc::Sender<Box<Outgoing>>,
    /// Whether the disk refused a document of this connection.
    unstored: bool,
}

impl Session<'_> {
    async fn run(
        mut self,
        times: &Agents,
        roots_sent: usize,
        mut reader: Reader,
        mut alive: tokio::sync::watch::Receiver<()>,
    ) -> Result<(), Ended> {
        let mut stopping = self.controller.stopping.subscribe();
        self.send_roots(roots_sent).await?;
        self.send_open_orders()?;
        let patience = Patience { idle: times.idle_timeout, frame: times.frame_timeout };
        let mut pace = Pace::new(Instant::now());
        loop {
            let frame = tokio::select! {
                frame = reader.next(MAX_FRAME, patience) => frame?,
                _ = alive.changed() => return Err(Ended::Displaced),
                // The peer no longer takes what is sent: it could not be given an order either.
                () = self.queue.closed() => return Err(Ended::Send(std::io::ErrorKind::BrokenPipe.into())),
                _ = stopping.wait_for(|stop| *stop) => return Err(Ended::Stopping),
            };
            Box::pin(self.hear(&frame)).await?;
            // One host that floods slows itself down and nobody else.
            let wait = pace.take(Instant::now());
            if !wait.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = stopping.wait_for(|stop| *stop) => return Err(Ended::Stopping),
                }
            }
        }
    }

    async fn hear(&mut self, frame: &[u8]) -> Result<(), Ended> {
        match FromAgent::decode(frame).map_err(WireError::Frame)? {
            FromAgent::Document(envelope) => {
                let heard = self.controller.hear_document(self.host, self.key, &envelope).await;
                match heard {
                    Ok(digest) => self.answer(stored_frame(digest).map_err(WireError::Frame)?).await,
                    // Not acknowledged; the connection stays, so that orders and heartbeats still pass.
                    Err(NotHeard::Store(error)) => {
                        tracing::error!(host = %self.host, %error, "a document was not stored");
                        self.unstored = true;
                        Ok(())
                    }
                    Err(refused) => Err(refused.into()),
                }
            }
            FromAgent::Heartbeat(envelope) => {
                self.controller.hear_heartbeat(self.host, self.key, self.nonce, &envelope)?;
                if self.unstored && self.controller.writer.healthy() {
                    return Err(Ended::SendAgain);
                }
                Ok(())
            }
            // It asked before it learnt that it is in the inventory: nothing to ask for.
            FromAgent::Enrol(_) => Ok(()),
            FromAgent::Hello(_) => Err(Ended::OutOfPlace("second hello")),
        }
    }

    /// Queues an answer, and waits for room: an agent that does not read is not read from.
    async fn answer(&self, frame: Bytes) -> Result<(), Ended> {
        let queued = self.queue.send(Box::new(Outgoing { frame, order: None })).await;
        queued.map_err(|_| Ended::Send(std::io::ErrorKind::BrokenPipe.into()))
    }

    /// Roots that were accepted while this connection took its place.
    async fn send_roots(&self, sent: usize) -> Result<(), Ended> {
        let missing: Vec<_> = self.controller.read().roots.iter().skip(sent).cloned().collect();
        for frame in root_frames(&missing).map_err(WireError::Frame)? {
            self.answer(frame).await?;
        }
        Ok(())
    }

    fn send_open_orders(&self) -> Result<(), Ended> {
        let state = self.controller.read();
        for (digest, entry) in state.fleet.open_orders(self.host, self.key) {
            let frame = Deliveries::of(entry)
                .map_err(|error| FrameError::Body(0, error))
                .and_then(|deliveries| deliveries.frame(self.host))
                .map_err(WireError::Frame)?;
            if let Some(frame) = frame {
                let queued = self.controller.hub.offer(
                    self.host,
                    Outgoing { frame, order: Some(digest) },
                    Instant::now(),
                );
                if !queued {
                    break;
                }
            }
        }
        Ok(())
    }
}
