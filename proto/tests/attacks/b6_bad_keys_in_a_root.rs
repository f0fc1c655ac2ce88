//! B6, B12, B13: roots that name keys or thresholds which would let anyone in, or nobody.

use digue_proto::key::{KeyError, PublicKey};
use digue_proto::trust::{PersonKey, Role, RootV1};
use digue_proto::trust_chain::{Trust, TrustError};
use ssh_key::private::EcdsaKeypair;
use ssh_key::public::{Ed25519PublicKey, KeyData, SkEd25519};
use ssh_key::{EcdsaCurve, PrivateKey};

use crate::support::people::{plain, public, seal_by, seed};
use crate::support::sshsig::SecurityKey;
use crate::support::world::{root_v1, seal_root};
use crate::support::{Machine, World, key};

/// Points of order 1, 2, 4 and 8, and the all-zero key, which is one of order 4.
const LOW_ORDER: [&str; 5] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "0000000000000000000000000000000000000000000000000000000000000000",
];

fn point(hex: &str) -> Ed25519PublicKey {
    let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal");
    Ed25519PublicKey(std::array::from_fn(byte))
}

fn refused(root: &RootV1) -> String {
    let envelope = seal_root(root, &["alice", "bruno"]);
    match Trust::initial(&envelope, &envelope.digest()) {
        Err(TrustError::Contents(why)) => why,
        other => panic!("expected the contents to be refused, got {other:?}"),
    }
}

#[test]
fn b6_low_order_points_and_the_zero_key_are_refused_wherever_a_key_is_read() {
    for hex in LOW_ORDER {
        let weak = point(hex);
        assert_eq!(PublicKey::from_data(KeyData::Ed25519(weak)), Err(KeyError::Weak), "{hex}");
        let token = KeyData::SkEd25519(SkEd25519::new(weak, "ssh:"));
        assert_eq!(PublicKey::from_data(token), Err(KeyError::Weak), "{hex}");
        let line = ssh_key::PublicKey::new(KeyData::Ed25519(weak), "").to_openssh().expect("a line");
        let text = String::from_utf8(digue_proto::strict::to_vec(&root_v1()).expect("JSON")).expect("UTF-8");
        let text = text.replace(public(&key("denis")).as_str(), line.trim());
        let root = seal_by(digue_proto::envelope::PayloadType::Root, text.into_bytes(), &["alice", "bruno"]);
        assert_eq!(Trust::initial(&root, &root.digest()).expect_err("weak").code(), "E0306");
    }
}

#[test]
fn b6_one_key_under_two_persons_or_twice_under_one_is_refused() {
    let mut root = root_v1();
    root.persons[3].keys.push(plain(public(&key("alice"))));
    assert!(refused(&root).contains("twice"));
    let mut root = root_v1();
    root.persons[1].keys.push(plain(public(&key("bruno"))));
    assert!(refused(&root).contains("twice"));
}

/// A security key's point with another application, or without one, is still the same secret.
#[test]
fn b6_one_key_in_two_wrappings_is_refused() {
    let wrapped = |application| PersonKey {
        key: SecurityKey::new("alice", application).public(),
        require_touch: false,
        require_pin: false,
    };
    let mut root = root_v1();
    root.persons[3].keys.push(wrapped("ssh:"));
    assert!(refused(&root).contains("twice"));
    let mut root = root_v1();
    root.persons[2]
        .keys
        .push(PersonKey { key: SecurityKey::new("token", "ssh:one").public(), ..wrapped("") });
    root.persons[3]
        .keys
        .push(PersonKey { key: SecurityKey::new("token", "ssh:two").public(), ..wrapped("") });
    assert!(refused(&root).contains("twice"));
}

#[test]
fn b6_a_persons_key_is_never_p_256() {
    let mut root = root_v1();
    root.persons[3].keys = vec![plain(public(&p256("denis")))];
    assert!(refused(&root).contains("hosts alone"));
}

/// A P-256 key, which only hosts may have.
pub(crate) fn p256(name: &str) -> PrivateKey {
    struct Seeded(u64, [u8; 32]);
    impl rand_core::RngCore for Seeded {
        fn next_u32(&mut self) -> u32 {
            u32::try_from(self.next_u64() & 0xffff_ffff).expect("32 bits")
        }
        fn next_u64(&mut self) -> u64 {
            let mut bytes = [0; 8];
            self.fill_bytes(&mut bytes);
            u64::from_be_bytes(bytes)
        }
        fn fill_bytes(&mut self, out: &mut [u8]) {
            for chunk in out.chunks_mut(32) {
                self.0 += 1;
                let block = digue_proto::id::Digest::of_parts(&[&self.1, &self.0.to_be_bytes()]);
                chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
            }
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
            self.fill_bytes(out);
            Ok(())
        }
    }
    impl rand_core::CryptoRng for Seeded {}
    let pair = EcdsaKeypair::random(&mut Seeded(0, seed(name)), EcdsaCurve::NistP256).expect("a key");
    PrivateKey::from(pair)
}

