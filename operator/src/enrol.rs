//! Bringing servers' keys into the signed inventory (3.8 of the trust design).
//!
//! Over SSH the session proves the key; with a join secret a MAC does that the controller cannot make;
//! by courier a person's eyes do. In no case does the controller's word count.

use std::path::PathBuf;
use std::process::Stdio;

use digue_proto::enrol::check_mac;
use digue_proto::id::{HostId, Nonce};
use digue_proto::key::PublicKey;
use digue_proto::report::EnrolV1;
use digue_proto::trust::{InventoryHost, InventoryV1};
use digue_proto::trust_chain::Trust;
use digue_proto::verify::verify_host;
use rand_core::{OsRng, RngCore as _};
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::app::{App, Session};
use crate::client::api::Enrolment;
use crate::context;
use crate::files;
use crate::keygen;
use crate::message::msg;
use crate::problem::{OrProblem as _, Outcome, Problem};
use crate::trust_store::TrustStore;

/// A host and the key that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewKey {
    /// The host.
    pub(crate) host: HostId,
    /// Its agent's public key.
    pub(crate) key: PublicKey,
}

/// `srv-001=KEY`, where KEY is a public key line or a file.
pub(crate) fn key_argument(text: &str) -> Result<NewKey, String> {
    let (host, rest) = text.split_once('=').ok_or_else(|| format!("{text:?} is not HOST=PUBLICKEY"))?;
    let host = host.parse().map_err(|e| format!("{e}"))?;
    let key = match PublicKey::from_openssh_line(rest) {
        Ok(key) => key,
        Err(error) => keygen::public_key(&PathBuf::from(rest)).map_err(|_| error.to_string())?,
    };
    Ok(NewKey { host, key })
}

/// Output of `digue-agent init`; other members are ignored.
#[derive(Debug, Deserialize)]
struct InitOutput {
    host_id: HostId,
    host_key: PublicKey,
}

/// Reads lines of `digue-agent init` output.
pub(crate) fn key_lines(text: &str) -> Result<Vec<NewKey>, Vec<String>> {
    let (mut keys, mut problems): (Vec<NewKey>, Vec<String>) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        match serde_json::from_str::<InitOutput>(line) {
            Err(error) => problems.push(format!("line {}: {error}", number + 1)),
            Ok(read) if keys.iter().any(|k| k.host == read.host_id) => {
                problems.push(format!("line {}: {} stands twice", number + 1, read.host_id));
            }
            Ok(read) => keys.push(NewKey { host: read.host_id, key: read.host_key }),
        }
    }
    if keys.is_empty() && problems.is_empty() {
        problems.push("no line".to_owned());
    }
    if problems.is_empty() { Ok(keys) } else { Err(problems) }
}

/// What an enrolment does to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enrolled {
    /// It had no key.
    First,
    /// It had another key: it was rebuilt, and nothing signed for the old machine binds the new one.
    Rebuilt,
    /// It has this key already.
    Unchanged,
    /// The inventory did not name it.
    Added,
}

/// Puts keys into an inventory. Unknown hosts are added only if `add_missing`.
pub(crate) fn put(
    inventory: &mut InventoryV1,
    keys: &[NewKey],
    add_missing: bool,
) -> Outcome<Vec<(HostId, Enrolled)>> {
    let mut done = Vec::new();
    for new in keys {
        let found = inventory.hosts.iter_mut().find(|h| h.host_id == new.host);
        let what = match found {
            Some(host) if host.host_key.as_ref() == Some(&new.key) => Enrolled::Unchanged,
            Some(host) => {
                let rebuilt = host.host_key.replace(new.key.clone()).is_some();
                host.incarnation += u64::from(rebuilt);
                if rebuilt { Enrolled::Rebuilt } else { Enrolled::First }
            }
            None if add_missing => {
                inventory.hosts.push(InventoryHost {
                    host_id: new.host.clone(),
                    host_key: Some(new.key.clone()),
                    incarnation: 1,
                    addresses: Vec::new(),
                    labels: Vec::new(),
                });
                Enrolled::Added
            }
            None => return Err(Problem::new("E0640", msg!("host-unknown", host = new.host.to_string()))),
        };
        done.push((new.host.clone(), what));
    }
    Ok(done)
}

/// The file of a host's join secret.
pub(crate) fn invite_file(app: &App, session_name: &str, host: &HostId) -> PathBuf {
    app.config.context_folder(session_name).join("invitations").join(host.as_str())
}

/// Draws a join secret for one host and writes it down; an earlier one is void.
pub(crate) fn invite(app: &App, context_name: &str, host: &HostId) -> Outcome<PathBuf> {
    let mut secret = [0u8; 16];
    OsRng.try_fill_bytes(&mut secret).or_problem(|| Problem::of("E0605"))?;
    let path = invite_file(app, context_name, host);
    if let Some(folder) = path.parent() {
        files::private_folder(folder)?;
    }
    files::write(&path, format!("{}\n", Nonce::from_bytes(secret)).as_bytes(), 0o600)?;
    Ok(path)
}

