//! A laboratory with the real programs in it, driven as a person would: by the command line.
//!
//! Each test brings up its own, in about a second, because each runs in a process of its own. Deliberately
//! absent: any way to the programs' insides.
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses a part of it")]

pub(crate) mod api;
pub(crate) mod forge;
pub(crate) mod proxy;
pub(crate) mod rogue;
pub(crate) mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use digue_lab::control::{ProgramAction, Request, Response};
use digue_lab::incident::IncidentKind;
use digue_lab::laboratory::Laboratory;
use digue_lab::network::GuestKind;
use digue_lab::options::LabOptions;
use digue_lab::probe::Probed;
use digue_lab::service::Arrival;
use serde_json::Value;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Longest run of one command; an order waits at most 60 s for its proof.
const LONGEST: Duration = Duration::from_secs(90);
/// The context that the laboratory adds.
const CONTEXT: &str = "lab";

/// What a program printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    shown: String,
}

fn read_all(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What a program wrote before it went wrong is shown all the same.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Ran {
    /// Runs a command to its end, and fails if that does not come.
    #[track_caller]
    pub(crate) fn of(command: &mut Command) -> Self {
        let shown = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{shown}: {e}"));
        let out = read_all(child.stdout.take().expect("standard output"));
        let err = read_all(child.stderr.take().expect("standard error"));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            if started.elapsed() > LONGEST {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{shown} did not end within {} s", LONGEST.as_secs());
            }
            pause();
        };
        let (out, err) = (out.join().expect("read"), err.join().expect("read"));
        Self { code: status.code().unwrap_or(-1), out, err, shown }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n--- out\n{}\n--- err\n{}", self.shown, self.out, self.err);
        self
    }

    /// Asserts that both streams together hold each of `words`.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            let holds = self.out.contains(word) || self.err.contains(word);
            assert!(
                holds,
                "{} does not say {word:?}\n--- out\n{}\n--- err\n{}",
                self.shown, self.out, self.err
            );
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{}: {e}\n{}", self.shown, self.out))
    }
}

/// Waits until `holds`, and fails with `what` if it does not within [`PATIENCE`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what} did not happen within {} s", PATIENCE.as_secs());
        pause();
    }
}

/// Waits until there is a value, and fails with `what` if there is none within [`PATIENCE`].
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    wait_until(what, || {
        found = value();
        found.is_some()
    });
    found.expect("waited for")
}

/// Between two looks at a condition.
pub(crate) fn pause() {
    std::thread::park_timeout(Duration::from_millis(10));
}

/// A folder of Digue's programs as `make test` builds them.
fn programs() -> PathBuf {
    let lab = Path::new(env!("CARGO_BIN_EXE_digue-lab"));
    let folder = lab.parent().expect("a folder").to_owned();
    for program in ["digue", "digue-agent", "digue-controller"] {
        let path = folder.join(program);
        assert!(
            path.is_file(),
            "{} is missing: run `cargo build --workspace --bins` first, as `make test` does",
            path.display()
        );
    }
    folder
}

/// A laboratory, and a folder for the operator's files.
pub(crate) struct Scene {
    pub(crate) lab: Laboratory,
    folder: tempfile::TempDir,
    programs: PathBuf,
}

