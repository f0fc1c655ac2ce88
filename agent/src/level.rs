//! How far a cut holds on this host: measured once a boot by really doing it, in a private namespace.
//!
//! The measurement takes a moment, so its outcome is kept in the run directory for agents that restart
//! within the same boot.

use std::path::Path;

use digue_proto::limits::MAX_PAYLOAD;
use digue_proto::strict;
use serde::{Deserialize, Serialize};

use crate::drivers::{Capability, capability};
use crate::files::{self, Durable};

const FILE: &str = "level.json";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    boot_id: String,
    agent_version: String,
    capability: Capability,
}

/// The capability of this boot's kernel, measured now if no earlier agent of this boot did.
pub fn measured(run_dir: &Path, boot_id: &str) -> Capability {
    let path = run_dir.join(FILE);
    let version = env!("CARGO_PKG_VERSION");
    let kept = std::fs::read(&path).ok().and_then(|b| strict::from_slice::<Kept>(&b, MAX_PAYLOAD).ok());
    if let Some(kept) = kept.filter(|k| k.boot_id == boot_id && k.agent_version == version) {
        return kept.capability;
    }
    let capability = capability();
    let (boot_id, agent_version) = (boot_id.to_owned(), version.to_owned());
    let kept = Kept { boot_id, agent_version, capability: capability.clone() };
    let written = strict::to_vec(&kept)
        .map_err(|e| e.to_string())
        .and_then(|bytes| files::replace(&path, &bytes, 0o600, Durable::No).map_err(|e| e.to_string()));
    if let Err(error) = written {
        tracing::warn!(error, "level_not_kept");
    }
    capability
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_measured_once_a_boot() {
        let dir = tempfile::tempdir().expect("directory");
        let first = measured(dir.path(), "boot-1");
        let path = dir.path().join(FILE);
        // What is kept is what is returned, until the next boot.
        let text = std::fs::read_to_string(&path).expect("kept");
        let marked = text.replacen("\"detail\":\"", "\"detail\":\"kept ", 1);
        std::fs::write(&path, &marked).expect("marked");
        assert_ne!(measured(dir.path(), "boot-1"), first);
        assert_eq!(measured(dir.path(), "boot-2"), first);
        std::fs::write(&path, "damaged").expect("damaged");
        assert_eq!(measured(dir.path(), "boot-2"), first);
    }
}
