//! The machines of a running laboratory: their first processes, what else was started in them, and guests.
//!
//! Deliberately absent: supervision. A process that ends stays ended and is shown so; a test decides what
//! happens next.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::control::{GuestStatus, MachineStatus, ProgramStatus};
use crate::namespace::{Namespaces, spawn_init, spawn_service};
use crate::network::{GuestKind, connect_guest};
use crate::place::Place;
use crate::service::ServiceOptions;
use crate::topology::{Listens, Machine, Role};

/// A process that the laboratory started, and how it ended if it has.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    pub(crate) fn new(child: Child) -> Self {
        Self { child, ended: None }
    }

    /// Notices whether it has ended.
    pub(crate) fn look(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_none()
    }

    /// `running`, or how it ended.
    pub(crate) fn state(&self) -> String {
        match self.ended {
            None => "running".into(),
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("ended with {code}"),
                (None, Some(signal)) => format!("ended by signal {signal}"),
                (None, None) => "ended".into(),
            },
        }
    }

    /// Asks it to end.
    pub(crate) fn terminate(&mut self) {
        // Its process id cannot have been reused: it was not waited for yet.
        if self.look()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    /// Ends it, and waits until it has ended. Returns whether it was still running.
    pub(crate) fn end(&mut self) -> bool {
        let running = self.look();
        if running {
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
        running
    }
}

/// How one of Digue's own programs is started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

/// One of Digue's own programs on a machine.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) launch: Launch,
    pub(crate) process: Process,
    log: PathBuf,
}

/// A machine that runs.
#[derive(Debug)]
pub(crate) struct RunningMachine {
    pub(crate) machine: Machine,
    pub(crate) init: Process,
    pub(crate) service: Process,
    pub(crate) namespaces: Namespaces,
    pub(crate) programs: Vec<Program>,
}

impl RunningMachine {
    /// Switches a machine on: namespaces and first process, without links.
    pub(crate) fn switch_on(machine: Machine, place: &Place) -> Result<Self> {
        let mut command = own_program()?;
        command.arg("init");
        log_to(&mut command, &place.log())?;
        let init = spawn_init(command, &machine.name)?;
        let record = (machine.role == Role::Internet).then(|| place.arrivals());
        let command = service(place, &machine.name, machine.listens(), record)?;
        let (service, namespaces) = spawn_service(command, &init, machine.role == Role::Border)?;
        let (init, service) = (Process::new(init), Process::new(service));
        Ok(Self { machine, init, service, namespaces, programs: Vec::new() })
    }

    /// Starts one of Digue's programs here, its output in a log beside the machine's other files. An earlier
    /// one of the same name must have ended.
    ///
    /// # Errors
    /// It still runs, the machine is off, or the program cannot be run.
    pub(crate) fn start(&mut self, launch: Launch, place: &Place) -> Result<()> {
        let (name, machine) = (launch.name, &self.machine.name);
        let runs = self.programs.iter_mut().any(|other| other.launch.name == name && other.process.look());
        ensure!(!runs, "{name} already runs on {machine}");
        let log = place.host(machine).join(format!("{name}.log"));
        let mut command = Command::new(&launch.program);
        command.args(&launch.arguments);
        log_to(&mut command, &log)?;
        let child =
            self.namespaces.spawn(command).with_context(|| format!("starting {name} on {machine}"))?;
        self.programs.retain(|other| other.launch.name != name);
        self.programs.push(Program { launch, process: Process::new(child), log });
        Ok(())
    }

    /// Whether the machine is on and all of Digue's programs on it run.
    pub(crate) fn look(&mut self) -> bool {
        let programs =
            self.programs.iter_mut().filter_map(|program| (!program.process.look()).then_some(())).count();
        self.init.look() & self.service.look() & (programs == 0)
    }

