//! Requests to the API, good and bad.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use digue_proto::envelope::PayloadType;
use digue_proto::report::Links;
use digue_proto::statement::Stated;
use serde_json::{Value, json};

use crate::agent::PATIENCE;
use crate::documents::{add, host_key, signed};
use crate::process::{Controller, command, order_name};

#[track_caller]
fn is_problem((status, problem): &(u16, Value), expected: u16, code: &str) {
    assert_eq!((*status, problem["code"].as_str()), (expected, Some(code)), "{problem}");
    assert_eq!(problem["status"], json!(expected));
    for member in ["type", "title", "detail", "hint"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {problem}");
    }
}

#[test]
fn bad_requests_get_a_status_a_code_and_a_hint() {
    let (controller, deployment) = Controller::with_fleet(2);
    let post = |path: &str, body: &[u8]| controller.request("POST", path, Some(body));
    is_problem(&post("/api/v1/orders", b""), 400, "E0501");
    is_problem(&post("/api/v1/orders", b"{"), 400, "E0501");
    is_problem(&post("/api/v1/orders", b"{\"order\":1}"), 400, "E0501");
    is_problem(&post("/api/v1/orders", &b"[".repeat(2000)), 400, "E0501");
    let mut bundle = serde_json::to_value(deployment.cut(1, 1, &[1])).expect("json");
    bundle["extra"] = json!(true);
    is_problem(&controller.post("/api/v1/orders", &bundle), 400, "E0501");
    is_problem(&post("/api/v1/statements", &b" ".repeat(13 * 1024 * 1024)), 413, "E0506");
    is_problem(&controller.get("/api/v1/hosts?colour=red"), 400, "E0502");
    is_problem(&controller.get("/api/v1/hosts?verdict=great"), 400, "E0502");
    is_problem(&controller.get("/api/v1/hosts?label=site"), 400, "E0502");
    is_problem(&controller.get("/api/v1/envelopes?limit=0"), 400, "E0502");
    is_problem(&controller.get("/api/v1/envelopes?after=-1"), 400, "E0502");
    is_problem(&controller.get("/api/v1/hosts/SRV"), 400, "E0502");
    is_problem(&controller.get("/api/v1/hosts/srv-999"), 404, "E0503");
    is_problem(&controller.get("/api/v1/orders/12"), 400, "E0502");
    is_problem(&controller.get(&format!("/api/v1/orders/{}", order_name(9))), 404, "E0503");
    is_problem(&controller.get("/api/v2/hosts"), 404, "E0504");
    is_problem(&controller.request("DELETE", "/api/v1/hosts", None), 405, "E0505");
    let signature = json!({ "signature": "not armoured" });
    is_problem(
        &controller.post(&format!("/api/v1/orders/{}/signatures", order_name(9)), &signature),
        404,
        "E0503",
    );
    let sealed = deployment.cut(1, 1, &[1]);
    assert_eq!(controller.post("/api/v1/orders", &sealed).0, 201);
    let path = format!("/api/v1/orders/{}/signatures", order_name(1));
    is_problem(&controller.post(&path, &signature), 422, "E0513");
    let mut other_list = deployment.cut(2, 2, &[1]);
    other_list.leaves = deployment.cut(3, 3, &[2]).leaves;
    is_problem(&controller.post("/api/v1/orders", &other_list), 422, "E0511");
    assert_eq!(controller.get("/api/v1/orders").1["orders"].as_array().map(Vec::len), Some(1));
}

