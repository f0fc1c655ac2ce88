//! The laboratory's process: makes everything, answers the control socket, ends everything.
//!
//! It is process 1 of the laboratory's own process ids: if it dies, the kernel ends all that it started.
//! Verbs are carried out one after the other. Deliberately absent: anything outside its namespaces but the
//! files in its folder.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::control::{Answer, IncidentStatus, LINE_MAX_BYTES, ProgramAction, Request, Response, Status};
use crate::fleet;
use crate::incident::{IncidentKind, IncidentOptions};
use crate::machines::{Launch, Process, RunningGuest, RunningMachine, log_to, own_program};
use crate::namespace::{cover_file, network_namespace, private_mounts, send_with_descriptor};
use crate::neighbours;
use crate::network::{GuestKind, Switch, connect_outside};
use crate::options::{Event, LabOptions};
use crate::place::Place;
use crate::service::now_ms;
use crate::topology::{self, ATTACKER, ECHO_PORT, OUTSIDE_DNS, OUTSIDE_SERVICE, Role, SERVICE_PORT};

/// How long a client may take to say what it wants.
const REQUEST_WITHIN: Duration = Duration::from_secs(2);
/// How long Digue's programs get to end by themselves.
const GRACE: Duration = Duration::from_secs(3);

/// A laboratory that runs.
pub(crate) struct Daemon {
    pub(crate) options: LabOptions,
    pub(crate) place: Place,
    pub(crate) machines: Vec<RunningMachine>,
    user_namespace: bool,
    guests: Vec<RunningGuest>,
    incidents: Vec<Incident>,
    since_ms: u64,
    switch: Switch,
}

struct Incident {
    kind: IncidentKind,
    host: String,
    process: Process,
    log: std::path::PathBuf,
}

/// Says what is ready, to whoever started the laboratory.
pub(crate) struct Progress {
    started: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now() }
    }

    /// Reports a step; the time counts from the one before.
    pub(crate) fn step(&mut self, text: String) -> Result<()> {
        let took_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.started = Instant::now();
        say(&Event::Step { text, took_ms })
    }
}

/// Writes an event for whoever started the laboratory.
///
/// # Errors
/// Nobody reads any more.
pub fn say(event: &Event) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, event)?;
    writeln!(out).and_then(|()| out.flush()).context("reporting to the process that started the laboratory")
}

/// Runs a laboratory until it is told to end.
///
/// # Errors
/// It did not come up. All that was started ends with this process.
pub async fn run(options: LabOptions, outer_network: u64, user_namespace: bool) -> Result<()> {
    ensure!(
        network_namespace()? != outer_network,
        "this process is still in the machine's network namespace; nothing was changed"
    );
    let mut daemon = Daemon::up(options, user_namespace).await?;
    let socket = daemon.place.control_socket();
    let listener =
        UnixListener::bind(&socket).with_context(|| format!("listening on {}", socket.display()))?;
    let mut child_ended = signal(SignalKind::child()).context("watching for ended processes")?;
    let mut asked_to_end = signal(SignalKind::terminate()).context("watching for a request to end")?;
    say(&Event::Ready)?;
    let nowhere = fs::OpenOptions::new().write(true).open("/dev/null").context("opening /dev/null")?;
    nix::unistd::dup2_stdout(nowhere).context("closing the connection to the starter")?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                if daemon.serve(stream).await {
                    return Ok(());
                }
            }
            _ = child_ended.recv() => daemon.look(),
            _ = asked_to_end.recv() => {
                daemon.end().await;
                return Ok(());
            }
        }
    }
}

