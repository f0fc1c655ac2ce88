//! The operator's own copy of the trust roots, held against the pinned digest of the first one.
//!
//! Everything the controller says is judged by this copy; the controller can extend it by roots that
//! verify, and by nothing else.

use std::path::{Path, PathBuf};

use digue_proto::envelope::Envelope;
use digue_proto::id::Digest;
use digue_proto::limits::MAX_ROOT_STEPS;
use digue_proto::trust_chain::Trust;

use crate::files;
use crate::message::msg;
use crate::problem::{OrProblem as _, Outcome, Problem};

/// The folder of the trust roots.
#[derive(Debug, Clone)]
pub(crate) struct TrustStore {
    folder: PathBuf,
}

impl TrustStore {
    /// The store in `folder`, which need not exist yet.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// The file of one version.
    pub(crate) fn root_file(&self, version: u64) -> PathBuf {
        self.folder.join(format!("root.{version}.json"))
    }

    fn pin_file(&self) -> PathBuf {
        self.folder.join("deployment_id")
    }

    /// The pinned digest of the first root, if there is one.
    pub(crate) fn pinned(&self) -> Outcome<Option<Digest>> {
        let path = self.pin_file();
        let Some(bytes) = files::read_if_there(&path)? else { return Ok(None) };
        let bad = || Problem::new("E0631", msg!("trust-bad-pin", path = path.display().to_string()));
        String::from_utf8(bytes).or_problem(bad)?.trim().parse().or_problem(bad).map(Some)
    }

    /// The chain as stored, in order.
    pub(crate) fn chain(&self) -> Outcome<Vec<Envelope>> {
        let mut chain = Vec::new();
        for version in 1..=MAX_ROOT_STEPS as u64 {
            let path = self.root_file(version);
            let Some(bytes) = files::read_if_there(&path)? else { break };
            let bad = || Problem::new("E0631", msg!("trust-bad-root", path = path.display().to_string()));
            chain.push(Envelope::from_json(&bytes).or_problem(bad)?);
        }
        Ok(chain)
    }

    /// The newest trust root, if any is pinned and stored.
    pub(crate) fn load(&self) -> Outcome<Option<Trust>> {
        let Some(pinned) = self.pinned()? else { return Ok(None) };
        let chain = self.chain()?;
        if chain.is_empty() {
            return Ok(None);
        }
        Trust::from_chain(&chain, &pinned).map(Some).or_problem(|| {
            Problem::new("E0631", msg!("trust-bad-chain", path = self.folder.display().to_string()))
        })
    }

    /// The newest trust root.
    pub(crate) fn require(&self) -> Outcome<Trust> {
        let path = self.folder.display().to_string();
        self.load()?.ok_or_else(|| Problem::new("E0630", msg!("trust-none", path = path)))
    }

    /// Pins a first root by its digest; refuses another one than is pinned already.
    pub(crate) fn pin(&self, digest: &Digest) -> Outcome<()> {
        match self.pinned()? {
            Some(pinned) if pinned == *digest => Ok(()),
            Some(pinned) => Err(Problem::new(
                "E0631",
                msg!("trust-other-pin", found = digest.to_string(), pinned = pinned.to_string()),
            )),
            None => {
                files::private_folder(&self.folder)?;
                files::write_new(&self.pin_file(), format!("{digest}\n").as_bytes(), 0o600)
            }
        }
    }

    /// Verifies the root that follows `current` (or the first) and stores it.
    pub(crate) fn append(&self, current: Option<&Trust>, envelope: &Envelope) -> Outcome<Trust> {
        let refused = || Problem::new("E0632", msg!("trust-root-refused"));
        let next = match current {
            Some(trust) => trust.next(envelope).or_problem(refused)?,
            None => {
                let pinned = self.pinned()?.ok_or_else(|| {
                    Problem::new("E0630", msg!("trust-none", path = self.folder.display().to_string()))
                })?;
                Trust::initial(envelope, &pinned).or_problem(refused)?
            }
        };
        files::private_folder(&self.folder)?;
        let json = envelope.to_json().or_problem(refused)?;
        files::write(&self.root_file(next.version()), &json, 0o644)?;
        Ok(next)
    }

    /// Takes from `offered` what follows the chain held, and stores it. Roots that are already held must
    /// be the same bytes.
    pub(crate) fn extend(&self, offered: &[Envelope]) -> Outcome<Option<Trust>> {
        let mut trust = self.load()?;
        let held = self.chain()?;
        for (index, envelope) in offered.iter().enumerate() {
            match held.get(index) {
                Some(own) if own.payload == envelope.payload => {}
                Some(_) => {
                    let version = index + 1;
                    return Err(Problem::new("E0631", msg!("trust-forked", version = version)));
                }
                None => trust = Some(self.append(trust.as_ref(), envelope)?),
            }
        }
        Ok(trust)
    }
}
