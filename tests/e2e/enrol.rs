//! How a new server's key reaches the signed inventory without trusting the controller (3.8): by a join
//! secret, and over SSH.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::key::PublicKey;
use digue_proto::report::EnrolV1;
use digue_proto::{enrol, sign, strict};
use serde_json::Value;
use ssh_key::PrivateKey;
use support::{Scene, text, wait_for, wait_until};

/// An agent that is put on a machine by hand.
struct NewAgent<'a> {
    scene: &'a Scene,
    machine: &'static str,
    folder: PathBuf,
}

/// A running one, which ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl<'a> NewAgent<'a> {
    /// Writes the configuration of an agent that calls itself `host`.
    fn install(scene: &'a Scene, machine: &'static str, host: &str) -> Self {
        let folder = scene.file(&format!("agent-{machine}-{host}"));
        fs::create_dir_all(&folder).expect("a folder");
        let other = fs::read_to_string(scene.lab.place().host("srv-001").join("agent.toml"))
            .expect("a configuration");
        let controllers = other.split_once("[[controllers]]").expect("controllers").1;
        let (state, run) = (folder.join("state"), folder.join("run"));
        let config = format!(
            "host_id = {host:?}\nstate_dir = {state:?}\nrun_dir = {run:?}\n[[controllers]]{controllers}"
        );
        fs::write(folder.join("agent.toml"), config).expect("written");
        Self { scene, machine, folder }
    }

    fn config(&self) -> String {
        text(&self.folder.join("agent.toml")).to_owned()
    }

    /// `digue-agent init` with the pinned root and a join secret.
    fn init(&self, secret: &str) -> Value {
        let trust = self.scene.in_lab("trust");
        let digest = fs::read_to_string(trust.join("deployment_id")).expect("the digest");
        let (config, root) = (self.config(), trust.join("root.1.json"));
        let words = ["digue-agent", "init", "--config", &config, "--root", text(&root)];
        let rest = ["--root-sha256", digest.trim(), "--join-secret-file", secret];
        serde_json::from_str(&self.scene.inside(self.machine, &[&words[..], &rest].concat())).expect("JSON")
    }

    fn run(&self) -> Running {
        let config = self.config();
        let mut command =
            self.scene.lab.exec(self.machine, ["digue-agent", "run", "--config", &config, "--lab"]);
        let log = fs::File::create(self.folder.join("log")).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Running(command.spawn().expect("digue-lab exec"))
    }

    fn holds_secret(&self) -> bool {
        self.folder.join("state").join("join_secret").exists()
    }
}

impl Scene {
    /// Adds machines to the signed inventory, without keys.
    fn expect_hosts(&self, hosts: &[(&str, &str)]) {
        let lines: String = hosts.iter().map(|(host, address)| format!("{host};{address}\n")).collect();
        fs::write(self.file("more.csv"), format!("nom;ip\n{lines}")).expect("written");
        self.done(&["hosts", "import", "more.csv", "--from", "csv", "--sign", "alice"]);
    }

    fn requests(&self) -> Vec<Value> {
        self.fetch("/api/v1/enrolments")["enrolments"].as_array().expect("enrolments").clone()
    }

    fn wait_request(&self, host: &str, key: &Value) -> Value {
        let of = |request: &Value| request["host_id"] == host && request["host_key"] == *key;
        wait_for(&format!("the request of {host}"), || self.requests().into_iter().find(|r| of(r)))
    }

    fn invite(&self, host: &str) -> String {
        let path = self.done(&["hosts", "enroll", "--invite", host]).trim().to_owned();
        let mode = fs::metadata(&path).expect("the secret").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "the secret is nobody else's");
        let secret = fs::read_to_string(&path).expect("the secret");
        assert!(
            secret.trim().len() == 32 && secret.trim().bytes().all(|b| b.is_ascii_hexdigit()),
            "{secret:?}"
        );
        path
    }
}

