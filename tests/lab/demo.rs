//! The demonstration: the whole story of an incident, told with real commands and measured at every step.
//!
//! Each step runs the commands that a person would type, prints them, and then looks for itself: at what
//! reached the "internet", at what the servers can reach, at the signed reports, at the stored documents.
//! The first thing that was not measured as it must be ends the story with its reason. Deliberately absent:
//! any finding that is not measured at this run.

mod cutting;
mod evidence;
mod reopening;
mod stage;
mod stock;
mod story;
mod teller;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use nix::sys::signal::{SigSet, Signal};

use crate::laboratory::{Laboratory, down};
use crate::options::LabOptions;
use crate::place::Place;
use stage::{Stage, find_program};
use story::Outcome;
use teller::{Lang, Teller, both};

/// Arguments of `digue-lab demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many servers.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(3..=200))]
    hosts: u16,
    /// Do not wait for a key between the steps.
    #[arg(long)]
    yes: bool,
    /// Leave the laboratory up afterwards, and say what to try.
    #[arg(long)]
    stay: bool,
    /// The language; if not given, that of the environment.
    #[arg(long, value_enum)]
    lang: Option<Lang>,
}

/// Tells the story with `program`, a `digue-lab`, and the programs of Digue in `programs`. The exit code is
/// zero only if every step was verified.
///
/// # Errors
/// The laboratory did not come up or did not go away; both are told apart from a step that was not verified.
pub fn run(dir: Option<&Path>, program: &Path, programs: PathBuf, args: &DemoArgs) -> Result<ExitCode> {
    let mut teller = Teller::new(args.lang);
    ensure!(
        args.yes || std::io::stdin().is_terminal(),
        "the demonstration waits for a key between its steps, and there is no terminal here: use --yes"
    );
    let place = choose_place(dir, args.stay)?;
    teller.title(&both!(
        teller,
        "Digue: cutting {} servers off and reopening them, measured (nothing leaves this machine)",
        "Digue : couper {} serveurs puis les rouvrir, en mesurant (rien ne sort de cette machine)",
        args.hosts
    ));
    if let Err(reason) = prerequisites(&teller, program) {
        teller.failed(&both!(teller, "cannot be shown here: {reason:#}", "impossible ici : {reason:#}"));
        return Ok(ExitCode::FAILURE);
    }
    let options = LabOptions {
        dir: place.root().to_owned(),
        hosts: args.hosts,
        bare: false,
        second_controller: false,
        attached: !args.stay,
        programs: programs.clone(),
        config_dir: place.join("config"),
        context: "lab".into(),
    };
    end_cleanly_when_interrupted(&place, args.stay)?;
    let mut laboratory = None;
    let outcome = tell(&mut teller, program, &options, args, &mut laboratory);
    wait_if_interrupted();
    match &outcome {
        Ok(Outcome { skipped }) => teller.summary(skipped),
        Err(error) => {
            teller.failed(&both!(teller, "NOT VERIFIED: {error:#}", "NON VÉRIFIÉ : {error:#}"));
            teller.plain(&both!(
                teller,
                "To look around in it: digue-lab demo --stay",
                "Pour y regarder de plus près : digue-lab demo --stay"
            ));
        }
    }
    match laboratory {
        Some(laboratory) if args.stay => {
            laboratory.detach();
            what_to_try(&teller, &programs, &place);
        }
        Some(laboratory) => {
            let processes = laboratory.down().context("ending the laboratory")?;
            teller.plain(&both!(
                teller,
                "Laboratory ended: {processes} processes, its folder is removed.",
                "Laboratoire arrêté : {processes} processus, son dossier est supprimé."
            ));
        }
        None => {}
    }
    Ok(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The laboratory is handed out as soon as it is up, so that it is ended whatever the story comes to.
fn tell(
    teller: &mut Teller,
    program: &Path,
    options: &LabOptions,
    args: &DemoArgs,
    laboratory: &mut Option<Laboratory>,
) -> Result<Outcome> {
    let up = laboratory.insert(Laboratory::up(program, options, |_| ())?);
    let stage = Stage::new(up, program, options, teller)?;
    let mut pause = || if args.yes { Ok(()) } else { wait_for_a_key() };
    story::tell(teller, &stage, &mut pause)
}

/// One that stays is the user's usual laboratory; one that goes away has a folder of its own, so that it
/// disturbs no other.
fn choose_place(dir: Option<&Path>, stay: bool) -> Result<Place> {
    let usual = Place::resolve(dir)?;
    if dir.is_some() || stay {
        return Ok(usual);
    }
    let mut name = usual.root().file_name().unwrap_or_default().to_owned();
    name.push("-demo");
    Place::resolve(Some(&usual.root().with_file_name(name)))
}

/// What nothing can be shown without.
fn prerequisites(teller: &Teller, program: &Path) -> Result<()> {
    Laboratory::available(program)?;
    if find_program("ssh-keygen").is_none() {
        bail!(both!(
            teller,
            "people sign with ssh-keygen, which is not installed (Debian: apt install openssh-client)",
            "on signe avec ssh-keygen, qui n'est pas installé (Debian : apt install openssh-client)"
        ));
    }
    Ok(())
}

/// Whether the process is about to end; what fails from then on fails because of that.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Leaves the last word to the thread that ends the laboratory and this process.
fn wait_if_interrupted() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// On Ctrl-C nothing of the laboratory is left, unless it is to stay.
fn end_cleanly_when_interrupted(place: &Place, stay: bool) -> Result<()> {
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        ends.add(signal);
    }
    // Every thread started from here on inherits this; programs that are started do not.
    ends.thread_block().context("waiting for Ctrl-C")?;
    let place = place.clone();
    std::thread::spawn(move || {
        let signal = ends.wait();
        INTERRUPTED.store(true, Ordering::SeqCst);
        if !stay && place.control_socket().exists() {
            // Whatever comes of it, this process ends now, and with it what it started.
            let _ = down(&place);
        }
        let number = signal.map_or(0, |signal| signal as i32);
        std::process::exit(128 + number);
    });
    Ok(())
}

fn wait_for_a_key() -> Result<()> {
    print!("… ");
    std::io::stdout().flush().context("writing to the terminal")?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("waiting for a key")?;
    Ok(())
}

fn what_to_try(teller: &Teller, programs: &Path, place: &Place) {
    teller.plain(&both!(
        teller,
        "\nThe laboratory stays up. In a shell of yours:",
        "\nLe laboratoire reste en marche. Dans votre interpréteur de commandes :"
    ));
    for line in stage::environment(programs, place) {
        teller.command(&line);
    }
    let lines = [
        ("digue status --watch", both!(teller, "one line a change", "une ligne par changement")),
        (
            "digue-lab exec srv-007 -- digue-agent status --config $DIGUE_LAB_DIR/hosts/srv-007/agent.toml",
            both!(
                teller,
                "what the person on the cut server sees",
                "ce que voit la personne sur le serveur coupé"
            ),
        ),
        (
            "digue-lab exec srv-007 -- bash",
            both!(teller, "try to get out of it yourself", "essayez vous-même d'en sortir"),
        ),
        ("digue-lab incident ransomware --host srv-002", both!(teller, "another one", "encore un")),
        ("digue-lab status", both!(teller, "machines and programs", "machines et programmes")),
        ("digue-lab down", both!(teller, "end it", "tout arrêter")),
    ];
    for (command, why) in lines {
        teller.command(&format!("{command}    # {why}"));
    }
}
