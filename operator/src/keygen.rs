//! Running `ssh-keygen`: it makes and uses people's keys, so files, agents and security keys all work
//! and no private key ever enters this program.

use std::path::Path;
use std::process::Stdio;

use digue_proto::envelope::PayloadType;
use digue_proto::key::PublicKey;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::files;
use crate::message::msg;
use crate::problem::{OrProblem as _, Outcome, Problem};

/// The kinds of keys that `keys init` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum KeyType {
    /// A key in a file.
    #[value(name = "ed25519")]
    Ed25519,
    /// A key in a FIDO security key.
    #[value(name = "ed25519-sk")]
    Ed25519Sk,
}

fn failed(what: &str) -> Problem {
    Problem::new("E0610", msg!("keygen-failed", what = what))
}

/// Makes a key pair. Without `no_passphrase`, `ssh-keygen` asks for one on the terminal.
pub(crate) async fn make(path: &Path, kind: KeyType, name: &str, no_passphrase: bool) -> Outcome<PublicKey> {
    if path.exists() || public_path(path).exists() {
        return Err(Problem::new("E0606", msg!("file-exists", path = path.display().to_string())));
    }
    let mut command = Command::new("ssh-keygen");
    command.arg("-q").arg("-C").arg(format!("digue {name}")).arg("-f").arg(path);
    match kind {
        KeyType::Ed25519 => command.args(["-t", "ed25519"]),
        // An application of its own: a forwarded login agent must not hold the key that orders (3.3).
        KeyType::Ed25519Sk => {
            command.args(["-t", "ed25519-sk", "-O", "application=ssh:digue", "-O", "verify-required"])
        }
    };
    if no_passphrase {
        command.args(["-N", ""]).stdin(Stdio::null());
    }
    let status = command.status().await.or_problem(|| failed("ssh-keygen"))?;
    if !status.success() {
        return Err(failed("ssh-keygen -t").because(status));
    }
    public_key(path)
}

fn public_path(path: &Path) -> std::path::PathBuf {
    if path.extension().is_some_and(|e| e == "pub") {
        return path.to_path_buf();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// The public key of a key file, read from its `.pub`.
pub(crate) fn public_key(path: &Path) -> Outcome<PublicKey> {
    let public = public_path(path);
    let text = files::read_text(&public)?;
    let line = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#')).unwrap_or_default();
    PublicKey::from_openssh_line(line)
        .or_problem(|| Problem::new("E0611", msg!("key-unreadable", path = public.display().to_string())))
}

/// Signs `payload` under the namespace of its type and returns the armoured signature.
///
/// The bytes go through standard input, so nothing is left on disk; a passphrase is asked on the terminal.
pub(crate) async fn sign(key: &Path, payload_type: PayloadType, payload: &[u8]) -> Outcome<String> {
    let shown = key.display().to_string();
    let problem = || Problem::new("E0610", msg!("keygen-sign-failed", path = shown.as_str()));
    let mut child = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-n", payload_type.namespace(), "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .or_problem(problem)?;
    let mut stdin = child.stdin.take();
    let feed = async {
        // A child that fails before reading closes the pipe; its own words say why.
        if let Some(pipe) = stdin.as_mut() {
            let _closed_early = pipe.write_all(payload).await;
        }
        drop(stdin);
    };
    let (_, output) = tokio::join!(feed, child.wait_with_output());
    let output = output.or_problem(problem)?;
    if !output.status.success() {
        return Err(problem().because(String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8(output.stdout).or_problem(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signature_by_ssh_keygen_counts_for_the_core() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alice");
        let public = make(&path, KeyType::Ed25519, "alice", true).await.expect("a key");
        let armour = sign(&path, PayloadType::Protect, b"payload").await.expect("a signature");
        let key = digue_proto::trust::PersonKey { key: public, require_touch: false, require_pin: false };
        let envelope = digue_proto::envelope::Envelope {
            payload_type: PayloadType::Protect,
            payload: b"payload".to_vec(),
            signatures: vec![armour],
        };
        let tally = digue_proto::verify::tally(&envelope, &[("alice", &key)]);
        assert_eq!(tally.counted.into_iter().collect::<Vec<_>>(), ["alice"]);
        assert!(make(&path, KeyType::Ed25519, "alice", true).await.is_err(), "a key was overwritten");
    }

    #[tokio::test]
    async fn a_missing_key_is_a_clear_failure() {
        let error =
            sign(Path::new("/nonexistent/key"), PayloadType::Protect, b"x").await.expect_err("no key");
        assert_eq!(error.code, "E0610");
        assert!(error.cause.is_some());
    }
}
