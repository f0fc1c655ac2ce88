//! Arbitrary and damaged bytes: every reader answers, none panics, and none reads a thing in two ways.
//!
//! The corpus in `tests/corpus` is replayed: one folder a reader. Files named `good-` are what this version
//! writes, byte for byte: a change of a signed or stored form shows here first. Files named `bad-` were
//! damaged and must be refused.

mod corpus;

use digue_proto::bundle::OrderBundle;
use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::frame::{FromAgent, FromController, body_length};
use digue_proto::host::{Host, HostState, Input, Loaded, Now, Observed};
use digue_proto::id::{Nonce, UnixMillis};
use digue_proto::key::PublicKey;
use digue_proto::limits::{MAX_ENVELOPE, MAX_FRAME, MAX_PAYLOAD};
use digue_proto::report::Clocks;
use digue_proto::trust::{Class, RootV1};
use digue_proto::{strict, verify};
use proptest::prelude::*;

use crate::support::World;
use crate::support::people::plain;
use crate::support::sshsig::armour;
use crate::support::world::{BOOT, T0};

/// A reader: whether it accepts the bytes, and whether what it read says the same when written again.
type Reader = fn(&[u8]) -> bool;

/// Every reader of bytes that strangers send or that lie on a disk.
const READERS: [(&str, Reader); 8] = [
    ("envelope", read_envelope),
    ("armour", read_armour),
    ("from-agent", read_from_agent),
    ("from-controller", read_from_controller),
    ("state", read_state),
    ("bundle", read_bundle),
    ("root", read_root),
    ("key", read_key),
];

fn read_envelope(bytes: &[u8]) -> bool {
    let Ok(envelope) = Envelope::from_json(bytes) else { return false };
    let again = Envelope::from_json(&envelope.to_json().expect("JSON"));
    assert_eq!(again.as_ref(), Ok(&envelope));
    let world = World::new();
    let _ = world.trust.verify_order(&envelope);
    let _ = world.trust.verify_statement(&envelope);
    let _ = world.trust.verify_inventory(&envelope);
    let _ = world.trust.next(&envelope);
    true
}

fn read_armour(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let key = plain(crate::support::public(&crate::support::key("alice")));
    let signatures = vec![text.to_owned()];
    let envelope = Envelope { payload_type: PayloadType::Protect, payload: b"{}".to_vec(), signatures };
    verify::tally(&envelope, &[((), &key)]).counted.len() == 1
}

fn read_from_agent(bytes: &[u8]) -> bool {
    let Ok(frame) = FromAgent::decode(bytes) else { return false };
    let again = frame.encode().expect("it fits");
    assert_eq!(FromAgent::decode(&again[4..]), Ok(frame));
    true
}

fn read_from_controller(bytes: &[u8]) -> bool {
    let Ok(frame) = FromController::decode(bytes) else { return false };
    let again = frame.encode().expect("it fits");
    assert_eq!(FromController::decode(&again[4..]), Ok(frame));
    true
}

/// Also lives on with what it read: whatever a state says, the core must not panic over it.
fn read_state(bytes: &[u8]) -> bool {
    let loaded = match HostState::from_bytes(bytes) {
        Ok(state) => Loaded::State(Box::new(state)),
        Err(error) => Loaded::Unreadable(error.to_string()),
    };
    let readable = matches!(loaded, Loaded::State(_));
    let world = World::new();
    let clocks = Clocks { wall_ms: UnixMillis(T0), boottime_ms: u64::MAX - 1, boot_id: BOOT.to_owned() };
    let now = Now { clocks, entropy: [1; 16] };
    let (mut host, _) = Host::wake(world.identity.clone(), world.trust.clone(), loaded, &now);
    assert!(readable || host.state().policy.contains(), "an unreadable state opened the host");
    for input in [
        Input::Connected(Nonce::from_bytes([2; 16])),
        Input::ReadBack(Observed::default()),
        Input::Deliver(Box::new(world.cut(u64::MAX).deliver())),
        Input::Deliver(Box::new(world.cut(1).deliver())),
        Input::HeartbeatDue(Observed::default()),
        Input::Tick,
        Input::Disconnected,
    ] {
        host.handle(input, &now);
    }
    readable
}

