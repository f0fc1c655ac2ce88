//! Digue's own programs inside the laboratory: started as a person would start them on real servers, with
//! the real command lines, which all stand in this module.
//!
//! The people (alice, bruno, claire) have throw-away keys in the laboratory's folder. Deliberately absent:
//! any short cut. The trust root and the inventory are drafted, signed and published by `digue`; the agents
//! get the root that was signed, and the controller gets nothing that an agent obeys.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::daemon::{Daemon, Progress};
use crate::machines::Launch;
use crate::options::LabOptions;
use crate::place::Place;
use crate::topology::CONTROLLER_PORT;

/// The agent's program.
pub(crate) const AGENT: &str = "digue-agent";
/// The controller's program.
pub(crate) const CONTROLLER: &str = "digue-controller";
/// The operators' program.
const OPERATOR: &str = "digue";

/// The people of the laboratory and the roles they hold: alice cuts, bruno approves, claire is the forensic
/// partner. Two of them are needed for the root, for a release and for a clean statement.
const PEOPLE: [(&str, &str); 3] = [
    ("alice", "root,inventory,query,protect,release,suspect"),
    ("bruno", "root,release,clean"),
    ("claire", "clean,suspect,forensic"),
];
/// Who signs the first trust root.
const ROOT_SIGNERS: [&str; 2] = ["alice", "bruno"];
/// Sites and services that the servers are spread over, so that selectors have something to select.
const SITES: [&str; 5] = ["hotel-de-ville", "mediatheque", "ecoles", "ateliers", "musee"];
const SERVICES: [&str; 4] = ["finances", "etat-civil", "education", "solidarite"];

/// How long a program that only writes files may take.
const AT_ONCE: Duration = Duration::from_secs(30);
/// How long the whole fleet may take to report.
const REPORT_WITHIN: Duration = Duration::from_secs(60);
/// Agents whose keys are made at the same time.
const ABREAST: usize = 4;

/// Starts Digue on the controller and on every server, and waits until every server has reported.
pub(crate) async fn start(daemon: &mut Daemon, progress: &mut Progress) -> Result<()> {
    let tools = Tools::find(&daemon.options, &daemon.place)?;
    let spki = tools.make_controller_identity(daemon).await?;
    let root = tools.make_trust(&spki).await?;
    progress.step("throw-away keys and a trust root signed by two people: alice, bruno, claire".into())?;

    let servers: Vec<String> = daemon.servers().map(|running| running.machine.name.clone()).collect();
    let host_keys = tools.make_agent_identities(&servers, &spki, &root).await?;
    let arguments = line(&[&"run", &"--config", &tools.controller_config()]);
    daemon.start("controller", Launch { name: CONTROLLER, program: tools.program(CONTROLLER), arguments })?;
    tools.wait_for_controller(daemon).await?;
    tools.publish(&servers, &host_keys).await?;
    progress.step(format!(
        "controller at 10.77.0.2:{CONTROLLER_PORT}; {} servers in a signed inventory",
        servers.len()
    ))?;

    for server in &servers {
        let arguments = line(&[&"run", &"--config", &tools.agent_config(server), &"--lab"]);
        daemon.start(server, Launch { name: AGENT, program: tools.program(AGENT), arguments })?;
    }
    tools.wait_for_reports(daemon, servers.len()).await?;
    progress.step(format!("{} of {} servers have sent a signed report", servers.len(), servers.len()))
}

/// Removes what was written outside the laboratory's folder: the context of its operators.
pub(crate) fn forget(options: &LabOptions) {
    let contexts = options.config_dir.join("contexts");
    let file = contexts.join(format!("{}.toml", options.context));
    if context_is_ours(&file, &options.dir) {
        let _ = fs::remove_file(file);
        let _ = fs::remove_dir_all(contexts.join(&options.context));
        // They go only if nothing else is in them.
        let _ = fs::remove_dir(&contexts);
        let _ = fs::remove_dir(&options.config_dir);
    }
}

