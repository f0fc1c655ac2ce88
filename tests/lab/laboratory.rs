//! Starting, using and ending a laboratory from another program: the command line, the whole-program tests
//! and the benchmarks all do it by this.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::control::{Request, Response, Status, ask};
use crate::daemon::say;
use crate::namespace::{end_with_parent, enter_private, network_namespace};
use crate::options::{Event, LabOptions};
use crate::place::Place;

/// A laboratory that somebody else's process runs; it ends when this is dropped.
#[derive(Debug)]
pub struct Laboratory {
    place: Place,
    program: PathBuf,
    keeper: Child,
    ended: bool,
}

impl Laboratory {
    /// Whether this machine and user can run one.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn available(program: &Path) -> Result<()> {
        let output = Command::new(program).arg("check").output().context("starting digue-lab")?;
        if output.status.success() {
            Ok(())
        } else {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim())
        }
    }

    /// Starts one with `program`, a `digue-lab`, and waits until it is up.
    ///
    /// # Errors
    /// It did not come up; nothing is left of it.
    pub fn up(program: &Path, options: &LabOptions, mut hear: impl FnMut(&Event)) -> Result<Self> {
        let place = Place::resolve(Some(&options.dir))?;
        let mut command = Command::new(program);
        command.args(["keep", "--options", &serde_json::to_string(options)?]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if options.attached {
            end_with_parent(&mut command);
        } else {
            command.stderr(Stdio::null());
        }
        let mut keeper = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let events = keeper.stdout.take().context("the laboratory has no output")?;
        for line in BufReader::new(events).lines() {
            let line = line.context("hearing from the laboratory")?;
            let event =
                serde_json::from_str(&line).with_context(|| format!("the laboratory said {line:?}"))?;
            hear(&event);
            match event {
                Event::Step { .. } => {}
                Event::Ready => return Ok(Self { place, program: program.to_owned(), keeper, ended: false }),
                Event::Failed { error } => {
                    keeper.wait().context("waiting for the laboratory to end")?;
                    bail!(error);
                }
            }
        }
        let status = keeper.wait().context("waiting for the laboratory to end")?;
        bail!("the laboratory ended before it was up ({status}); its log is {}", place.log().display())
    }

    /// Its folder.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Leaves it running without this handle.
    pub fn detach(mut self) {
        self.ended = true;
    }

    /// The command `digue-lab exec MACHINE -- ARGUMENTS`.
    pub fn exec<'a>(&self, machine: &str, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--dir").arg(self.place.root()).args(["exec", machine, "--"]).args(arguments);
        command
    }

    /// Carries out a verb.
    ///
    /// # Errors
    /// The laboratory refused it, or is gone.
    pub fn ask(&self, request: &Request) -> Result<Response> {
        ask(&self.place, request)
    }

    /// What is there and what runs.
    ///
    /// # Errors
    /// The laboratory is gone.
    pub fn status(&self) -> Result<Status> {
        let Response::Status(status) = self.ask(&Request::Status)? else {
            bail!("the laboratory did not understand the question");
        };
        Ok(*status)
    }

    /// Ends it, and returns how many processes that ended.
    ///
    /// # Errors
    /// It is gone already, or something of it remains.
    pub fn down(mut self) -> Result<usize> {
        self.end()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn wait(&mut self) -> Result<()> {
        self.ended = true;
        self.keeper.wait().map(|_| ()).context("waiting for the laboratory to end")
    }

    fn end(&mut self) -> Result<usize> {
        self.ended = true;
        let processes = down(&self.place)?;
        self.keeper.wait().context("waiting for the laboratory to end")?;
        ensure!(!self.place.root().exists(), "{} is still there", self.place.root().display());
        Ok(processes)
    }
}

impl Drop for Laboratory {
    fn drop(&mut self) {
        if !self.ended && self.end().is_err() {
            // It does not answer: everything of it ends with the process that we started.
            let _ = self.keeper.kill();
            let _ = self.keeper.wait();
        }
    }
}

/// Ends the laboratory in `place` and returns how many processes that ended.
///
/// # Errors
/// None runs there, or it does not end.
pub fn down(place: &Place) -> Result<usize> {
    let Response::Ended { processes } = ask(place, &Request::Down)? else {
        bail!("the laboratory did not understand that it is to end");
    };
    place.wait_until_free()?;
    Ok(processes)
}

/// The laboratory's outermost process: holds its folder, enters new namespaces, starts the laboratory in them
/// and clears up when it has ended. The caller must have one thread.
///
/// # Errors
/// The laboratory did not come up, or ended by a fault.
pub fn keep(options: &LabOptions) -> Result<()> {
    // A terminal's signals are for whoever started it. A session that is its own already stays so.
    let _ = nix::unistd::setsid();
    let kept = Place::resolve(Some(&options.dir)).and_then(|place| place.occupy()).and_then(|occupied| {
        let place = Place::resolve(Some(&options.dir))?;
        let status = run_inside(options, &place);
        crate::fleet::forget(options);
        match status {
            Ok(true) => occupied.remove(),
            Ok(false) => {
                // Its log stays, in a folder that the next laboratory empties.
                let _ = std::fs::remove_file(place.control_socket());
                Ok(())
            }
            Err(error) => {
                occupied.remove()?;
                Err(error)
            }
        }
    });
    if let Err(error) = &kept {
        say(&Event::Failed { error: format!("{error:#}") })?;
    }
    kept
}

/// Returns whether it ended as it was told to.
fn run_inside(options: &LabOptions, place: &Place) -> Result<bool> {
    let outer = network_namespace()?;
    let log = OpenOptions::new().append(true).create(true).open(place.log());
    let log = log.with_context(|| format!("creating {}", place.log().display()))?;
    let user_namespace = enter_private()?;
    let mut inside = crate::machines::own_program()?;
    inside.args([
        "inside",
        "--outer-network",
        &outer.to_string(),
        "--options",
        &serde_json::to_string(options)?,
    ]);
    if user_namespace {
        inside.arg("--user-namespace");
    }
    inside.stdin(Stdio::null()).stderr(log);
    end_with_parent(&mut inside);
    let status = inside.status().context("starting the laboratory in its namespaces")?;
    Ok(status.success())
}
