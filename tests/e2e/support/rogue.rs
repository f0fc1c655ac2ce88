//! The controller as its intruder runs it: in the real one's place, with the real one's key.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use digue_lab::control::ProgramAction;
use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::frame::Delivery;
use digue_proto::id::{Challenge, Digest};
use digue_proto::report::{ReceiptV1, ReportV1};
use serde_json::{Value, json};

use super::{Scene, json_lines, text, wait_for, wait_until};

/// An intruder on the controller's machine. The real controller is stopped; it starts again when this ends.
pub(crate) struct Rogue<'a> {
    scene: &'a Scene,
    child: Child,
    file: PathBuf,
}

impl<'a> Rogue<'a> {
    /// Takes the controller's place, and waits until these agents are connected.
    pub(crate) fn take_over(scene: &'a Scene, hosts: &[&str]) -> Self {
        scene.program("controller", ProgramAction::Stop);
        let key = scene.lab.place().host("controller").join("data").join("tls.key");
        let file = scene.file("rogue.jsonl");
        let words = ["digue-intruder", "controller", "--listen", "10.77.0.2:7443", "--key", text(&key)];
        let mut command = scene.lab.exec("controller", words);
        command.stdin(Stdio::piped()).stdout(File::create(&file).expect("a file"));
        let child = command.spawn().expect("digue-lab exec");
        let rogue = Self { scene, child, file };
        for host in hosts {
            wait_until(&format!("{host} at the rogue controller"), || {
                rogue.heard().iter().any(|heard| heard["hello"]["host"] == *host)
            });
        }
        rogue
    }

    fn heard(&self) -> Vec<Value> {
        json_lines(&self.file)
    }

    fn documents(&self, host: &str, kind: PayloadType) -> Vec<Envelope> {
        let heard = self.heard();
        let from = heard.iter().map(|heard| &heard["document"]).filter(|document| document["host"] == host);
        let envelopes = from.map(|document| serde_json::from_value::<Envelope>(document["envelope"].clone()));
        envelopes.map(|envelope| envelope.expect("an envelope")).filter(|e| e.payload_type == kind).collect()
    }

    /// What a host answered to an order, oldest first.
    pub(crate) fn receipts(&self, host: &str, order: Digest) -> Vec<ReceiptV1> {
        let receipts = self.documents(host, PayloadType::Receipt);
        let receipts =
            receipts.iter().map(|e| serde_json::from_slice::<ReceiptV1>(&e.payload).expect("a receipt"));
        receipts.filter(|receipt| receipt.order == order).collect()
    }

    /// The challenge that a host last told.
    pub(crate) fn challenge(&self, host: &str) -> Challenge {
        let told = || {
            let reports = self.documents(host, PayloadType::Report);
            let receipts = self.documents(host, PayloadType::Receipt);
            let of_report = reports.iter().map(|e| {
                let report: ReportV1 = serde_json::from_slice(&e.payload).expect("a report");
                (report.seq, report.challenge)
            });
            let of_receipt = receipts.iter().map(|e| {
                let receipt: ReceiptV1 = serde_json::from_slice(&e.payload).expect("a receipt");
                (receipt.seq, receipt.challenge)
            });
            of_report.chain(of_receipt).max_by_key(|(seq, _)| *seq).and_then(|(_, challenge)| challenge)
        };
        wait_for(&format!("a challenge of {host}"), told)
    }

    /// Delivers to a host, whatever it is, and returns what the host answers.
    #[track_caller]
    pub(crate) fn deliver(&mut self, host: &str, delivery: &Delivery) -> ReceiptV1 {
        let order = delivery.order.digest();
        let before = self.receipts(host, order).len();
        let mut line = serde_json::to_vec(&json!({ "to": host, "deliver": delivery })).expect("JSON");
        line.push(b'\n');
        let stdin = self.child.stdin.as_mut().expect("standard input");
        stdin.write_all(&line).and_then(|()| stdin.flush()).expect("the rogue controller listens");
        wait_for("an answer to the order", || self.receipts(host, order).into_iter().nth(before))
    }

    /// Ends it, and starts the real controller.
    pub(crate) fn leave(self) {
        let scene = self.scene;
        drop(self);
        scene.program("controller", ProgramAction::Start);
        wait_until("the controller", || {
            super::api::request(&scene.api_socket(), "GET", "/readyz", b"").is_ok_and(|a| a.status == 200)
        });
    }
}

impl Drop for Rogue<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
