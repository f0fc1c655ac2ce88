//! The real program in a folder of its own, and requests to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use digue_proto::id::Digest;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::agent::{Agent, PATIENCE};
use crate::documents::{Deployment, host_key};

const PROGRAM: &str = env!("CARGO_BIN_EXE_digue-controller");

/// A controller that runs, or could.
pub(crate) struct Controller {
    pub(crate) folder: tempfile::TempDir,
    child: Option<Child>,
    pub(crate) pin: Digest,
    pub(crate) agents: SocketAddr,
    pub(crate) https: Option<SocketAddr>,
}

/// A command of the program, with its configuration.
pub(crate) fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(words).arg("--config").arg(folder.join("controller.toml"));
    command.stderr(Stdio::null());
    command
}

pub(crate) fn write_config(folder: &Path, agents: &str, api: &str) {
    let text = format!(
        "data_dir = \"{0}/data\"\n[agents]\nlisten = \"127.0.0.1:0\"\n{agents}\n[api]\nsocket = \"{0}/api.sock\"\n{api}\n",
        folder.display()
    );
    std::fs::write(folder.join("controller.toml"), text).expect("configuration");
}

pub(crate) fn init(folder: &Path) -> Value {
    let output = command(folder, &["init"]).output().expect("init");
    assert!(output.status.success(), "init failed");
    serde_json::from_slice(&output.stdout).expect("init prints JSON")
}

impl Controller {
    /// Starts with an empty store.
    pub(crate) fn start() -> Self {
        Self::start_with("", "")
    }

    pub(crate) fn start_with(agents: &str, api: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        write_config(folder.path(), agents, api);
        let pins = init(folder.path());
        let pin = pins["spki_sha256"].as_str().expect("pin").parse().expect("digest");
        let mut controller = Self { folder, child: None, pin, agents: ([0, 0, 0, 0], 0).into(), https: None };
        controller.run();
        controller
    }

    /// Starts by a command of the test's own; `pin` is still to be filled in.
    pub(crate) fn at(folder: tempfile::TempDir, command: Command) -> Self {
        let nowhere = ([0, 0, 0, 0], 0).into();
        let pin = Digest::of(b"unknown");
        let mut controller = Self { folder, child: None, pin, agents: nowhere, https: None };
        controller.run_as(command);
        controller
    }

    /// Starts with a trust root and an inventory of `hosts` enrolled hosts.
    pub(crate) fn with_fleet(hosts: u32) -> (Self, Deployment) {
        let controller = Self::start();
        let deployment = controller.found(hosts);
        (controller, deployment)
    }

    /// Publishes a trust root and an inventory.
    pub(crate) fn found(&self, hosts: u32) -> Deployment {
        let deployment = Deployment::new(self.pin);
        assert_eq!(self.post("/api/v1/roots", &deployment.root).0, 201);
        let keys: Vec<_> = (1..=hosts).map(|index| (index, host_key(index))).collect();
        let listed: Vec<_> = keys.iter().map(|(index, key)| (*index, Some(key))).collect();
        let answer = self.post("/api/v1/inventory", &deployment.inventory(1, &listed));
        assert_eq!(answer.0, 201, "{}", answer.1);
        deployment
    }

    /// Runs the program and waits until it says that it is ready.
    pub(crate) fn run(&mut self) {
        self.run_as(command(self.folder.path(), &["run"]));
    }

    pub(crate) fn run_as(&mut self, mut command: Command) {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("stdout");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).expect("the controller became ready");
        self.agents = ready["agents"].as_str().expect("address").parse().expect("address");
        self.https = ready["api_listen"].as_str().map(|text| text.parse().expect("address"));
        self.child = Some(child);
    }

    pub(crate) fn process_id(&self) -> Pid {
        let id = self.child.as_ref().expect("it runs").id();
        Pid::from_raw(i32::try_from(id).expect("process id"))
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("gone");
    }

    /// SIGTERM; says whether it ended in order.
    pub(crate) fn stop(&mut self) -> bool {
        kill(self.process_id(), Signal::SIGTERM).expect("signalled");
        let mut child = self.child.take().expect("it runs");
        child.wait().expect("gone").success()
    }

    pub(crate) async fn agent(&self, deployment: &Deployment, index: u32) -> Agent {
        Agent::connect(self.agents, self.pin, deployment.id, index).await
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.request("GET", path, None)
    }

    pub(crate) fn post<T: serde::Serialize>(&self, path: &str, body: &T) -> (u16, Value) {
        self.request("POST", path, Some(&serde_json::to_vec(body).expect("json")))
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&[u8]>) -> (u16, Value) {
        let (status, body) = request(&self.socket(), method, path, body);
        let value = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into())
        };
        (status, value)
    }

    /// One host as the view shows it.
    pub(crate) fn host(&self, index: u32) -> Value {
        let (status, answer) = self.get(&format!("/api/v1/hosts/{}", crate::documents::host_id(index)));
        assert_eq!(status, 200, "{answer}");
        answer["host"].clone()
    }

    /// How far an order has come on each host, in the order of their names.
    pub(crate) fn phases(&self, order: u8) -> Vec<String> {
        let (status, answer) = self.get(&format!("/api/v1/orders/{}", order_name(order)));
        assert_eq!(status, 200, "{answer}");
        let hosts = answer["order"]["hosts"].as_array().expect("hosts");
        hosts.iter().map(|host| host["phase"].as_str().expect("phase").to_owned()).collect()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

pub(crate) fn order_name(number: u8) -> String {
    format!("{number:02x}").repeat(16)
}

/// A request over the unix socket: the status and the body.
pub(crate) fn request(socket: &Path, method: &str, path: &str, body: Option<&[u8]>) -> (u16, Vec<u8>) {
    let mut stream = UnixStream::connect(socket).expect("the socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let body = body.unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: controller\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    // A refusal can come before the whole body is read.
    let _cut_short = stream.write_all(body);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(read.is_ok() || !answer.is_empty(), "no answer: {read:?}");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).expect("status").parse().expect("status");
    (status, answer[end + 4..].to_vec())
}

/// Waits until `holds` gives something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}
