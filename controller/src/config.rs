//! The configuration file: read raw, checked as a whole, and only then used.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// Where the configuration is looked for when no `--config` is given.
pub(crate) const DEFAULT_PATH: &str = "/etc/digue/controller.toml";

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, or a member that is unknown or of the wrong kind.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why, and where.
        source: Box<toml::de::Error>,
    },
    /// Everything that is wrong with the values.
    #[error("{path}: {}", problems.join("\n  also: "))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Each problem.
        problems: Vec<String>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    data_dir: PathBuf,
    agents: RawAgents,
    api: RawApi,
    #[serde(default = "default_drain")]
    drain_timeout_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAgents {
    listen: String,
    #[serde(default = "default_handshake")]
    handshake_timeout_ms: u64,
    #[serde(default = "default_frame")]
    frame_timeout_ms: u64,
    #[serde(default = "default_idle")]
    idle_timeout_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApi {
    socket: PathBuf,
    listen: Option<String>,
    token_file: Option<PathBuf>,
}

const fn default_drain() -> u64 {
    10_000
}
const fn default_handshake() -> u64 {
    10_000
}
const fn default_frame() -> u64 {
    30_000
}
const fn default_idle() -> u64 {
    digue_proto::frame::STALE_SECONDS * 1000
}

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Where the database and the controller's own TLS keys are.
    pub(crate) data_dir: PathBuf,
    /// How agents are heard.
    pub(crate) agents: Agents,
    /// The unix socket of the API.
    pub(crate) socket: PathBuf,
    /// HTTPS for the API, if wanted.
    pub(crate) https: Option<Https>,
    /// How long a shutdown may take.
    pub(crate) drain_timeout: Duration,
}

/// How agents are heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agents {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// For TLS and the first frame together.
    pub(crate) handshake_timeout: Duration,
    /// For the rest of a frame once it has begun, and for a write.
    pub(crate) frame_timeout: Duration,
    /// Without any frame.
    pub(crate) idle_timeout: Duration,
}

/// HTTPS for the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Https {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Holds the bearer token.
    pub(crate) token_file: PathBuf,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] that lists every problem found.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        let mut problems = Problems(Vec::new());
        let agents = Agents {
            listen: problems.address("agents.listen", &raw.agents.listen),
            handshake_timeout: problems.time("agents.handshake_timeout_ms", raw.agents.handshake_timeout_ms),
            frame_timeout: problems.time("agents.frame_timeout_ms", raw.agents.frame_timeout_ms),
            idle_timeout: problems.time("agents.idle_timeout_ms", raw.agents.idle_timeout_ms),
        };
        problems.absolute("data_dir", &raw.data_dir);
        problems.absolute("api.socket", &raw.api.socket);
        // The kernel's limit for a path in a socket address, with its closing zero.
        if raw.api.socket.as_os_str().len() > 107 {
            problems.0.push("api.socket: the path is longer than the 107 bytes a socket may have".to_owned());
        }
        let https = match (raw.api.listen, raw.api.token_file) {
            (None, None) => None,
            (Some(listen), Some(token_file)) => {
                problems.absolute("api.token_file", &token_file);
                Some(Https { listen: problems.address("api.listen", &listen), token_file })
            }
            (Some(_), None) => {
                problems.0.push("api.listen needs api.token_file: HTTPS takes a bearer token".to_owned());
                None
            }
            (None, Some(_)) => {
                problems.0.push("api.token_file has no effect without api.listen".to_owned());
                None
            }
        };
        if https.as_ref().is_some_and(|h| h.listen == agents.listen && h.listen.port() != 0) {
            problems.0.push("api.listen and agents.listen are the same address".to_owned());
        }
        let drain_timeout = problems.time("drain_timeout_ms", raw.drain_timeout_ms);
        if problems.0.is_empty() {
            Ok(Self { data_dir: raw.data_dir, agents, socket: raw.api.socket, https, drain_timeout })
        } else {
            Err(ConfigError::Invalid { path: path.to_owned(), problems: problems.0 })
        }
    }
}

struct Problems(Vec<String>);

impl Problems {
    fn address(&mut self, name: &str, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.0.push(format!("{name}: {text:?} is not a literal address with a port, as 10.77.0.2:7443"));
            SocketAddr::from(([0, 0, 0, 0], 0))
        })
    }

    fn absolute(&mut self, name: &str, path: &Path) {
        if !path.is_absolute() {
            self.0.push(format!("{name}: {} is not an absolute path", path.display()));
        }
    }

    fn time(&mut self, name: &str, ms: u64) -> Duration {
        if !(10..=3_600_000).contains(&ms) {
            self.0.push(format!("{name}: {ms} is not between 10 and 3600000 milliseconds"));
        }
        Duration::from_millis(ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        data_dir = "/var/lib/digue-controller"
        [agents]
        listen = "10.77.0.2:7443"
        [api]
        socket = "/run/digue/api.sock"
    "#;

    #[test]
    fn a_small_file_takes_the_defaults_of_the_protocol() {
        let config = Config::parse(GOOD, Path::new("c.toml")).expect("accepted");
        assert_eq!(config.agents.handshake_timeout, Duration::from_secs(10));
        assert_eq!(config.agents.frame_timeout, Duration::from_secs(30));
        assert_eq!(config.agents.idle_timeout, Duration::from_secs(90));
        assert_eq!(config.https, None);
    }

    #[test]
    fn every_problem_is_listed_at_once() {
        let bad = r#"
            data_dir = "var"
            drain_timeout_ms = 1
            [agents]
            listen = "controller.example:7443"
            [api]
            socket = "api.sock"
            listen = "10.77.0.2:8443"
        "#;
        let text = Config::parse(bad, Path::new("c.toml")).expect_err("refused").to_string();
        for part in ["data_dir", "drain_timeout_ms", "agents.listen", "api.socket", "api.token_file"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }

    #[test]
    fn an_unknown_member_is_refused_and_named() {
        let bad = format!("{GOOD}\nsoket = 1");
        let text = Config::parse(&bad, Path::new("c.toml")).expect_err("refused").to_string();
        assert!(text.contains("soket"), "{text}");
    }
}
