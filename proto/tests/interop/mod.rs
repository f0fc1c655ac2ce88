//! Stock `ssh-keygen` in both directions: it accepts what we sign, and we accept what it signs.
//!
//! Skipped, with a printed reason, where OpenSSH is not installed.
#![expect(clippy::disallowed_methods, reason = "runs another program on files of its own")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::key::PublicKey;
use digue_proto::sign;
use digue_proto::verify::tally;
use ssh_key::LineEnding;
use tempfile::TempDir;

use crate::support::people::plain;
use crate::support::sshsig::{Blob, SecurityKey};
use crate::support::{World, key, public};

/// A folder with alice's key and an allowed-signers file, and `ssh-keygen` to use them.
struct Stock {
    folder: TempDir,
}

impl Stock {
    fn new() -> Option<Self> {
        let found = Command::new("ssh-keygen").arg("-?").stdin(Stdio::null()).output().is_ok();
        if !found {
            println!("skipped: ssh-keygen is not installed");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let stock = Self { folder };
        let private = key("alice").to_openssh(LineEnding::LF).expect("a key file");
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(stock.path("alice"));
        file.expect("a file").write_all(private.as_bytes()).expect("written");
        stock.allow(&public(&key("alice")));
        Some(stock)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn allow(&self, key: &PublicKey) {
        fs::write(self.path("allowed_signers"), format!("alice {key}\n")).expect("written");
    }

    /// Whether `ssh-keygen -Y verify` accepts the signature for this namespace.
    fn accepts(&self, namespace: &str, armour: &str, payload: &[u8]) -> bool {
        let signature = self.path("payload.sig");
        fs::write(&signature, armour).expect("written");
        let run = Command::new("ssh-keygen")
            .args(["-Y", "verify", "-I", "alice", "-n", namespace, "-f"])
            .arg(self.path("allowed_signers"))
            .arg("-s")
            .arg(&signature)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = run.expect("ssh-keygen starts");
        child.stdin.take().expect("its input").write_all(payload).expect("it reads");
        child.wait().expect("it ends").success()
    }

    /// What `ssh-keygen -Y sign` writes.
    fn sign(&self, namespace: &str, payload: &[u8], options: &[&str]) -> String {
        let file = self.path("payload");
        let written = self.path("payload.sig");
        fs::write(&file, payload).expect("written");
        let _ = fs::remove_file(&written);
        let run = Command::new("ssh-keygen")
            .args(["-Y", "sign", "-n", namespace])
            .args(options)
            .arg("-f")
            .arg(self.path("alice"))
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .expect("ssh-keygen starts");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        read(&written)
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a signature file")
}

/// Whether our own verification counts the signature.
fn counts(kind: PayloadType, armour: &str, payload: &[u8]) -> bool {
    let key = plain(public(&key("alice")));
    let envelope =
        Envelope { payload_type: kind, payload: payload.to_vec(), signatures: vec![armour.to_owned()] };
    tally(&envelope, &[((), &key)]).counted.len() == 1
}

const PAYLOADS: [&[u8]; 3] = [b"{}", b"", b"line\r\nline\n\xff\x00"];

#[test]
fn stock_ssh_keygen_accepts_what_we_sign_under_its_own_namespace_alone() {
    let Some(stock) = Stock::new() else { return };
    for kind in PayloadType::ALL {
        for payload in PAYLOADS {
            let envelope = sign::seal(&key("alice"), kind, payload.to_vec()).expect("a signature");
            let armour = &envelope.signatures[0];
            assert!(stock.accepts(kind.namespace(), armour, payload), "{kind}");
            assert!(!stock.accepts("file", armour, payload), "{kind} under another namespace");
            assert!(!stock.accepts(kind.namespace(), armour, &[payload, b"x"].concat()), "{kind} altered");
        }
    }
}

#[test]
fn we_accept_what_stock_ssh_keygen_signs_under_its_own_namespace_alone() {
    let Some(stock) = Stock::new() else { return };
    for kind in PayloadType::ALL {
        for payload in PAYLOADS {
            for options in [&[][..], &["-O", "hashalg=sha256"]] {
                let armour = stock.sign(kind.namespace(), payload, options);
                assert!(counts(kind, &armour, payload), "{kind} {options:?}");
                assert!(!counts(kind, &armour, &[payload, b"x"].concat()), "{kind} altered");
                for other in PayloadType::ALL.into_iter().filter(|other| *other != kind) {
                    assert!(!counts(other, &armour, payload), "{kind} counted as {other}");
                }
            }
        }
    }
}

#[test]
fn an_order_signed_with_nothing_but_ssh_keygen_is_obeyed() {
    let Some(stock) = Stock::new() else { return };
    let world = World::new();
    let mut machine = crate::support::Machine::new(&world);
    let mut delivery = world.cut(1).by(&[]).deliver();
    delivery.order.signatures = vec![stock.sign("digue-protect.v1", &delivery.order.payload, &[])];
    machine.obeys(&delivery);
}

/// Everything can be checked without us: what counts here must be good for OpenSSH as well.
#[test]
fn no_altered_signature_counts_here_that_ssh_keygen_would_refuse() {
    let Some(stock) = Stock::new() else { return };
    let kind = PayloadType::Protect;
    let blob = Blob::good("alice", kind.namespace(), b"{}");
    assert!(stock.accepts(kind.namespace(), &blob.armour(), b"{}"), "the hand-made signature is good");
    let good = blob.armour();
    let mut lenient = 0;
    for at in 0..good.len() {
        for change in [1u8, 2, 0x20] {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= change;
            let Ok(altered) = String::from_utf8(bytes) else { continue };
            if counts(kind, &altered, b"{}") {
                lenient += 1;
                assert!(stock.accepts(kind.namespace(), &altered, b"{}"), "byte {at} altered by {change}");
            }
        }
    }
    let crlf = good.replace('\n', "\r\n");
    assert!(counts(kind, &crlf, b"{}"), "line ends of another system are no alteration");
    assert!(lenient < 20, "{lenient} alterations went unnoticed");
}

/// The reason why touch and PIN are checked here: OpenSSH accepts a security key that was not touched.
#[test]
fn ssh_keygen_does_not_look_at_touch_and_we_do() {
    let Some(stock) = Stock::new() else { return };
    let token = SecurityKey::new("token", "ssh:digue");
    stock.allow(&token.public());
    let kind = PayloadType::Release;
    for flags in [0, 1, 5] {
        let armour = token.sign(kind.namespace(), b"{}", flags, 3);
        assert!(stock.accepts(kind.namespace(), &armour, b"{}"), "OpenSSH refuses flags {flags}");
        let mut person = plain(token.public());
        person.require_touch = true;
        let envelope = Envelope { payload_type: kind, payload: b"{}".to_vec(), signatures: vec![armour] };
        assert_eq!(tally(&envelope, &[((), &person)]).counted.len(), usize::from(flags != 0));
    }
}
