//! The controller while it runs: listeners, timers, signals, and the end.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::api;
use crate::clock;
use crate::config::{Agents, Config};
use crate::controller::Controller;
use crate::http::{self, Listener};
use crate::identity::{self, DataLock};
use crate::notify::notify;
use crate::replay;
use crate::session;
use crate::store::{Record, SqliteStore, Writer};
use crate::tls;

/// Most connections that are not (yet) those of a host of the inventory.
const MAX_STRANGERS: usize = 2048;
/// The same from one address.
const MAX_STRANGERS_PER_ADDRESS: usize = 256;
/// Between two rounds of sending again.
const SEND_AGAIN: Duration = Duration::from_secs(5);
/// Between two looks at what time alone has changed.
const TICK: Duration = Duration::from_secs(1);

/// Printed on standard output as one line of JSON when the controller is ready.
#[derive(Debug, Serialize)]
struct Ready {
    event: &'static str,
    agents: SocketAddr,
    api_listen: Option<SocketAddr>,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start, or could not end in order.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let _lock = DataLock::take(&config.data_dir)?;
    let agent_identity = identity::agent_identity(&config.data_dir)?;
    let pin = identity::pin(&agent_identity);
    let mut store = SqliteStore::open(&config.data_dir)?;
    let replayed = replay::replay(&mut store)?;
    tracing::info!(
        envelopes = replayed.envelopes,
        left_out = replayed.left_out,
        "the stored state is in place"
    );
    let (writer, writing) = Writer::start(Box::new(store)).context("starting the writing thread")?;
    let reader = Box::new(SqliteStore::open(&config.data_dir)?);
    let controller = Arc::new(Controller::new(replayed, writer, reader, pin)?);
    controller.changes.tell_all(&controller.read().fleet, clock::now());

    let mut terminate = signal(SignalKind::terminate()).context("listening to SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening to SIGINT")?;
    let agents = TcpListener::bind(config.agents.listen)
        .await
        .with_context(|| format!("listening for agents on {}", config.agents.listen))?;
    let agents_address = agents.local_addr().context("reading the agents' address")?;
    let socket = http::bind_unix(&config.socket)
        .with_context(|| format!("listening on {}", config.socket.display()))?;
    let mut servers = JoinSet::new();
    let stopping = || controller.stopping.subscribe();
    servers.spawn(http::serve(Listener::Unix(socket), api::router(Arc::clone(&controller)), stopping()));
    let mut api_listen = None;
    if let Some(https) = &config.https {
        let acceptor =
            TlsAcceptor::from(Arc::new(tls::for_https(identity::api_identity(&config.data_dir)?)?));
        let token = identity::token_digest(&https.token_file)?;
        let listener = TcpListener::bind(https.listen)
            .await
            .with_context(|| format!("listening for HTTPS on {}", https.listen))?;
        api_listen = Some(listener.local_addr().context("reading the HTTPS address")?);
        let router = api::router_with_token(Arc::clone(&controller), token);
        servers.spawn(http::serve(Listener::Tls(listener, acceptor), router, stopping()));
    }
    let acceptor = TlsAcceptor::from(Arc::new(tls::for_agents(agent_identity)?));
    servers.spawn(serve_agents(Arc::clone(&controller), agents, acceptor, config.agents.clone()));
    let timers = [
        tokio::spawn(tell_changes(Arc::clone(&controller))),
        tokio::spawn(tell_time(Arc::clone(&controller))),
        tokio::spawn(send_again(Arc::clone(&controller))),
        tokio::spawn(try_the_disk(Arc::clone(&controller))),
    ];

    let ready = Ready { event: "ready", agents: agents_address, api_listen };
    let mut line = serde_json::to_string(&ready).context("writing the ready line")?;
    line.push('\n');
    // Whoever started us may have closed its end; that is no reason to stop.
    let _told = std::io::stdout().write_all(line.as_bytes());
    notify("READY=1");
    tracing::info!(agents = %agents_address, socket = %config.socket.display(), ?api_listen, "ready");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    notify("STOPPING=1");
    tracing::info!("stopping");
    controller.stopping.send_replace(true);
    let drained =
        tokio::time::timeout(config.drain_timeout, async { while servers.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!("some connections did not end in time");
        servers.shutdown().await;
    }
    timers.iter().for_each(tokio::task::JoinHandle::abort);
    for timer in timers {
        // Cancelled, as meant.
        let _cancelled = timer.await;
    }
    drop(std::fs::remove_file(&config.socket));
    drop(controller);
    // Ends once nobody can write any more; what was queued is on disk then.
    let joined = tokio::time::timeout(config.drain_timeout, tokio::task::spawn_blocking(|| writing.join()));
    match joined.await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(_)) | Err(_)) => anyhow::bail!("the writing thread failed"),
        // A request that outlived its time still holds the writer; whatever was acknowledged is on disk.
        Err(_) => std::process::exit(0),
    }
}

/// Strangers from each address.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// One connection counted; the count goes down when it is dropped.
struct Counted {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    fn count(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= MAX_STRANGERS_PER_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Counted { addresses: Arc::clone(self), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// The place of a connection among the strangers; given back when it turns out to be a host's.
pub(crate) struct Admission {
    _total: tokio::sync::OwnedSemaphorePermit,
    _address: Counted,
}

async fn serve_agents(
    controller: Arc<Controller>,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    times: Agents,
) {
    let mut stopping = controller.stopping.subscribe();
    let strangers = Arc::new(Semaphore::new(MAX_STRANGERS));
    let addresses = Arc::new(Addresses::default());
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = sessions.join_next() => continue,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting an agent");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let total = Arc::clone(&strangers).try_acquire_owned().ok();
        match total.zip(addresses.count(address.ip())) {
            Some((total, counted)) => {
                let admission = Admission { _total: total, _address: counted };
                let one = serve_agent(
                    Arc::clone(&controller),
                    acceptor.clone(),
                    times.clone(),
                    stream,
                    address,
                    admission,
                );
                sessions.spawn(one);
            }
            None => controller.metrics.session_ended("too_many_strangers"),
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

async fn serve_agent(
    controller: Arc<Controller>,
    acceptor: TlsAcceptor,
    times: Agents,
    stream: TcpStream,
    address: SocketAddr,
    admission: Admission,
) {
    let ended = session::serve(Arc::clone(&controller), acceptor, times, stream, address, admission).await;
    if ended.suspicious() {
        controller.metrics.session_ended(ended.code());
        tracing::warn!(peer = %address, reason = %ended, "a connection was closed");
    } else {
        tracing::debug!(peer = %address, reason = %ended, "a connection ended");
    }
}

async fn tell_changes(controller: Arc<Controller>) {
    loop {
        let hosts = controller.read().fleet.inventory().map_or(0, |i| i.value().hosts.len());
        controller.changes.gather(hosts).await;
        controller.changes.tell(&controller.read().fleet, clock::now());
    }
}

async fn tell_time(controller: Arc<Controller>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        controller.changes.tell_all(&controller.read().fleet, clock::now());
    }
}

async fn send_again(controller: Arc<Controller>) {
    let mut tick = tokio::time::interval(SEND_AGAIN);
    loop {
        tick.tick().await;
        controller.dispatch_again();
    }
}

/// After a write has failed, tries until one succeeds, so that agents may send again what was lost.
async fn try_the_disk(controller: Arc<Controller>) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        if !controller.writer.healthy()
            && controller.writer.append(vec![Record::Probe(clock::now())]).await.is_ok()
        {
            tracing::info!("the disk takes writes again");
        }
    }
}
