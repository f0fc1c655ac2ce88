//! The stage of the story: where its files are, how its commands are run, and what they may do.
//!
//! Every command runs with the laboratory's own configuration and working folder, so that nothing of the
//! user's is read or written.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::evidence::{HostRow, HostTable};
use super::teller::Teller;
use crate::laboratory::Laboratory;
use crate::options::LabOptions;
use crate::place::Place;
use crate::topology::{Machine, server_name};

/// How long anything that is waited for may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a command may take: one that hangs ends the story with a reason, not in silence.
const LONGEST: Duration = Duration::from_secs(90);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
    pub(super) took: Duration,
}

impl Ran {
    /// Fails unless the command ended with `code`, and then says what it said.
    pub(super) fn must_end_with(self, code: i32) -> Result<Self> {
        if self.code == Some(code) {
            return Ok(self);
        }
        bail!("the command ended with {:?}, not {code}: {}{}", self.code, self.out, self.err)
    }
}

/// A laboratory with a desk in it.
#[derive(Debug)]
pub(super) struct Stage {
    place: Place,
    program: PathBuf,
    programs: PathBuf,
    hosts: u16,
    environment: BTreeMap<&'static str, OsString>,
}

impl Stage {
    /// Makes the desk: a working folder for the commands, removed with the laboratory.
    pub(super) fn new(
        laboratory: &Laboratory,
        program: &Path,
        options: &LabOptions,
        teller: &Teller,
    ) -> Result<Self> {
        let place = laboratory.place().clone();
        let desk = desk(&place);
        DirBuilder::new()
            .mode(0o700)
            .create(&desk)
            .with_context(|| format!("creating {}", desk.display()))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        // An ordinary user's path often lacks the folder in which nft is.
        let folders = std::iter::once(options.programs.clone())
            .chain(std::env::split_paths(&path))
            .chain(["/usr/sbin".into(), "/sbin".into()]);
        let environment = BTreeMap::from([
            ("PATH", std::env::join_paths(folders).context("a folder of PATH has a colon")?),
            ("DIGUE_CONFIG_DIR", options.config_dir.clone().into_os_string()),
            ("DIGUE_LAB_DIR", place.root().as_os_str().to_owned()),
            ("LC_ALL", teller.locale().into()),
        ]);
        let (program, programs) = (program.to_owned(), options.programs.clone());
        Ok(Self { place, program, programs, hosts: options.hosts, environment })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Where Digue's programs are.
    pub(super) fn programs(&self) -> &Path {
        &self.programs
    }

    /// A file on the desk.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        desk(&self.place).join(name)
    }

    /// The names of all servers.
    pub(super) fn servers(&self) -> Vec<String> {
        (1..=self.hosts).map(server_name).collect()
    }

    /// All servers with their addresses.
    pub(super) fn machines(&self) -> Result<Vec<Machine>> {
        (1..=self.hosts).map(Machine::server).collect()
    }

    /// The server on which the intrusion is.
    pub(super) fn victim(&self) -> String {
        server_name(self.hosts.min(7))
    }

    /// A command of this program or of Digue, run to its end at the desk.
    pub(super) fn run(&self, words: &[&str]) -> Result<Ran> {
        let started = Instant::now();
        let output = limited(self.command(words)?);
        let output = output.with_context(|| format!("running {}", words.join(" ")))?;
        Ok(Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: started.elapsed(),
        })
    }

    /// Prints a command and runs it; its words are what is printed.
    pub(super) fn show(&self, teller: &Teller, words: &[&str]) -> Result<Ran> {
        teller.command(&shell_line(words));
        self.run(words)
    }

    /// A command, not yet started. The demonstration's own `digue-lab` is used, whatever is in PATH.
    pub(super) fn command(&self, words: &[&str]) -> Result<Command> {
        let (name, arguments) = words.split_first().context("no command")?;
        let mut command = match *name {
            "digue-lab" => Command::new(&self.program),
            other => Command::new(self.find(other)?),
        };
        command.args(arguments).envs(&self.environment).current_dir(desk(&self.place));
        command.env_remove("DIGUE_CONTEXT").stdin(Stdio::null());
        Ok(command)
    }

    fn find(&self, name: &str) -> Result<PathBuf> {
        let path = self.environment.get("PATH").cloned().unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
        found.with_context(|| format!("{name} is not installed"))
    }

    /// The whole fleet, as `digue hosts list` shows it.
    pub(super) fn fleet(&self) -> Result<Vec<HostRow>> {
        let ran = self.run(&["digue", "hosts", "list", "-o", "json"])?.must_end_with(0)?;
        let table: HostTable = serde_json::from_str(&ran.out).context("reading the list of hosts")?;
        ensure!(table.hosts.len() == usize::from(self.hosts), "{} hosts are listed", table.hosts.len());
        Ok(table.hosts)
    }

    /// Waits until something has been seen, and fails with `what` if it was not in time.
    pub(super) fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Some(seen) = look()? {
                return Ok(seen);
            }
            ensure!(started.elapsed() < PATIENCE, "{what} was not seen within {} s", PATIENCE.as_secs());
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

fn desk(place: &Place) -> PathBuf {
    place.join("desk")
}

/// What a shell needs so that the printed commands can be typed in it.
pub(super) fn environment(programs: &Path, place: &Place) -> [String; 2] {
    let quoted = |path: &Path| quote(&path.to_string_lossy());
    [
        format!(
            "export PATH={}:$PATH DIGUE_LAB_DIR={} DIGUE_CONFIG_DIR={}",
            quoted(programs),
            quoted(place.root()),
            quoted(&place.join("config"))
        ),
        format!("cd {}", quoted(&desk(place))),
    ]
}

/// A program in PATH, or in the folders of administrators.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Words as a shell would take them.
pub(super) fn shell_line(words: &[&str]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// A file's text, empty while there is none.
pub(super) fn text_of(file: &Path) -> Result<String> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("reading {}", file.display())),
    }
}

/// Runs a command to its end, or ends it when it takes too long.
fn limited(mut command: Command) -> Result<Output> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let (done, ends) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let late = ends.recv_timeout(LONGEST) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            let _ = kill(pid, Signal::SIGKILL);
        }
        late
    });
    let output = child.wait_with_output();
    drop(done);
    if watchdog.join().unwrap_or(false) {
        bail!("it did not end within {} s and was ended", LONGEST.as_secs());
    }
    Ok(output?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_commands_can_be_typed() {
        let words = ["digue", "plan", "--reason", "L'intrusion sur srv-007", "[fd77::1]:8080", ""];
        let line = shell_line(&words);
        let output = Command::new("sh").args(["-c", &format!("printf '%s\\n' {line}")]).output().expect("sh");
        let read = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(read.lines().collect::<Vec<_>>(), words);
    }
}
