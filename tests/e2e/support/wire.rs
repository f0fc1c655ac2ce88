//! What arrives at the "internet", packet by packet, and sessions that are kept open inside a host.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use digue_lab::service::Arrival;
use serde::Deserialize;

use super::{Scene, json_lines, wait_until};

/// A packet that arrived.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Packet {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) protocol: u8,
    pub(crate) port: u16,
    pub(crate) text: String,
}

/// Sees every packet that arrives at the "internet".
pub(crate) struct Wire<'a> {
    scene: &'a Scene,
    file: PathBuf,
    child: Child,
    /// Packets, and arrivals at services, that were judged already.
    seen: (usize, usize),
    marks: u32,
}

impl<'a> Wire<'a> {
    pub(crate) fn tap(scene: &'a Scene) -> Self {
        let file = scene.file("wire.jsonl");
        let mut command = scene.lab.exec("internet", ["digue-intruder", "watch"]);
        command.stdin(Stdio::null()).stdout(File::create(&file).expect("a file"));
        let child = command.spawn().expect("digue-lab exec");
        wait_until("the tap", || std::fs::read_to_string(&file).is_ok_and(|text| text.contains('\n')));
        Self { scene, file, child, seen: (0, scene.arrivals().len()), marks: 0 }
    }

    fn packets(&self) -> Vec<Packet> {
        json_lines(&self.file)
    }

    /// Waits until everything sent before now has arrived: a datagram of the operator, whose host is never
    /// cut, goes the same way behind it. Returns what arrived since the last call.
    #[track_caller]
    pub(crate) fn arrived(&mut self) -> Vec<Packet> {
        self.marks += 1;
        let mark = format!("mark-{}-end", self.marks);
        let words = ["digue-lab", "probe", "udp", "198.51.100.80:7", "--text", &mark, "--within", "20000"];
        self.scene.inside("operator", &words);
        let at = |packets: &[Packet]| packets.iter().position(|packet| packet.text.contains(&mark));
        wait_until("the mark", || at(&self.packets()).is_some());
        let packets = self.packets();
        let end = at(&packets).expect("the mark");
        let new = packets.get(self.seen.0..end).unwrap_or_default().to_vec();
        self.seen.0 = end + 1;
        let arrivals = self.scene.arrivals();
        let old = self.seen.1;
        self.seen.1 = arrivals.len();
        let unmarked = |packet: &Packet| !packet.text.contains("mark-");
        let new: Vec<Packet> = new.into_iter().filter(unmarked).collect();
        // The end of a session may be told late; the packet that ended it is on the wire.
        let told = |arrival: &&Arrival| arrival.event != "tcp-end" && !arrival.text.contains("mark-");
        let recorded: Vec<&Arrival> = arrivals.iter().skip(old).filter(told).collect();
        assert!(
            recorded.is_empty() || !new.is_empty(),
            "services heard what the wire did not carry: {recorded:?}"
        );
        new
    }

    /// Asserts that nothing arrived since the last look.
    #[track_caller]
    pub(crate) fn silent(&mut self, during: &str) {
        let arrived = self.arrived();
        assert!(
            arrived.is_empty(),
            "{during}: {} packets got out, such as {:?}",
            arrived.len(),
            arrived.first()
        );
    }

    /// Asserts that something that says `text` arrived since the last look: the tap works.
    #[track_caller]
    pub(crate) fn heard(&mut self, text: &str) {
        let mut found = Vec::new();
        wait_until(&format!("{text:?} on the wire"), || {
            found.extend(self.arrived());
            found.iter().any(|packet| packet.text.contains(text))
        });
    }
}

impl Drop for Wire<'_> {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// What came of speaking on a session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Said {
    pub(crate) target: String,
    pub(crate) event: String,
    pub(crate) detail: String,
}

/// Sessions that were opened once, and are spoken on for as long as this lives.
pub(crate) struct Talk {
    file: PathBuf,
    child: Child,
    targets: Vec<String>,
}

impl Talk {
    /// Opens sessions from a machine, and waits until each was answered.
    pub(crate) fn open(scene: &Scene, machine: &str, text: &str, targets: &[&str]) -> Self {
        let file = scene.file(&format!("talk-{machine}-{text}.jsonl"));
        let words = [&["digue-intruder", "talk", "--text", text], targets].concat();
        let mut command = scene.lab.exec(machine, words);
        command.stdin(Stdio::null()).stdout(File::create(&file).expect("a file"));
        let child = command.spawn().expect("digue-lab exec");
        let targets = targets.iter().map(|&target| target.to_owned()).collect();
        let talk = Self { file, child, targets };
        for target in &talk.targets {
            wait_until(&format!("an answer from {target}"), || {
                talk.said(target).iter().any(|said| said.event == "answered")
            });
        }
        talk
    }

    /// What came of one session so far.
    pub(crate) fn said(&self, target: &str) -> Vec<Said> {
        json_lines::<Said>(&self.file).into_iter().filter(|said| said.target == target).collect()
    }

    /// How often one session was answered.
    pub(crate) fn answers(&self, target: &str) -> usize {
        self.said(target).iter().filter(|said| said.event == "answered").count()
    }

    /// Waits until a session has failed for good.
    #[track_caller]
    pub(crate) fn wait_dead(&self, target: &str) {
        wait_until(&format!("the end of the session to {target}"), || {
            self.said(target).last().is_some_and(|said| said.event == "error")
        });
    }

    /// Waits until a session was answered again.
    #[track_caller]
    pub(crate) fn wait_answer(&self, target: &str) {
        let before = self.answers(target);
        wait_until(&format!("another answer from {target}"), || self.answers(target) > before);
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
