//! The real program in a network namespace of its own, with a real controller's end of the link: cut,
//! reopened, tampered with, killed between any two effects.

mod deployment;
mod double;
mod support;

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use deployment::Deployment;
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
use double::{Double, Session};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{INTERNAL, OUTSIDE, World, private_network, reaches_tcp, run};
use tokio::net::TcpListener;
use tokio::time::timeout;

const LISTEN: &str = "10.77.0.2:7444";
const SOON: Duration = Duration::from_secs(20);

/// A host with an agent, and its controller's end.
struct Bench {
    dir: tempfile::TempDir,
    double: Double,
    deployment: Deployment,
    key: PublicKey,
    _world: World,
}

/// What the controller heard of one order.
#[derive(Debug, Default)]
struct Heard {
    outcomes: Vec<Outcome>,
    report: Option<ReportV1>,
    heartbeats: usize,
    /// Numbers of the chain, in the order in which they arrived.
    seqs: Vec<u64>,
}

impl Bench {
    async fn new() -> Self {
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

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn loaded(&self) -> Loaded {
        Store::open(&self.state()).1
    }

    fn snapshot(&self) -> Option<Snapshot> {
        status::read(&self.dir.path().join("run")).ok()
    }

    fn start(&self) -> Running {
        self.start_with(None)
    }

    fn start_with(&self, stop_after: Option<u64>) -> Running {
        let mut command = agent(self.dir.path());
        command.args(["run", "--lab"]).stderr(Stdio::piped());
        if let Some(effects) = stop_after {
            command.env("DIGUE_DANGEROUS_STOP_AFTER", effects.to_string());
        }
        Running { child: command.spawn().expect("agent") }
    }

    fn controllers(&self) -> [SocketAddr; 1] {
        [self.double.address]
    }

    /// Delivers an order and listens until it is verified, answering proofs meanwhile. `None` if the agent
    /// went away before that.
    async fn carry_out(&self, session: &mut Session, delivery: Delivery) -> Option<Heard> {
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
    async fn next_report(&self, session: &mut Session, wanted: impl Fn(&ReportV1) -> bool) -> ReportV1 {
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

    async fn answer(&self, probe: std::io::Result<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>) {
        if let Ok(stream) = probe
            && let Some(mut probe) = Session::begin(stream).await
        {
            let _ = probe.try_welcome(true).await;
        }
    }

    /// A release that fits the challenge of a host that has restarted; `None` if the agent went away.
    async fn release(&self, session: &mut Session, spent: Challenge) -> Option<Delivery> {
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
    fn forget_everything(&self) {
        for name in ["state.a", "state.b", "state.a.new", "state.b.new", "had-state", "order.net.json"] {
            let _ = std::fs::remove_file(self.state().join(name));
        }
        let place = Place::current(true).expect("private");
        let mut driver = NftDriver::open(&place).expect("driver");
        driver.apply(&digue_proto::rules::RuleSet::empty()).expect("removed");
    }

    /// The welcomed session of an agent that was just started; `None` if it died before.
    async fn session(&self, running: &mut Running) -> Option<Session> {
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
            () = tokio::time::sleep(SOON) => panic!("the agent did not connect"),
        }
    }
}

fn agent(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_digue-agent"));
    command.arg("--config").arg(dir.join("agent.toml"));
    command
}

struct Running {
    child: Child,
}

impl Running {
    fn alive(&mut self) -> bool {
        self.child.try_wait().expect("status").is_none()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("pid")), signal).expect("signal");
    }

    fn end(&mut self) -> (ExitStatus, String) {
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
fn tables() -> Vec<String> {
    let place = Place::current(true).expect("private");
    let mut driver = NftDriver::open(&place).expect("driver");
    let found = driver.read().expect("read");
    let role =
        |t: &digue_proto::rules::Table| t.role().map_or("?", digue_proto::rules::Role::as_str).to_owned();
    let roles: std::collections::BTreeSet<String> = found.tables.iter().map(|t| role(&t.table)).collect();
    roles.into_iter().collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async { timeout(Duration::from_secs(300), future).await.expect("in time") })
}

fn verified(heard: &Heard) -> bool {
    heard.outcomes.contains(&Outcome::Verified {})
}

#[test]
fn an_order_cuts_the_host_and_a_release_by_two_people_reopens_it() {
    if !private_network("an_order_cuts_the_host_and_a_release_by_two_people_reopens_it") {
        return;
    }
    block_on(async {
        let bench = Bench::new().await;
        let mut running = bench.start();
        let mut session = bench.session(&mut running).await.expect("connected");
        assert!(reaches_tcp(OUTSIDE) && reaches_tcp(INTERNAL), "the test network does not work");

        let cut = bench.deployment.cut(1, &bench.controllers());
        let heard = bench.carry_out(&mut session, cut.clone()).await.expect("carried out");
        assert_eq!(heard.outcomes, [Outcome::Acknowledged {}, Outcome::Applied {}, Outcome::Verified {}]);
        assert!(heard.seqs.is_sorted_by(|a, b| a < b), "{:?}", heard.seqs);
        let report = heard.report.expect("report");
        assert_eq!((report.links, report.rules_meant), (Links::Cut, report.rules_observed));
        assert!(report.proofs.verified() && report.proofs.probes.passed(), "{:?}", report.proofs);
        assert!(!reaches_tcp(OUTSIDE) && reaches_tcp(INTERNAL));
        assert_eq!(tables(), ["owned", "plain"]);

        // One signature is not enough to reopen.
        let challenge = report.challenge.expect("challenge");
        let boot_id = report.clocks.boot_id.clone();
        let alone = bench.deployment.release(2, &bench.key, challenge, &boot_id, 1);
        let heard = bench.carry_out(&mut session, alone).await.expect("answered");
        assert!(matches!(&heard.outcomes[..], [Outcome::Refused { .. }]), "{:?}", heard.outcomes);
        assert!(!reaches_tcp(OUTSIDE));

        let release = bench.deployment.release(2, &bench.key, challenge, &boot_id, 2);
        let heard = bench.carry_out(&mut session, release).await.expect("carried out");
        assert!(verified(&heard), "{:?}", heard.outcomes);
        assert_eq!(heard.report.expect("report").links, Links::Open);
        assert!(reaches_tcp(OUTSIDE));
        assert!(tables().is_empty(), "{:?}", tables());

        running.signal(Signal::SIGTERM);
        let (status, log) = running.end();
        assert!(status.success(), "{log}");
    });
}

#[test]
fn rules_that_were_flushed_or_changed_are_there_again_at_once_and_the_culprit_is_named() {
    if !private_network("rules_that_were_flushed_or_changed_are_there_again_at_once_and_the_culprit_is_named")
        || !support::has("nft")
    {
        return;
    }
    block_on(async {
        let bench = Bench::new().await;
        let mut running = bench.start();
        let mut session = bench.session(&mut running).await.expect("connected");
        let cut = bench.deployment.cut(1, &bench.controllers());
        bench.carry_out(&mut session, cut).await.expect("carried out");
        let _ = run("nft", "flush ruleset");
        let begun = Instant::now();
        let report =
            bench.next_report(&mut session, |r| r.alarms.iter().any(|a| a.kind == "rules_changed")).await;
        let alarm = report.alarms.iter().find(|a| a.kind == "rules_changed").expect("alarm");
        assert!(alarm.detail.starts_with("nft (process "), "{}", alarm.detail);
        let report = bench.next_report(&mut session, |r| r.links == Links::Cut).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(report.rules_meant, report.rules_observed);
        assert_eq!(tables(), ["owned", "plain"]);
        assert!(!reaches_tcp(OUTSIDE));
    });
}

#[test]
fn an_agent_killed_between_any_two_effects_of_a_cut_loses_nothing_and_never_opens() {
    if !private_network("an_agent_killed_between_any_two_effects_of_a_cut_loses_nothing_and_never_opens") {
        return;
    }
    block_on(async {
        let bench = Bench::new().await;
        // What a start alone takes: everything before is not about the order.
        let mut stops = 0;
        for effects in 1.. {
            bench.forget_everything();
            let mut running = bench.start_with(Some(effects));
            let cut = bench.deployment.cut(1, &bench.controllers());
            let mut heard = None;
            if let Some(mut session) = bench.session(&mut running).await {
                heard = bench.carry_out(&mut session, cut.clone()).await;
            }
            if heard.is_some() {
                assert!(stops > 8, "only {stops} effects were interrupted");
                break;
            }
            let (status, log) = running.end();
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{effects}: {log}");
            stops += 1;
            let contained = match bench.loaded() {
                Loaded::Absent => false,
                Loaded::State(state) => state.policy.contains(),
                Loaded::Unreadable(why) => panic!("after {effects} effects: {why}"),
            };
            // Never acted before it was written down; once there, rules outlive the agent.
            assert!(contained || tables().is_empty(), "after {effects} effects: rules without a record");
            let were_there = tables();
            if !were_there.is_empty() {
                assert_eq!(were_there, ["plain"], "after {effects} effects");
                assert!(!reaches_tcp(OUTSIDE), "after {effects} effects");
            }
            let booted = agent(bench.dir.path()).args(["boot", "--lab"]).output().expect("boot");
            assert!(booted.status.success(), "{}", String::from_utf8_lossy(&booted.stderr));
            assert_eq!(contained, !reaches_tcp(OUTSIDE), "after {effects} effects and a boot");

            let mut running = bench.start();
            let mut session = bench.session(&mut running).await.expect("connected");
            let heard = bench.carry_out(&mut session, cut).await.expect("carried out");
            assert!(verified(&heard), "after {effects} effects: {:?}", heard.outcomes);
            assert_eq!(tables(), ["owned", "plain"]);
            assert!(!reaches_tcp(OUTSIDE) && reaches_tcp(INTERNAL));
        }
        println!("interrupted after each of {stops} effects");
    });
}

#[test]
fn an_agent_killed_between_any_two_effects_of_a_release_is_open_only_if_the_release_is_on_disk() {
    if !private_network(
        "an_agent_killed_between_any_two_effects_of_a_release_is_open_only_if_the_release_is_on_disk",
    ) {
        return;
    }
    block_on(async {
        let bench = Bench::new().await;
        let mut stops = 0;
        for effects in 1.. {
            bench.forget_everything();
            let mut running = bench.start();
            let mut session = bench.session(&mut running).await.expect("connected");
            let cut = bench.deployment.cut(1, &bench.controllers());
            let cut = bench.carry_out(&mut session, cut).await.expect("cut");
            let spent = cut.report.and_then(|r| r.challenge).expect("challenge");
            running.signal(Signal::SIGTERM);
            assert!(running.end().0.success());
            assert_eq!(tables(), ["plain"], "stopping the agent changed the rules");

            let mut running = bench.start_with(Some(effects));
            let mut heard = None;
            if let Some(mut session) = bench.session(&mut running).await
                && let Some(release) = bench.release(&mut session, spent).await
            {
                heard = bench.carry_out(&mut session, release).await;
            }
            if let Some(heard) = heard {
                assert!(verified(&heard), "{:?}", heard.outcomes);
                assert!(reaches_tcp(OUTSIDE) && tables().is_empty());
                assert!(stops > 12, "only {stops} effects were interrupted");
                break;
            }
            let (status, log) = running.end();
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{effects}: {log}");
            stops += 1;
            let Loaded::State(state) = bench.loaded() else { panic!("after {effects} effects: no state") };
            if state.policy.contains() {
                assert!(!tables().is_empty() && !reaches_tcp(OUTSIDE), "opened without a record ({effects})");
            }
            // Whoever starts next carries the record out: open if it says so, closed if not.
            let mut running = bench.start();
            let mut session = bench.session(&mut running).await.expect("connected");
            let wanted = if state.policy.contains() { Links::Cut } else { Links::Open };
            bench.next_report(&mut session, |r| r.links == wanted && r.proofs.verified()).await;
            assert_eq!(
                !state.policy.contains(),
                reaches_tcp(OUTSIDE),
                "after {effects} effects and a restart"
            );
        }
        println!("interrupted after each of {stops} effects");
    });
}