#[test]
fn a_join_secret_brings_a_new_server_in_once_and_the_server_can_then_be_cut() {
    let Some(scene) = Scene::up(1) else { return };
    scene.expect_hosts(&[("backup", "10.77.0.9 fd77::9"), ("printer", "10.77.0.20")]);
    let secret = scene.invite("backup");
    let agent = NewAgent::install(&scene, "backup", "backup");
    let made = agent.init(&secret);
    let copy = scene.file("secret-copy");
    fs::copy(&secret, &copy).expect("a copy");
    let running = agent.run();
    scene.wait_request("backup", &made["host_key"]);
    // Asking is not being in: nothing is shown of it, and no order reaches it.
    let waiting = scene.host("backup");
    assert!(
        waiting["enrolled"] == false && waiting["fresh"] == false && waiting["links"].is_null(),
        "{waiting}"
    );
    let planned = scene.plan("early.plan", &["cut", "--all"]);
    assert!(planned.contains("backup") && planned.contains("1 to act on"), "{planned}");

    scene.digue(&["hosts", "enroll", "--accept", "--sign", "alice"]).ends_with(0).says(&["backup"]);
    let host = scene.wait_host("backup", "a first report", |h| h["fresh"] == true && h["level"] == "L4");
    assert_eq!(host["host_key"], made["fingerprint"]);
    wait_until("the secret's end on the server", || !agent.holds_secret());
    assert!(!PathBuf::from(&secret).exists(), "the operator's copy is gone too");
    assert_eq!(scene.requests(), Vec::<Value>::new());
    scene.contain("cut", &["backup"]);
    scene.reaches_none("backup", "tcp", &["198.51.100.66:443", "[2001:db8:66::66]:443"]);

    // The same secret again, by another machine that calls itself backup: nobody invited it.
    let thief = NewAgent::install(&scene, "forensic", "backup");
    let stolen = thief.init(text(&copy));
    let thieving = thief.run();
    scene.wait_request("backup", &stolen["host_key"]);
    let accepted = scene.digue(&["hosts", "enroll", "--accept", "--sign", "alice"]).ends_with(0);
    assert!(accepted.err.contains("backup"), "{accepted:?}");
    // Also when a new secret was made for a machine of this name, and for one of another name.
    scene.invite("backup");
    let accepted = scene.digue(&["hosts", "enroll", "--accept", "--sign", "alice"]);
    accepted.ends_with(12).says(&["digue-E0644", "MAC"]);
    let printers = scene.invite("printer");
    let other = NewAgent::install(&scene, "printer", "printer");
    let made_other = other.init(text(&copy));
    let othering = other.run();
    scene.wait_request("printer", &made_other["host_key"]);
    scene
        .digue(&["hosts", "enroll", "--accept", "printer", "--sign", "alice"])
        .ends_with(12)
        .says(&["digue-E0644"]);
    assert_eq!(scene.host("printer")["enrolled"], false);
    assert_eq!(scene.host("backup")["host_key"], made["fingerprint"], "the honest one stays");
    assert!(PathBuf::from(&printers).exists(), "a false request does not use the invitation up");
    drop((othering, thieving, running));
    scene.audit();
}

#[test]
fn a_controller_that_swaps_the_key_of_a_new_server_is_found_out() {
    let Some(scene) = Scene::up(1) else { return };
    scene.expect_hosts(&[("backup", "10.77.0.9")]);
    let agent = NewAgent::install(&scene, "backup", "backup");
    let made = agent.init(&scene.invite("backup"));
    let running = agent.run();
    let honest = scene.wait_request("backup", &made["host_key"]);
    let envelope: Envelope = serde_json::from_value(honest["envelope"].clone()).expect("an envelope");
    let asked: EnrolV1 = serde_json::from_slice(&envelope.payload).expect("a request");

    let own = PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&[42; 32]));
    let own_public =
        PublicKey::from_openssh_line(&own.public_key().to_openssh().expect("a key")).expect("a key");
    let sealed = |request: &EnrolV1| {
        let payload = strict::to_vec(request).expect("JSON");
        serde_json::to_value(sign::seal(&own, PayloadType::Enrol, payload).expect("signed")).expect("JSON")
    };
    let swapped = EnrolV1 { host_key: own_public.clone(), ..asked.clone() };
    let guess = |request: &EnrolV1| {
        let controller = &request.controller_spki_sha256;
        enrol::make_mac(&[0; 16], &request.deployment_id, &request.host_id, &own_public, controller)
            .expect("a MAC")
    };
    let guessed = EnrolV1 { mac: guess(&swapped), ..swapped.clone() };
    let lies = [
        ("the key beside the request", honest["envelope"].clone(), own_public.to_string()),
        ("the key in the request, signed anew", sealed(&swapped), own_public.to_string()),
        ("a MAC under a guessed secret", sealed(&guessed), own_public.to_string()),
        (
            "the request signed by somebody else",
            sealed(&asked),
            made["host_key"].as_str().expect("a key").to_owned(),
        ),
    ];
    let version = || scene.fetch("/api/v1/hosts")["inventory_version"].clone();
    let before = version();
    for (what, envelope, key) in lies {
        let accept = ["hosts", "enroll", "--accept", "--sign", "alice"];
        let told = scene.digue_lied_to(&accept, move |path, answer| {
            if path == "/api/v1/enrolments" {
                answer["enrolments"][0]["envelope"] = envelope.clone();
                answer["enrolments"][0]["host_key"] = Value::from(key.clone());
            }
        });
        assert_eq!(told.code, 12, "{what}: {told:?}");
        told.says(&["digue-E0644", "backup"]);
        assert_eq!(version(), before, "{what}: nothing was signed");
    }
    // Told the truth, the operator's command accepts.
    scene.digue(&["hosts", "enroll", "--accept", "--sign", "alice"]).ends_with(0);
    scene.wait_host("backup", "a first report", |h| {
        h["fresh"] == true && h["host_key"] == made["fingerprint"]
    });
    drop(running);
    scene.audit();
}

