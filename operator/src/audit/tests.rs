//! Stores that hold and stores that were tampered with, on real keys and signatures.

use digue_proto::id::Nonce;
use digue_proto::order::{Action, OrderV1, Stream, Target};
use digue_proto::report::Clocks;
use digue_proto::strict;
use digue_proto::trust::InventoryHost;

use super::*;
use crate::fleet::tests::{inventory_host, inventory_of};
use crate::keygen::{self, KeyType};

/// Number, contents, contents of the one before.
type Sketch<'a> = (u64, &'a [u8], Option<&'a [u8]>);

fn chain(links: &[Sketch<'_>]) -> BTreeMap<u64, Link> {
    let link =
        |(seq, own, prev): &Sketch<'_>| (*seq, Link { digest: Digest::of(own), prev: prev.map(Digest::of) });
    links.iter().map(link).collect()
}

#[test]
fn a_whole_chain_holds_and_a_gap_or_a_broken_link_does_not() {
    let whole = chain(&[(1, b"a", None), (2, b"b", Some(b"a")), (3, b"c", Some(b"b"))]);
    assert!(chain_failures(&whole).is_empty());
    let gap = chain(&[(1, b"a", None), (4, b"d", Some(b"c"))]);
    assert_eq!(chain_failures(&gap), ["its documents 2 to 3 are missing"]);
    let broken = chain(&[(1, b"a", None), (2, b"b", Some(b"x"))]);
    assert_eq!(chain_failures(&broken), ["its document 2 does not follow document 1"]);
    let beheaded = chain(&[(2, b"b", Some(b"a"))]);
    assert_eq!(chain_failures(&beheaded), ["its documents 1 to 1 are missing"]);
}

/// A root, an inventory with one host, an order, and three documents of the host.
async fn store(folder: &std::path::Path) -> (Trust, Vec<StoredEnvelope>) {
    let trust = crate::tests::trust(folder, Digest::of(b"controller")).await;
    let key = keygen::make(&folder.join("srv-001"), KeyType::Ed25519, "srv-001", true).await.expect("a key");
    let host = InventoryHost { host_key: Some(key.clone()), ..inventory_host("srv-001", 1) };
    let mut inventory = inventory_of(vec![host]);
    inventory.deployment_id = trust.deployment_id();
    let order = OrderV1 {
        deployment_id: trust.deployment_id(),
        order_id: Nonce::from_bytes([1; 16]),
        root_version: 1,
        stream: Stream::Query,
        gen_epoch: 1,
        generation: 1,
        issued_at_ms: UnixMillis(1),
        not_after_ms: UnixMillis(2),
        incident: "i".to_owned(),
        action: Action::Report {},
        target: Target::All {},
        heads: Vec::new(),
        reason: "r".to_owned(),
    };
    let order_payload = strict::to_vec(&order).expect("bytes");
    let clocks = Clocks { wall_ms: UnixMillis(1), boottime_ms: 1, boot_id: "b".to_owned() };
    let receipt = |seq, prev, outcome| ReceiptV1 {
        deployment_id: trust.deployment_id(),
        host_id: "srv-001".parse().expect("name"),
        seq,
        prev,
        clocks: clocks.clone(),
        order: Digest::of(&order_payload),
        order_id: Some(order.order_id),
        outcome,
        remarks: Vec::new(),
        root_version: 1,
        challenge: None,
    };
    let first = strict::to_vec(&receipt(1, None, Outcome::Acknowledged {})).expect("bytes");
    let second = receipt(2, Some(Digest::of(&first)), Outcome::Applied {});
    let second = strict::to_vec(&second).expect("bytes");
    let third = receipt(3, Some(Digest::of(&second)), Outcome::Verified {});
    let third = strict::to_vec(&third).expect("bytes");
    let inventory = strict::to_vec(&inventory).expect("bytes");
    let documents = [
        (PayloadType::Inventory, &["alice"][..], inventory),
        (PayloadType::Query, &["bruno"], order_payload),
        (PayloadType::Receipt, &["srv-001"], first),
        (PayloadType::Receipt, &["srv-001"], second),
        (PayloadType::Receipt, &["srv-001"], third),
    ];
    let mut stored = vec![(trust.envelope().clone(), false)];
    for (kind, by, payload) in documents {
        stored.push((crate::tests::sealed(folder, by, kind, payload).await, kind == PayloadType::Receipt));
    }
    let stored = stored.into_iter().zip(1u64..).map(|((envelope, of_host), seq)| StoredEnvelope {
        seq,
        received_at_ms: UnixMillis(seq),
        envelope,
        host_id: of_host.then(|| "srv-001".parse().expect("name")),
    });
    (trust.clone(), stored.collect())
}

fn audited(trust: &Trust, stored: &[StoredEnvelope]) -> Vec<String> {
    let mut auditor = Auditor::new(trust.deployment_id(), vec![trust.envelope().clone()], None);
    stored.iter().for_each(|document| auditor.take(document));
    auditor.finish().0.failures.into_iter().map(|failure| failure.what).collect()
}

#[tokio::test]
async fn an_untouched_store_holds_and_one_changed_byte_anywhere_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (trust, stored) = store(folder.path()).await;
    assert_eq!(audited(&trust, &stored), Vec::<String>::new());
    for at in 0..stored.len() {
        let mut changed = stored.clone();
        let envelope = &mut changed[at].envelope;
        let last = envelope.payload.len() - 3;
        envelope.payload[last] ^= 1;
        assert!(!audited(&trust, &changed).is_empty(), "a change in document {} went unnoticed", at + 1);
    }
}