#[test]
fn roots_and_inventories_are_taken_by_the_chain_and_by_rising_versions_only() {
    let controller = Controller::start();
    let unfounded = crate::documents::Deployment::new(controller.pin);
    is_problem(&controller.post("/api/v1/orders", &unfounded.cut(1, 1, &[1])), 409, "E0510");
    is_problem(&controller.post("/api/v1/inventory", &unfounded.inventory(1, &[])), 409, "E0510");
    assert_eq!(controller.get("/api/v1/inventory").1["inventory"], json!(null));

    let deployment = controller.found(1);
    assert_eq!(controller.post("/api/v1/roots", &deployment.root).0, 200, "the same again");
    let other = crate::documents::Deployment::new(digue_proto::id::Digest::of(b"another controller"));
    is_problem(&controller.post("/api/v1/roots", &other.root), 409, "E0312");
    let mut unsigned = deployment.next_root(controller.pin, "carla");
    unsigned.signatures.truncate(1);
    is_problem(&controller.post("/api/v1/roots", &unsigned), 422, "E0303");
    let again = deployment.inventory(1, &[]);
    is_problem(&controller.post("/api/v1/inventory", &again), 409, "E0516");
    let last_of_all = deployment.inventory(u64::MAX, &[]);
    is_problem(&controller.post("/api/v1/inventory", &last_of_all), 409, "E0516");
    let mut unsigned = deployment.inventory(2, &[]);
    unsigned.signatures.clear();
    is_problem(&controller.post("/api/v1/inventory", &unsigned), 422, "E0303");
    let twice = deployment.inventory(2, &[(1, Some(&host_key(1))), (2, Some(&host_key(1)))]);
    is_problem(&controller.post("/api/v1/inventory", &twice), 422, "E0306");

    let next = deployment.next_root(controller.pin, "carla");
    assert_eq!(controller.post("/api/v1/roots", &next).0, 201);
    assert_eq!(controller.get("/api/v1/roots").1["roots"].as_array().map(Vec::len), Some(2));
    let carla = &deployment.people[2].1;
    let mut by_revoked = deployment.order(1, 1, crate::documents::contain(), &[1]);
    add(&mut by_revoked.order, carla);
    is_problem(&controller.post("/api/v1/orders", &by_revoked), 422, "E0513");
}