impl Daemon {
    async fn up(options: LabOptions, user_namespace: bool) -> Result<Self> {
        let mut progress = Progress::new();
        let place = Place::resolve(Some(&options.dir))?;
        raise_descriptor_limit()?;
        let planned = topology::machines(options.hosts, options.second_controller)?;
        let switch = Switch::create().await?;
        private_mounts(place.root())?;
        name_service(&place, &planned)?;
        let how = if user_namespace { "without root" } else { "as root" };
        progress.step(format!("kernel: private network, mount and process namespaces, {how}"))?;

        let mut machines = Vec::with_capacity(planned.len());
        for machine in planned {
            let name = machine.name.clone();
            let running =
                RunningMachine::switch_on(machine, &place).with_context(|| format!("making {name}"))?;
            if running.machine.role != Role::Internet {
                let plugged = switch.plug(&running.machine, running.namespaces.network()).await;
                plugged.with_context(|| format!("connecting {name}"))?;
            }
            machines.push(running);
        }
        let since_ms = now_ms();
        let (guests, incidents) = (Vec::new(), Vec::new());
        let mut daemon =
            Self { options, place, machines, user_namespace, guests, incidents, since_ms, switch };
        let outside = [ATTACKER, OUTSIDE_SERVICE, OUTSIDE_DNS];
        let (border, internet) = (daemon.machine("border")?, daemon.machine("internet")?);
        connect_outside(border.namespaces.network(), internet.namespaces.network(), &outside).await?;
        if daemon.options.hosts >= neighbours::MANY_SERVERS {
            neighbours::make_known(&daemon.machines).await?;
        }
        progress.step(format!(
            "{} servers, controller, operator, forensic, backup, printer, border and an \"internet\" with an attacker",
            daemon.options.hosts
        ))?;

        let answering = daemon.every_service_answers()?;
        progress.step(format!("{answering} services answer, inside and outside, IPv4 and IPv6"))?;
        if !daemon.options.bare {
            fleet::start(&mut daemon, &mut progress).await?;
        }
        Ok(daemon)
    }

    /// A machine by its name.
    pub(crate) fn machine(&self, name: &str) -> Result<&RunningMachine> {
        let found = self.machines.iter().find(|running| running.machine.name == name);
        found.with_context(|| self.unknown(name))
    }

    /// A machine by its name, to change it.
    fn machine_mut(&mut self, name: &str) -> Result<&mut RunningMachine> {
        let unknown = self.unknown(name);
        self.machines.iter_mut().find(|running| running.machine.name == name).context(unknown)
    }

