//! Who may connect, and what ends a connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use digue_proto::enrol::make_mac;
use digue_proto::envelope::PayloadType;
use digue_proto::frame::{FromAgent, FromController, Hello};
use digue_proto::id::Digest;
use digue_proto::limits::{MAX_FRAME, MAX_FRAME_UNAUTHORISED};
use digue_proto::report::{EnrolV1, Links};
use rustls::client::ResolvesClientCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::agent::{Agent, Dial, hello};
use crate::documents::{Deployment, Key, host_id, host_key, host_signed, key, now};
use crate::process::{Controller, wait_for};

/// A key that no inventory names.
fn stranger() -> Key {
    key(9_999)
}

async fn stranger_connects(controller: &Controller, deployment: &Deployment) -> Agent {
    let dial = Dial::new(controller.agents, controller.pin, &stranger());
    let connected = Agent::over(dial, deployment.id, host_id(1), stranger(), hello(1)).await;
    connected.expect("a stranger may connect")
}

/// Whether the controller ends such a connection without a word.
async fn is_refused(dial: Dial) -> bool {
    match dial.connect().await {
        Err(_) => true,
        // The client may have finished its part before the refusal arrives.
        Ok(mut stream) => {
            let said = FromAgent::Hello(hello(1)).encode().expect("hello");
            let _refused = tokio::io::AsyncWriteExt::write_all(&mut stream, &said).await;
            stream.read_exact(&mut [0; 1]).await.is_err()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_a_host_does_not_talk_to_a_controller_with_another_key() {
    let (controller, _) = Controller::with_fleet(1);
    let dial = Dial::new(controller.agents, Digest::of(b"another controller"), &host_key(1));
    assert!(dial.connect().await.is_err());
}

fn x509(key_pair: &rcgen::KeyPair) -> Arc<dyn ResolvesClientCert> {
    let params = rcgen::CertificateParams::new(vec!["srv-001".to_owned()]).expect("parameters");
    let certificate = params.self_signed(key_pair).expect("certificate");
    let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key_pair.serialize_der());
    let signing = rustls::crypto::ring::sign::any_supported_type(&private.into()).expect("key");
    let certified = CertifiedKey::new(vec![certificate.der().clone()], signing);
    Arc::new(SingleCertAndKey::from(certified))
}

/// What the controller answers to a ClientHello that offers TLS 1.2 and nothing newer (RFC 5246, 7.4.1.2);
/// written by hand, because the TLS library here is built without it.
async fn answer_to_tls_1_2(controller: &Controller) -> [u8; 7] {
    let extensions: &[u8] = &[0, 13, 0, 4, 0, 2, 8, 7, 0, 10, 0, 4, 0, 2, 0, 29];
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &[0, 4, 0xc0, 0x2b, 0xc0, 0x2f],
        &[1, 0],
        &[0, u8::try_from(extensions.len()).expect("short")],
        extensions,
    ]
    .concat();
    let length = u8::try_from(body.len()).expect("short");
    let hello = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
    let mut stream = tokio::net::TcpStream::connect(controller.agents).await.expect("connected");
    tokio::io::AsyncWriteExt::write_all(&mut stream, &hello).await.expect("sent");
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await.expect("an alert");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_x509_tls_1_2_another_protocol_and_no_key_at_all_are_refused() {
    let (controller, _) = Controller::with_fleet(1);
    let dial = || Dial::new(controller.agents, controller.pin, &host_key(1));
    let own_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("key");
    assert!(is_refused(Dial { resolver: Some(x509(&own_key)), raw: false, ..dial() }).await, "X.509");
    assert!(is_refused(Dial { resolver: Some(x509(&own_key)), ..dial() }).await, "X.509 for a raw key");
    assert!(is_refused(Dial { resolver: None, ..dial() }).await, "no key");
    assert_eq!(answer_to_tls_1_2(&controller).await, [21, 3, 3, 0, 2, 2, 70], "alert: protocol_version");
    assert!(is_refused(Dial { alpn: vec![b"digue/2".to_vec()], ..dial() }).await, "another protocol");
    assert!(is_refused(Dial { alpn: Vec::new(), ..dial() }).await, "no protocol");
    assert!(!is_refused(dial()).await, "the right way is refused too: this test shows nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn d3_a_protocol_version_that_is_not_spoken_ends_the_connection() {
    let (controller, deployment) = Controller::with_fleet(1);
    for protocol in [0, 2, u32::MAX] {
        let dial = Dial::new(controller.agents, controller.pin, &host_key(1));
        let hello = Hello { protocol, ..hello(1) };
        let connected = Agent::over(dial, deployment.id, host_id(1), host_key(1), hello).await;
        assert!(connected.is_err(), "version {protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d5_host_a_cannot_report_as_host_b() {
    let (controller, deployment) = Controller::with_fleet(2);
    // Its own key, the other's name.
    let mut agent = controller.agent(&deployment, 1).await;
    agent.host = host_id(2);
    let report = agent.report(Links::Cut);
    agent.send(&FromAgent::Document(report)).await;
    agent.closed().await;
    // The other's own document, relayed over this connection.
    let mut other = controller.agent(&deployment, 2).await;
    let stolen = other.report(Links::Cut);
    let mut agent = controller.agent(&deployment, 1).await;
    agent.send(&FromAgent::Document(stolen)).await;
    agent.closed().await;
    // Saying the other's name in the hello changes nothing.
    let dial = Dial::new(controller.agents, controller.pin, &host_key(1));
    let mut agent =
        Agent::over(dial, deployment.id, host_id(1), host_key(1), hello(2)).await.expect("welcome");
    let own = agent.report(Links::Open);
    agent.stored(own).await;
    assert_eq!(controller.host(1)["links"], "open");
    assert_eq!(controller.host(2)["links"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn d2_an_unknown_frame_type_or_one_out_of_place_ends_the_connection() {
    let (controller, deployment) = Controller::with_fleet(1);
    for body in
        [&b"\x00{}"[..], b"\x09{}", b"\xff{}", b"\x41{}", b"\x03{\"method\":\"run\"}", b"\x03not json"]
    {
        let mut agent = controller.agent(&deployment, 1).await;
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        agent.send_raw(&[&length[..], body].concat()).await.expect("sent");
        agent.closed().await;
    }
    let mut agent = controller.agent(&deployment, 1).await;
    agent.send(&FromAgent::Hello(hello(1))).await;
    agent.closed().await;
    // A heartbeat in the place of a document.
    let mut agent = controller.agent(&deployment, 1).await;
    let beat = host_signed(PayloadType::Heartbeat, &json!({}), &host_key(1));
    agent.send(&FromAgent::Document(beat)).await;
    agent.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_a_key_that_the_inventory_does_not_name_gets_no_order_and_is_heard_of_nothing() {
    let (controller, deployment) = Controller::with_fleet(1);
    assert_eq!(controller.post("/api/v1/orders", &deployment.cut(1, 1, &[1])).0, 201);
    let mut agent = stranger_connects(&controller, &deployment).await;
    assert!(!agent.welcome.enrolled);
    let report = agent.report(Links::Cut);
    agent.send(&FromAgent::Document(report)).await;
    match agent.next().await {
        Err(_) => {}
        Ok(frame) => panic!("a stranger was sent {frame:?}"),
    }
    assert_eq!(controller.host(1)["links"], json!(null));
    assert_eq!(controller.phases(1), ["waiting"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_a_frame_over_the_limit_is_cut_and_the_limit_of_a_stranger_is_lower() {
    let (controller, deployment) = Controller::with_fleet(1);
    let announce = |length: usize| u32::try_from(length).expect("length").to_be_bytes();
    let mut agent = controller.agent(&deployment, 1).await;
    agent.send_raw(&announce(MAX_FRAME + 1)).await.expect("sent");
    agent.closed().await;
    let mut agent = stranger_connects(&controller, &deployment).await;
    agent.send_raw(&announce(MAX_FRAME_UNAUTHORISED + 1)).await.expect("sent");
    agent.closed().await;
    // Within the limit, but nested a million deep.
    let mut agent = controller.agent(&deployment, 1).await;
    let deep = [b"\x03", "[".repeat(1_000_000).as_bytes()].concat();
    agent.send_raw(&[&announce(deep.len())[..], &deep].concat()).await.expect("sent");
    agent.closed().await;
    assert_eq!(controller.get("/healthz").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_a_peer_that_does_not_finish_a_frame_or_the_handshake_is_dropped_and_others_go_on() {
    let timeouts = "handshake_timeout_ms = 300\nframe_timeout_ms = 200\nidle_timeout_ms = 60000";
    let controller = Controller::start_with(timeouts, "");
    let deployment = controller.found(2);
    let mut good = controller.agent(&deployment, 2).await;
    let began = Instant::now();
    let mut slow = controller.agent(&deployment, 1).await;
    slow.send_raw(&[0, 0, 0, 100, 3]).await.expect("sent");
    let mut silent = tokio::net::TcpStream::connect(controller.agents).await.expect("connected");
    let mut speechless =
        Dial::new(controller.agents, controller.pin, &host_key(1)).connect().await.expect("TLS");
    slow.closed().await;
    assert_eq!(silent.read(&mut [0; 1]).await.expect("closed in order"), 0);
    let _end = speechless.read(&mut [0; 1]).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let report = good.report(Links::Open);
    good.stored(report).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_speaks_and_does_not_listen_loses_its_place() {
    let timeouts = "frame_timeout_ms = 200\nidle_timeout_ms = 60000";
    let controller = Controller::start_with(timeouts, "");
    let deployment = controller.found(1);
    let mut deaf = controller.agent(&deployment, 1).await;
    // Orders with long reasons, until they fill every buffer between the two.
    for number in 1..=200 {
        let mut bundle = deployment.order(number, u64::from(number), long_block(), &[1]);
        crate::documents::add(&mut bundle.order, &deployment.people[0].1);
        let (status, answer) = controller.post("/api/v1/orders", &bundle);
        assert_eq!(status, 201, "{answer}");
    }
    wait_for("the place is free", || (controller.get("/readyz").1["agents"] == 0).then_some(()));
    let _broken = deaf.send_raw(&[0]).await;
    let mut again = controller.agent(&deployment, 1).await;
    assert_eq!(again.order().await.order.payload_type, PayloadType::Protect);
}

/// An order of some hundred kilobytes.
fn long_block() -> digue_proto::order::Action {
    let address = |n: u32| {
        std::net::IpAddr::from(std::net::Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(n) << 64))
    };
    let networks = (1..=1024).map(|n| ipnet::IpNet::new(address(n), 128).expect("network")).collect();
    digue_proto::order::Action::Block { blocked: digue_proto::policy::BlockList { networks } }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_connection_of_a_host_wins_and_a_probe_takes_no_place() {
    let (controller, deployment) = Controller::with_fleet(1);
    let mut first = controller.agent(&deployment, 1).await;
    let dial = Dial::new(controller.agents, controller.pin, &host_key(1));
    let probe_hello = Hello { probe: true, ..hello(1) };
    let mut probe =
        Agent::over(dial, deployment.id, host_id(1), host_key(1), probe_hello).await.expect("welcome");
    assert!(probe.welcome.enrolled);
    let report = first.report(Links::Open);
    first.stored(report).await;
    let word = probe.report(Links::Cut);
    probe.send(&FromAgent::Document(word)).await;
    probe.closed().await;
    assert_eq!(controller.host(1)["links"], "open");

    let mut second = controller.agent(&deployment, 1).await.continuing(&first);
    first.closed().await;
    let report = second.report(Links::Open);
    second.stored(report).await;
    assert_eq!(controller.get("/readyz").1["agents"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_connections_that_displace_each_other_raise_an_alarm_on_the_host() {
    let (controller, deployment) = Controller::with_fleet(1);
    let mut last = controller.agent(&deployment, 1).await;
    for _ in 0..3 {
        let next = controller.agent(&deployment, 1).await;
        last.closed().await;
        last = next;
    }
    wait_for("the alarm", || {
        let alarms = controller.host(1)["alarms"].to_string();
        alarms.contains("connection_flapping").then_some(())
    });
}

/// The requests that wait.
fn waiting(controller: &Controller) -> Vec<serde_json::Value> {
    controller.get("/api/v1/enrolments").1["enrolments"].as_array().expect("enrolments").clone()
}

fn enrolment(deployment: &Deployment, controller: &Controller, key: &Key, secret: &[u8; 16]) -> EnrolV1 {
    let host = host_id(7);
    let mac = make_mac(secret, &deployment.id, &host, &key.public, &controller.pin).expect("mac");
    EnrolV1 {
        deployment_id: deployment.id,
        host_id: host,
        host_key: key.public.clone(),
        controller_spki_sha256: controller.pin,
        mac,
        at_ms: now(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_asks_to_enter_is_listed_and_is_told_to_connect_again_once_the_inventory_names_it() {
    let (mut controller, deployment) = Controller::with_fleet(1);
    let mut agent = stranger_connects(&controller, &deployment).await;
    let request = enrolment(&deployment, &controller, &stranger(), &[3; 16]);
    let envelope = host_signed(PayloadType::Enrol, &request, &stranger());
    agent.send(&FromAgent::Enrol(envelope.clone())).await;
    let listed = wait_for("the request", || waiting(&controller).first().cloned());
    assert_eq!(listed["host_id"], "srv-007");
    assert_eq!(listed["fingerprint"], stranger().public.fingerprint().to_string());
    assert_eq!(listed["peer"], "127.0.0.1");
    assert_eq!(listed["envelope"], serde_json::to_value(&envelope).expect("json"));

    // It survives a crash.
    controller.kill();
    controller.run();
    assert_eq!(waiting(&controller), [listed]);

    let mut agent = stranger_connects(&controller, &deployment).await;
    let inventory = deployment.inventory(2, &[(1, Some(&host_key(1))), (7, Some(&stranger()))]);
    assert_eq!(controller.post("/api/v1/inventory", &inventory).0, 201);
    agent.closed().await;
    assert!(stranger_connects(&controller, &deployment).await.welcome.enrolled);
    assert!(waiting(&controller).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_for_a_key_that_the_peer_does_not_hold_is_refused() {
    let (controller, deployment) = Controller::with_fleet(1);
    let other = key(8_888);
    let request = enrolment(&deployment, &controller, &other, &[3; 16]);
    // Signed by the other key (a replay), and signed by its own.
    for signer in [&other, &stranger()] {
        let mut agent = stranger_connects(&controller, &deployment).await;
        let envelope = host_signed(PayloadType::Enrol, &request, signer);
        agent.send(&FromAgent::Enrol(envelope)).await;
        assert!(agent.next().await.is_err());
    }
    assert!(waiting(&controller).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dismissed_enrolment_is_gone_and_dismissing_it_again_is_no_error() {
    let (controller, deployment) = Controller::with_fleet(1);
    let mut agent = stranger_connects(&controller, &deployment).await;
    let request = enrolment(&deployment, &controller, &stranger(), &[3; 16]);
    agent.send(&FromAgent::Enrol(host_signed(PayloadType::Enrol, &request, &stranger()))).await;
    wait_for("the request", || waiting(&controller).first().cloned());
    let fingerprint = stranger().public.fingerprint().to_string();
    let encoded = fingerprint.replace(':', "%3A").replace('/', "%2F").replace('+', "%2B");
    let path = format!("/api/v1/enrolments/{encoded}");
    assert_eq!(controller.request("DELETE", &path, None).0, 204);
    assert!(waiting(&controller).is_empty());
    assert_eq!(controller.request("DELETE", &path, None).0, 204, "the second time");
    assert_eq!(controller.request("DELETE", "/api/v1/enrolments/nonsense", None).0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_leaves_the_inventory_is_disconnected_and_not_let_in_again() {
    let (controller, deployment) = Controller::with_fleet(2);
    let mut agent = controller.agent(&deployment, 1).await;
    let inventory = deployment.inventory(2, &[(2, Some(&host_key(2)))]);
    assert_eq!(controller.post("/api/v1/inventory", &inventory).0, 201);
    agent.closed().await;
    assert!(!controller.agent(&deployment, 1).await.welcome.enrolled);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_an_older_root_is_sent_the_following_ones_before_any_order() {
    let (controller, deployment) = Controller::with_fleet(1);
    let next = deployment.next_root(controller.pin, "carla");
    let mut connected = controller.agent(&deployment, 1).await;
    assert_eq!(controller.post("/api/v1/roots", &next).0, 201);
    assert_eq!(connected.next().await.expect("the root"), FromController::Roots(vec![next.clone()]));
    assert_eq!(controller.post("/api/v1/orders", &deployment.cut(1, 1, &[1])).0, 201);
    let mut late = controller.agent(&deployment, 1).await;
    assert_eq!(late.next().await.expect("roots first"), FromController::Roots(vec![next]));
    assert!(matches!(late.next().await.expect("then the order"), FromController::Deliver(_)));
    let dial = Dial::new(controller.agents, controller.pin, &host_key(1));
    let without = Hello { root_version: 0, ..hello(1) };
    let mut without =
        Agent::over(dial, deployment.id, host_id(1), host_key(1), without).await.expect("welcome");
    let FromController::Roots(roots) = without.next().await.expect("roots") else { panic!("no roots") };
    assert_eq!(roots.len(), 2);
}