#[test]
fn a_document_of_another_kind_or_deployment_is_refused_wherever_it_is_handed_in() {
    let (controller, deployment) = Controller::with_fleet(1);
    let statement = deployment.statement(1, Stated::Suspect, 1);
    let inventory = deployment.inventory(2, &[]);
    is_problem(&controller.post("/api/v1/roots", &statement), 422, "E0302");
    is_problem(&controller.post("/api/v1/inventory", &statement), 422, "E0302");
    is_problem(&controller.post("/api/v1/statements", &inventory), 422, "E0302");
    let elsewhere =
        crate::documents::Deployment { id: digue_proto::id::Digest::of(b"elsewhere"), ..deployment };
    is_problem(&controller.post("/api/v1/orders", &elsewhere.cut(1, 1, &[1])), 422, "E0307");
    is_problem(
        &controller.post("/api/v1/statements", &elsewhere.statement(1, Stated::Suspect, 1)),
        422,
        "E0307",
    );
    // The right bytes under the wrong class.
    let cut = elsewhere.order(1, 1, crate::documents::contain(), &[1]);
    let relabelled = signed(PayloadType::Query, cut.order.payload, &elsewhere.signers(1));
    let bundle = digue_proto::bundle::OrderBundle { order: relabelled, ..elsewhere.cut(1, 1, &[1]) };
    assert_eq!(controller.post("/api/v1/orders", &bundle).0, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_the_hosts_and_the_summary_counts_them_all() {
    let (controller, deployment) = Controller::with_fleet(4);
    let mut agent = controller.agent(&deployment, 2).await;
    let cut = agent.report(Links::Cut);
    agent.stored(cut).await;
    let names = |query: &str| {
        let (status, fleet) = controller.get(&format!("/api/v1/hosts{query}"));
        assert_eq!(status, 200, "{fleet}");
        assert_eq!(fleet["summary"]["expected"], 4);
        let hosts = fleet["hosts"].as_array().expect("hosts").clone();
        hosts.iter().map(|host| host["name"].as_str().expect("name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("").len(), 4);
    assert_eq!(names("?label=site%3Dnord"), ["srv-002", "srv-004"]);
    assert_eq!(names("?label=site=nord&links=cut"), ["srv-002"]);
    assert_eq!(names("?links=cut&links=failed"), ["srv-002"]);
    assert!(names("?verdict=clean").is_empty());
    let proofs = |query: &str| controller.get(&format!("/api/v1/proofs{query}")).1;
    let first = proofs("?limit=2");
    assert_eq!((first["proofs"].as_array().map(Vec::len), &first["next"]), (Some(2), &json!("srv-002")));
    let shown = controller.get("/api/v1/hosts/srv-002").1;
    assert_eq!(first["proofs"][1]["report"], shown["report_envelope"], "the row and its proof differ");
    let rest = proofs("?after=srv-002");
    assert_eq!((&rest["proofs"][0]["host"], &rest["next"]), (&json!("srv-003"), &Value::Null));
    is_problem(&controller.get("/api/v1/proofs?after=SRV"), 400, "E0502");
    let (_, answer) = controller.get("/api/v1/hosts/srv-002");
    assert_eq!(answer["report"]["links"], "cut");
    assert_eq!(answer["report_envelope"]["payload_type"], "digue-report.v1");
}

#[test]
fn envelopes_are_paged_in_the_order_of_arrival() {
    let (controller, deployment) = Controller::with_fleet(1);
    for number in 1..=5 {
        assert_eq!(
            controller.post("/api/v1/orders", &deployment.cut(number, u64::from(number), &[1])).0,
            201
        );
    }
    let (mut seen, mut after) = (Vec::new(), json!(0));
    while !after.is_null() {
        let (_, page) = controller.get(&format!("/api/v1/envelopes?limit=3&after={after}"));
        let entries = page["envelopes"].as_array().expect("envelopes");
        assert!(entries.len() <= 3);
        seen.extend(entries.iter().map(|entry| entry["seq"].as_u64().expect("seq")));
        after = page["next"].clone();
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
}

/// A watcher of the event stream.
struct Watcher(BufReader<UnixStream>);

impl Watcher {
    fn new(controller: &Controller, last: Option<u64>) -> Self {
        let mut stream = UnixStream::connect(controller.socket()).expect("socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let last = last.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let request = format!("GET /api/v1/events HTTP/1.1\r\nHost: controller\r\n{last}\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut watcher = Self(BufReader::new(stream));
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            watcher.0.read_line(&mut headers).expect("headers");
        }
        assert!(headers.starts_with("HTTP/1.1 200"), "{headers}");
        assert!(
            headers.contains("text/event-stream") && headers.contains("x-accel-buffering: no"),
            "{headers}"
        );
        watcher
    }

    /// The next event: its number, its type and its data. Chunk sizes and pings are passed over.
    fn next(&mut self) -> (u64, String, Value) {
        let (mut id, mut kind) = (None, None);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("an event") > 0, "the stream ended");
            let line = line.trim_end();
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse().ok();
            } else if let Some(text) = line.strip_prefix("event: ") {
                kind = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("data: ") {
                let data = serde_json::from_str(text).expect("JSON");
                return (id.expect("an id"), kind.expect("a type"), data);
            }
        }
    }

    /// The next event that `wanted` takes.
    fn until(&mut self, wanted: impl Fn(&str, &Value) -> bool) -> u64 {
        loop {
            let (id, kind, data) = self.next();
            if wanted(&kind, &data) {
                return id;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_hosts_and_orders_change_and_rejoins_where_it_left() {
    let (controller, deployment) = Controller::with_fleet(1);
    let mut watcher = Watcher::new(&controller, None);
    let mut agent = controller.agent(&deployment, 1).await;
    let report = agent.report(Links::Cut);
    agent.stored(report).await;
    let cut = |kind: &str, data: &Value| kind == "host" && data["host"]["links"] == "cut";
    let at = watcher.until(cut);
    assert_eq!(controller.post("/api/v1/orders", &deployment.cut(1, 1, &[1])).0, 201);
    let sealed = |kind: &str, data: &Value| kind == "order" && data["order"]["state"] == "sealed";
    let then = watcher.until(sealed);
    assert!(then > at);
    let mut again = Watcher::new(&controller, Some(at));
    assert!(again.until(sealed) > at);
    let mut stranger = Watcher::new(&controller, Some(5));
    let (_, kind, _) = stranger.next();
    assert_eq!(kind, "resync");
    assert_eq!(controller.post("/api/v1/inventory", &deployment.inventory(2, &[])).0, 201);
    stranger.until(|kind, data| kind == "inventory" && data["version"] == 2);
}

#[test]
fn a_stop_ends_the_streams_of_watchers_and_does_not_wait_for_them() {
    let (mut controller, _) = Controller::with_fleet(1);
    let mut watcher = Watcher::new(&controller, None);
    let began = std::time::Instant::now();
    assert!(controller.stop());
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "it waited {:?}", began.elapsed());
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut watcher.0, &mut rest).expect("closed in order");
}

#[test]
fn figures_are_those_of_the_view() {
    let (controller, deployment) = Controller::with_fleet(3);
    assert_eq!(controller.post("/api/v1/orders", &deployment.cut(1, 1, &[1])).0, 201);
    let (status, text) = controller.get("/metrics");
    let text = text.as_str().expect("text").to_owned();
    assert_eq!(status, 200);
    for line in [
        "digue_hosts_expected 3",
        "digue_hosts_exposed 3",
        "digue_hosts{verdict=\"unassessed\",links=\"unknown\",freshness=\"stale\"} 3",
        "digue_orders_open{state=\"unconfirmed\"} 1",
        "digue_build_info{version=",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn https_takes_the_token_and_nothing_else_and_shows_the_pinned_certificate() {
    let folder = tempfile::tempdir().expect("folder");
    let token = folder.path().join("token");
    let api = format!("listen = \"127.0.0.1:0\"\ntoken_file = \"{}\"", token.display());
    let controller = Controller::start_with("", &api);
    let pins = crate::process::init(controller.folder.path());
    let secret = std::fs::read_to_string(&token).expect("token");
    let address = controller.https.expect("HTTPS");
    let pin: digue_proto::id::Digest =
        pins["api_certificate_sha256"].as_str().expect("pin").parse().expect("digest");
    let ask = |path: &str, token: Option<&str>| {
        let header = token.map_or_else(String::new, |t| format!("Authorization: Bearer {t}\r\n"));
        https_get(address, pin, path, &header)
    };
    assert_eq!(ask("/api/v1/hosts", Some(secret.trim())), 200);
    assert_eq!(ask("/api/v1/hosts", None), 401);
    assert_eq!(ask("/api/v1/hosts", Some("wrong")), 401);
    assert_eq!(ask("/metrics", None), 401);
    assert_eq!(ask("/healthz", None), 200);
}

/// One request over TLS 1.3 to a server with a pinned certificate: the status.
fn https_get(address: std::net::SocketAddr, pin: digue_proto::id::Digest, path: &str, header: &str) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dial = crate::agent::Dial {
        alpn: vec![b"http/1.1".to_vec()],
        resolver: None,
        raw: false,
        ..crate::agent::Dial::new(address, pin, &host_key(1))
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: controller\r\n{header}Connection: close\r\n\r\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let mut stream = dial.connect().await.expect("TLS with the pinned certificate");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        std::str::from_utf8(&answer[9..]).expect("status").parse().expect("status")
    })
}

#[test]
fn status_says_whether_the_controller_can_work() {
    let (mut controller, _) = Controller::with_fleet(1);
    let ask = |controller: &Controller| command(controller.folder.path(), &["status"]).output().expect("ran");
    let output = ask(&controller);
    assert!(output.status.success());
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&answer["root_version"], &answer["pinned_by_root"]), (&json!(1), &json!(true)));
    assert!(controller.stop());
    assert!(!ask(&controller).status.success());
}
