//! B5: a security key that was not touched, or checked no PIN. Neither OpenSSH nor the library looks.

use digue_proto::envelope::Envelope;
use digue_proto::trust::{Class, PersonKey};
use digue_proto::verify::SignatureError;

use crate::support::sshsig::SecurityKey;
use crate::support::world::root_v1;
use crate::support::{Machine, World};

const NAMESPACE: &str = "digue-protect.v1";

/// A world in which alice holds a security key alone.
fn world(key: &SecurityKey, require_touch: bool, require_pin: bool) -> World {
    let mut root = root_v1();
    root.persons[0].keys.push(PersonKey { key: key.public(), require_touch, require_pin });
    World::with_root(&root)
}

fn judged(world: &World, key: &SecurityKey, flags: u8) -> Result<(), SignatureError> {
    let envelope = world.cut(1).envelope();
    let signatures = vec![key.sign(NAMESPACE, &envelope.payload, flags, 9)];
    let mut tally = world.trust.tally(&Envelope { signatures, ..envelope }, Class::Protect);
    tally.rejected.pop().map_or(Ok(()), Err)
}

#[test]
fn b5_flags_0_1_4_and_5_are_each_judged_by_what_the_root_asks() {
    use SignatureError::{NoPin, NotTouched};
    let key = SecurityKey::new("token", "ssh:digue");
    let table = [
        ((false, false), [Ok(()), Ok(()), Ok(()), Ok(())]),
        ((true, false), [Err(NotTouched), Ok(()), Err(NotTouched), Ok(())]),
        ((false, true), [Err(NoPin), Err(NoPin), Ok(()), Ok(())]),
        ((true, true), [Err(NotTouched), Err(NoPin), Err(NotTouched), Ok(())]),
    ];
    for ((touch, pin), expected) in table {
        let world = world(&key, touch, pin);
        let found = [0, 1, 4, 5].map(|flags| judged(&world, &key, flags));
        assert_eq!(found, expected, "touch {touch}, PIN {pin}");
    }
}

#[test]
fn b5_flags_that_mean_nothing_here_do_not_stand_for_touch_or_pin() {
    let key = SecurityKey::new("token", "ssh:digue");
    let world = world(&key, true, true);
    assert_eq!(judged(&world, &key, 0xfa), Err(SignatureError::NotTouched));
    assert_eq!(judged(&world, &key, 0xc5), Ok(()), "other bits are no reason to refuse");
}

#[test]
fn b5_the_flags_are_part_of_what_the_key_signed() {
    let key = SecurityKey::new("token", "ssh:digue");
    let world = world(&key, true, true);
    let envelope = world.cut(1).envelope();
    let armour = key.sign(NAMESPACE, &envelope.payload, 0, 9);
    let signed = digest_of(&armour);
    // Flags byte and counter are the last five bytes of the blob.
    let mut forged = signed.clone();
    let at = forged.len() - 5;
    forged[at] = 5;
    let signatures = vec![crate::support::sshsig::armour(&forged)];
    let tally = world.trust.tally(&Envelope { signatures, ..envelope }, Class::Protect);
    assert_eq!(tally.rejected, [SignatureError::Invalid]);
}

fn digest_of(armour: &str) -> Vec<u8> {
    use base64::Engine as _;
    let text: String = armour.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}

#[test]
fn b5_a_touched_key_orders_and_an_untouched_one_does_not() {
    let key = SecurityKey::new("token", "ssh:digue");
    let world = world(&key, true, false);
    let mut machine = Machine::new(&world);
    let mut delivery = world.cut(1).by(&[]).deliver();
    delivery.order.signatures = vec![key.sign(NAMESPACE, &delivery.order.payload, 0, 1)];
    machine.refuses(&delivery, "E0303");
    delivery.order.signatures = vec![key.sign(NAMESPACE, &delivery.order.payload, 1, 2)];
    machine.obeys(&delivery);
}

#[test]
fn b5_a_key_of_another_application_or_the_plain_key_under_it_is_another_key() {
    let key = SecurityKey::new("token", "ssh:digue");
    let world = world(&key, false, false);
    let login = SecurityKey::new("token", "ssh:");
    assert!(matches!(judged(&world, &login, 5), Err(SignatureError::UnknownKey(_))));
    let envelope = world.cut(1).by(&["token"]).envelope();
    assert!(world.trust.tally(&envelope, Class::Protect).counted.is_empty());
}

#[test]
fn b5_touch_cannot_be_asked_of_a_key_that_is_no_security_key() {
    let mut root = root_v1();
    root.persons[1].keys[0].require_touch = true;
    assert!(root.validate().is_err());
}
