//! The rules driver against the real kernel.

mod support;

use digue_agent::drivers::{DriverError, NetDriver, NftDriver, Place};
use digue_proto::policy::Profile;
use digue_proto::rules::{Drift, HostFacts, Owner, RuleSet, diff};
use support::{has, names, private_network, run};

fn driver() -> NftDriver {
    NftDriver::open(&Place::current(true).expect("a private place")).expect("a driver")
}

#[test]
fn what_was_applied_is_what_is_read_back() {
    if !private_network("what_was_applied_is_what_is_read_back") {
        return;
    }
    let mut driver = driver();
    for profile in [Profile::Cut, Profile::Isolate, Profile::Dark] {
        let rules = support::rules(profile, &HostFacts::unknown());
        driver.apply(&rules).expect("applied");
        let found = driver.read().expect("read");
        assert_eq!(diff(&rules, &found), []);
        assert_eq!(found.rule_set().digest(), rules.digest());
        assert_eq!(found.tables.len(), rules.tables.len());
        assert!(found.tables.iter().all(|t| (t.owner == Owner::Us) == t.table.owner));
    }
    driver.apply(&RuleSet::empty()).expect("released");
    assert!(driver.read().expect("read").tables.is_empty());
    _ = (has("nft"), names(1), run("ip", "link"));
    _ = Drift::Missing { place: String::new() };
    _ = DriverError::Unstable;
}