fn read_bundle(bytes: &[u8]) -> bool {
    let Ok(bundle) = strict::from_slice::<OrderBundle>(bytes, MAX_ENVELOPE) else { return false };
    let Ok(order) = bundle.read_unverified() else { return false };
    let Ok(targets) = bundle.targets(&order) else { return false };
    let Ok(deliveries) = bundle.deliveries(&order) else { return false };
    assert_eq!(targets.len(), deliveries.len());
    true
}

fn read_root(bytes: &[u8]) -> bool {
    strict::from_slice::<RootV1>(bytes, MAX_PAYLOAD).is_ok_and(|root| root.validate().is_ok())
}

fn read_key(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(key) = text.parse::<PublicKey>() else { return false };
    assert_eq!(key.to_string(), text, "one key, two spellings");
    true
}

#[test]
fn every_file_of_the_corpus_is_read_or_refused_as_its_name_says() {
    for (name, reader) in READERS {
        let files = corpus::files(name);
        for (file, bytes) in &files {
            let expected = file.starts_with("good-");
            assert!(expected || file.starts_with("bad-"), "{name}/{file}");
            assert_eq!(reader(bytes), expected, "{name}/{file}");
        }
        let good = files.iter().filter(|(file, _)| file.starts_with("good-")).count();
        assert!(good >= 1 && files.len() - good >= 4, "{name}: the corpus is too small");
    }
}

/// Signed and stored forms are frozen: this version writes what the version before it wrote.
#[test]
fn the_good_files_of_the_corpus_are_what_this_version_writes() {
    for (name, file, bytes) in corpus::written_now() {
        let files = corpus::files(name);
        let (_, stored) = files.iter().find(|(stored, _)| *stored == file).expect(&file);
        assert_eq!(
            String::from_utf8_lossy(stored),
            String::from_utf8_lossy(&bytes),
            "{name}/{file}: a form that is frozen has changed"
        );
    }
}

/// Damages bytes as a bad disk, a bad line or an attacker would.
fn damaged(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let edit = (0u8..5, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>());
    prop::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut bytes = good.clone();
        for (kind, one, other, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let (one, other) = (one.index(bytes.len()), other.index(bytes.len()));
            let (from, to) = (one.min(other), one.max(other));
            match kind {
                0 => bytes[one] ^= byte | 1,
                1 => drop(bytes.drain(from..to.min(from + 40))),
                2 => bytes.insert(one, byte),
                3 => bytes.truncate(one),
                _ => {
                    let part = bytes[from..to.min(from + 40)].to_vec();
                    bytes.splice(one..one, part);
                }
            }
        }
        bytes
    })
}

fn any_damaged() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let seeds: Vec<(usize, Vec<u8>)> = corpus::written_now()
        .into_iter()
        .map(|(name, _, bytes)| (READERS.iter().position(|(n, _)| *n == name).expect("a reader"), bytes))
        .collect();
    prop::sample::select(seeds).prop_flat_map(|(reader, bytes)| (Just(reader), damaged(bytes)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_reader_panics_over_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for (_, reader) in READERS {
            reader(&bytes);
        }
        // Frames with a known type byte, and armour around anything.
        for kind in [1u8, 2, 3, 4, 65, 66, 67, 68] {
            let frame = [&[kind][..], &bytes].concat();
            read_from_agent(&frame);
            read_from_controller(&frame);
        }
        read_armour(armour(&bytes).as_bytes());
        read_armour(armour(&[b"SSHSIG\0\0\0\x01".to_vec(), bytes.clone()].concat()).as_bytes());
        if let Some(header) = bytes.first_chunk::<4>() {
            let length = body_length(*header, MAX_FRAME);
            prop_assert!(length.is_err() || length.is_ok_and(|l| l > 0 && l <= MAX_FRAME));
        }
    }

    #[test]
    fn no_reader_panics_over_damaged_documents((reader, bytes) in any_damaged()) {
        (READERS[reader].1)(&bytes);
    }

    /// Any change of what people signed makes their signatures worthless.
    #[test]
    fn no_damage_to_a_signed_order_goes_unnoticed(bytes in damaged(World::new().cut(1).envelope().payload)) {
        let world = World::new();
        let mut order = world.cut(1).envelope();
        let altered = order.payload != bytes;
        order.payload = bytes;
        prop_assert_eq!(world.trust.tally(&order, Class::Protect).counted.is_empty(), altered);
    }
}
