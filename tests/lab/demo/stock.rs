//! The stored documents in the hands of stock tools: every signature of every document, by `ssh-keygen`.
//!
//! Deliberately absent: Digue's own verification; `digue audit verify` is a step of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

use anyhow::{Context, Result, bail, ensure};
use digue_proto::envelope::Envelope;
use serde::Deserialize;

use super::stage::{PATIENCE, Stage};

/// One page of `/api/v1/envelopes`.
#[derive(Deserialize)]
struct Page {
    envelopes: Vec<Stored>,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Stored {
    seq: u64,
    envelope: Envelope,
}

/// What `ssh-keygen` made of a store.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Documents by kind: orders, receipts and reports, and the others.
    pub(super) orders: usize,
    pub(super) receipts: usize,
    pub(super) reports: usize,
    pub(super) others: usize,
    /// Signatures that `ssh-keygen` accepted.
    pub(super) signatures: usize,
}

impl Checked {
    pub(super) const fn documents(&self) -> usize {
        self.orders + self.receipts + self.reports + self.others
    }

    fn add(&mut self, other: &Self) {
        self.orders += other.orders;
        self.receipts += other.receipts;
        self.reports += other.reports;
        self.others += other.others;
        self.signatures += other.signatures;
    }
}

/// One signature as loose files.
pub(super) struct Loose {
    payload: PathBuf,
    signature: PathBuf,
    namespace: &'static str,
}

/// Fetches everything that the controller has stored, and has `ssh-keygen` verify every signature of it.
///
/// # Errors
/// A signature that `ssh-keygen` does not accept, or a store that cannot be read.
pub(super) fn verify_store(stage: &Stage, signers: &Path) -> Result<(Checked, Loose)> {
    let folder = stage.file("store");
    fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let stored = fetch_all(&stage.place().join("api.sock"))?;
    let abreast = available_parallelism().map_or(2, usize::from);
    let parts: Vec<&[Stored]> = stored.chunks(stored.len().div_ceil(abreast).max(1)).collect();
    let results = std::thread::scope(|scope| {
        let folder = &folder;
        let part = |part| scope.spawn(move || verify_part(part, folder, signers));
        let running: Vec<_> = parts.into_iter().map(part).collect();
        running.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    let mut checked = Checked::default();
    for result in results {
        let part =
            result.map_err(|_| anyhow::anyhow!("a thread that verified signatures has ended early"))?;
        checked.add(&part?);
    }
    let order = stored.iter().find(|one| one.envelope.payload_type.namespace() == "digue-protect.v1");
    let order = order.context("no order is stored")?;
    Ok((checked, loose(&folder, order.seq, 0, order.envelope.payload_type.namespace())))
}

fn verify_part(part: &[Stored], folder: &Path, signers: &Path) -> Result<Checked> {
    let mut checked = Checked::default();
    for Stored { seq, envelope } in part {
        let namespace = envelope.payload_type.namespace();
        match namespace {
            "digue-query.v1" | "digue-protect.v1" | "digue-release.v1" => checked.orders += 1,
            "digue-receipt.v1" => checked.receipts += 1,
            "digue-report.v1" => checked.reports += 1,
            _ => checked.others += 1,
        }
        ensure!(!envelope.signatures.is_empty(), "document {seq} ({namespace}) carries no signature");
        for (number, armour) in envelope.signatures.iter().enumerate() {
            let loose = loose(folder, *seq, number, namespace);
            write(&loose.payload, &envelope.payload)?;
            write(&loose.signature, armour.as_bytes())?;
            let who = signer(&loose, signers).with_context(|| format!("document {seq} ({namespace})"))?;
            let accepted = accepted(&loose, signers, &who)?;
            ensure!(accepted, "ssh-keygen does not accept {who}'s signature of document {seq} ({namespace})");
            checked.signatures += 1;
        }
    }
    Ok(checked)
}

fn loose(folder: &Path, seq: u64, number: usize, namespace: &'static str) -> Loose {
    Loose {
        payload: folder.join(format!("{seq}.json")),
        signature: folder.join(format!("{seq}.{number}.sig")),
        namespace,
    }
}

/// Who signed, as `ssh-keygen` finds it in the list of keys.
pub(super) fn signer(loose: &Loose, signers: &Path) -> Result<String> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "find-principals", "-s"]).arg(&loose.signature).arg("-f").arg(signers);
    let output = command.stdin(Stdio::null()).output().context("running ssh-keygen")?;
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || found.is_empty() {
        bail!("ssh-keygen finds no signer: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(found)
}

/// Whether `ssh-keygen -Y verify` accepts a signature as `who`'s.
pub(super) fn accepted(loose: &Loose, signers: &Path, who: &str) -> Result<bool> {
    let payload = fs::File::open(&loose.payload).context("opening a payload")?;
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-f"]).arg(signers).args(["-I", who, "-n", loose.namespace, "-s"]);
    command.arg(&loose.signature).stdin(payload).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status().context("running ssh-keygen")?.success())
}

/// The same document with its last byte changed.
pub(super) fn forged(loose: &Loose) -> Result<Loose> {
    let mut bytes = fs::read(&loose.payload).context("reading a payload")?;
    let last = bytes.last_mut().context("an empty payload")?;
    *last ^= 1;
    let payload = loose.payload.with_extension("forged");
    write(&payload, &bytes)?;
    Ok(Loose { payload, signature: loose.signature.clone(), namespace: loose.namespace })
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

fn fetch_all(socket: &Path) -> Result<Vec<Stored>> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page: Page = serde_json::from_slice(&get(socket, &format!("/api/v1/envelopes?after={after}"))?)
            .context("reading what the controller stored")?;
        all.extend(page.envelopes);
        match page.next {
            Some(next) if next > after => after = next,
            Some(_) | None => return Ok(all),
        }
    }
}

/// One answer of the controller's API; version 1.0 of HTTP, so that it comes in one piece.
fn get(socket: &Path, path: &str) -> Result<Vec<u8>> {
    let asking = || format!("asking the controller for {path}");
    let mut stream = UnixStream::connect(socket).with_context(asking)?;
    stream.set_read_timeout(Some(PATIENCE)).with_context(asking)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: lab\r\n\r\n").with_context(asking)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(asking)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").with_context(asking)?;
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200 "), "{}: it answered {status:?}", asking());
    Ok(answer.split_off(end + 4))
}
