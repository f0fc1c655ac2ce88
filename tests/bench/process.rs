//! Running processes of a laboratory, as the kernel counts them.
//!
//! Processor time is what a figure in seconds is not: the same, however busy the machine is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};

use crate::lab::{Lab, word};

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    folder: PathBuf,
}

impl Process {
    /// The processes of a laboratory that run this program, found by their command lines.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub(crate) fn all(lab: &Lab, program: &str) -> Result<Vec<Self>> {
        let place = word(lab.laboratory().place().root())?;
        let program = format!("/{program}");
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").context("listing processes")? {
            let folder = entry?.path();
            // Whatever has ended meanwhile has no command line.
            let words = fs::read(folder.join("cmdline")).unwrap_or_default();
            let mut words = words.split(|byte| *byte == 0);
            let runs_it = words.next().is_some_and(|first| first.ends_with(program.as_bytes()));
            if runs_it && words.any(|word| word.starts_with(place.as_bytes())) {
                found.push(Self { folder });
            }
        }
        Ok(found)
    }

    /// A line of `smaps_rollup`, in MB of a million bytes.
    pub(crate) fn memory(&self, field: &str) -> Result<f64> {
        let text = read(&self.folder.join("smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("smaps_rollup has no {field}"))? * 1024.0 / 1e6)
    }

    /// On any core, of all threads that still run, since the process began.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(self.folder.join("task")).context("listing threads")? {
            let text = read(&task?.path().join("schedstat"))?;
            let first = text.split(' ').next().and_then(|number| number.parse::<u64>().ok());
            nanoseconds += first.context("schedstat has no number")?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> Result<f64> {
        let text = read(&self.folder.join("status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Threads:"));
        line.and_then(|number| number.trim().parse().ok()).context("status has no number of threads")
    }
}

/// Processor time of several processes together.
pub(crate) fn total(processes: &[Process]) -> Result<Duration> {
    processes.iter().map(Process::processor_time).sum()
}

/// Processor time of the calling thread.
pub(crate) fn own_processor_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("reading the thread's clock")?;
    Ok(Duration::from(time))
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}
