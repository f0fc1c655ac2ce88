//! A10: fewer keys than a threshold are stolen, or the controller's, or the host's.

use digue_proto::order::Action;

use crate::support::world::{World, block_list, cut_policy};
use crate::support::{Draft, Machine};

/// Every kind of order that opens, made out for this machine as it stands.
fn relaxing(world: &World, machine: &Machine) -> Vec<Draft> {
    let challenge = machine.challenge();
    let without = world.order(9, Action::Release { without_verdict: true }).challenged(challenge);
    vec![
        world.release(9, challenge),
        without,
        world.adjust(9, cut_policy(), challenge),
        world.unblock(9, block_list(&[]), challenge),
        world.drill(9, 60, challenge),
    ]
}

#[test]
fn a10_one_persons_key_opens_nothing() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.contain(1, crate::support::world::isolate_policy()).deliver());
    machine.obeys(&world.block(1, block_list(&["198.51.100.66/32"])).deliver());
    for draft in relaxing(&world, &machine) {
        for thief in [&["alice"][..], &["alice", "alice-spare"], &["bruno"], &["alice", "claire"]] {
            machine.refuses(&draft.clone().by(thief).deliver(), "E0303");
        }
    }
    assert!(machine.contained());
}

#[test]
fn a10_the_keys_of_controller_and_host_order_nothing() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let drafts = [vec![world.cut(1), world.order(1, Action::Report {})], relaxing(&world, &machine)].concat();
    for draft in drafts {
        for key in [&["controller"][..], &["srv-001"], &["controller", "srv-001", "log"]] {
            machine.refuses(&draft.clone().by(key).deliver(), "E0303");
        }
    }
}

#[test]
fn a10_two_persons_do_not_release_without_a_verdict_and_three_do() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let release = world.order(2, Action::Release { without_verdict: true }).challenged(machine.challenge());
    machine.refuses(&release.deliver(), "E0420");
    machine.refuses(&release.clone().by(&["alice", "alice-spare", "bruno"]).deliver(), "E0420");
    machine.obeys(&release.by(&["alice", "bruno", "denis"]).deliver());
}

/// An adjustment needs no clean statement, so it must not be a release by another name.
#[test]
fn a10_an_adjustment_cannot_make_a_contained_host_reopen_by_itself() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let mut policy = cut_policy();
    policy.on_lost_management = digue_proto::policy::OnLostManagement::ReopenAfter(30);
    machine.refuses(&world.adjust(2, policy, machine.challenge()).deliver(), "E0412");
}

#[test]
fn a10_an_adjustment_cannot_call_the_whole_internet_internal() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let mut policy = cut_policy();
    policy.internal = (1..=223u8)
        .filter(|n| *n != 127)
        .map(|n| format!("{n}.0.0.0/8").parse().expect("a network"))
        .collect();
    machine.refuses(&world.adjust(2, policy.clone(), machine.challenge()).deliver(), "E0306");
    policy.internal =
        (0x20..0x40u16).step_by(2).map(|n| format!("{n:x}00::/7").parse().expect("a network")).collect();
    machine.refuses(&world.adjust(2, policy, machine.challenge()).deliver(), "E0306");
}

#[test]
fn a10_the_person_who_vouched_does_not_release_where_the_root_keeps_these_apart() {
    use digue_proto::trust::Role;
    for (mine, other) in
        [(Role::Release, Role::Clean), (Role::Clean, Role::Release), (Role::Forensic, Role::Release)]
    {
        let mut root = crate::support::world::root_v1();
        let role = root.roles.iter_mut().find(|r| r.role == mine).expect("the role");
        role.disjoint_from = vec![other];
        let release = root.roles.iter_mut().find(|r| r.role == Role::Release).expect("the role");
        release.persons = ["alice", "bruno", "claire", "denis"].map(|p| p.parse().expect("a name")).to_vec();
        let world = World::with_root(&root);
        let mut machine = Machine::new(&world);
        machine.obeys(&world.cut(1).deliver());
        let release = world.release(2, machine.challenge()).by(&["alice", "claire"]);
        machine.refuses(&release.deliver(), "E0419");
        machine.obeys(
            &release
                .by(&["alice", if mine == Role::Forensic { "bruno" } else { "denis" }])
                .vouched(world.clean(&["bruno", "claire"]))
                .deliver(),
        );
    }
}
