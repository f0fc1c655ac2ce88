//! Contexts: which controller to talk to, which trust to hold it against, and whose keys are at hand.
//!
//! Deliberately absent: secrets. Keys and tokens stand here by path only.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use digue_proto::id::{Digest, PersonId};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::message::msg;
use crate::problem::{OrProblem as _, Outcome, Problem};

/// The folder of the configuration, `$DIGUE_CONFIG_DIR` or `~/.config/digue`.
#[derive(Debug, Clone)]
pub(crate) struct ConfigDir(pub(crate) PathBuf);

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    default_context: Option<String>,
}

/// A signer whose key is at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signer {
    /// The person of the trust root.
    pub(crate) name: PersonId,
    /// The private key's file, or its `.pub` if the private half is in an agent or a security key.
    pub(crate) key: PathBuf,
}

/// What plans take from the context unless the command line says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Network {
    /// Literal addresses at which agents reach the controllers during a containment.
    pub(crate) controllers: Vec<SocketAddr>,
    /// The organisation's internal networks.
    pub(crate) internal: Vec<IpNet>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawContext {
    controller: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
    trust_dir: PathBuf,
    #[serde(default)]
    network: Network,
    #[serde(default)]
    signers: Vec<Signer>,
}

/// Where the controller's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A socket on this machine; its file permissions decide who may use it.
    Unix(PathBuf),
    /// HTTPS with a pinned certificate and a bearer token.
    Https {
        /// Host and port as written, `10.77.0.2:8443`.
        authority: String,
        /// SHA-256 of the certificate.
        certificate: Digest,
        /// File that holds the token.
        token_file: PathBuf,
    },
}

/// A checked context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Context {
    /// Its name.
    pub(crate) name: String,
    /// The controller.
    pub(crate) endpoint: Endpoint,
    /// The folder of the trust roots.
    pub(crate) trust_dir: PathBuf,
    /// Defaults of plans.
    pub(crate) network: Network,
    /// Signers at hand.
    pub(crate) signers: Vec<Signer>,
}

/// What `context add` takes.
#[derive(Debug)]
pub(crate) struct NewContext {
    /// `unix:///…` or `https://…`.
    pub(crate) controller: String,
    /// SHA-256 of the certificate, for https.
    pub(crate) certificate_sha256: Option<String>,
    /// File of the bearer token, for https.
    pub(crate) token_file: Option<PathBuf>,
    /// The folder of the trust roots.
    pub(crate) trust_dir: PathBuf,
    /// Defaults of plans.
    pub(crate) network: Network,
    /// Signers at hand.
    pub(crate) signers: Vec<Signer>,
}

