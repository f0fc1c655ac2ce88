//! The floor: the rules of an ordinary cut loaded into every server's network over netlink by one process,
//! with no network, no signature, no disk and no agent. Nothing that cuts hosts one by one can be faster on
//! this machine.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use digue_agent::drivers::{NetDriver, NftDriver, capability};
use digue_proto::rules::RuleSet;

use crate::namespace::{Server, inside};
use crate::probe::{all_reach_outside, none_reaches_outside};
use crate::process::own_processor_time;
use crate::rules::{cut_rules, facts};

/// Times for all servers together.
#[derive(Debug, Default)]
pub(crate) struct Floor {
    /// Sockets were open beforehand.
    pub(crate) kept: Vec<Duration>,
    /// Processor time of the same.
    pub(crate) processor: Vec<Duration>,
    /// Reading all of it back once; processor time.
    pub(crate) read_back: Vec<Duration>,
    /// Each socket was opened first, on a thread that moved into the server's network for it.
    pub(crate) fresh: Vec<Duration>,
    /// The same, and each was closed again, for which the kernel waits.
    pub(crate) fresh_closed: Vec<Duration>,
}

/// The rules of a cut for each server.
///
/// # Errors
/// A server's cards cannot be listed.
pub(crate) fn rules_of(servers: &[Server]) -> Result<Vec<RuleSet>> {
    let support = capability().support;
    let mut number = 0;
    inside(servers, |_, place| {
        number += 1;
        cut_rules(&facts(place, support)?, number)
    })
}

/// Measures `runs` times, each time from open servers, and makes sure that all were cut.
///
/// # Errors
/// The kernel refused the rules, or a server was not cut by them.
pub(crate) fn measure(servers: &[Server], rules: &[RuleSet], runs: usize) -> Result<Floor> {
    let mut floor = Floor::default();
    let mut drivers = inside(servers, |_, place| Ok(NftDriver::open(place)?))?;
    for run in 0..=runs {
        all_reach_outside(servers)?;
        let (started, spent) = (Instant::now(), own_processor_time()?);
        for (driver, rules) in drivers.iter_mut().zip(rules) {
            driver.apply(rules)?;
        }
        let took = started.elapsed();
        let applied = own_processor_time()?;
        hold_what_was_meant(&mut drivers, rules)?;
        let read = own_processor_time()?;
        none_reaches_outside(servers)?;
        for driver in &mut drivers {
            driver.apply(&RuleSet::empty())?;
        }
        // The first makes the kernel load its modules.
        if run > 0 {
            floor.kept.push(took);
            floor.processor.push(applied.saturating_sub(spent));
            floor.read_back.push(read.saturating_sub(applied));
        }
    }
    drop(drivers);
    for _ in 0..runs {
        all_reach_outside(servers)?;
        let mut waiting = rules.iter();
        let started = Instant::now();
        let mut drivers = inside(servers, |_, place| {
            let mut driver = NftDriver::open(place)?;
            waiting.next().map_or(Ok(()), |rules| driver.apply(rules))?;
            Ok(driver)
        })?;
        floor.fresh.push(started.elapsed());
        hold_what_was_meant(&mut drivers, rules)?;
        none_reaches_outside(servers)?;
        for driver in &mut drivers {
            driver.apply(&RuleSet::empty())?;
        }
        let closing = Instant::now();
        drop(drivers);
        let opened = floor.fresh.last().copied().unwrap_or_default();
        floor.fresh_closed.push(opened + closing.elapsed());
    }
    Ok(floor)
}

/// Makes sure that each server holds the rules of a cut, whoever loaded them.
///
/// # Errors
/// One does not.
pub(crate) fn all_hold(servers: &[Server], rules: &[RuleSet]) -> Result<()> {
    let mut drivers = inside(servers, |_, place| Ok(NftDriver::open(place)?))?;
    hold_what_was_meant(&mut drivers, rules)
}

fn hold_what_was_meant(drivers: &mut [NftDriver], rules: &[RuleSet]) -> Result<()> {
    for (driver, meant) in drivers.iter_mut().zip(rules) {
        let found = driver.read()?.rule_set();
        ensure!(found.digest() == meant.digest(), "the rules read back are not the rules that were loaded");
    }
    Ok(())
}
