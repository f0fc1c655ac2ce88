//! What people and programs hand in wrongly: refused with what, why, what to do and a code, the right exit
//! code, and nothing lost or half done.

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use digue_lab::control::ProgramAction;
use digue_proto::id::{Digest, Nonce, UnixMillis};
use digue_proto::strict;
use serde_json::{Value, json};
use support::forge::Forged;
use support::{Ran, Scene, text, wait_until};

/// A refusal says a code, what it is about, and what to do; and `digue explain` knows the code.
#[track_caller]
fn refuses(scene: &Scene, ran: Ran, exit: i32, code: &str, words: &[&str]) {
    let digue_code = format!("digue-{code}");
    let ran = ran.ends_with(exit).says(&[&digue_code, "→"]).says(words);
    assert!(ran.err.contains(&digue_code), "errors go to standard error: {ran:?}");
    assert!(!ran.err.contains("panicked"), "{ran:?}");
    scene.digue(&["explain", code]).ends_with(0);
}

fn write(scene: &Scene, name: &str, bytes: impl AsRef<[u8]>) {
    fs::write(scene.file(name), bytes).expect("written");
}

#[test]
fn bad_configuration_files_are_refused_with_every_problem_at_once() {
    let Some(scene) = Scene::up(1) else { return };
    let agent = |config: &str| {
        write(&scene, "agent.toml", config);
        scene.exec("srv-001", &["digue-agent", "--config", text(&scene.file("agent.toml")), "check-config"])
    };
    let bad = "host_id = \"Srv 001\"\nstate_dir = \"state\"\nrun_dir = \"run\"\n[[controllers]]\naddress = \"controller.example:7443\"\nspki_sha256 = \"abc\"\n";
    agent(bad).ends_with(78).says(&[
        "host_id",
        "state_dir",
        "run_dir",
        "controllers[0].address",
        "controllers[0].spki_sha256",
    ]);
    agent("host_id = \"srv-001\"\n").ends_with(78).says(&["controllers"]);
    agent("host_id = \"srv-001\"\nhots = 1\n").ends_with(78).says(&["hots"]);
    agent("host_id = ").ends_with(78).says(&["agent.toml"]);
    agent("\u{0}\u{1}").ends_with(78);
    let missing = ["digue-agent", "--config", "/nowhere/agent.toml", "check-config"];
    scene.exec("srv-001", &missing).ends_with(78).says(&["/nowhere/agent.toml"]);

    let controller = |config: &str| {
        write(&scene, "controller.toml", config);
        let file = scene.file("controller.toml");
        scene.exec("controller", &["digue-controller", "check-config", "--config", text(&file)])
    };
    let bad = "data_dir = \"data\"\n[agents]\nlisten = \"7443\"\nidle_timeout_ms = 0\n[api]\nsocket = \"api.sock\"\nlisten = \"x\"\n";
    controller(bad).ends_with(78).says(&[
        "data_dir",
        "agents.listen",
        "idle_timeout_ms",
        "api.socket",
        "api.token_file",
    ]);
    controller("data_dir = \"/d\"\nextra = true\n").ends_with(78).says(&["extra"]);
    controller("").ends_with(78).says(&["data_dir"]);

    // A damaged configuration opens no host that is cut, whether its agent lives or not.
    scene.contain("cut", &["srv-001"]);
    let config = scene.lab.place().host("srv-001").join("agent.toml");
    let honest = fs::read(&config).expect("the configuration");
    fs::write(&config, "host_id = [").expect("written");
    scene.program("srv-001", ProgramAction::Kill);
    scene.program("srv-001", ProgramAction::Start);
    wait_until("the agent's end", || !scene.runs("srv-001"));
    assert!(scene.own_tables("srv-001") > 0);
    scene.reaches_none("srv-001", "tcp", &["198.51.100.66:443", "[2001:db8:66::66]:443"]);
    fs::write(&config, honest).expect("written");
    scene.program("srv-001", ProgramAction::Start);
    scene.wait_host("srv-001", "cut and verified", |h| h["links"] == "cut" && h["fresh"] == true);

    // The operator's own files.
    let contexts = scene.config_dir().join("contexts");
    fs::write(contexts.join("bad.toml"), "controller = \"ftp://x\"\nnonsense = 1\n").expect("written");
    refuses(&scene, scene.digue(&["--context", "bad", "status"]), 2, "E0603", &["bad.toml"]);
    refuses(&scene, scene.digue(&["--context", "none", "status"]), 2, "E0602", &["none"]);
    scene.done(&["status"]);
}