/// A context's name is also a file name.
fn check_name(name: &str) -> Outcome<()> {
    let ok = (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if ok { Ok(()) } else { Err(Problem::new("E0602", msg!("context-bad-name", name = name))) }
}

impl RawContext {
    /// Checks everything and lists all problems at once.
    fn check(self, name: &str) -> Result<Context, Vec<String>> {
        let mut problems = Vec::new();
        let endpoint = if let Some(path) = self.controller.strip_prefix("unix://") {
            if !path.starts_with('/') {
                problems.push(format!("controller: {:?} needs an absolute path: unix:///…", self.controller));
            }
            if self.certificate_sha256.is_some() || self.token_file.is_some() {
                problems.push("certificate_sha256 and token_file belong to https only".to_owned());
            }
            Some(Endpoint::Unix(PathBuf::from(path)))
        } else if let Some(rest) = self.controller.strip_prefix("https://") {
            let authority = rest.trim_end_matches('/').to_owned();
            if authority.is_empty() || authority.contains('/') || authority.contains('@') {
                problems.push(format!("controller: {:?} is not https://HOST:PORT", self.controller));
            }
            let certificate = match self.certificate_sha256.as_deref().map(str::parse::<Digest>) {
                None => {
                    problems.push("certificate_sha256 is missing: the certificate must be pinned".to_owned());
                    None
                }
                Some(Err(error)) => {
                    problems.push(format!("certificate_sha256: {error}"));
                    None
                }
                Some(Ok(digest)) => Some(digest),
            };
            if self.token_file.is_none() {
                problems.push("token_file is missing".to_owned());
            }
            certificate.zip(self.token_file).map(|(certificate, token_file)| Endpoint::Https {
                authority,
                certificate,
                token_file,
            })
        } else {
            problems
                .push(format!("controller: {:?} starts with neither unix:// nor https://", self.controller));
            None
        };
        if !self.trust_dir.is_absolute() {
            problems.push(format!("trust_dir: {} is not an absolute path", self.trust_dir.display()));
        }
        let mut names: Vec<_> = self.signers.iter().map(|s| &s.name).collect();
        names.sort();
        for pair in names.windows(2) {
            if let [one, other] = pair
                && one == other
            {
                problems.push(format!("signers: {one} stands twice"));
            }
        }
        let mut network = self.network;
        network.controllers.sort_unstable();
        network.controllers.dedup();
        network.internal.sort_unstable();
        network.internal.dedup();
        for net in network.internal.iter().filter(|net| net.trunc() != **net) {
            problems.push(format!(
                "network.internal: {net} has bits set behind its prefix; write {}",
                net.trunc()
            ));
        }
        match endpoint {
            Some(endpoint) if problems.is_empty() => Ok(Context {
                name: name.to_owned(),
                endpoint,
                trust_dir: self.trust_dir,
                network,
                signers: self.signers,
            }),
            Some(_) | None => Err(problems),
        }
    }
}

impl ConfigDir {
    fn contexts(&self) -> PathBuf {
        self.0.join("contexts")
    }

    fn context_file(&self, name: &str) -> PathBuf {
        self.contexts().join(format!("{name}.toml"))
    }

    /// The folder of keys made by `keys init`.
    pub(crate) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The folder in which one context keeps what is its own (join secrets).
    pub(crate) fn context_folder(&self, name: &str) -> PathBuf {
        self.contexts().join(name)
    }

    fn config(&self) -> Outcome<RawConfig> {
        let path = self.0.join("config.toml");
        let Some(bytes) = files::read_if_there(&path)? else { return Ok(RawConfig::default()) };
        let bad = || Problem::new("E0603", msg!("config-bad", path = path.display().to_string()));
        toml::from_str(&String::from_utf8(bytes).or_problem(bad)?).or_problem(bad)
    }

    /// The default context's name, if one is set.
    pub(crate) fn default_context(&self) -> Outcome<Option<String>> {
        Ok(self.config()?.default_context)
    }

    /// Makes `name` the default.
    pub(crate) fn set_default(&self, name: &str) -> Outcome<()> {
        self.load(name)?;
        let text = toml::to_string(&RawConfig { default_context: Some(name.to_owned()) })
            .or_problem(|| Problem::of("E0603"))?;
        files::write(&self.0.join("config.toml"), text.as_bytes(), 0o600)
    }

    /// The names of all contexts, sorted.
    pub(crate) fn names(&self) -> Outcome<Vec<String>> {
        let folder = self.contexts();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let path = folder.display().to_string();
                return Err(Problem::new("E0604", msg!("file-not-read", path = path)).because(error));
            }
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".toml")?.to_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    /// The context to use: the one asked for, the default, or the only one.
    pub(crate) fn choose(&self, asked: Option<&str>) -> Outcome<Context> {
        if let Some(name) = asked {
            return self.load(name);
        }
        if let Some(name) = self.default_context()? {
            return self.load(&name);
        }
        match self.names()?.as_slice() {
            [only] => self.load(only),
            [] => Err(Problem::new("E0602", msg!("context-none"))),
            many => Err(Problem::new("E0602", msg!("context-many", names = many.join(", ")))),
        }
    }

    /// Reads one context.
    pub(crate) fn load(&self, name: &str) -> Outcome<Context> {
        check_name(name)?;
        let path = self.context_file(name);
        let Some(bytes) = files::read_if_there(&path)? else {
            let known = self.names()?.join(", ");
            return Err(Problem::new("E0602", msg!("context-unknown", name = name, known = known)));
        };
        let bad = || Problem::new("E0603", msg!("config-bad", path = path.display().to_string()));
        let raw: RawContext = toml::from_str(&String::from_utf8(bytes).or_problem(bad)?).or_problem(bad)?;
        raw.check(name).map_err(|problems| bad().because(problems.join("; ")))
    }

    /// Writes a new context; an existing one is never replaced.
    pub(crate) fn add(&self, name: &str, new: NewContext) -> Outcome<Context> {
        check_name(name)?;
        let raw = RawContext {
            controller: new.controller,
            certificate_sha256: new.certificate_sha256,
            token_file: new.token_file.map(|p| absolute(&p)),
            trust_dir: absolute(&new.trust_dir),
            network: new.network,
            signers: new.signers.into_iter().map(|s| Signer { key: absolute(&s.key), ..s }).collect(),
        };
        let text = toml::to_string(&raw).or_problem(|| Problem::of("E0603"))?;
        let context = raw.check(name).map_err(|problems| {
            Problem::new("E0603", msg!("context-refused", name = name)).because(problems.join("; "))
        })?;
        files::private_folder(&self.0)?;
        files::private_folder(&self.contexts())?;
        files::write_new(&self.context_file(name), text.as_bytes(), 0o600)?;
        Ok(context)
    }
}