/// Judges one request by the join secret of its host; `None` if that host was not invited here.
pub(crate) fn judge(app: &App, session: &Session, request: &Enrolment) -> Outcome<Option<NewKey>> {
    let path = invite_file(app, &session.context.name, &request.host_id);
    let Some(bytes) = files::read_if_there(&path)? else { return Ok(None) };
    let unreadable = || Problem::new("E0604", msg!("file-not-read", path = path.display().to_string()));
    let secret: Nonce =
        String::from_utf8(bytes).or_problem(unreadable)?.trim().parse().or_problem(unreadable)?;
    let host = request.host_id.to_string();
    let forged = |why: String| Problem::new("E0644", msg!("enrol-forged", host = host.as_str())).because(why);
    judge_by_secret(&secret, &session.trust, request).map(Some).map_err(forged)
}

/// Whether a request was made by the host that holds the secret, for the key that it names, in sight of a
/// controller that the trust root names.
fn judge_by_secret(secret: &Nonce, trust: &Trust, request: &Enrolment) -> Result<NewKey, String> {
    let verified = verify_host::<EnrolV1>(&request.envelope, &request.host_key, trust.deployment_id());
    let verified = verified.map_err(|error| error.to_string())?;
    let signed = verified.value();
    if signed.host_id != request.host_id || signed.host_key != request.host_key {
        return Err("the signed request names another host or key".to_owned());
    }
    if !check_mac(secret.as_bytes(), signed) {
        return Err("the MAC was not made with the join secret of this host".to_owned());
    }
    let seen = signed.controller_spki_sha256;
    if !trust.root().controllers.iter().any(|c| c.spki_sha256 == seen) {
        return Err(format!("the host saw controller key {seen}, which the trust root does not name"));
    }
    Ok(NewKey { host: signed.host_id.clone(), key: signed.host_key.clone() })
}

/// Where and how to reach one host over SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshTarget {
    /// The host's name in the inventory.
    pub(crate) host: HostId,
    /// What `ssh` is given.
    pub(crate) destination: String,
}

/// `srv-001` or `srv-001=admin@10.0.0.1`.
pub(crate) fn ssh_target(text: &str) -> Result<SshTarget, String> {
    let (host, destination) = text.split_once('=').unwrap_or((text, text));
    if destination.starts_with('-') || destination.is_empty() {
        return Err(format!("{destination:?} is not an SSH destination"));
    }
    Ok(SshTarget { host: host.parse().map_err(|e| format!("{e}"))?, destination: destination.to_owned() })
}

/// Runs `digue-agent init` on a host over SSH and returns the key that it prints.
pub(crate) async fn over_ssh(
    session: &Session,
    target: &SshTarget,
    ssh_command: &str,
    agent_command: &str,
) -> Outcome<NewKey> {
    let failed = || Problem::new("E0645", msg!("enrol-ssh-failed", host = target.host.to_string()));
    let store = TrustStore::new(&session.context.trust_dir);
    let chain = store.chain()?;
    let root = chain.first().ok_or_else(failed)?.to_json().or_problem(failed)?;
    let mut words = ssh_command.split_whitespace();
    let program = words.next().ok_or_else(failed)?;
    // `cat |` because a server may give the command a socket, which /dev/stdin cannot open.
    let remote =
        format!("cat | {agent_command} --root /dev/stdin --root-sha256 {}", session.trust.deployment_id());
    let mut child = Command::new(program)
        .args(words)
        .args(["-o", "BatchMode=yes", "--"])
        .arg(&target.destination)
        .arg(remote)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .or_problem(failed)?;
    let mut stdin = child.stdin.take();
    let feed = async {
        if let Some(pipe) = stdin.as_mut() {
            // A remote end that fails before reading says why on its standard error.
            let _closed_early = pipe.write_all(&root).await;
        }
        drop(stdin);
    };
    let (_, output) = tokio::join!(feed, child.wait_with_output());
    let output = output.or_problem(failed)?;
    if !output.status.success() {
        return Err(
            failed().because(crate::output::printable(String::from_utf8_lossy(&output.stderr).trim()))
        );
    }
    let read: InitOutput = serde_json::from_slice(&output.stdout).or_problem(failed)?;
    if read.host_id != target.host {
        return Err(failed().because(format!("the agent there calls itself {}", read.host_id)));
    }
    Ok(NewKey { host: read.host_id, key: read.host_key })
}

/// The default SSH program.
pub(crate) const SSH: &str = "ssh";
/// The default command on the server.
pub(crate) const AGENT: &str = "digue-agent init";

/// Reads a file of `digue-agent init` output.
pub(crate) fn keys_from(path: &std::path::Path) -> Outcome<Vec<NewKey>> {
    let shown = context::absolute(path).display().to_string();
    key_lines(&files::read_text(path)?).map_err(|problems| {
        Problem::new("E0643", msg!("keys-file-refused", path = shown)).because(problems.join("\n  "))
    })
}

