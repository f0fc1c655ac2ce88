//! The link against a real TLS peer: a good one, and every kind of bad one.

mod double;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use digue_agent::config::Controller;
use digue_agent::keyfile::HostKey;
use digue_agent::link::{Dialler, Enrolled, Enrolment, LinkEvent};
use digue_agent::sign;
use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::frame::{Delivery, FromAgent, FromController};
use digue_proto::id::{Digest, UnixMillis};
use digue_proto::limits::{MAX_FRAME, MAX_FRAME_UNAUTHORISED};
use digue_proto::report::EnrolV1;
use digue_proto::{enrol, verify};
use double::Double;
use tokio::sync::mpsc;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

struct Agent {
    dir: tempfile::TempDir,
    key: HostKey,
}

impl Agent {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let (key, _) = HostKey::load_or_make(dir.path()).expect("key");
        Self { dir, key }
    }

    async fn double(&self, name: &str) -> Double {
        Double::listen(&self.dir.path().join(name), loopback()).await
    }

    fn dialler(&self, controllers: &[Controller], enrolment: Option<(Enrolment, Enrolled)>) -> Arc<Dialler> {
        let host = "srv-001".parse().expect("name");
        Arc::new(Dialler::new(host, &self.key, controllers, enrolment).expect("dialler"))
    }

    fn start(&self, controllers: &[Controller]) -> mpsc::Receiver<LinkEvent> {
        run(self.dialler(controllers, None))
    }
}

fn run(dialler: Arc<Dialler>) -> mpsc::Receiver<LinkEvent> {
    let (events, received) = mpsc::channel(16);
    tokio::spawn(async move { dialler.run(events).await });
    received
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("address")
}

async fn next(events: &mut mpsc::Receiver<LinkEvent>) -> LinkEvent {
    timeout(SOON, events.recv()).await.expect("an event in time").expect("a running link")
}

async fn up(events: &mut mpsc::Receiver<LinkEvent>) -> mpsc::Sender<Vec<u8>> {
    let event = next(events).await;
    let LinkEvent::Up { out, .. } = event else { panic!("not up but {event:?}") };
    out
}

fn envelope(payload_type: PayloadType, payload: &[u8]) -> Envelope {
    Envelope { payload_type, payload: payload.to_vec(), signatures: Vec::new() }
}

#[tokio::test]
async fn frames_travel_both_ways_and_the_controller_sees_the_host_key() {
    let agent = Agent::new();
    let double = agent.double("controller").await;
    let dialler = agent.dialler(&[double.controller()], None);
    dialler.root_version.store(7, Ordering::Relaxed);
    let mut events = run(dialler);
    let mut session = double.welcomed().await;
    assert_eq!((session.hello.root_version, session.hello.probe), (7, false));
    assert_eq!(session.host_key(), agent.key.public());
    let out = up(&mut events).await;

    let order = envelope(PayloadType::Protect, b"order");
    let delivery = Delivery { order: order.clone(), target: None, statement: None };
    session.say(&FromController::Deliver(Box::new(delivery))).await;
    session.say(&FromController::Roots(vec![envelope(PayloadType::Root, b"root")])).await;
    session.say(&FromController::Stored(Digest::of(b"document"))).await;
    assert!(matches!(next(&mut events).await, LinkEvent::Deliver(d) if d.order == order));
    assert!(matches!(next(&mut events).await, LinkEvent::Roots(roots) if roots.len() == 1));
    assert!(matches!(next(&mut events).await, LinkEvent::Stored(d) if d == Digest::of(b"document")));

    let said = FromAgent::Document(envelope(PayloadType::Receipt, b"receipt"));
    out.send(said.encode().expect("encoded")).await.expect("queued");
    assert_eq!(session.hear().await, Some(said));
}