#[test]
fn altered_truncated_foreign_and_expired_plans_and_orders_are_refused_and_never_sent() {
    let Some(scene) = Scene::up(2) else { return };
    scene.plan("good.plan", &["cut", "--all"]);
    let good = fs::read(scene.file("good.plan")).expect("the plan");
    let apply = |bytes: &[u8]| {
        write(&scene, "bad.plan", bytes);
        scene.digue(&["apply", "bad.plan", "--sign", "alice", "--wait"])
    };
    for length in [0, 1, good.len() / 2, good.len() - 3] {
        refuses(&scene, apply(&good[..length]), 12, "E0650", &["bad.plan"]);
    }
    refuses(&scene, apply(b"{}"), 12, "E0650", &[]);
    refuses(&scene, apply(&[b'['; 100_000]), 12, "E0650", &[]);
    let change = |change: &dyn Fn(&mut Value)| {
        let mut plan: Value = serde_json::from_slice(&good).expect("JSON");
        change(&mut plan);
        serde_json::to_vec(&plan).expect("JSON")
    };
    let swapped = |plan: &mut Value| plan["frozen"]["leaves"].as_array_mut().expect("leaves").swap(0, 1);
    refuses(&scene, apply(&change(&swapped)), 12, "E0650", &[]);
    let dropped = |plan: &mut Value| drop(plan["frozen"]["leaves"].as_array_mut().expect("leaves").pop());
    refuses(&scene, apply(&change(&dropped)), 12, "E0650", &[]);
    let relabelled = |plan: &mut Value| plan["frozen"]["order"]["payload_type"] = json!("digue-query.v1");
    refuses(&scene, apply(&change(&relabelled)), 12, "E0650", &[]);
    let signed =
        |plan: &mut Value| plan["frozen"]["order"]["signatures"] = json!(["-----BEGIN SSH SIGNATURE-----"]);
    refuses(&scene, apply(&change(&signed)), 12, "E0650", &["signatures"]);
    let unknown = |plan: &mut Value| plan["frozen"]["surprise"] = json!(true);
    refuses(&scene, apply(&change(&unknown)), 12, "E0650", &["surprise"]);
    let future = |plan: &mut Value| plan["apiVersion"] = json!("digue/v9");
    refuses(&scene, apply(&change(&future)), 12, "E0650", &["digue/v9"]);
    // Changed consistently: what is in it is then shown before it is signed, and does not fit here.
    let rewritten = |alter: &dyn Fn(&mut Forged)| {
        let mut order = Forged::from_plan(&scene.file("good.plan"));
        alter(&mut order);
        let bundle = order.bundle(&[]);
        change(&|plan| {
            plan["frozen"]["order"] = serde_json::to_value(&bundle.order).expect("JSON");
            plan["frozen"]["leaves"] = serde_json::to_value(&bundle.leaves).expect("JSON");
        })
    };
    let elsewhere = rewritten(&|order| order.order.deployment_id = Digest::of(b"a test fleet"));
    refuses(&scene, apply(&elsewhere), 12, "E0307", &[]);
    let late = rewritten(&|order| {
        order.order.issued_at_ms = UnixMillis(1_000);
        order.order.not_after_ms = UnixMillis(2_000);
    });
    refuses(&scene, apply(&late), 14, "E0652", &[]);
    let epoch = rewritten(&|order| order.order.gen_epoch += 1);
    refuses(&scene, apply(&epoch), 14, "E0651", &[]);
    assert_eq!(scene.orders(), Vec::<Value>::new(), "nothing was sent");
    for host in ["srv-001", "srv-002"] {
        assert_eq!(scene.own_tables(host), 0);
    }
    refuses(
        &scene,
        scene.digue(&["apply", "no-such.plan", "--sign", "alice"]),
        1,
        "E0604",
        &["no-such.plan"],
    );
    symlink("/dev/zero", scene.file("endless.plan")).expect("a link");
    let endless = scene.digue(&["apply", "endless.plan", "--sign", "alice"]);
    assert!(endless.code != 0 && endless.err.contains("digue-E06"), "{endless:?}");

    // The unaltered plan still works, and its order is checked by its file alone.
    scene.digue(&["apply", "good.plan", "--sign", "alice", "--wait"]).ends_with(0);
    let id = scene.orders().pop().expect("an order")["order_id"].as_str().expect("a name").to_owned();
    scene.done(&["order", "export", &id, "-d", "exported"]);
    let bundle = fs::read(scene.file("exported/bundle.json")).expect("the bundle");
    let verify = |bytes: &[u8]| {
        write(&scene, "order.json", bytes);
        scene.digue(&["order", "verify", "order.json"])
    };
    verify(&bundle).ends_with(0);
    for length in [0, 10, bundle.len() / 2, bundle.len() - 1] {
        refuses(&scene, verify(&bundle[..length]), 12, "E0661", &["order.json"]);
    }
    let order = Forged::from_plan(&scene.file("good.plan"));
    let (alice, stranger) = (scene.key("alice"), scene.key("claire"));
    let json = |forged: &Forged, key| strict::to_vec(&forged.bundle(&[key])).expect("JSON");
    refuses(&scene, verify(&json(&order, &stranger)), 13, "E0303", &[]);
    let mut foreign = order.clone();
    foreign.order.deployment_id = Digest::of(b"a test fleet");
    refuses(&scene, verify(&json(&foreign, &alice)), 12, "E0307", &[]);
}

