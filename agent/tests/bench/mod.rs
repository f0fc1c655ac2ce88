//! The real program in a network namespace of its own, with a real controller's end of the link.
//!
//! A test file that uses it also has `mod deployment; mod double; mod support;`.
#![allow(dead_code, clippy::allow_attributes, reason = "every test file uses its own part")]

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use digue_agent::drivers::{NetDriver as _, NftDriver, Place};
use digue_agent::status::{self, Snapshot};
use digue_agent::store::Store;
use digue_proto::envelope::PayloadType;
use digue_proto::frame::{Delivery, FromAgent, FromController};
use digue_proto::host::Loaded;
use digue_proto::id::{Challenge, Digest};
use digue_proto::key::PublicKey;
use digue_proto::report::{HeartbeatV1, Links, Outcome, ReceiptV1, ReportV1};
use digue_proto::verify;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::deployment::Deployment;
use crate::double::{Double, Session};
use crate::support::World;

const LISTEN: &str = "10.77.0.2:7444";
/// An agent that was refused for long waits up to a minute, by lot, before it tries again.
const RECONNECT: Duration = Duration::from_secs(100);
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A host with an agent, and its controller's end.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) double: Double,
    pub(crate) deployment: Deployment,
    pub(crate) key: PublicKey,
    _world: World,
}

/// What the controller heard of one order.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) report: Option<ReportV1>,
    pub(crate) heartbeats: usize,
    /// Numbers of the chain, in the order in which they arrived.
    pub(crate) seqs: Vec<u64>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let dir = tempfile::tempdir().expect("directory");
        let listener = world.rest.within(|| std::net::TcpListener::bind(LISTEN).expect("listening"));
        listener.set_nonblocking(true).expect("non-blocking");
        let listener = TcpListener::from_std(listener).expect("listener");
        let double = Double::on(&dir.path().join("controller"), listener);
        let deployment = Deployment::new();
        let config = format!(
            "host_id = \"srv-001\"\nstate_dir = \"{0}/state\"\nrun_dir = \"{0}/run\"\n\
             [[controllers]]\naddress = \"{LISTEN}\"\nspki_sha256 = \"{1}\"\n",
            dir.path().display(),
            double.pin
        );
        std::fs::write(dir.path().join("agent.toml"), config).expect("configuration");
        let root = deployment.write_root(dir.path());
        let made = agent(dir.path())
            .args(["init", "--root"])
            .arg(root)
            .args(["--root-sha256", &deployment.id().to_string()])
            .output()
            .expect("init");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let made: serde_json::Value = serde_json::from_slice(&made.stdout).expect("JSON");
        let key = made["host_key"].as_str().expect("key").parse().expect("key");
        Self { dir, double, deployment, key, _world: world }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn loaded(&self) -> Loaded {
        Store::open(&self.state()).1
    }

    /// Waits until the status file says so: it is written after the report has left.
    pub(crate) async fn snapshot_says(&self, holds: impl Fn(&Snapshot) -> bool) {
        let run_dir = self.dir.path().join("run");
        let says = async {
            while !status::read(&run_dir).is_ok_and(|snapshot| holds(&snapshot)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, says).await.expect("the status file did not say so");
    }

    pub(crate) fn start(&self) -> Running {
        self.start_with(None)
    }

    pub(crate) fn start_with(&self, stop_after: Option<u64>) -> Running {
        let mut command = agent(self.dir.path());
        command.args(["run", "--lab"]).stderr(Stdio::piped());
        if let Some(effects) = stop_after {
            command.env("DIGUE_DANGEROUS_STOP_AFTER", effects.to_string());
        }
        Running { child: command.spawn().expect("agent") }
    }

    pub(crate) fn controllers(&self) -> [SocketAddr; 1] {
        [self.double.address]
    }

    /// Delivers an order and listens until it is verified, answering proofs meanwhile. `None` if the agent
    /// went away before that.
    pub(crate) async fn carry_out(&self, session: &mut Session, delivery: Delivery) -> Option<Heard> {
        let digest = delivery.order.digest();
        session.try_say(&FromController::Deliver(Box::new(delivery))).await.ok()?;
        let mut heard = Heard::default();
        loop {
            tokio::select! {
                frame = session.hear() => self.note(session, frame?, &digest, &mut heard).await?,
                probe = self.double.tls() => self.answer(probe).await,
            }
            let refused = heard.outcomes.iter().any(|o| matches!(o, Outcome::Refused { .. }));
            if refused || (verified(&heard) && heard.report.is_some()) {
                return Some(heard);
            }
        }
    }

    async fn note(
        &self,
        session: &mut Session,
        frame: FromAgent,
        order: &Digest,
        heard: &mut Heard,
    ) -> Option<()> {
        let deployment = self.deployment.id();
        let document = match frame {
            FromAgent::Heartbeat(envelope) => {
                verify::verify_host::<HeartbeatV1>(&envelope, &self.key, deployment).expect("heartbeat");
                heard.heartbeats += 1;
                return Some(());
            }
            FromAgent::Document(envelope) => envelope,
            other @ (FromAgent::Hello(_) | FromAgent::Enrol(_)) => panic!("{other:?}"),
        };
        if document.payload_type == PayloadType::Receipt {
            let receipt =
                verify::verify_host::<ReceiptV1>(&document, &self.key, deployment).expect("receipt");
            heard.seqs.push(receipt.value().seq);
            if receipt.value().order == *order {
                heard.outcomes.push(receipt.value().outcome.clone());
                heard.report = None;
            }
        } else {
            let report = verify::verify_host::<ReportV1>(&document, &self.key, deployment).expect("report");
            heard.seqs.push(report.value().seq);
            heard.report = Some(report.value().clone());
        }
        session.try_say(&FromController::Stored(document.digest())).await.ok()
    }

    /// The next report that is as a test wants it, answering proofs meanwhile.
    pub(crate) async fn next_report(
        &self,
        session: &mut Session,
        wanted: impl Fn(&ReportV1) -> bool,
    ) -> ReportV1 {
        let mut heard = Heard::default();
        let none = Digest::of(b"no order");
        loop {
            tokio::select! {
                frame = session.hear() => {
                    let frame = frame.expect("a living agent");
                    self.note(session, frame, &none, &mut heard).await.expect("a living agent");
                }
                probe = self.double.tls() => self.answer(probe).await,
                () = tokio::time::sleep(SOON) => panic!("no such report: {:?}", heard.report),
            }
            if let Some(report) = heard.report.take_if(|r| wanted(r)) {
                return report;
            }
        }
    }

    pub(crate) async fn answer(
        &self,
        probe: std::io::Result<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>,
    ) {
        if let Ok(stream) = probe
            && let Some(mut probe) = Session::begin(stream).await
        {
            let _ = probe.try_welcome(true).await;
        }
    }

    /// Answers whatever the agent says or asks for a while.
    pub(crate) async fn attend(&self, session: &mut Session, time: Duration) {
        let (mut heard, none) = (Heard::default(), Digest::of(b"no order"));
        let attended = async {
            loop {
                tokio::select! {
                    frame = session.hear() => {
                        let frame = frame.expect("a living agent");
                        self.note(session, frame, &none, &mut heard).await.expect("a living agent");
                    }
                    probe = self.double.tls() => self.answer(probe).await,
                }
            }
        };
        let _: Result<(), _> = timeout(time, attended).await;
    }

    /// Lets no connection come to a welcome until `done` is.
    pub(crate) async fn refuse_until(&self, done: impl Future<Output = ()>) {
        let refuse = async {
            loop {
                drop(self.double.tls().await);
            }
        };
        tokio::select! {
            () = refuse => {}
            () = done => {}
        }
    }

    /// A release that fits the challenge of a host that has restarted; `None` if the agent went away.
    pub(crate) async fn release(&self, session: &mut Session, spent: Challenge) -> Option<Delivery> {
        let mut heard = Heard::default();
        let none = Digest::of(b"no order");
        while heard.report.as_ref().is_none_or(|r| r.links != Links::Cut || r.challenge == Some(spent)) {
            tokio::select! {
                frame = session.hear() => self.note(session, frame?, &none, &mut heard).await?,
                probe = self.double.tls() => self.answer(probe).await,
            }
        }
        let report = heard.report?;
        let boot_id = &report.clocks.boot_id;
        Some(self.deployment.release(2, &self.key, report.challenge.expect("challenge"), boot_id, 2))
    }

    /// As new, but for the key and the trust root; nothing of ours is left in the kernel.
    pub(crate) fn forget_everything(&self) {
        for name in ["state.a", "state.b", "state.a.new", "state.b.new", "had-state", "order.net.json"] {
            let _ = std::fs::remove_file(self.state().join(name));
        }
        self.forget_rules();
    }

    /// Takes our tables out of the kernel, as a power cut does.
    pub(crate) fn forget_rules(&self) {
        let place = Place::current(true).expect("private");
        let mut driver = NftDriver::open(&place).expect("driver");
        driver.apply(&digue_proto::rules::RuleSet::empty()).expect("removed");
    }

    pub(crate) fn config(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("agent.toml")).expect("configuration")
    }

    /// The welcomed session of an agent that was just started; `None` if it died before.
    pub(crate) async fn session(&self, running: &mut Running) -> Option<Session> {
        let welcomed = async {
            loop {
                let Ok(stream) = self.double.tls().await else { continue };
                let Some(mut session) = Session::begin(stream).await else { continue };
                if session.try_welcome(true).await.is_ok() && !session.hello.probe {
                    return session;
                }
            }
        };
        let died = async {
            while running.alive() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            session = welcomed => Some(session),
            () = died => None,
            () = tokio::time::sleep(RECONNECT) => panic!("the agent did not connect"),
        }
    }
}

