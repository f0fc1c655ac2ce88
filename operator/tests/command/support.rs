//! The real command in a configuration folder of its own, and the real controller where a test needs one.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// What a run of `digue` gave.
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Ran {
    /// Fails the test unless the exit code is `code`.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}:\n{}", self.out))
    }
}

/// A desk: keys, configuration, trust folder.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
    config: String,
}

impl Desk {
    /// An empty desk.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), config: "config".to_owned() }
    }

    /// A path on the desk.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// Writes a file on the desk.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), contents).expect("written");
        self.text(name)
    }

    /// Reads a file on the desk.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("read")
    }

    /// Runs `digue` without a terminal, in English.
    pub(crate) fn digue(&self, args: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_digue"))
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DIGUE_CONFIG_DIR", self.path(&self.config))
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .expect("digue runs");
        ran(output)
    }

    /// Keys for `names`, and a signed root of all of them with every role, kept in `trust`.
    pub(crate) fn with_people(self, names: &[&str], controller: &str) -> Self {
        let keys = self.text("keys");
        let mut init = vec!["trust".to_owned(), "init".to_owned()];
        for name in names {
            self.digue(&["keys", "init", "--name", name, "--dir", &keys, "--no-passphrase"]).exits(0);
            init.extend(["--person".to_owned(), format!("{name}={keys}/{name}.pub:all")]);
        }
        init.extend(["--controller".to_owned(), format!("controller={controller}")]);
        init.extend(["-o".to_owned(), self.text("root.1.json")]);
        let init: Vec<&str> = init.iter().map(String::as_str).collect();
        self.digue(&init).exits(0);
        for name in names {
            let key = self.text(&format!("keys/{name}"));
            self.digue(&["trust", "sign", "root.1.json", "--sign", &key]).exits(0);
        }
        self
    }

    /// A context for `endpoint` with these signers, and the root kept in it.
    pub(crate) fn with_context(self, names: &[&str], endpoint: &str) -> Self {
        let trust = self.text("trust");
        let mut add = vec!["context", "add", "test", "--controller", endpoint, "--trust-dir", &trust];
        let signers: Vec<String> =
            names.iter().map(|n| format!("{n}={}", self.text(&format!("keys/{n}")))).collect();
        for signer in &signers {
            add.extend(["--signer", signer]);
        }
        add.extend(["--controller-address", "10.77.0.2:7443", "--internal", "10.77.0.0/16"]);
        self.digue(&add).exits(0);
        self
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A program of this workspace that was built beside `digue`; prints why not if it was not.
pub(crate) fn sibling(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_digue")).with_file_name(name);
    if path.is_file() {
        return Some(path);
    }
    println!("skipped: {} was not built (cargo build --workspace)", path.display());
    None
}

/// A running controller; it ends with the test.
pub(crate) struct Controller {
    child: Child,
    _folder: tempfile::TempDir,
    /// Its API.
    pub(crate) endpoint: String,
    /// SHA-256 of its public key.
    pub(crate) pin: String,
    /// The HTTPS address, and the SHA-256 of its certificate.
    pub(crate) https: Option<(String, String)>,
    /// The file of the bearer token.
    pub(crate) token_file: PathBuf,
}

impl Drop for Controller {
    fn drop(&mut self) {
        // A controller that ended by itself cannot be ended.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Controller {
    /// Starts one on the loopback, with the HTTPS listener if asked for, and waits until it says that it is ready.
    pub(crate) fn start(https: bool) -> Option<Self> {
        let program = sibling("digue-controller")?;
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let port = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("an address").port()
        };
        let mut config = format!(
            "data_dir = {:?}\n[agents]\nlisten = \"127.0.0.1:{}\"\n[api]\nsocket = {:?}\n",
            path("data"),
            port(),
            path("api.sock"),
        );
        let listen = format!("127.0.0.1:{}", port());
        if https {
            config.push_str(&format!("listen = {listen:?}\ntoken_file = {:?}\n", path("token")));
        }
        std::fs::write(path("controller.toml"), config).expect("written");
        let made = Command::new(&program).args(["init", "--config", &path("controller.toml")]).output();
        let made = ran(made.expect("digue-controller runs")).exits(0).json();
        let notify = path("notify");
        let ready = UnixDatagram::bind(&notify).expect("a socket");
        ready.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let child = Command::new(&program)
            .args(["run", "--config", &path("controller.toml")])
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("digue-controller runs");
        let certificate = made["api_certificate_sha256"].as_str().map(str::to_owned);
        let controller = Self {
            child,
            endpoint: format!("unix://{}", path("api.sock")),
            pin: made["spki_sha256"].as_str().expect("a pin").to_owned(),
            https: https.then(|| (format!("https://{listen}"), certificate.expect("a certificate"))),
            token_file: folder.path().join("token"),
            _folder: folder,
        };
        let mut message = [0; 256];
        let length = ready.recv(&mut message).expect("the controller says that it is ready");
        assert!(
            message[..length].starts_with(b"READY=1"),
            "{:?}",
            String::from_utf8_lossy(&message[..length])
        );
        Some(controller)
    }
}

/// A desk with two people at a running controller, and an inventory of `hosts` without agents.
pub(crate) fn desk_at_a_controller(hosts: &str) -> Option<(Desk, Controller)> {
    let controller = Controller::start(false)?;
    let people = ["alice", "bruno"];
    let desk = Desk::new().with_people(&people, &controller.pin).with_context(&people, &controller.endpoint);
    desk.digue(&["trust", "publish", "root.1.json"]).exits(0);
    desk.write("hosts.csv", hosts);
    desk.digue(&["hosts", "import", "hosts.csv", "--from", "csv", "--sign", "alice", "--yes"]).exits(0);
    Some((desk, controller))
}