#[test]
fn a_bad_inventory_file_lists_each_problem_with_its_line_and_imports_nothing() {
    let Some(scene) = Scene::up(1) else { return };
    let version = || scene.fetch("/api/v1/hosts")["inventory_version"].clone();
    let before = (version(), scene.hosts().len());
    let import = |name: &str, kind: &str, bytes: &[u8]| {
        write(&scene, name, bytes);
        scene.digue(&["hosts", "import", name, "--from", kind, "--sign", "alice"])
    };
    let bad = "nom;ip;site\nsrv-100;10.0.0.1;annexe\nSRV 101;10.0.0.2;annexe\nsrv-102;10.0.0.300;annexe\nsrv-100;10.0.0.4;annexe\nsrv-104;10.0.0.5\n";
    let ran = import("bad.csv", "csv", bad.as_bytes());
    refuses(&scene, ran, 1, "E0641", &["bad.csv", "3", "4", "5", "6", "10.0.0.300", "srv-100"]);
    for (name, bytes) in [
        ("empty.csv", &b""[..]),
        ("untitled.csv", b"10.0.0.1;annexe\n"),
        ("unnamed.csv", b"ip;site\n10.0.0.1;annexe\n"),
        ("quote.csv", b"nom;site\nsrv-100;\"annexe\n"),
        ("binary.csv", &[0, 159, 146, 150, 0, 0, 1]),
    ] {
        refuses(&scene, import(name, "csv", bytes), 1, "E0641", &[name]);
    }
    for (name, text) in [("bad.json", "{"), ("list.json", "[1,2]"), ("ini.json", "[web]\nsrv-001\n")] {
        refuses(&scene, import(name, "ansible", text.as_bytes()), 1, "E0642", &[name]);
    }
    refuses(
        &scene,
        scene.digue(&["hosts", "import", "none.csv", "--from", "csv", "--sign", "alice"]),
        1,
        "E0604",
        &["none.csv"],
    );
    assert_eq!((version(), scene.hosts().len()), before, "nothing was imported");
    // In the language and the encoding of a French spreadsheet, the same file without its faults.
    let latin: Vec<u8> =
        "Nom;Adresse IP;Criticité\nsrv-100;10.0.0.1;élevée\n".chars().map(|c| c as u8).collect();
    import("good.csv", "csv", &latin).ends_with(0);
    assert!(scene.host("srv-100")["labels"].to_string().contains("élevée"));
    let fr = scene.digue(&["--lang", "fr", "hosts", "import", "bad.csv", "--from", "csv", "--sign", "alice"]);
    refuses(&scene, fr, 1, "E0641", &["inventaire CSV refusé"]);
    scene.audit();
}