#[tokio::test]
async fn a_controller_with_another_key_than_the_pinned_one_hears_nothing_at_all() {
    let agent = Agent::new();
    let (right, wrong) = (agent.double("right").await, agent.double("wrong").await);
    let controller = Controller { address: wrong.address, spki_sha256: right.pin };
    let dialler = agent.dialler(&[controller], None);
    let (refused, probed) = tokio::join!(wrong.tls(), dialler.probe());
    assert!(refused.is_err(), "the agent went on with a wrong key");
    let why = probed.expect_err("a wrong key proves nothing");
    assert!(why.contains("TLS handshake"), "{why}");
}

#[tokio::test]
async fn certificates_and_tls_1_2_are_refused() {
    let agent = Agent::new();
    for version in ["-tls1_3", "-tls1_2"] {
        let Some(server) = OpenSsl::serve(agent.dir.path(), version) else { return };
        let controller = Controller { address: server.address, spki_sha256: server.pin };
        let why = agent.dialler(&[controller], None).probe().await.expect_err("refused");
        assert!(why.contains("TLS handshake"), "{version}: {why}");
    }
}

/// Stock OpenSSL with a certificate whose key digest is pinned, so that only its form is wrong.
struct OpenSsl {
    process: std::process::Child,
    address: SocketAddr,
    pin: Digest,
}