#[test]
fn b12_thresholds_of_zero_or_more_than_there_are_persons_are_refused() {
    for at in 0..Role::ALL.len() {
        let mut root = root_v1();
        root.roles[at].threshold = 0;
        assert!(refused(&root).contains("can never sign"), "{:?}", Role::ALL[at]);
        for many in [5, u32::MAX] {
            let mut root = root_v1();
            root.roles[at].threshold = many;
            assert!(refused(&root).contains("can never sign"), "{:?}", Role::ALL[at]);
        }
    }
}

#[test]
fn b12_an_empty_role_an_unknown_person_and_a_missing_or_double_role_are_refused() {
    for at in 0..Role::ALL.len() {
        let mut root = root_v1();
        root.roles[at].persons.clear();
        assert!(refused(&root).contains("can never sign"), "{:?}", Role::ALL[at]);
        let mut root = root_v1();
        root.roles[at].persons.push("mallory".parse().expect("a name"));
        assert!(refused(&root).contains("not among the persons"), "{:?}", Role::ALL[at]);
        let mut root = root_v1();
        root.roles.remove(at);
        assert!(refused(&root).contains("each role once"), "{:?}", Role::ALL[at]);
        let mut root = root_v1();
        root.roles[at].role = Role::ALL[(at + 1) % Role::ALL.len()];
        assert!(refused(&root).contains("each role once"), "{:?}", Role::ALL[at]);
    }
}

#[test]
fn b12_a_person_twice_in_a_role_or_in_the_root_is_refused() {
    let mut root = root_v1();
    root.roles[0].persons = ["alice", "alice"].map(|p| p.parse().expect("a name")).to_vec();
    assert!(refused(&root).contains("sorted and unique"));
    let mut root = root_v1();
    root.persons.insert(1, root.persons[0].clone());
    assert!(refused(&root).contains("unique"));
    let mut root = root_v1();
    root.persons[2].keys.clear();
    assert!(refused(&root).contains("no key"));
}

#[test]
fn b12_a_clean_role_without_a_forensic_person_can_never_sign_and_is_refused() {
    let mut root = root_v1();
    root.roles[5].persons = ["alice", "bruno"].map(|p| p.parse().expect("a name")).to_vec();
    assert_eq!(root.roles[5].role, Role::Clean);
    assert!(refused(&root).contains("forensic"));
}

#[test]
fn b13_a_root_that_asks_for_fewer_than_the_compiled_minimum_changes_nothing() {
    let mut root = root_v1();
    root.roles.iter_mut().for_each(|r| r.threshold = 1);
    let world = World::with_root(&root);
    for role in [Role::Root, Role::Release, Role::Clean] {
        assert_eq!(world.trust.threshold(role), 2, "{role:?}");
    }
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let release = world.release(2, machine.challenge());
    machine.refuses(&release.clone().by(&["alice"]).deliver(), "E0303");
    machine.refuses(&release.vouched(world.clean(&["claire"])).deliver(), "E0416");
    assert_eq!(world.trust.next(&world.next_root(&["alice"], |_| {})).expect_err("one").code(), "E0303");
}

#[test]
fn b13_a_root_may_raise_a_threshold() {
    let mut root = root_v1();
    root.roles[3].threshold = 2;
    let world = World::with_root(&root);
    let mut machine = Machine::new(&world);
    machine.refuses(&world.cut(1).deliver(), "E0303");
    machine.obeys(&world.cut(1).by(&["alice", "denis"]).deliver());
}

#[test]
fn b13_an_action_keeps_its_compiled_class_whatever_it_is_called() {
    use digue_proto::envelope::PayloadType::{Protect, Query, Release};
    let world = World::new();
    let mut machine = Machine::new(&world);
    let challenge = machine.challenge();
    let drill = world.drill(1, 60, challenge);
    machine.refuses(&drill.clone().typed(Protect).deliver(), "E0309");
    machine.refuses(&drill.typed(Query).deliver(), "E0309");
    machine.refuses(&world.cut(1).typed(Query).deliver(), "E0309");
    machine.refuses(&world.cut(1).by(&["alice", "bruno"]).typed(Release).deliver(), "E0309");
    let unblock = world.unblock(1, crate::support::world::block_list(&[]), challenge);
    machine.refuses(&unblock.typed(Protect).deliver(), "E0309");
}