#[test]
fn bad_requests_to_the_api_get_a_problem_with_a_code_and_change_nothing() {
    let Some(scene) = Scene::up(1) else { return };
    scene.contain("cut", &["srv-001"]);
    let stored = scene.stored().len();
    let shown = scene.orders();
    scene.plan("again.plan", &["isolate", "srv-001"]);
    let order = Forged::from_plan(&scene.file("again.plan"));
    let alice = scene.key("alice");
    let bundle = |alter: &dyn Fn(&mut Forged)| {
        let mut forged = order.clone();
        forged.order.order_id = Nonce::from_bytes([3; 16]);
        alter(&mut forged);
        serde_json::to_value(forged.bundle(&[&alice])).expect("JSON")
    };
    let bytes = |value: &Value| serde_json::to_vec(value).expect("JSON");
    let altered = |alter: &dyn Fn(&mut Value)| {
        let mut value = bundle(&|_| {});
        alter(&mut value);
        bytes(&value)
    };
    let same_name = bundle(&|f| {
        f.order.order_id = shown[0]["order_id"].as_str().expect("a name").parse().expect("a name")
    });
    let foreign = bundle(&|f| f.order.deployment_id = Digest::of(b"a test fleet"));
    let newer = bundle(&|f| f.order.root_version = 7);
    let wrong_class = bundle(&|f| f.kind = digue_proto::envelope::PayloadType::Release);
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let requests: Vec<(&str, &str, Vec<u8>, u16)> = vec![
        ("GET", "/api/v1/nothing", Vec::new(), 404),
        ("GET", "/api/v1/hosts/srv-999", Vec::new(), 404),
        ("GET", "/api/v1/hosts?colour=red", Vec::new(), 400),
        ("GET", "/api/v1/hosts/..%2f..%2fetc", Vec::new(), 400),
        ("GET", "/api/v1/orders/12", Vec::new(), 400),
        ("GET", "/api/v1/orders/00000000000000000000000000000000", Vec::new(), 404),
        ("GET", "/api/v1/envelopes?after=minus&limit=1", Vec::new(), 400),
        ("DELETE", "/api/v1/orders", Vec::new(), 405),
        ("PUT", "/api/v1/hosts", b"{}".to_vec(), 405),
        ("POST", "/api/v1/orders", Vec::new(), 400),
        ("POST", "/api/v1/orders", b"not json".to_vec(), 400),
        ("POST", "/api/v1/orders", deep, 400),
        ("POST", "/api/v1/orders", altered(&|v| v["surprise"] = json!(1)), 400),
        ("POST", "/api/v1/orders", altered(&|v| v["order"]["payload"] = json!("%%%")), 400),
        ("POST", "/api/v1/orders", altered(&|v| v["leaves"] = json!([])), 422),
        ("POST", "/api/v1/orders", altered(&|v| v["order"]["signatures"] = json!(["armour"])), 422),
        ("POST", "/api/v1/orders", bytes(&foreign), 422),
        ("POST", "/api/v1/orders", bytes(&newer), 422),
        ("POST", "/api/v1/orders", bytes(&wrong_class), 422),
        ("POST", "/api/v1/orders", bytes(&same_name), 409),
        (
            "POST",
            "/api/v1/orders/00000000000000000000000000000000/signatures",
            b"{\"signature\":\"x\"}".to_vec(),
            404,
        ),
        ("POST", "/api/v1/inventory", b"{}".to_vec(), 400),
        ("POST", "/api/v1/roots", altered(&|_| {}), 400),
        ("POST", "/api/v1/statements", b"[]".to_vec(), 400),
        ("DELETE", "/api/v1/enrolments/SHA256%3Anone", Vec::new(), 400),
    ];
    for (method, path, body, status) in &requests {
        let answer = scene.api(method, path, body);
        let shown = format!(
            "{method} {path} {}: {answer:?}",
            String::from_utf8_lossy(body.get(..60).unwrap_or(body))
        );
        assert_eq!(answer.status, *status, "{shown}");
        assert!(answer.content_type.starts_with("application/problem+json"), "{shown}");
        let problem = answer.json();
        for member in ["type", "title", "detail", "code", "hint"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {shown}");
        }
        assert_eq!(problem["status"], *status, "{shown}");
        scene.digue(&["explain", problem["code"].as_str().expect("a code")]).ends_with(0);
    }
    // A body that is longer than anything can be, and bytes that are no HTTP.
    let head = b"POST /api/v1/inventory HTTP/1.1\r\nHost: lab\r\nConnection: close\r\nContent-Length: 30000000\r\n\r\n";
    let long = support::api::raw(&scene.api_socket(), &[&head[..], &vec![b'['; 30_000_000]].concat());
    let long = String::from_utf8_lossy(&long.unwrap_or_default()).into_owned();
    assert!(
        long.is_empty() || long.starts_with("HTTP/1.1 413") || long.starts_with("HTTP/1.1 400"),
        "{long:.200}"
    );
    for noise in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"] {
        let answer = support::api::raw(&scene.api_socket(), noise).unwrap_or_default();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(scene.api("GET", "/readyz", b"").status, 200);
    assert_eq!((scene.stored().len(), scene.orders()), (stored, shown), "nothing was stored");
    assert!(scene.runs("controller"));
    scene.audit();
}