    /// The machines that get an agent.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &RunningMachine> {
        self.machines.iter().filter(|running| running.machine.role == Role::Server)
    }

    /// Starts one of Digue's programs on a machine.
    pub(crate) fn start(&mut self, machine: &str, launch: Launch) -> Result<()> {
        let place = self.place.clone();
        self.machine_mut(machine)?.start(launch, &place)
    }

    /// Whether a machine is on and Digue's programs on it run.
    pub(crate) fn look_at(&mut self, machine: &str) -> Result<bool> {
        Ok(self.machine_mut(machine)?.look())
    }

    fn unknown(&self, name: &str) -> String {
        let last = topology::server_name(self.options.hosts);
        format!(
            "no machine is called {name:?}; there are border, internet, controller, operator, forensic, backup, printer, srv-001 to {last}, and the guests that `digue-lab status` shows"
        )
    }

    /// Tries every service from the operator's machine until all have answered.
    fn every_service_answers(&self) -> Result<usize> {
        let mut targets: Vec<String> = Vec::new();
        for running in &self.machines {
            let port = if running.machine.role == Role::Server { SERVICE_PORT } else { ECHO_PORT };
            if running.machine.role == Role::Internet {
                let (v4, v6) = OUTSIDE_SERVICE;
                targets.extend(
                    [SocketAddr::new(v4.into(), port), SocketAddr::new(v6.into(), port)]
                        .iter()
                        .map(ToString::to_string),
                );
            }
            targets.extend(running.machine.sockets(port).iter().map(ToString::to_string));
        }
        let mut probe = own_program()?;
        probe.args(["probe", "tcp", "--within", "20000", "--output", "json"]).args(&targets);
        probe.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        let child = self.machine("operator")?.namespaces.spawn(probe)?;
        let output = child.wait_with_output().context("waiting for the services")?;
        let probed: Vec<crate::probe::Probed> =
            serde_json::from_slice(&output.stdout).context("reading what the probe found")?;
        let silent: Vec<String> =
            probed.iter().filter(|one| !one.reached).map(|one| one.target.clone()).collect();
        ensure!(
            silent.is_empty() && probed.len() == targets.len(),
            "{} of {} services do not answer: {}; their logs are hosts/*/service.log in {}",
            silent.len(),
            targets.len(),
            silent.iter().take(5).cloned().collect::<Vec<_>>().join(", "),
            self.place.root().display()
        );
        Ok(probed.len())
    }

    /// Answers one client. Returns whether the laboratory has ended.
    async fn serve(&mut self, mut stream: UnixStream) -> bool {
        let mut line = Vec::new();
        let mut limited = BufReader::new((&mut stream).take(LINE_MAX_BYTES as u64));
        let read = timeout(REQUEST_WITHIN, limited.read_until(b'\n', &mut line)).await;
        if !matches!(read, Ok(Ok(length)) if length > 0) {
            return false;
        }
        let request = serde_json::from_slice(&line);
        let response = match request {
            Err(error) => Err(anyhow::Error::new(error).context("this is no request of digue-lab")),
            Ok(Request::Enter { machine }) => match self.enter(&machine, &stream).await {
                Ok(()) => return false,
                Err(error) => Err(error),
            },
            Ok(request) => self.answer(request).await,
        };
        let ended = matches!(response, Ok(Response::Ended { .. }));
        let answer: Answer = response.map_err(|error| format!("{error:#}"));
        if let Ok(mut bytes) = serde_json::to_vec(&answer) {
            bytes.push(b'\n');
            // A client that has gone away needs no answer.
            let _ = stream.write_all(&bytes).await;
        }
        ended
    }

    /// Sends the descriptor of a machine's first process.
    async fn enter(&self, name: &str, stream: &UnixStream) -> Result<()> {
        let guest = self.guests.iter().find(|guest| guest.name == name);
        let service = match guest {
            Some(guest) => guest.namespaces.service(),
            None => self.machine(name)?.namespaces.service(),
        };
        let mut bytes =
            serde_json::to_vec(&Answer::Ok(Response::Entered { user_namespace: self.user_namespace }))?;
        bytes.push(b'\n');
        let send = || send_with_descriptor(stream.as_fd(), &bytes, service);
        stream.async_io(Interest::WRITABLE, send).await.context("sending a descriptor")
    }

    async fn answer(&mut self, request: Request) -> Result<Response> {
        match request {
            Request::Status => Ok(Response::Status(Box::new(self.status()?))),
            Request::Enter { .. } => bail!("a descriptor is sent on a connection of its own"),
            Request::CreateGuest { host, kind, name } => self.create_guest(&host, kind, &name).await,
            Request::RemoveGuest { name } => {
                let position = self.guests.iter().position(|guest| guest.name == name);
                let position = position.with_context(|| format!("no guest is called {name:?}"))?;
                self.guests.remove(position).service.end();
                Ok(Response::Done)
            }
            Request::StartIncident { kind, host } => self.start_incident(kind, &host),
            Request::StopIncidents => {
                let processes =
                    self.incidents.iter_mut().filter_map(|one| one.process.end().then_some(())).count();
                log_line(&format!("{processes} incidents were ended"));
                Ok(Response::Done)
            }
            Request::Program { machine, action } => self.act_on_program(&machine, action).await,
            Request::Cable { machine, plugged } => {
                let machine = self.machine(&machine)?.machine.name.clone();
                self.switch.set_cable(&machine, plugged).await?;
                Ok(Response::Done)
            }
            Request::Down => Ok(Response::Ended { processes: self.end().await }),
        }
    }

    fn status(&mut self) -> Result<Status> {
        let incidents = self.incidents.iter_mut().map(|one| {
            one.process.look();
            let (host, state, log) = (one.host.clone(), one.process.state(), one.log.clone());
            IncidentStatus { kind: one.kind, host, state, log }
        });
        Ok(Status {
            dir: self.place.root().to_owned(),
            since_ms: self.since_ms,
            network_namespace: network_namespace()?,
            user_namespace: self.user_namespace,
            bare: self.options.bare,
            incidents: incidents.collect(),
            machines: self.machines.iter_mut().map(RunningMachine::status).collect(),
            guests: self.guests.iter_mut().map(RunningGuest::status).collect(),
        })
    }

    async fn create_guest(&mut self, host: &str, kind: GuestKind, name: &str) -> Result<Response> {
        ensure!(
            self.guests.iter().all(|guest| guest.name != name) && self.machine(name).is_err(),
            "{name} is taken; `digue-lab status` shows all names"
        );
        let host = self.machine(host)?;
        let mut guest = RunningGuest::create(host, kind, name, &self.guests, &self.place).await?;
        let status = guest.status();
        self.guests.push(guest);
        Ok(Response::Guest(status))
    }

    async fn act_on_program(&mut self, machine: &str, action: ProgramAction) -> Result<Response> {
        let place = self.place.clone();
        let running = self.machine_mut(machine)?;
        let program = running.programs.first_mut();
        let program = program.with_context(|| format!("Digue does not run on {machine}"))?;
        match action {
            ProgramAction::Kill => drop(program.process.end()),
            ProgramAction::Stop => end_softly(&mut [&mut program.process]).await,
            ProgramAction::Start => {
                let launch = program.launch.clone();
                running.start(launch, &place)?;
            }
        }
        Ok(Response::Done)
    }

    fn start_incident(&mut self, kind: IncidentKind, host: &str) -> Result<Response> {
        let running = self.machine(host)?;
        ensure!(running.machine.role == Role::Server, "incidents happen on servers, such as srv-007");
        let folder = self.place.host(host).join("decoys");
        let name = serde_json::to_value(kind)?.as_str().unwrap_or_default().to_owned();
        let log = self.place.host(host).join(format!("incident-{name}.jsonl"));
        let servers = self.machines.iter().filter(|other| other.machine.role == Role::Server);
        let neighbours = servers.filter(|other| other.machine.name != host).take(20);
        let neighbours = neighbours.map(|other| SocketAddr::new(other.machine.v4.into(), SERVICE_PORT));
        let options = IncidentOptions { kind, folder, log: log.clone(), neighbours: neighbours.collect() };
        let network = nix::sys::stat::fstat(running.namespaces.network())?.st_ino;
        let mut command = own_program()?;
        command.args([
            "act",
            "--network",
            &network.to_string(),
            "--options",
            &serde_json::to_string(&options)?,
        ]);
        log_to(&mut command, &self.place.host(host).join("incident.log"))?;
        let process = Process::new(running.namespaces.spawn(command)?);
        self.incidents.push(Incident { kind, host: host.to_owned(), process, log });
        Ok(Response::Done)
    }

    /// Notices which processes have ended.
    fn look(&mut self) {
        self.machines.iter_mut().for_each(|running| {
            running.look();
        });
        self.incidents.iter_mut().for_each(|incident| {
            incident.process.look();
        });
        self.guests.iter_mut().for_each(|guest| {
            guest.service.look();
        });
    }

    /// Ends every process: Digue's programs are asked first. Returns how many were running.
    async fn end(&mut self) -> usize {
        let mut programs: Vec<&mut Process> = self
            .machines
            .iter_mut()
            .flat_map(|running| &mut running.programs)
            .map(|p| &mut p.process)
            .collect();
        let mut ended = programs.iter_mut().filter_map(|process| process.look().then_some(())).count();
        end_softly(&mut programs).await;
        let mut rest: Vec<&mut Process> =
            self.incidents.iter_mut().map(|incident| &mut incident.process).collect();
        rest.extend(self.guests.iter_mut().map(|guest| &mut guest.service));
        for running in &mut self.machines {
            rest.extend([&mut running.service, &mut running.init]);
        }
        for process in rest {
            ended += usize::from(process.end());
        }
        ended
    }
}

