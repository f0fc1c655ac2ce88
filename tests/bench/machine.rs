//! The machine that the figures belong to, without anything that would name it.

use std::fs;

use serde::Serialize;

/// What figures depend on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// The processor, as it calls itself.
    pub(crate) processor: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The load of the last minute when the benchmark began, which others on the machine may have caused.
    pub(crate) load_before: f64,
    /// Whether the programs were built as they are shipped.
    pub(crate) release_build: bool,
}

impl Machine {
    /// This machine, now. What cannot be read is left empty.
    pub(crate) fn here() -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: u64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let load = read("/proc/loadavg");
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0),
            release_build: !cfg!(debug_assertions),
        }
    }

    /// In one line.
    pub(crate) fn shown(&self) -> String {
        let build = if self.release_build { "release build" } else { "DEBUG BUILD: the times mean nothing" };
        format!(
            "{} cores ({}), {} MiB, Linux {}, load {} before, {build}",
            self.cores, self.processor, self.memory_mib, self.kernel, self.load_before
        )
    }
}