impl OpenSsl {
    fn serve(dir: &std::path::Path, version: &str) -> Option<Self> {
        let (key, certificate) = (dir.join("key.pem"), dir.join("certificate.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null())
            .status();
        if !made.as_ref().is_ok_and(std::process::ExitStatus::success) {
            eprintln!("skipped: no usable openssl command ({made:?})");
            return None;
        }
        let public =
            Command::new("openssl").args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(&key).output();
        let pin = Digest::of(&public.expect("public key").stdout);
        let mut process = Command::new("openssl")
            .args(["s_server", version, "-accept", "127.0.0.1:0", "-alpn", "digue/1", "-key"])
            .arg(&key)
            .arg("-cert")
            .arg(&certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl s_server");
        let output = std::io::BufReader::new(process.stdout.take().expect("piped"));
        let address = std::io::BufRead::lines(output)
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT ")?.parse().ok())
            .expect("openssl says where it listens");
        Some(Self { process, address, pin })
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// The clock of this test is paused: it jumps ahead whenever everything waits.
#[tokio::test(start_paused = true)]
async fn a_controller_that_never_answers_is_given_up_and_tried_again_for_ever() {
    let agent = Agent::new();
    let double = agent.double("silent").await;
    let started = tokio::time::Instant::now();
    let dialler = agent.dialler(&[double.controller()], None);
    let why = dialler.probe().await.expect_err("silent");
    assert!(why.contains("no answer within 5 seconds"), "{why}");
    let mut events = run(dialler);
    // It keeps trying, and never says that it is connected.
    assert!(timeout(Duration::from_secs(600), events.recv()).await.is_err());
    assert!(started.elapsed() >= Duration::from_secs(600));
}

#[tokio::test]
async fn an_oversized_frame_ends_the_connection_before_and_after_the_welcome() {
    let agent = Agent::new();
    let double = agent.double("controller").await;
    let mut events = agent.start(&[double.controller()]);
    let mut session = double.hello().await;
    let too_long = u32::try_from(MAX_FRAME_UNAUTHORISED + 1).expect("fits");
    session.try_say_raw(&too_long.to_be_bytes()).await.expect("written");
    assert_eq!(session.hear().await, None, "the agent went on");

    let mut session = double.welcomed().await;
    let _out = up(&mut events).await;
    let too_long = u32::try_from(MAX_FRAME + 1).expect("fits");
    session.try_say_raw(&too_long.to_be_bytes()).await.expect("written");
    assert!(matches!(next(&mut events).await, LinkEvent::Down));
}

#[tokio::test]
async fn a_frame_before_the_welcome_and_a_second_welcome_end_the_connection() {
    let agent = Agent::new();
    let double = agent.double("controller").await;
    let mut events = agent.start(&[double.controller()]);
    let mut session = double.hello().await;
    session.say(&FromController::Stored(Digest::of(b"x"))).await;
    assert_eq!(session.hear().await, None);
    let mut session = double.welcomed().await;
    let _out = up(&mut events).await;
    session.welcome(true).await;
    assert!(matches!(next(&mut events).await, LinkEvent::Down));
}

#[tokio::test]
async fn a_controller_that_restarts_is_found_again_within_a_second() {
    let agent = Agent::new();
    let double = agent.double("controller").await;
    let mut events = agent.start(&[double.controller()]);
    for _ in 0..3 {
        let session = double.welcomed().await;
        let _out = up(&mut events).await;
        drop(session);
        assert!(matches!(next(&mut events).await, LinkEvent::Down));
        let lost = Instant::now();
        let again = double.welcomed().await;
        assert!(lost.elapsed() < Duration::from_secs(1), "{:?}", lost.elapsed());
        let _out = up(&mut events).await;
        drop(again);
        assert!(matches!(next(&mut events).await, LinkEvent::Down));
    }
}

#[tokio::test]
async fn the_next_controller_is_tried_at_once_when_one_is_dead() {
    let agent = Agent::new();
    let (dead, alive) = (agent.double("dead").await, agent.double("alive").await);
    let controllers = [dead.controller(), alive.controller()];
    drop(dead);
    let mut events = agent.start(&controllers);
    let started = Instant::now();
    let _session = alive.welcomed().await;
    let _out = up(&mut events).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_proof_is_a_new_connection_that_says_so_and_brings_nothing_else() {
    let agent = Agent::new();
    let double = agent.double("controller").await;
    let dialler = agent.dialler(&[double.controller()], None);
    let mut events = run(Arc::clone(&dialler));
    let _session = double.welcomed().await;
    let _out = up(&mut events).await;
    let answer = async {
        let mut probe = double.hello().await;
        assert!(probe.hello.probe);
        probe.welcome(true).await;
        assert_eq!(probe.hear().await, None, "a probe said more than hello");
    };
    let (proved, ()) = tokio::join!(dialler.probe(), answer);
    assert_eq!(proved, Ok(double.address));
    assert!(events.try_recv().is_err(), "the proof disturbed the link");
}

#[tokio::test]
async fn a_host_that_is_not_in_the_inventory_asks_once_a_connection_and_forgets_the_secret_when_it_is() {
    let agent = Agent::new();
    let double = agent.double("controller").await;
    let (deployment, key) = (Digest::of(b"root"), agent.key.clone());
    let make: Enrolment = Box::new(move |pin| {
        let host = "srv-001".parse().ok()?;
        sign::enrolment(&key, &host, &[7; 16], deployment, pin, UnixMillis(1)).ok()
    });
    let forgotten = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&forgotten);
    let enrolled: Enrolled = Box::new(move || seen.store(true, Ordering::Relaxed));
    let mut events = run(agent.dialler(&[double.controller()], Some((make, enrolled))));

    let mut session = double.hello().await;
    session.welcome(false).await;
    let Some(FromAgent::Enrol(request)) = session.hear().await else { panic!("no request") };
    let request = verify::verify_host::<EnrolV1>(&request, agent.key.public(), deployment).expect("signed");
    assert!(enrol::check_mac(&[7; 16], request.value()));
    assert_eq!(request.value().controller_spki_sha256, double.pin);
    assert!(!forgotten.load(Ordering::Relaxed));
    assert!(events.try_recv().is_err(), "a host that is not enrolled is not up");
    drop(session);

    let _session = double.welcomed().await;
    let _out = up(&mut events).await;
    assert!(forgotten.load(Ordering::Relaxed));
}

#[tokio::test]
async fn letting_go_of_a_connection_ends_it() {
    let agent = Agent::new();
    let double = agent.double("controller").await;
    let mut events = agent.start(&[double.controller()]);
    let mut session = double.welcomed().await;
    drop(up(&mut events).await);
    assert!(matches!(next(&mut events).await, LinkEvent::Down));
    assert_eq!(session.hear().await, None);
}