pub(crate) fn agent(dir: &Path) -> Command {
    // Another build of the same program may be put to the test, an installed one for instance.
    let program = std::env::var_os("DIGUE_AGENT_PROGRAM");
    let mut command = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_digue-agent").into()));
    command.arg("--config").arg(dir.join("agent.toml"));
    command
}

pub(crate) struct Running {
    pub(crate) child: Child,
}

impl Running {
    pub(crate) fn alive(&mut self) -> bool {
        self.child.try_wait().expect("status").is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("pid")), signal).expect("signal");
    }

    pub(crate) fn end(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("ended");
        let mut log = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut log).expect("log");
        (status, log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Our tables in the kernel, by the name of their copy.
pub(crate) fn tables() -> Vec<String> {
    let place = Place::current(true).expect("private");
    let mut driver = NftDriver::open(&place).expect("driver");
    let found = driver.read().expect("read");
    let role =
        |t: &digue_proto::rules::Table| t.role().map_or("?", digue_proto::rules::Role::as_str).to_owned();
    let roles: std::collections::BTreeSet<String> = found.tables.iter().map(|t| role(&t.table)).collect();
    roles.into_iter().collect()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async { timeout(Duration::from_secs(300), future).await.expect("in time") })
}

pub(crate) fn verified(heard: &Heard) -> bool {
    heard.outcomes.contains(&Outcome::Verified {})
}
