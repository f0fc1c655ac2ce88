//! A13: an older or other first root at installation.

use digue_proto::id::Digest;
use digue_proto::trust_chain::{Trust, TrustError};

use crate::support::World;
use crate::support::world::{root_v1, seal_root};

#[test]
fn a13_a_root_with_another_digest_than_the_pinned_one_is_refused_unparsed() {
    let world = World::new();
    let mut other = root_v1();
    other.issued_at_ms.0 -= 1;
    let other = seal_root(&other, &["alice", "bruno"]);
    let refused = Trust::initial(&other, &world.deployment()).expect_err("not the pinned one");
    assert_eq!(refused.code(), "E0311");
    let mut rubbish = other;
    rubbish.payload = b"\xff not JSON".to_vec();
    assert!(matches!(Trust::initial(&rubbish, &world.deployment()), Err(TrustError::NotPinned { .. })));
}

#[test]
fn a13_a_later_root_is_no_first_root_even_if_pinned() {
    let world = World::new();
    let second = world.next_root(&["alice", "bruno"], |_| {});
    assert_eq!(Trust::initial(&second, &second.digest()).expect_err("version 2").code(), "E0312");
    let mut named = root_v1();
    named.deployment_id = Some(Digest::of(b"itself"));
    let named = seal_root(&named, &["alice", "bruno"]);
    assert_eq!(Trust::initial(&named, &named.digest()).expect_err("names itself").code(), "E0316");
}

#[test]
fn a13_a_pinned_root_still_needs_its_own_threshold() {
    let unsigned = seal_root(&root_v1(), &["alice"]);
    assert_eq!(Trust::initial(&unsigned, &unsigned.digest()).expect_err("one signature").code(), "E0303");
}
