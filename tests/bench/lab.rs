//! Laboratories for benchmarks: in a folder of their own that goes away, started by the program that lies
//! beside this one.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use digue_lab::laboratory::Laboratory;
use digue_lab::options::LabOptions;
use tempfile::TempDir;

/// A running laboratory, its folder, and where the programs are.
#[derive(Debug)]
pub(crate) struct Lab {
    // Ends before its folder does.
    laboratory: Laboratory,
    programs: PathBuf,
    folder: TempDir,
}

/// The name of the laboratory's context.
const CONTEXT: &str = "bench";

impl Lab {
    /// Starts one.
    ///
    /// # Errors
    /// It did not come up.
    pub(crate) fn up(hosts: u16, bare: bool) -> Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("digue-bench-").tempdir().context("making a folder")?;
        let options = LabOptions {
            dir: folder.path().join("lab"),
            hosts,
            bare,
            second_controller: false,
            attached: true,
            programs: programs.clone(),
            config_dir: folder.path().join("config"),
            context: CONTEXT.to_owned(),
        };
        let laboratory = Laboratory::up(&programs.join("digue-lab"), &options, |_| {})
            .with_context(|| format!("starting a laboratory of {hosts} servers"))?;
        Ok(Self { laboratory, programs, folder })
    }

    /// The laboratory itself.
    pub(crate) const fn laboratory(&self) -> &Laboratory {
        &self.laboratory
    }

    /// A path beside the laboratory's own folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The operator's command in the laboratory's context, as a person types it.
    pub(crate) fn digue<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(self.programs.join("digue"));
        command.args(["--context", CONTEXT, "--yes", "--no-input", "--lang", "en"]).args(words);
        command.env("DIGUE_CONFIG_DIR", self.file("config"));
        command
    }

    /// The file of the laboratory's context.
    pub(crate) fn context_file(&self) -> PathBuf {
        self.file("config").join("contexts").join(format!("{CONTEXT}.toml"))
    }
}

/// The folder that this program lies in, which holds the others too.
pub(crate) fn programs() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program's own file")?;
    Ok(own.parent().context("this program has no folder")?.to_owned())
}

/// The first of these that is an executable file in a folder of `PATH` or of system programs.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// It cannot be run, or ends with another code than 0; what it wrote on its error output is repeated.
pub(crate) fn run(mut command: Command) -> Result<String> {
    let shown = format!("{command:?}");
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().with_context(|| format!("running {shown}"))?;
    let said = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "{shown} ended with {status}: {}", last_lines(&said));
    String::from_utf8(stdout).with_context(|| format!("{shown} printed no text"))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines.get(lines.len().saturating_sub(6)..).unwrap_or_default().join("\n")
}

/// Waits for something that another process does.
///
/// # Errors
/// It is not so within `limit`.
pub(crate) fn wait_until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let started = std::time::Instant::now();
    while !is_so() {
        if started.elapsed() > limit {
            bail!("{what}: not so within {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A path as a word of a command line.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn word(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