#[test]
fn an_agent_that_sees_another_controller_key_than_the_roots_is_not_let_in() {
    let Some(scene) = Scene::up(1) else { return };
    scene.expect_hosts(&[("backup", "10.77.0.9")]);
    let agent = NewAgent::install(&scene, "backup", "backup");
    let made = agent.init(&scene.invite("backup"));
    // Its configuration pins the key of somebody who listens in between; that one relays the request.
    let running = agent.run();
    let honest = scene.wait_request("backup", &made["host_key"]);
    let envelope: Envelope = serde_json::from_value(honest["envelope"].clone()).expect("an envelope");
    let asked: EnrolV1 = serde_json::from_slice(&envelope.payload).expect("a request");
    drop(running);
    let key = ssh_key::PrivateKey::read_openssh_file(&agent.folder.join("state").join("host_key"))
        .expect("its key");
    let invitations = scene.config_dir().join("contexts").join("lab").join("invitations");
    let secret = fs::read_to_string(invitations.join("backup")).expect("the secret");
    let secret: digue_proto::id::Nonce = secret.trim().parse().expect("a secret");
    let between = digue_proto::id::Digest::of(b"the key of whoever is in between");
    let mac =
        enrol::make_mac(secret.as_bytes(), &asked.deployment_id, &asked.host_id, &asked.host_key, &between);
    let seen = EnrolV1 { controller_spki_sha256: between, mac: mac.expect("a MAC"), ..asked };
    let payload = strict::to_vec(&seen).expect("JSON");
    let sealed =
        serde_json::to_value(sign::seal(&key, PayloadType::Enrol, payload).expect("signed")).expect("JSON");
    let told =
        scene.digue_lied_to(&["hosts", "enroll", "--accept", "--sign", "alice"], move |path, answer| {
            if path == "/api/v1/enrolments" {
                answer["enrolments"][0]["envelope"] = sealed.clone();
            }
        });
    told.ends_with(12).says(&["digue-E0644", "controller"]);
    assert_eq!(scene.host("backup")["enrolled"], false);
}

#[test]
fn servers_are_enrolled_over_ssh_and_one_that_fails_does_not_keep_the_others_out() {
    let Some(scene) = Scene::up(1) else { return };
    scene.expect_hosts(&[("backup", "10.77.0.9"), ("forensic", "10.77.0.6"), ("printer", "10.77.0.20")]);
    let agent = NewAgent::install(&scene, "backup", "backup");
    let misnamed = NewAgent::install(&scene, "forensic", "somebody");
    // Stands for ssh: drops its options, and runs the command on the machine that is named.
    let ssh = scene.file("ssh");
    let script = format!(
        "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nmachine=$2; shift 2\nexec {} --dir {} exec \"$machine\" -- sh -c \"$*\"\n",
        text(&scene.program_file("digue-lab")),
        text(scene.lab.place().root())
    );
    fs::write(&ssh, script).expect("written");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("permissions");
    let enroll = |hosts: &[&str], config: &str| {
        let targets: Vec<&str> = hosts.iter().flat_map(|host| ["--ssh", host]).collect();
        let command = format!("digue-agent init --config {config}");
        let rest = ["--ssh-command", text(&ssh), "--agent-command", &command, "--sign", "alice"];
        scene.digue(&[&["hosts", "enroll"], &targets[..], &rest].concat())
    };
    let both = enroll(&["backup", "printer=nowhere"], &agent.config());
    both.ends_with(3).says(&["backup", "printer", "digue-E0645"]);
    assert_eq!(scene.host("printer")["enrolled"], false);
    enroll(&["forensic"], &misnamed.config()).ends_with(3).says(&["digue-E0645", "somebody"]);
    assert_eq!(scene.host("forensic")["enrolled"], false);
    let running = agent.run();
    let host = scene.wait_host("backup", "a first report", |h| h["fresh"] == true && h["level"] == "L4");
    assert_eq!(host["incarnation"], 1);
    // Again: nothing changes. Rebuilt: another key, and nothing that was signed for the old one binds it.
    let version = || scene.fetch("/api/v1/hosts")["inventory_version"].clone();
    let before = version();
    enroll(&["backup"], &agent.config()).ends_with(0);
    assert_eq!(version(), before);
    scene.plan("old.plan", &["cut", "backup"]);
    drop(running);
    fs::remove_dir_all(agent.folder.join("state")).expect("a new disk");
    enroll(&["backup"], &agent.config()).ends_with(0);
    let running = agent.run();
    let rebuilt = scene.wait_host("backup", "a report of the new one", |h| h["fresh"] == true);
    assert!(rebuilt["incarnation"] == 2 && rebuilt["host_key"] != host["host_key"], "{rebuilt}");
    scene.digue(&["apply", "old.plan", "--sign", "alice", "--wait"]).ends_with(14);
    scene.contain("cut", &["backup"]);
    scene.reaches_none("backup", "tcp", &["198.51.100.66:443"]);
    drop(running);
    scene.audit();
}