#[test]
fn commands_that_cannot_be_carried_out_say_what_to_do_instead() {
    let Some(scene) = Scene::up(1) else { return };
    let plan = |words: &[&str]| {
        let rest = ["--reason", "exercise", "--incident", "exercise-1", "-o", "x.plan", "--force"];
        scene.digue(&[&["plan"], words, &rest].concat())
    };
    refuses(&scene, plan(&["cut"]), 2, "E0654", &[]);
    refuses(&scene, plan(&["cut", "srv-777"]), 2, "E0640", &["srv-777"]);
    refuses(&scene, plan(&["cut", "-l", "site=nowhere"]), 2, "E0654", &[]);
    refuses(&scene, plan(&["cut", "--all", "--internal", "0.0.0.0/0"]), 2, "E0653", &["0.0.0.0/0"]);
    assert_eq!(plan(&["cut", "--all", "--keep", "everything"]).code, 2);
    assert_eq!(plan(&["block", "--all", "--net", "10.0.0.1/8"]).code, 2);
    assert_eq!(scene.digue(&["frobnicate"]).code, 2);
    let empty = ["plan", "cut", "--all", "--reason", " ", "--incident", "x", "-o", "x.plan"];
    refuses(&scene, scene.digue(&empty), 2, "E0601", &[]);
    scene.plan("a.plan", &["cut", "--all"]);
    refuses(&scene, scene.digue(&["apply", "a.plan", "--sign", "nobody", "--wait"]), 2, "E0611", &["nobody"]);
    refuses(
        &scene,
        scene.digue(&["apply", "a.plan", "--sign", "claire", "--wait"]),
        11,
        "E0612",
        &["claire"],
    );
    let mut unconfirmed = std::process::Command::new(scene.program_file("digue"));
    unconfirmed.args([
        "--context",
        "lab",
        "--lang",
        "en",
        "--no-input",
        "apply",
        "a.plan",
        "--sign",
        "alice",
    ]);
    unconfirmed.env("DIGUE_CONFIG_DIR", scene.config_dir()).current_dir(scene.file("."));
    refuses(&scene, Ran::of(&mut unconfirmed), 2, "E0607", &["--yes"]);
    refuses(&scene, scene.digue(&["order", "show", "ffffffff"]), 1, "E0624", &["ffffffff"]);
    scene.digue(&["status", "--expect", "cut==banana"]).ends_with(2).says(&["banana", "whole number"]);
    refuses(
        &scene,
        scene.digue(&["verdict", "set", "srv-001", "clean", "--reason", "x", "--sign", "bruno"]),
        2,
        "E0601",
        &["--assurance"],
    );
    assert_eq!(scene.orders(), Vec::<Value>::new());
    scene.program("controller", ProgramAction::Stop);
    for words in [&["status"][..], &["apply", "a.plan", "--sign", "alice"], &["audit", "verify"]] {
        refuses(&scene, scene.digue(words), 10, "E0620", &[]);
    }
}