    /// What `status` shows.
    pub(crate) fn status(&mut self) -> MachineStatus {
        let Machine { name, role, v4, v6 } = self.machine.clone();
        let programs = self.programs.iter_mut().map(|program| {
            program.process.look();
            let (state, log) = (program.process.state(), program.log.clone());
            ProgramStatus { program: program.launch.name.into(), state, log }
        });
        let programs = programs.collect();
        MachineStatus { name, role, v4, v6, on: self.init.look() && self.service.look(), programs }
    }
}

/// A guest that runs.
#[derive(Debug)]
pub(crate) struct RunningGuest {
    pub(crate) name: String,
    pub(crate) host: String,
    kind: GuestKind,
    number: u8,
    addresses: (Ipv4Addr, Ipv6Addr),
    pub(crate) service: Process,
    pub(crate) namespaces: Namespaces,
}

impl RunningGuest {
    /// Starts a guest behind `host` and connects it.
    ///
    /// # Errors
    /// The name is no name, the host is off, or the kernel lacks what this kind needs.
    pub(crate) async fn create(
        host: &RunningMachine,
        kind: GuestKind,
        name: &str,
        others: &[Self],
        place: &Place,
    ) -> Result<Self> {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ensure!(
            plain && (1..=12).contains(&name.len()) && !name.starts_with('-'),
            "{name:?} cannot name a guest: use 1 to 12 of a-z, 0-9 and -"
        );
        match host.machine.role {
            Role::Internet | Role::Border => bail!("{} takes no guests; choose a server", host.machine.name),
            Role::Controller
            | Role::Operator
            | Role::Forensic
            | Role::Backup
            | Role::Printer
            | Role::Server => {}
        }
        let number = (1..=254).find(|number| others.iter().all(|other| other.number != *number));
        let number = number.context("a laboratory holds at most 254 guests")?;
        let listens = Listens { echo: any_address(crate::topology::ECHO_PORT), dns: Vec::new() };
        let command = service(place, name, listens, None)?;
        let (child, namespaces) = host.namespaces.spawn_guest(command, name)?;
        let mut service = Process::new(child);
        let (near, far) = (host.namespaces.network(), namespaces.network());
        match connect_guest(kind, name, number, &host.machine, near, far).await {
            Ok(addresses) => {
                let (name, host) = (name.to_owned(), host.machine.name.clone());
                Ok(Self { name, host, kind, number, addresses, service, namespaces })
            }
            Err(error) => {
                service.end();
                Err(error)
            }
        }
    }

    /// What `status` shows.
    pub(crate) fn status(&mut self) -> GuestStatus {
        GuestStatus {
            name: self.name.clone(),
            host: self.host.clone(),
            kind: self.kind,
            v4: self.addresses.0,
            v6: self.addresses.1,
            on: self.service.look(),
        }
    }
}

fn any_address(port: u16) -> Vec<std::net::SocketAddr> {
    vec![std::net::SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)]
}

/// This program with other arguments: it is what every machine runs first.
pub(crate) fn own_program() -> Result<Command> {
    Ok(Command::new(std::env::current_exe().context("finding this program's own file")?))
}

fn service(place: &Place, name: &str, listens: Listens, record: Option<PathBuf>) -> Result<Command> {
    let folder = place.host(name);
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let options = serde_json::to_string(&ServiceOptions { listens, record })?;
    let mut command = own_program()?;
    command.args(["service", "--options", &options]);
    log_to(&mut command, &folder.join("service.log"))?;
    Ok(command)
}

/// Sends a command's output to a file.
pub(crate) fn log_to(command: &mut Command, log: &Path) -> Result<()> {
    let opened = OpenOptions::new().append(true).create(true).open(log);
    let file = opened.with_context(|| format!("opening {}", log.display()))?;
    let copy = file.as_fd().try_clone_to_owned().context("copying a descriptor")?;
    command.stdin(Stdio::null()).stdout(file).stderr(Stdio::from(copy));
    Ok(())
}
