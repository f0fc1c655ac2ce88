//! The committed corpus, and the documents that this version writes for it.
#![expect(clippy::disallowed_methods, reason = "reads the committed files")]

use std::fs;
use std::path::PathBuf;

use digue_proto::bundle::{LeafBytes, OrderBundle};
use digue_proto::frame::{FromAgent, FromController, Hello, Welcome};
use digue_proto::id::Nonce;
use digue_proto::order::Action;
use digue_proto::strict;
use digue_proto::trust::PROTOCOL_VERSION;

use crate::support::people::{key, public};
use crate::support::sshsig::{Blob, SecurityKey};
use crate::support::world::{block_list, cut_policy, isolate_policy, root_v1};
use crate::support::{Machine, World};

fn folder(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "corpus", name].iter().collect()
}

/// The files of one folder, by name.
pub(super) fn files(name: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder(name))
        .expect("a folder of the corpus")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("UTF-8");
            (name, fs::read(entry.path()).expect("a file"))
        })
        .collect();
    files.sort();
    files
}

/// What this version writes: folder, file name, bytes.
pub(super) fn written_now() -> Vec<(&'static str, String, Vec<u8>)> {
    let world = World::new();
    let challenge = Nonce::from_bytes([9; 16]);
    let release = world.release(2, challenge);
    let mut drafts = vec![
        ("cut", world.cut(1)),
        ("drill", world.drill(1, 600, challenge)),
        ("release", release.clone()),
        ("adjust", world.adjust(3, isolate_policy(), challenge)),
        ("block", world.block(1, block_list(&["198.51.100.0/24", "2001:db8:66::/64"]))),
        ("unblock", world.unblock(2, block_list(&[]), challenge)),
        ("report", world.order(1, Action::Report {})),
    ];
    drafts.push((
        "without-verdict",
        world.order(4, Action::Release { without_verdict: true }).challenged(challenge),
    ));
    let mut out = Vec::new();
    let mut put = |folder, name: &str, bytes| out.push((folder, format!("good-{name}"), bytes));
    for (name, draft) in &drafts {
        put("envelope", name, draft.envelope().to_json().expect("JSON"));
        let frame = FromController::Deliver(Box::new(draft.deliver())).encode().expect("it fits");
        put("from-controller", &format!("deliver-{name}"), frame[4..].to_vec());
    }
    put("envelope", "root", world.first.to_json().expect("JSON"));
    put("envelope", "clean", world.clean(&["bruno", "claire"]).to_json().expect("JSON"));
    put("root", "v1", strict::to_vec(&root_v1()).expect("JSON"));
    put("armour", "ed25519", Blob::good("alice", "digue-protect.v1", b"{}").armour().into_bytes());
    put("key", "ed25519", public(&key("alice")).to_string().into_bytes());
    put("key", "sk-ed25519", SecurityKey::new("token", "ssh:digue").public().to_string().into_bytes());
    let welcome = Welcome { protocol: PROTOCOL_VERSION, nonce: Nonce::from_bytes([3; 16]), enrolled: true };
    for (name, frame) in [
        ("welcome", FromController::Welcome(welcome)),
        (
            "roots",
            FromController::Roots(vec![world.first.clone(), world.next_root(&["alice", "bruno"], |_| {})]),
        ),
        ("stored", FromController::Stored(world.deployment())),
    ] {
        put("from-controller", name, frame.encode().expect("it fits")[4..].to_vec());
    }
    let machine = cut_machine(&world);
    put("state", "cut", machine.disk.state.clone().expect("a state"));
    put("state", "fresh", digue_proto::host::HostState::fresh().to_bytes().expect("JSON"));
    let documents = machine.state().outbox.iter();
    for document in documents {
        let kind = document.payload_type;
        let signed =
            digue_proto::sign::seal(&world.host, kind, document.payload.clone()).expect("a signature");
        let name = format!("{}-{}", kind.namespace().trim_end_matches(".v1"), document.seq.unwrap_or(0));
        put("from-agent", &name, FromAgent::Document(signed).encode().expect("it fits")[4..].to_vec());
    }
    put("from-agent", "hello", FromAgent::Hello(hello()).encode().expect("it fits")[4..].to_vec());
    put("bundle", "release", strict::to_vec(&bundle(&release)).expect("JSON"));
    out
}

fn hello() -> Hello {
    let host_id = crate::support::world::host_id();
    Hello { protocol: PROTOCOL_VERSION, host_id, root_version: 1, probe: false }
}

fn cut_machine(world: &World) -> Machine {
    let mut machine = Machine::new(world);
    machine.never_stored = true;
    machine.obeys(&world.contain(1, cut_policy()).deliver());
    machine
}

fn bundle(draft: &crate::support::Draft) -> OrderBundle {
    let mut draft = draft.clone();
    let leaf = draft.leaf.take().expect("a leaf");
    let leaves = vec![LeafBytes(strict::to_vec(&leaf).expect("JSON"))];
    draft.order.target =
        digue_proto::order::Target::List { root: digue_proto::merkle::root(&leaves), count: 1 };
    OrderBundle { order: draft.envelope(), leaves, statements: draft.statement.into_iter().collect() }
}