impl Scene {
    /// Brings up a laboratory; `None`, with the reason printed, where the machine does not allow one.
    pub(crate) fn up(hosts: u16) -> Option<Self> {
        let programs = programs();
        let lab = programs.join("digue-lab");
        if let Err(reason) = Laboratory::available(&lab) {
            eprintln!("skipped: {reason}");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("dl").tempdir_in("/tmp").expect("a folder");
        fs::create_dir(folder.path().join("work")).expect("a folder");
        let options = LabOptions {
            dir: folder.path().join("lab"),
            hosts,
            bare: false,
            second_controller: false,
            attached: true,
            programs: programs.clone(),
            config_dir: folder.path().join("config"),
            context: CONTEXT.into(),
        };
        let lab = Laboratory::up(&lab, &options, |_| ()).expect("a laboratory");
        Some(Self { lab, folder, programs })
    }

    /// A path in the operator's folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// A path in the laboratory's folder.
    pub(crate) fn in_lab(&self, name: &str) -> PathBuf {
        self.lab.place().join(name)
    }

    /// The operator's configuration folder.
    pub(crate) fn config_dir(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// One of Digue's programs.
    pub(crate) fn program_file(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// `digue` as the operator would type it, without questions, in the operator's folder.
    pub(crate) fn digue_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.program_file("digue"));
        command.args(["--no-input", "--yes"]).args(words);
        command.env("DIGUE_CONFIG_DIR", self.config_dir()).env("DIGUE_CONTEXT", CONTEXT);
        command.env("LC_ALL", "en_GB.UTF-8").env("NO_COLOR", "1");
        command.current_dir(self.folder.path().join("work")).stdin(Stdio::null());
        command
    }

    /// Runs `digue`.
    pub(crate) fn digue(&self, words: &[&str]) -> Ran {
        Ran::of(&mut self.digue_command(words))
    }

    /// Runs `digue`, which must succeed, and returns what it printed.
    #[track_caller]
    pub(crate) fn done(&self, words: &[&str]) -> String {
        self.digue(words).ends_with(0).out
    }

    /// Runs a command inside a machine.
    pub(crate) fn exec(&self, machine: &str, words: &[&str]) -> Ran {
        Ran::of(&mut self.lab.exec(machine, words.iter().copied()))
    }

    /// Runs a command inside a machine, which must succeed.
    #[track_caller]
    pub(crate) fn inside(&self, machine: &str, words: &[&str]) -> String {
        self.exec(machine, words).ends_with(0).out
    }

    /// Tries to reach all `targets` at once from a machine.
    pub(crate) fn probe(&self, machine: &str, protocol: &str, targets: &[&str]) -> Vec<Probed> {
        let words = ["digue-lab", "probe", protocol, "-o", "json", "--timeout", "400"];
        let ran = self.exec(machine, &[&words[..], targets].concat());
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
    }

    /// Asserts that each target answers.
    #[track_caller]
    pub(crate) fn reaches(&self, machine: &str, protocol: &str, targets: &[&str]) {
        let words = ["digue-lab", "probe", protocol, "--timeout", "1000", "--within", "20000"];
        self.inside(machine, &[&words[..], targets].concat());
    }

    /// Asserts that no target answers.
    #[track_caller]
    pub(crate) fn reaches_none(&self, machine: &str, protocol: &str, targets: &[&str]) {
        for probed in self.probe(machine, protocol, targets) {
            assert!(!probed.reached, "{machine} reached {probed:?}");
        }
    }

    /// `digue hosts list`, the hosts alone.
    #[track_caller]
    pub(crate) fn hosts(&self) -> Vec<Value> {
        let listed = self.digue(&["hosts", "list", "-o", "json"]).ends_with(0).json();
        listed["hosts"].as_array().expect("hosts").clone()
    }

    /// One host as `digue hosts list` shows it.
    #[track_caller]
    pub(crate) fn host(&self, name: &str) -> Value {
        self.hosts().into_iter().find(|host| host["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// Waits until a host looks as it should.
    #[track_caller]
    pub(crate) fn wait_host(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{name}: {what}"), || Some(self.host(name)).filter(&holds))
    }

    /// Carries out a verb of the laboratory.
    #[track_caller]
    pub(crate) fn ask(&self, request: &Request) -> Response {
        self.lab.ask(request).expect("the laboratory does it")
    }

    /// Kills, stops or starts Digue's program on a machine.
    #[track_caller]
    pub(crate) fn program(&self, machine: &str, action: ProgramAction) {
        self.ask(&Request::Program { machine: machine.into(), action });
    }

    /// Pulls or plugs a machine's cable.
    #[track_caller]
    pub(crate) fn cable(&self, machine: &str, plugged: bool) {
        self.ask(&Request::Cable { machine: machine.into(), plugged });
    }

    /// Makes a guest behind a machine.
    #[track_caller]
    pub(crate) fn guest(&self, host: &str, kind: GuestKind, name: &str) {
        self.ask(&Request::CreateGuest { host: host.into(), kind, name: name.into() });
    }

    /// Starts an incident.
    #[track_caller]
    pub(crate) fn incident(&self, host: &str, kind: IncidentKind) {
        self.ask(&Request::StartIncident { kind, host: host.into() });
    }

    /// What reached the services of the "internet".
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        json_lines(&self.lab.place().arrivals())
    }

    /// The process of Digue's program on a machine, as the machine numbers it, if it runs.
    pub(crate) fn runs(&self, machine: &str) -> bool {
        let status = self.lab.status().expect("status");
        let found = status.machines.iter().find(|m| m.name == machine).expect("a machine");
        found.programs.iter().all(|p| p.state == "running") && !found.programs.is_empty()
    }

    /// The log of Digue's program on a machine.
    pub(crate) fn log(&self, machine: &str) -> String {
        let program = if machine == "controller" { "digue-controller" } else { "digue-agent" };
        let file = self.lab.place().host(machine).join(format!("{program}.log"));
        fs::read_to_string(file).unwrap_or_default()
    }

    /// `digue-agent status` on a machine, without network.
    pub(crate) fn agent_status(&self, host: &str) -> Value {
        let config = self.lab.place().host(host).join("agent.toml");
        let ran = self.exec(host, &["digue-agent", "--config", text(&config), "status", "-o", "json"]);
        ran.json()
    }

    /// Plans with `words` and writes the plan to `name`.
    #[track_caller]
    pub(crate) fn plan(&self, name: &str, words: &[&str]) -> String {
        let rest = ["--reason", "exercise", "--incident", "exercise-1", "-o", name, "--force"];
        self.done(&[&["plan"], words, &rest].concat())
    }

    /// Plans, and applies with these signers, waiting for proof.
    #[track_caller]
    pub(crate) fn order(&self, words: &[&str], signers: &[&str]) -> Ran {
        self.plan("now.plan", words);
        let signers: Vec<&str> = signers.iter().flat_map(|s| ["--sign", s]).collect();
        self.digue(&[&["apply", "now.plan", "--wait", "--timeout", "60s"], &signers[..]].concat())
    }

    /// Cuts (or isolates) hosts, verified.
    #[track_caller]
    pub(crate) fn contain(&self, profile: &str, which: &[&str]) {
        self.order(&[&[profile], which].concat(), &["alice"]).ends_with(0);
    }

    /// Declares hosts clean, as bruno and claire, the forensic partner.
    #[track_caller]
    pub(crate) fn declare_clean(&self, hosts: &str) {
        let words = ["verdict", "set", hosts, "clean", "--reason", "examined", "--assurance", "L1"];
        self.done(&[&words[..], &["--sign", "bruno", "--sign", "claire"]].concat());
    }

    /// The orders as `digue order list` shows them, oldest first.
    #[track_caller]
    pub(crate) fn orders(&self) -> Vec<Value> {
        let listed = self.digue(&["order", "list", "-o", "json"]).ends_with(0).json();
        listed["orders"].as_array().expect("orders").clone()
    }

    /// Each stored document holds, by the operator's own check.
    #[track_caller]
    pub(crate) fn audit(&self) {
        self.digue(&["audit", "verify"]).ends_with(0);
    }

    /// The foreign rules of a machine: everything but Digue's tables, without counters and handles.
    pub(crate) fn foreign_rules(&self, machine: &str) -> String {
        let listed = self.inside(machine, &["nft", "-s", "list", "ruleset"]);
        let mut foreign = String::new();
        let mut ours = false;
        for line in listed.lines() {
            if line.starts_with("table ") {
                ours = line.contains(" digue_");
            }
            if !ours {
                foreign.push_str(line);
                foreign.push('\n');
            }
        }
        foreign
    }

    /// How many tables of Digue a machine has.
    pub(crate) fn own_tables(&self, machine: &str) -> usize {
        let listed = self.inside(machine, &["nft", "list", "tables"]);
        listed.lines().filter(|line| line.contains(" digue_")).count()
    }
}

/// The objects of a file of JSON lines; a line that is not whole yet is left out.
pub(crate) fn json_lines<T: serde::de::DeserializeOwned>(file: &Path) -> Vec<T> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Whether a program is there; if not, says that the test leaves something out.
pub(crate) fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if !found {
        eprintln!("skipped: there is no program {program}; tests/setup installs it");
    }
    found
}