#[tokio::test]
async fn a_document_that_was_left_out_or_never_logged_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let (trust, stored) = store(folder.path()).await;
    let without = |at: usize| {
        let mut rest = stored.clone();
        rest.remove(at);
        rest.iter_mut().zip(1u64..).for_each(|(document, seq)| document.seq = seq);
        audited(&trust, &rest)
    };
    // E3: the order was never logged, but hosts obeyed it.
    assert!(without(2).iter().all(|what| what.contains("obeyed order")), "{:?}", without(2));
    assert!(without(4).iter().any(|what| what.contains("documents 2 to 2 are missing")), "{:?}", without(4));
    // The newest document of a chain leaves no trace by itself; the next heartbeat or report does.
    assert_eq!(without(5), Vec::<String>::new());
}

#[tokio::test]
async fn a_chain_of_roots_that_is_not_the_one_held_here_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let (trust, stored) = store(folder.path()).await;
    let other_folder = tempfile::tempdir().expect("a folder");
    let other = crate::tests::trust(other_folder.path(), Digest::of(b"controller")).await;
    assert!(audited(&other, &stored).iter().any(|what| what.contains("pinned")));
    assert!(!audited(&trust, &stored[1..]).is_empty());
}

#[test]
fn a_store_without_a_root_or_with_a_hole_fails() {
    let stored = |seq| StoredEnvelope {
        seq,
        received_at_ms: UnixMillis(1),
        envelope: Envelope {
            payload_type: PayloadType::Inventory,
            payload: b"{}".to_vec(),
            signatures: Vec::new(),
        },
        host_id: None,
    };
    let mut auditor = Auditor::new(Digest::of(b"root"), Vec::new(), None);
    auditor.take(&stored(1));
    auditor.take(&stored(3));
    let (found, _) = auditor.finish();
    let whats: Vec<&str> = found.failures.iter().map(|f| f.what.as_str()).collect();
    assert!(whats[0].contains("before any trust root"), "{whats:?}");
    assert!(whats.iter().any(|w| w.contains("entries 2 to 2")), "{whats:?}");
}

#[tokio::test]
async fn a_store_that_went_back_or_was_rewritten_since_this_desk_verified_it_does_not_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let (trust, stored) = store(folder.path()).await;
    let audit = |stored: &[StoredEnvelope], seen| {
        let mut auditor = Auditor::new(trust.deployment_id(), vec![trust.envelope().clone()], seen);
        stored.iter().for_each(|document| auditor.take(document));
        let checkpoint = auditor.checkpoint();
        let failures = auditor.finish().0.failures.into_iter().map(|failure| failure.what);
        (checkpoint, failures.collect::<Vec<_>>())
    };
    let (seen, failures) = audit(&stored[..4], None);
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(audit(&stored, Some(seen)).1, Vec::<String>::new(), "a store that grew holds");
    // Each is in itself a store that holds.
    let older = audit(&stored[..3], Some(seen)).1;
    assert!(older.iter().any(|what| what.contains("went back: it ends at entry 3")), "{older:?}");
    let mut backdated = stored.clone();
    backdated[1].received_at_ms = UnixMillis(0);
    assert_eq!(audit(&backdated, None).1, Vec::<String>::new());
    let backdated = audit(&backdated, Some(seen)).1;
    assert!(backdated.iter().any(|what| what.contains("not what was stored")), "{backdated:?}");
}
