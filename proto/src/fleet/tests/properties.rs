//! What holds after any sequence of events.

use proptest::prelude::*;

use super::*;
use crate::fleet::view::{FleetView, Verdict};
use crate::frame::STALE_SECONDS;

#[derive(Debug, Clone)]
enum Step {
    Report { host: u8, links: Links },
    Lose { host: u8 },
    Replay { at: usize },
    Beat { host: u8, links: Links, rules_hold: bool, right_echo: bool },
    Reboot { host: u8 },
    Order { hosts: Vec<u8> },
    State { host: u8, verdict: Stated, signers: Vec<usize> },
    Wait { seconds: u64 },
    ClockBack { seconds: u64 },
    Inventory { hosts: Vec<u8> },
}

fn links() -> impl Strategy<Value = Links> {
    prop::sample::select(vec![Links::Open, Links::Cutting, Links::Cut, Links::Releasing, Links::Failed])
}

fn step() -> impl Strategy<Value = Step> {
    let host = 1..4_u8;
    let hosts = prop::collection::btree_set(1..4_u8, 1..4).prop_map(|set| set.into_iter().collect());
    let signers = prop::sample::subsequence(vec![0_usize, 1, 2], 1..=3);
    let verdict = prop::sample::select(vec![Stated::Clean, Stated::Suspect, Stated::Compromised]);
    prop_oneof![
        4 => (host.clone(), links()).prop_map(|(host, links)| Step::Report { host, links }),
        1 => host.clone().prop_map(|host| Step::Lose { host }),
        2 => (0..50_usize).prop_map(|at| Step::Replay { at }),
        4 => (host.clone(), links(), any::<bool>(), any::<bool>()).prop_map(
            |(host, links, rules_hold, right_echo)| Step::Beat { host, links, rules_hold, right_echo }
        ),
        1 => host.clone().prop_map(|host| Step::Reboot { host }),
        2 => Strategy::prop_map(hosts, |hosts| Step::Order { hosts }),
        3 => (host, verdict, signers)
            .prop_map(|(host, verdict, signers)| Step::State { host, verdict, signers }),
        2 => (0..200_u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => (0..200_u64).prop_map(|seconds| Step::ClockBack { seconds }),
        1 => prop::collection::btree_set(1..4_u8, 0..4)
            .prop_map(|set| Step::Inventory { hosts: set.into_iter().collect() }),
    ]
}

/// What the test itself knows of a host, by far simpler means.
#[derive(Debug, Default, Clone)]
struct Known {
    contact: Option<UnixMillis>,
    compromised: bool,
    cleared: bool,
    reported: Option<Links>,
    proven_cut: bool,
}

struct Model {
    world: World,
    heard: Vec<(u8, Links, Envelope)>,
    orders: u8,
    stated: u32,
    version: u64,
    known: std::collections::BTreeMap<u8, Known>,
    listed: Vec<u8>,
}

impl Model {
    fn new() -> Self {
        let known = (1..4).map(|index| (index, Known::default())).collect();
        Self {
            world: World::new(3),
            heard: Vec::new(),
            orders: 0,
            stated: 0,
            version: 1,
            known,
            listed: vec![1, 2, 3],
        }
    }

    fn run(&mut self, step: Step) {
        let now = self.world.now;
        match step {
            Step::Report { host, links } => {
                let report = self.world.report(host, |report| report.links = links);
                if self.world.hear(host, &report).is_ok() {
                    self.reported(host, links);
                }
                self.heard.push((host, links, report));
            }
            Step::Lose { host } => drop(self.world.report(host, |_| {})),
            Step::Replay { at } => {
                if let Some((host, links, envelope)) = self.heard.get(at).cloned()
                    && self.listed.contains(&host)
                {
                    let before = self.world.host(host);
                    let newest = self.world.fleet.hosts.get(&id(host)).map_or(0, |s| s.chain().newest());
                    if newest > 0 {
                        let repeated = self.world.hear(host, &envelope);
                        let after = self.world.host(host);
                        // A state that began anew may take it; otherwise nothing moves but a gap or an alarm.
                        if repeated.is_ok() {
                            self.reported(host, links);
                        } else {
                            let tile = |view: HostView| (view.links, view.last_contact_ms);
                            assert_eq!(tile(before), tile(after));
                        }
                    }
                }
            }
            Step::Beat { host, links, rules_hold, right_echo } => {
                let echo = if right_echo { NONCE } else { Nonce::from_bytes([9; 16]) };
                let heartbeat = self.world.heartbeat(host, links, rules_hold, echo);
                let heard = self.world.hear_heartbeat(host, &heartbeat);
                assert!(right_echo || heard.is_err());
                if heard.is_ok() {
                    let known = self.known.entry(host).or_default();
                    known.contact = Some(now);
                    known.proven_cut =
                        links == Links::Cut && rules_hold && known.reported == Some(Links::Cut);
                }
            }
            Step::Reboot { host } => {
                let chain = self.world.chain(host);
                chain.boot = format!("{}x", chain.boot);
                chain.boottime_ms = 0;
            }
            Step::Order { hosts } => {
                let before = tiles(&self.world.fleet.view(now));
                self.orders += 1;
                let generation = u64::from(self.orders);
                let order = self.world.cut(self.orders, generation, &hosts);
                for host in hosts {
                    self.world.fleet.note_sent(order, &id(host), now);
                }
                assert_eq!(tiles(&self.world.fleet.view(now)), before, "an order changed a tile");
            }
            Step::State { host, verdict, signers } => {
                let boot = self.world.chain(host).boot.clone();
                // Each a statement of its own, so that signatures of two do not add up.
                self.stated += 1;
                let reason = format!("examination {}", self.stated);
                let statement = self.world.statement(host, verdict, |statement| {
                    statement.reason = reason;
                    statement.boot_id = (verdict == Stated::Clean).then_some(boot);
                });
                let accepted = self.world.state(&statement, &signers);
                let forensic = signers.iter().any(|at| *at != 0);
                assert_eq!(accepted, verdict != Stated::Clean || (signers.len() >= 2 && forensic));
                let known = self.known.entry(host).or_default();
                known.compromised |= verdict == Stated::Compromised;
                known.cleared |= verdict == Stated::Clean && accepted;
            }
            Step::Wait { seconds } => self.world.now = now.plus(seconds * 1000),
            Step::ClockBack { seconds } => self.world.now = UnixMillis(now.0 - seconds * 1000),
            Step::Inventory { hosts } => {
                self.version += 1;
                self.world.inventory(self.version, &hosts, 1);
                for (host, known) in &mut self.known {
                    if !hosts.contains(host) {
                        (known.contact, known.reported, known.proven_cut) = (None, None, false);
                    }
                }
                self.listed = hosts;
            }
        }
    }

    fn reported(&mut self, host: u8, links: Links) {
        let known = self.known.entry(host).or_default();
        known.contact = Some(self.world.now);
        known.reported = Some(links);
        known.proven_cut = links == Links::Cut;
    }

    fn check(&self) {
        let now = self.world.now;
        let view = self.world.fleet.view(now);
        let names: Vec<HostId> = view.hosts.iter().map(|host| host.name.clone()).collect();
        let listed: Vec<HostId> = self.listed.iter().map(|index| id(*index)).chain([id(200)]).collect();
        assert_eq!(names, listed, "exactly the signed inventory");
        let sum = &view.summary;
        let verdicts = sum.clean + sum.no_finding + sum.suspect + sum.compromised + sum.unassessed;
        assert_eq!(verdicts, sum.expected, "every host stands in one column");
        assert_eq!(sum.enrolled + sum.never_enrolled, sum.expected);
        for index in &self.listed {
            let (host, known) = (self.world.host(*index), &self.known[index]);
            let young = known.contact.is_some_and(|at| now.since(at) < STALE_SECONDS * 1000);
            assert!(!host.fresh || young, "fresh without a contact");
            let clean = host.verdict == Verdict::Clean;
            let cut = host.fresh && host.links == Some(Links::Cut);
            assert!(!clean || (host.fresh && known.cleared && !known.compromised), "clean without reason");
            assert!(!known.compromised || host.verdict == Verdict::Compromised, "compromised and lifted");
            assert!(!cut || known.proven_cut, "cut without proof");
            assert_eq!(host.exposed, !clean && !cut);
        }
    }
}

/// What a tile shows: everything but the list of open orders.
fn tiles(view: &FleetView) -> FleetView {
    let mut view = view.clone();
    view.hosts.iter_mut().for_each(|host| host.unconfirmed.clear());
    view
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_nothing_is_shown_that_was_not_measured(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let mut model = Model::new();
        for step in steps {
            model.run(step);
            model.check();
        }
    }
}
