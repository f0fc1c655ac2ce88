//! The configuration file: a raw form that accepts nothing unknown, turned into a checked one.
//!
//! Every problem is listed at once, because a server that is being cut off is no place for finding them
//! one by one. Deliberately absent: secrets (the host key and the join secret are files beside the state)
//! and names that would need a resolver (there is no DNS during a cut).

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use digue_proto::id::{Digest, HostId};
use serde::Deserialize;

/// Where the configuration stands unless `--config` says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/digue/agent.toml";
/// Where the durable state stands unless the configuration says otherwise.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/digue";
/// Where the volatile state stands unless the configuration says otherwise.
pub const DEFAULT_RUN_DIR: &str = "/run/digue";
/// Exit code for a configuration that cannot be used (`EX_CONFIG` of sysexits).
pub const EXIT_CONFIG: u8 = 78;

/// A controller to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// Its literal address.
    pub address: SocketAddr,
    /// SHA-256 of its SubjectPublicKeyInfo: the only thing it is recognised by.
    pub spki_sha256: Digest,
}

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The host's name in the inventory.
    pub host_id: HostId,
    /// Durable state; must survive a reboot.
    pub state_dir: PathBuf,
    /// Volatile state; may vanish at a reboot.
    pub run_dir: PathBuf,
    /// The controllers, in the order in which they are tried; at least one.
    pub controllers: Vec<Controller>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    host_id: String,
    #[serde(default = "default_state_dir")]
    state_dir: PathBuf,
    #[serde(default = "default_run_dir")]
    run_dir: PathBuf,
    #[serde(default)]
    controllers: Vec<RawController>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawController {
    address: String,
    spki_sha256: String,
}

fn default_state_dir() -> PathBuf {
    PathBuf::from(DEFAULT_STATE_DIR)
}

fn default_run_dir() -> PathBuf {
    PathBuf::from(DEFAULT_RUN_DIR)
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("reading the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or members that are missing, unknown or of the wrong type.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what, as the parser says it.
        message: String,
    },
    /// Values that cannot be used; all of them.
    #[error("{}: {problems}", path.display())]
    Values {
        /// The file.
        path: PathBuf,
        /// Each problem.
        problems: Problems,
    },
}

/// Problems of one file, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} problem{}", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem that was found.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        Self::parse(&text, path)
    }

    /// Checks the text of a configuration; `path` stands in messages only.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem that was found.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let syntax = |e: toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            message: e.to_string().trim_end().to_owned(),
        };
        let raw: RawConfig = toml::from_str(text).map_err(syntax)?;
        let mut problems = Vec::new();
        let host_id = keep(&mut problems, "host_id", raw.host_id.parse::<HostId>());
        for (name, dir) in [("state_dir", &raw.state_dir), ("run_dir", &raw.run_dir)] {
            if !dir.is_absolute() {
                problems.push(format!("{name}: {} is not an absolute path", dir.display()));
            }
        }
        if raw.state_dir == raw.run_dir {
            problems.push("run_dir: must not be state_dir, which has to survive a reboot".to_owned());
        }
        if raw.controllers.is_empty() {
            problems.push("controllers: at least one [[controllers]] section is needed".to_owned());
        }
        let mut controllers: Vec<Controller> = Vec::new();
        for (index, raw) in raw.controllers.iter().enumerate() {
            let name = format!("controllers[{index}]");
            let address = keep(&mut problems, &format!("{name}.address"), address(&raw.address));
            let pin = raw.spki_sha256.parse::<Digest>();
            let pin = keep(&mut problems, &format!("{name}.spki_sha256"), pin);
            if let (Some(address), Some(spki_sha256)) = (address, pin) {
                if controllers.iter().any(|c| c.address == address) {
                    problems.push(format!("{name}.address: {address} stands twice"));
                }
                controllers.push(Controller { address, spki_sha256 });
            }
        }
        match host_id {
            Some(host_id) if problems.is_empty() => {
                Ok(Self { host_id, state_dir: raw.state_dir, run_dir: raw.run_dir, controllers })
            }
            Some(_) | None => {
                Err(ConfigError::Values { path: path.to_owned(), problems: Problems(problems) })
            }
        }
    }

    /// The addresses of the controllers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.controllers.iter().map(|c| c.address).collect()
    }
}

/// What early boot needs, read as far as it can be read: a damaged configuration must not open a host
/// that was contained (invariant 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Where the state should be.
    pub state_dir: PathBuf,
    /// Those controllers whose addresses could be read.
    pub controllers: Vec<SocketAddr>,
}

impl Salvaged {
    /// Reads what can be read of a configuration that [`Config::load`] refused.
    pub fn from_file(path: &Path) -> Self {
        Self::from_text(&std::fs::read_to_string(path).unwrap_or_default())
    }