/// Asks processes to end, and ends those that have not after [`GRACE`].
async fn end_softly(processes: &mut [&mut Process]) {
    processes.iter_mut().for_each(|process| process.terminate());
    if let Ok(mut child_ended) = signal(SignalKind::child()) {
        let all_ended = async {
            // Each is looked at: `any` would stop at the first that still runs.
            while processes.iter_mut().filter_map(|process| process.look().then_some(())).count() > 0 {
                child_ended.recv().await;
            }
        };
        if timeout(GRACE, all_ended).await.is_err() {
            log_line("a program did not end when it was asked to, and was ended");
        }
    }
    processes.iter_mut().for_each(|process| {
        process.end();
    });
}

/// A line in the laboratory's own log, which is this process's standard error.
fn log_line(text: &str) {
    eprintln!("digue-lab: {text}");
}

/// Three descriptors are held for each machine, and some systems allow 1,024 in all.
fn raise_descriptor_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("reading the limit of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the limit of open files")
}

/// Names resolve to the laboratory's machines, and all others by its own name server.
fn name_service(place: &Place, machines: &[topology::Machine]) -> Result<()> {
    let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for machine in machines {
        hosts.push_str(&format!("{} {}\n{} {}\n", machine.v4, machine.name, machine.v6, machine.name));
    }
    let resolver = format!("nameserver {}\n", OUTSIDE_DNS.0);
    for (name, content, target) in
        [("hosts.txt", hosts, "/etc/hosts"), ("resolv.conf", resolver, "/etc/resolv.conf")]
    {
        let file = place.join(name);
        fs::write(&file, content).with_context(|| format!("writing {}", file.display()))?;
        cover_file(&file, std::path::Path::new(target))?;
    }
    Ok(())
}