#[cfg(test)]
mod tests {
    use digue_proto::enrol::make_mac;
    use digue_proto::envelope::{Envelope, PayloadType};
    use digue_proto::id::{Digest, UnixMillis};
    use digue_proto::strict;

    use super::*;
    use crate::fleet::tests::{inventory_host, inventory_of};

    #[test]
    fn a_rebuilt_host_gets_a_new_incarnation_and_an_unknown_one_needs_to_be_asked_for() {
        let mut inventory = inventory_of(vec![inventory_host("a", 1)]);
        let key = |seed| inventory_host("x", seed).host_key.expect("a key");
        let new = |host: &str, seed| NewKey { host: host.parse().expect("name"), key: key(seed) };
        let done = put(&mut inventory, &[new("a", 1)], false).expect("done");
        assert_eq!((done[0].1, inventory.hosts[0].incarnation), (Enrolled::Unchanged, 1));
        let done = put(&mut inventory, &[new("a", 2)], false).expect("done");
        assert_eq!((done[0].1, inventory.hosts[0].incarnation), (Enrolled::Rebuilt, 2));
        assert!(put(&mut inventory, &[new("b", 3)], false).is_err());
        assert_eq!(put(&mut inventory, &[new("b", 3)], true).expect("done")[0].1, Enrolled::Added);
    }

    #[test]
    fn key_lines_name_the_line_that_is_wrong() {
        let key = inventory_host("a", 1).host_key.expect("a key");
        let good = format!("{{\"host_id\":\"a\",\"host_key\":\"{key}\",\"fingerprint\":\"x\"}}\n");
        assert_eq!(key_lines(&good).expect("keys").len(), 1);
        let twice = key_lines(&format!("{good}\n{good}")).expect_err("refused");
        assert!(twice[0].starts_with("line 3"), "{twice:?}");
        assert!(key_lines("").is_err());
        assert!(key_lines("{\"host_id\":\"a\"}").expect_err("refused")[0].starts_with("line 1"));
    }

    /// A request for `host`, made with `secret` and signed by a key of its own.
    async fn request(
        folder: &std::path::Path,
        host: &str,
        secret: [u8; 16],
        deployment: Digest,
        pin: Digest,
    ) -> Enrolment {
        let path = folder.join(format!("{host}-{}", secret[0]));
        let key = keygen::make(&path, keygen::KeyType::Ed25519, host, true).await.expect("a key");
        let host_id: HostId = host.parse().expect("name");
        let mac = make_mac(&secret, &deployment, &host_id, &key, &pin).expect("a MAC");
        let signed = EnrolV1 {
            deployment_id: deployment,
            host_id: host_id.clone(),
            host_key: key.clone(),
            controller_spki_sha256: pin,
            mac,
            at_ms: UnixMillis(1),
        };
        let payload = strict::to_vec(&signed).expect("bytes");
        let armour = keygen::sign(&path, PayloadType::Enrol, &payload).await.expect("signed");
        Enrolment {
            envelope: Envelope { payload_type: PayloadType::Enrol, payload, signatures: vec![armour] },
            host_id,
            fingerprint: key.fingerprint(),
            host_key: key,
            peer: "10.77.1.1".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_controller_that_swaps_the_key_or_stands_in_between_is_found_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let trust = crate::tests::trust(folder.path(), Digest::of(b"controller")).await;
        let (deployment, pin) = (trust.deployment_id(), Digest::of(b"controller"));
        let secret = Nonce::from_bytes([7; 16]);
        let honest = request(folder.path(), "srv-001", [7; 16], deployment, pin).await;
        assert_eq!(judge_by_secret(&secret, &trust, &honest).map(|k| k.key), Ok(honest.host_key.clone()));
        // D6: another key, with a MAC by whoever does not know the secret.
        let swapped = request(folder.path(), "srv-001", [8; 16], deployment, pin).await;
        assert!(judge_by_secret(&secret, &trust, &swapped).expect_err("refused").contains("MAC"));
        // D6: the honest bytes beside another key.
        let beside = Enrolment {
            host_key: swapped.host_key.clone(),
            ..request(folder.path(), "srv-009", [7; 16], deployment, pin).await
        };
        assert!(judge_by_secret(&secret, &trust, &beside).is_err());
        // D7: the secret of one host, used for another.
        let other = Enrolment { host_id: "srv-002".parse().expect("name"), ..honest };
        assert!(judge_by_secret(&secret, &trust, &other).expect_err("refused").contains("another host"));
        let middle = request(folder.path(), "srv-003", [7; 16], deployment, Digest::of(b"middle")).await;
        assert!(judge_by_secret(&secret, &trust, &middle).expect_err("refused").contains("does not name"));
    }

    #[test]
    fn a_destination_cannot_be_an_option_of_ssh() {
        assert!(ssh_target("a=-oProxyCommand=x").is_err());
        assert_eq!(ssh_target("a").expect("a target").destination, "a");
    }
}