fn context_is_ours(file: &Path, dir: &Path) -> bool {
    let socket = format!("unix://{}\"", dir.join(API_SOCKET).display());
    fs::read_to_string(file).is_ok_and(|text| text.contains(&socket))
}

/// The controller's socket for the operators, below the laboratory's folder.
const API_SOCKET: &str = "api.sock";

/// What `digue-controller init` prints.
#[derive(Deserialize)]
struct ControllerIdentity {
    spki_sha256: String,
}

/// What `digue hosts list -o json` prints, as far as it is needed here.
#[derive(Deserialize)]
struct HostList {
    hosts: Vec<ListedHost>,
}

#[derive(Deserialize)]
struct ListedHost {
    name: String,
    fresh: bool,
    level: Option<serde_json::Value>,
}

/// The first trust root, for the agents.
struct PinnedRoot {
    file: PathBuf,
    sha256: String,
}

struct Tools {
    programs: PathBuf,
    place: Place,
    options: LabOptions,
}

impl Tools {
    fn find(options: &LabOptions, place: &Place) -> Result<Self> {
        let tools =
            Self { programs: options.programs.clone(), place: place.clone(), options: options.clone() };
        let missing: Vec<&str> =
            [OPERATOR, AGENT, CONTROLLER].into_iter().filter(|name| !tools.program(name).is_file()).collect();
        ensure!(
            missing.is_empty(),
            "{} is missing in {}; build it (cargo build -p {}), name another folder in DIGUE_BIN_DIR, or use --bare",
            missing.join(", "),
            tools.programs.display(),
            missing.join(" -p ")
        );
        let file = options.config_dir.join("contexts").join(format!("{}.toml", options.context));
        if context_is_ours(&file, &options.dir) {
            forget(options);
        }
        ensure!(
            !file.exists(),
            "there already is a context {:?} ({}); end the laboratory that it belongs to, or choose another --context",
            options.context,
            file.display()
        );
        Ok(tools)
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    fn key(&self, person: &str) -> PathBuf {
        self.place.join("people").join(person)
    }

    fn controller_config(&self) -> PathBuf {
        self.place.host("controller").join("controller.toml")
    }

    fn agent_config(&self, server: &str) -> PathBuf {
        self.place.host(server).join("agent.toml")
    }

    async fn make_controller_identity(&self, daemon: &Daemon) -> Result<String> {
        let address = SocketAddr::new(daemon.machine("controller")?.machine.v4.into(), CONTROLLER_PORT);
        let text = format!(
            "data_dir = {}\n\n[agents]\nlisten = \"{address}\"\n\n[api]\nsocket = {}\n",
            quoted(&self.place.host("controller").join("data")),
            quoted(&self.place.join(API_SOCKET))
        );
        let config = self.controller_config();
        write(&config, &text)?;
        let mut command = Command::new(self.program(CONTROLLER));
        command.arg("init").arg("--config").arg(&config);
        let printed = run(command, "making the controller's identity").await?;
        let identity: ControllerIdentity = serde_json::from_str(&printed)
            .with_context(|| format!("digue-controller init printed {printed:?}"))?;
        Ok(identity.spki_sha256)
    }

    /// Keys, the first root with two signatures, the context, and the root in the context's trust folder.
    async fn make_trust(&self, spki: &str) -> Result<PinnedRoot> {
        let (people, trust) = (self.place.join("people"), self.place.join("trust"));
        for folder in [&people, &trust] {
            let made = DirBuilder::new().mode(0o700).create(folder);
            made.with_context(|| format!("creating {}", folder.display()))?;
        }
        for (person, _) in PEOPLE {
            let words = line(&[&"keys", &"init", &"--name", &person, &"--no-passphrase", &"--dir", &people]);
            self.digue(words, "making a key").await?;
        }
        let draft = people.join("root.1.json");
        let mut words = line(&[&"trust", &"init", &"--output", &draft]);
        for (person, roles) in PEOPLE {
            words.extend(line(&[
                &"--person",
                &format!("{person}={}.pub:{roles}", self.key(person).display()),
            ]));
        }
        words.extend(line(&[&"--controller", &format!("controller={spki}")]));
        self.digue(words, "drafting the trust root").await?;
        for person in ROOT_SIGNERS {
            let words = line(&[&"trust", &"sign", &draft, &"--sign", &self.key(person)]);
            self.digue(words, "signing the trust root").await?;
        }
        let socket = format!("unix://{}", self.place.join(API_SOCKET).display());
        let context = &self.options.context;
        let mut words =
            line(&[&"context", &"add", context, &"--controller", &socket, &"--trust-dir", &trust]);
        for (person, _) in PEOPLE {
            words.extend(line(&[&"--signer", &format!("{person}={}", self.key(person).display())]));
        }
        words.extend(line(&[&"--controller-address", &format!("10.77.0.2:{CONTROLLER_PORT}")]));
        words.extend(line(&[&"--internal", &"10.77.0.0/16", &"--internal", &"fd77::/64"]));
        self.digue(words, "adding the context").await?;
        let words = line(&[&"trust", &"publish", &draft, &"--offline"]);
        let printed = self.digue_in_context(words, "keeping the trust root").await?;
        Ok(PinnedRoot { file: trust.join("root.1.json"), sha256: printed.trim().to_owned() })
    }

    /// Every agent's key; returns what the agents printed, one JSON object a line.
    async fn make_agent_identities(
        &self,
        servers: &[String],
        spki: &str,
        root: &PinnedRoot,
    ) -> Result<String> {
        let mut waiting = VecDeque::new();
        for server in servers {
            let folder = self.place.host(server);
            let text = format!(
                "host_id = \"{server}\"\nstate_dir = {}\nrun_dir = {}\n\n[[controllers]]\naddress = \"10.77.0.2:{CONTROLLER_PORT}\"\nspki_sha256 = \"{spki}\"\n",
                quoted(&folder.join("state")),
                quoted(&folder.join("run"))
            );
            let config = self.agent_config(server);
            write(&config, &text)?;
            let mut command = Command::new(self.program(AGENT));
            command.arg("init").arg("--config").arg(&config).arg("--root").arg(&root.file);
            command.args(["--root-sha256", &root.sha256]);
            waiting.push_back((server.clone(), command));
        }
        let mut printed = String::new();
        let mut made = JoinSet::new();
        loop {
            while made.len() < ABREAST
                && let Some((server, command)) = waiting.pop_front()
            {
                made.spawn_local(
                    async move { run(command, &format!("making the identity of {server}")).await },
                );
            }
            let Some(done) = made.join_next().await else { break };
            printed.push_str(done.context("making an agent's identity")??.trim());
            printed.push('\n');
        }
        Ok(printed)
    }

    /// The trust root and two inventories: the servers with their labels, then their agents' keys.
    async fn publish(&self, servers: &[String], host_keys: &str) -> Result<()> {
        let people = self.place.join("people");
        let draft = people.join("root.1.json");
        self.digue_in_context(line(&[&"trust", &"publish", &draft]), "publishing the trust root").await?;
        let mut csv = String::from("nom;ip;site;service;role\n");
        for (number, server) in (1..).zip(servers) {
            let machine = crate::topology::Machine::server(number)?;
            let (site, service) = (cycled(&SITES, number), cycled(&SERVICES, number));
            csv.push_str(&format!("{server};{} {};{site};{service};serveur\n", machine.v4, machine.v6));
        }
        let (hosts, keys) = (people.join("hosts.csv"), people.join("host-keys.jsonl"));
        write(&hosts, &csv)?;
        write(&keys, host_keys)?;
        let words = line(&[&"hosts", &"import", &hosts, &"--from", &"csv", &"--sign", &"alice"]);
        self.digue_in_context(words, "signing the inventory").await?;
        let words = line(&[&"hosts", &"enroll", &"--keys-from", &keys, &"--sign", &"alice"]);
        self.digue_in_context(words, "enrolling the agents").await?;
        Ok(())
    }

    /// Waits until the controller answers on its socket, or has ended.
    async fn wait_for_controller(&self, daemon: &mut Daemon) -> Result<()> {
        let started = Instant::now();
        while let Err(error) = ready(&self.place.join(API_SOCKET)).await {
            let running = daemon.look_at("controller")?;
            ensure!(
                running && started.elapsed() < AT_ONCE,
                "the controller is not ready ({error:#}); its log ends with:\n{}",
                tail(&self.place.host("controller").join(format!("{CONTROLLER}.log")))
            );
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until every server counts as fresh and has measured what its kernel supports.
    async fn wait_for_reports(&self, daemon: &mut Daemon, expected: usize) -> Result<()> {
        let started = Instant::now();
        loop {
            let words = line(&[&"hosts", &"list", &"--output", &"json"]);
            let printed = self.digue_in_context(words, "listing the hosts").await?;
            let list: HostList = serde_json::from_str(&printed).context("reading the list of hosts")?;
            let silent: Vec<&str> = list
                .hosts
                .iter()
                .filter(|h| !h.fresh || h.level.is_none())
                .map(|h| h.name.as_str())
                .collect();
            if silent.is_empty() && list.hosts.len() == expected {
                return Ok(());
            }
            let ended = silent.iter().find(|name| !daemon.look_at(name).unwrap_or(false));
            if let Some(server) =
                ended.or_else(|| silent.first().filter(|_| started.elapsed() > REPORT_WITHIN))
            {
                let log = self.place.host(server).join(format!("{AGENT}.log"));
                bail!(
                    "{} of {expected} servers did not report; the log of {server} ends with:\n{}",
                    silent.len(),
                    tail(&log)
                );
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn digue_in_context(&self, words: Vec<OsString>, doing: &str) -> Result<String> {
        let mut all = line(&[&"--context", &self.options.context]);
        all.extend(words);
        self.digue(all, doing).await
    }

    async fn digue(&self, words: Vec<OsString>, doing: &str) -> Result<String> {
        let mut command = Command::new(self.program(OPERATOR));
        command.args(words).args(["--yes", "--no-input", "--lang", "en"]);
        command.env("DIGUE_CONFIG_DIR", &self.options.config_dir);
        run(command, doing).await
    }
}

/// A command line of words and paths.
fn line(words: &[&dyn AsRef<OsStr>]) -> Vec<OsString> {
    words.iter().map(|word| word.as_ref().to_owned()).collect()
}

/// Runs a program to its end and returns what it printed.
async fn run(mut command: Command, doing: &str) -> Result<String> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let shown = format!("{:?}", command.as_std());
    let output = timeout(AT_ONCE, command.output()).await;
    let output =
        output.with_context(|| format!("{doing}: {shown} did not end within {} s", AT_ONCE.as_secs()))?;
    let output = output.with_context(|| format!("{doing}: running {shown}"))?;
    ensure!(
        output.status.success(),
        "{doing}: {shown} ended with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).with_context(|| format!("{doing}: {shown} printed no text"))
}

/// Asks the controller whether it is ready, as a load balancer would.
async fn ready(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket).await.context("connecting")?;
    let request = "GET /readyz HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.context("asking")?;
    let mut answer = String::new();
    timeout(AT_ONCE, stream.take(4096).read_to_string(&mut answer))
        .await
        .context("no answer")?
        .context("reading")?;
    let status = answer.lines().next().unwrap_or_default();
    if status.contains(" 200 ") { Ok(()) } else { bail!("it answered {status:?}") }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// A path as a TOML string.
fn quoted(path: &Path) -> String {
    toml::Value::from(path.to_string_lossy().into_owned()).to_string()
}

/// The end of a log, for an error message.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_else(|error| format!("({}: {error})", log.display()));
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
}

fn cycled(of: &'static [&'static str], number: u16) -> &'static str {
    of.iter().cycle().nth(usize::from(number)).copied().unwrap_or_default()
}