/// A path that no longer depends on the working folder.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

impl Context {
    /// The key file of a signer: a name of this context, a key made by `keys init`, or a path.
    pub(crate) fn signer_key(&self, config: &ConfigDir, asked: &str) -> Outcome<PathBuf> {
        if let Some(signer) = self.signers.iter().find(|s| s.name.as_str() == asked) {
            return Ok(signer.key.clone());
        }
        let names: Vec<String> = self.signers.iter().map(|s| s.name.to_string()).collect();
        key_file_or(config, asked, &names)
    }
}

/// The key file that a `--sign` value names outside any context.
pub(crate) fn key_file(config: &ConfigDir, asked: &str) -> Outcome<PathBuf> {
    key_file_or(config, asked, &[])
}

fn key_file_or(config: &ConfigDir, asked: &str, known: &[String]) -> Outcome<PathBuf> {
    let path = PathBuf::from(asked);
    if path.is_file() {
        return Ok(path);
    }
    if !asked.contains('/') {
        let made = [asked.to_owned(), format!("{asked}.pub")].map(|file| config.keys().join(file));
        if let Some(found) = made.into_iter().find(|p| p.is_file()) {
            return Ok(found);
        }
    }
    Err(Problem::new(
        "E0611",
        msg!(
            "signer-unknown",
            name = asked,
            known = if known.is_empty() { "-".to_owned() } else { known.join(", ") }
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(controller: &str) -> RawContext {
        RawContext {
            controller: controller.to_owned(),
            certificate_sha256: None,
            token_file: None,
            trust_dir: PathBuf::from("/trust"),
            network: Network::default(),
            signers: Vec::new(),
        }
    }

    #[test]
    fn all_problems_of_a_context_are_listed_at_once() {
        let mut bad = raw("https://10.0.0.1:8443");
        bad.trust_dir = PathBuf::from("trust");
        bad.network.internal = vec!["10.0.0.1/8".parse().expect("network")];
        let problems = bad.check("x").expect_err("refused");
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(raw("http://10.0.0.1").check("x").is_err());
        assert!(raw("unix:///run/api.sock").check("x").is_ok());
    }

    #[test]
    fn the_only_context_is_chosen_and_two_need_a_name_or_a_default() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = ConfigDir(folder.path().join("digue"));
        let new = || NewContext {
            controller: "unix:///run/api.sock".to_owned(),
            certificate_sha256: None,
            token_file: None,
            trust_dir: PathBuf::from("/trust"),
            network: Network::default(),
            signers: Vec::new(),
        };
        assert_eq!(config.choose(None).map_err(|p| p.code), Err("E0602".to_owned()));
        config.add("one", new()).expect("added");
        assert_eq!(config.choose(None).expect("chosen").name, "one");
        config.add("two", new()).expect("added");
        assert!(config.choose(None).is_err());
        assert!(config.add("two", new()).is_err(), "an existing context was replaced");
        config.set_default("two").expect("set");
        assert_eq!(config.choose(None).expect("chosen").name, "two");
        assert!(config.load("../two").is_err());
    }
}