    fn from_text(text: &str) -> Self {
        let table: toml::Table = text.parse().unwrap_or_default();
        let state_dir = table.get("state_dir").and_then(toml::Value::as_str).map(PathBuf::from);
        let sections = table.get("controllers").and_then(toml::Value::as_array);
        let addresses = sections.into_iter().flatten().filter_map(|c| c.get("address")?.as_str());
        Self {
            state_dir: state_dir.filter(|d| d.is_absolute()).unwrap_or_else(default_state_dir),
            controllers: addresses.filter_map(|text| address(text).ok()).collect(),
        }
    }
}

fn keep<T, E: fmt::Display>(problems: &mut Vec<String>, name: &str, value: Result<T, E>) -> Option<T> {
    value.map_err(|e| problems.push(format!("{name}: {e}"))).ok()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let parsed: SocketAddr = text.parse().map_err(|_| {
        format!("{text:?} is not a literal address and port, such as 192.0.2.7:7443 or [2001:db8::7]:7443")
    })?;
    let ip = parsed.ip();
    if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() {
        return Err(format!("{ip} cannot be a controller: it is unspecified, multicast or loopback"));
    }
    if parsed.port() == 0 { Err("port 0 cannot be connected to".to_owned()) } else { Ok(parsed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("agent.toml")).map_err(|e| e.to_string())
    }

    fn good() -> String {
        format!(
            "host_id = \"srv-001\"\nstate_dir = \"/s\"\nrun_dir = \"/r\"\n\
             [[controllers]]\naddress = \"10.77.0.2:7443\"\nspki_sha256 = \"{PIN}\"\n"
        )
    }

    #[test]
    fn a_complete_configuration_is_accepted_and_directories_have_defaults() {
        let config = parse(&good()).expect("accepted");
        assert_eq!(config.host_id.as_str(), "srv-001");
        assert_eq!(config.addresses(), ["10.77.0.2:7443".parse().expect("address")]);
        let short = good().replace("state_dir = \"/s\"\nrun_dir = \"/r\"\n", "");
        let config = parse(&short).expect("accepted");
        assert_eq!(config.state_dir, Path::new(DEFAULT_STATE_DIR));
        assert_eq!(config.run_dir, Path::new(DEFAULT_RUN_DIR));
    }

    #[test]
    fn each_mistake_is_named_with_the_member_it_is_in() {
        let whole = good();
        let controllers = whole.split_once("run_dir = \"/r\"\n").expect("sections").1;
        let cases = [
            (good().replace("srv-001", "SRV/1"), "host_id:"),
            (good().replace("\"/s\"", "\"s\""), "state_dir: s is not an absolute path"),
            (good().replace("\"/r\"", "\"/s\""), "run_dir: must not be state_dir"),
            (good().replace("10.77.0.2:7443", "controller.example:7443"), "controllers[0].address:"),
            (good().replace("10.77.0.2:7443", "10.77.0.2"), "controllers[0].address:"),
            (good().replace("10.77.0.2:7443", "127.0.0.1:7443"), "loopback"),
            (good().replace("10.77.0.2:7443", "10.77.0.2:0"), "port 0"),
            (good().replace(PIN, "AAAA"), "controllers[0].spki_sha256:"),
            (good() + controllers, "stands twice"),
            ("host_id = \"srv-001\"".to_owned(), "at least one [[controllers]]"),
            (format!("hosst_id = 1\n{}", good()), "unknown field `hosst_id`"),
            (good().replace("spki_sha256", "spki"), "unknown field `spki`"),
            (good().replace("host_id = \"srv-001\"", ""), "missing field `host_id`"),
            ("host_id = ".to_owned(), "agent.toml:"),
        ];
        for (text, expected) in cases {
            let message = parse(&text).expect_err(&text);
            assert!(message.contains(expected), "{message:?} does not say {expected:?}");
        }
    }

    #[test]
    fn all_mistakes_are_listed_at_once() {
        let text = good().replace("srv-001", "SRV").replace("10.77.0.2:7443", "x").replace(PIN, "y");
        let message = parse(&text).expect_err("three mistakes");
        assert!(message.contains("3 problems"), "{message}");
        assert_eq!(message.matches("\n  - ").count(), 3, "{message}");
    }

    #[test]
    fn early_boot_reads_what_it_can_of_a_damaged_configuration() {
        let damaged = good().replace("srv-001", "SRV/1") + "surprise = true\n";
        assert!(parse(&damaged).is_err());
        let salvaged = Salvaged::from_text(&damaged);
        assert_eq!(salvaged.state_dir, Path::new("/s"));
        assert_eq!(salvaged.controllers, ["10.77.0.2:7443".parse().expect("address")]);
        let nothing = Salvaged::from_text("not toml at all [[[");
        assert_eq!(nothing.state_dir, Path::new(DEFAULT_STATE_DIR));
        assert!(nothing.controllers.is_empty());
    }
}
