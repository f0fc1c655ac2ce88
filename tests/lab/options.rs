//! What a laboratory is started with, and what it says while it comes up.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a laboratory is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabOptions {
    /// Its folder; see [`crate::place::Place::resolve`].
    pub dir: PathBuf,
    /// Servers, from 0 to [`crate::topology::MAX_SERVERS`].
    pub hosts: u16,
    /// Without Digue's processes.
    pub bare: bool,
    /// With a second controller machine at 10.77.0.3.
    pub second_controller: bool,
    /// Whether it ends with the process that started it.
    pub attached: bool,
    /// Where `digue`, `digue-agent` and `digue-controller` are.
    pub programs: PathBuf,
    /// The operators' configuration folder, in which a context is added for as long as the laboratory runs.
    pub config_dir: PathBuf,
    /// The name of that context.
    pub context: String,
}

/// What a laboratory that comes up says, as JSON lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something is ready that was measured to be.
    Step {
        /// What.
        text: String,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// All of it is up.
    Ready,
    /// It did not come up, and nothing is left of it.
    Failed {
        /// What, why, and what to do.
        error: String,
    },
}
