//! `digue-lab`: Digue's laboratory on one machine. See the library for what it is.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use digue_lab::control::{GuestStatus, Output, ProgramAction, Request, Response, Status, ask};
use digue_lab::demo::{self, DemoArgs};
use digue_lab::exec::{NOT_INSIDE, exec};
use digue_lab::incident::{self, IncidentKind, IncidentOptions};
use digue_lab::laboratory::{Laboratory, down, keep};
use digue_lab::network::GuestKind;
use digue_lab::options::{Event, LabOptions};
use digue_lab::place::Place;
use digue_lab::probe::{self, ProbeArgs};
use digue_lab::service::{self, ServiceOptions};
use digue_lab::{daemon, namespace};
use nix::sys::signal::{SigSet, Signal};

/// Digue's laboratory: real agents, a real controller and a small "internet" in network namespaces of this
/// machine. Nothing leaves it, and the machine's own network is not touched.
#[derive(Debug, Parser)]
#[command(name = "digue-lab", version)]
struct Cli {
    /// The laboratory's folder, if not $DIGUE_LAB_DIR, $XDG_RUNTIME_DIR/digue-lab or /tmp/digue-lab-UID.
    #[arg(long, global = true, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a laboratory.
    Up(UpArgs),
    /// Run a command inside a machine; its exit code is passed on, 125 means that it did not run inside.
    Exec {
        /// border, internet, controller, operator, srv-001, ... or a guest.
        machine: String,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Show the machines and what runs on them.
    Status {
        /// For people or for programs.
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Create or remove a guest behind a machine.
    #[command(subcommand)]
    Guest(GuestVerb),
    /// Start a harmless incident on a server, or stop all.
    Incident {
        /// Which incident.
        kind: Incident,
        /// On which server.
        #[arg(long, default_value = "srv-007")]
        host: String,
    },
    /// Kill, stop or start Digue's program on a machine.
    Program {
        /// The controller or a server.
        machine: String,
        /// What to do with it.
        action: ProgramAction,
    },
    /// Pull a machine's network cable, or plug it in again.
    Cable {
        /// A machine of the inside.
        machine: String,
        /// Which of the two.
        action: CableAction,
    },
    /// Try to reach addresses from where this runs.
    Probe(ProbeArgs),
    /// Tell the story of an incident in a laboratory of its own, measuring every step.
    Demo(DemoArgs),
    /// End the laboratory and remove its folder.
    Down,
    /// Say whether this machine and user can run a laboratory.
    Check,
    /// The laboratory's outermost process.
    #[command(hide = true)]
    Keep {
        #[arg(long)]
        options: String,
    },
    /// The laboratory's own process, in its namespaces.
    #[command(hide = true)]
    Inside {
        #[arg(long)]
        options: String,
        #[arg(long)]
        outer_network: u64,
        #[arg(long)]
        user_namespace: bool,
    },
    /// Process 1 of a machine.
    #[command(hide = true)]
    Init,
    /// The first process in a machine's network.
    #[command(hide = true)]
    Service {
        #[arg(long)]
        options: String,
    },
    /// An incident, inside a machine.
    #[command(hide = true)]
    Act {
        #[arg(long)]
        options: String,
        #[arg(long)]
        network: u64,
    },
}

#[derive(Debug, Args)]
struct UpArgs {
    /// How many servers.
    #[arg(long, default_value_t = 12)]
    hosts: u16,
    /// Leave it running in the background.
    #[arg(long)]
    detach: bool,
    /// Only the machines and their network, without Digue.
    #[arg(long)]
    bare: bool,
    /// With a second machine for a controller, at 10.77.0.3.
    #[arg(long)]
    second_controller: bool,
    /// The name of the context that `digue --context NAME` uses.
    #[arg(long, default_value = "lab", value_name = "NAME")]
    context: String,
}

#[derive(Debug, Subcommand)]
enum GuestVerb {
    /// Create a guest: a network namespace behind HOST.
    Create {
        /// The machine that it runs on.
        host: String,
        /// How it is connected.
        kind: GuestKind,
        /// Its name.
        name: String,
    },
    /// Remove a guest.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CableAction {
    /// Disconnect it.
    Pull,
    /// Connect it.
    Plug,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Incident {
    /// Scramble decoy files, try the neighbours, talk to the attacker.
    Ransomware,
    /// Keep talking to the attacker.
    Beacon,
    /// Try the services of the neighbours.
    Lateral,
    /// Send decoy bytes to the attacker.
    Exfil,
    /// Stop all incidents.
    Stop,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let inside = matches!(cli.verb, Verb::Exec { .. });
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("digue-lab: {error:#}");
            if inside { ExitCode::from(NOT_INSIDE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let place = Place::resolve(cli.dir.as_deref())?;
    match cli.verb {
        Verb::Up(args) => up(&place, &args)?,
        Verb::Exec { machine, command } => return exec(&place, &machine, &command).map(ExitCode::from),
        Verb::Status { output } => status(&place, output)?,
        Verb::Guest(GuestVerb::Create { host, kind, name }) => {
            if let Response::Guest(guest) = ask(&place, &Request::CreateGuest { host, kind, name })? {
                println!("{}", guest_line(&guest));
            }
        }
        Verb::Guest(GuestVerb::Remove { name }) => drop(ask(&place, &Request::RemoveGuest { name })?),
        Verb::Incident { kind, host } => start_or_stop(&place, kind, host)?,
        Verb::Program { machine, action } => drop(ask(&place, &Request::Program { machine, action })?),
        Verb::Cable { machine, action } => {
            let plugged = action == CableAction::Plug;
            ask(&place, &Request::Cable { machine, plugged })?;
        }
        Verb::Probe(args) => {
            let reached = local(probe::run(&args))?;
            return Ok(if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Verb::Demo(args) => {
            let program = own_program()?;
            let programs = programs(&program)?;
            return demo::run(cli.dir.as_deref(), &program, programs, &args);
        }
        Verb::Down => end(&place)?,
        Verb::Check => check()?,
        Verb::Keep { options } => {
            // It has told its starter what went wrong; nobody else listens.
            return Ok(keep(&parse(&options)?).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS));
        }
        Verb::Inside { options, outer_network, user_namespace } => {
            let options: LabOptions = parse(&options)?;
            if let Err(error) = local(daemon::run(options, outer_network, user_namespace)) {
                daemon::say(&Event::Failed { error: format!("{error:#}") })?;
                bail!(error);
            }
        }
        Verb::Init => service::init()?,
        Verb::Service { options } => local(service::serve(parse::<ServiceOptions>(&options)?))?,
        Verb::Act { options, network } => local(incident::run(parse::<IncidentOptions>(&options)?, network))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn parse<T: serde::de::DeserializeOwned>(options: &str) -> Result<T> {
    serde_json::from_str(options).context("reading --options")
}

/// Runs a future on this thread; the verbs that enter namespaces never get here.
fn local<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the event loop")?;
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

fn up(place: &Place, args: &UpArgs) -> Result<()> {
    let program = own_program()?;
    let options = LabOptions {
        dir: place.root().to_owned(),
        hosts: args.hosts,
        bare: args.bare,
        second_controller: args.second_controller,
        attached: !args.detach,
        programs: programs(&program)?,
        config_dir: config_dir()?,
        context: args.context.clone(),
    };
    println!("Digue laboratory in {} (nothing leaves this machine)", place.root().display());
    let mut laboratory = Laboratory::up(&program, &options, |event| {
        if let Event::Step { text, took_ms } = event {
            println!("✓ {text}  {}.{} s", took_ms / 1000, took_ms % 1000 / 100);
        }
    })?;
    if args.bare {
        println!("Try:  digue-lab exec srv-001 -- digue-lab probe tcp 198.51.100.66:443");
    } else {
        println!("Try:  digue --context {} hosts list", args.context);
        println!("      digue-lab incident ransomware");
    }
    if args.detach {
        println!("End:  digue-lab down");
        laboratory.detach();
        return Ok(());
    }
    println!("End:  Ctrl-C");
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD] {
        ends.add(signal);
    }
    ends.thread_block().context("waiting for Ctrl-C")?;
    if ends.wait().context("waiting for Ctrl-C")? == Signal::SIGCHLD {
        laboratory.wait()?;
        println!("The laboratory has ended.");
        return Ok(());
    }
    let processes = laboratory.down()?;
    println!("Ended: {processes} processes, nothing is left.");
    Ok(())
}

fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("finding this program's own file")
}

/// Where Digue's programs are: in `$DIGUE_BIN_DIR`, or beside this one.
fn programs(program: &std::path::Path) -> Result<PathBuf> {
    let beside = program.parent().context("this program has no folder")?.to_owned();
    Ok(std::env::var_os("DIGUE_BIN_DIR").map_or(beside, PathBuf::from))
}

/// Where `digue` keeps its contexts: `$DIGUE_CONFIG_DIR`, or `digue` below `$XDG_CONFIG_HOME` or `~/.config`.
fn config_dir() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = || set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let dir = set("DIGUE_CONFIG_DIR").or_else(|| base().map(|base| base.join("digue")));
    let dir = dir.context("neither DIGUE_CONFIG_DIR nor HOME says where the configuration is")?;
    std::path::absolute(dir).context("finding the working directory")
}

fn end(place: &Place) -> Result<()> {
    if !place.control_socket().exists() {
        println!("No laboratory runs in {}.", place.root().display());
        return Ok(());
    }
    let processes = down(place)?;
    println!("Ended: {processes} processes, nothing is left.");
    Ok(())
}

fn check() -> Result<()> {
    let without_root = namespace::enter_private()?;
    println!("A laboratory can run here{}.", if without_root { ", without root" } else { "" });
    Ok(())
}

fn start_or_stop(place: &Place, incident: Incident, host: String) -> Result<()> {
    let kind = match incident {
        Incident::Ransomware => IncidentKind::Ransomware,
        Incident::Beacon => IncidentKind::Beacon,
        Incident::Lateral => IncidentKind::Lateral,
        Incident::Exfil => IncidentKind::Exfil,
        Incident::Stop => {
            ask(place, &Request::StopIncidents)?;
            println!("All incidents were stopped.");
            return Ok(());
        }
    };
    ask(place, &Request::StartIncident { kind, host: host.clone() })?;
    println!("Started on {host}; what it does: digue-lab status");
    Ok(())
}

fn status(place: &Place, output: Output) -> Result<()> {
    let Response::Status(status) = ask(place, &Request::Status)? else {
        bail!("the laboratory did not understand the question");
    };
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&status)?),
        Output::Table => print_status(&status),
    }
    Ok(())
}

fn print_status(status: &Status) {
    let on = |on| if on { "on" } else { "OFF" };
    println!("Laboratory in {}", status.dir.display());
    for machine in &status.machines {
        let programs: Vec<String> =
            machine.programs.iter().map(|program| format!("{} {}", program.program, program.state)).collect();
        let addresses = format!("{:<14} {:<20}", machine.v4.to_string(), machine.v6.to_string());
        println!("{:<13} {addresses} {:<4} {}", machine.name, on(machine.on), programs.join(", "));
    }
    for guest in &status.guests {
        println!("{}", guest_line(guest));
    }
    for incident in &status.incidents {
        let kind = format!("{:?}", incident.kind).to_lowercase();
        println!("incident {kind} on {}: {}, log {}", incident.host, incident.state, incident.log.display());
    }
}

fn guest_line(guest: &GuestStatus) -> String {
    let on = if guest.on { "on" } else { "OFF" };
    let kind = format!("{:?}", guest.kind).to_lowercase();
    let addresses = format!("{:<14} {:<20}", guest.v4.to_string(), guest.v6.to_string());
    format!("{:<13} {addresses} {on:<4} guest of {}, {kind}", guest.name, guest.host)
}
