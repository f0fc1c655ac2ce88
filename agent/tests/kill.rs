//! The running agent killed between any two effects, as by a power cut (C9).

mod bench;
mod deployment;
mod double;
mod support;

use bench::{Bench, agent, block_on, tables, verified};
use digue_proto::host::Loaded;
use digue_proto::report::Links;
use nix::sys::signal::Signal;
use support::{INTERNAL, OUTSIDE, private_network, reaches_tcp};

#[test]
fn an_agent_killed_between_any_two_effects_of_a_cut_loses_nothing_and_never_opens() {
    if !private_network("an_agent_killed_between_any_two_effects_of_a_cut_loses_nothing_and_never_opens") {
        return;
    }
    block_on(async {
        let bench = Bench::new();
        // What a start alone takes: everything before is not about the order.
        let mut stops = 0;
        for effects in 1.. {
            bench.forget_everything();
            let mut running = bench.start_with(Some(effects));
            let cut = bench.deployment.cut(1, &bench.controllers());
            let mut heard = None;
            if let Some(mut session) = bench.session(&mut running).await {
                heard = bench.carry_out(&mut session, cut.clone()).await;
            }
            if heard.is_some() {
                assert!(stops > 8, "only {stops} effects were interrupted");
                break;
            }
            let (status, log) = running.end();
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{effects}: {log}");
            stops += 1;
            let contained = match bench.loaded() {
                Loaded::Absent => false,
                Loaded::State(state) => state.policy.contains(),
                Loaded::Unreadable(why) => panic!("after {effects} effects: {why}"),
            };
            // Never acted before it was written down; once there, rules outlive the agent.
            assert!(contained || tables().is_empty(), "after {effects} effects: rules without a record");
            let were_there = tables();
            if !were_there.is_empty() {
                assert_eq!(were_there, ["plain"], "after {effects} effects");
                assert!(!reaches_tcp(OUTSIDE), "after {effects} effects");
            }
            let booted = agent(bench.dir.path()).args(["boot", "--lab"]).output().expect("boot");
            assert!(booted.status.success(), "{}", String::from_utf8_lossy(&booted.stderr));
            assert_eq!(contained, !reaches_tcp(OUTSIDE), "after {effects} effects and a boot");

            let mut running = bench.start();
            let mut session = bench.session(&mut running).await.expect("connected");
            let heard = bench.carry_out(&mut session, cut).await.expect("carried out");
            assert!(verified(&heard), "after {effects} effects: {:?}", heard.outcomes);
            assert_eq!(tables(), ["owned", "plain"]);
            assert!(!reaches_tcp(OUTSIDE) && reaches_tcp(INTERNAL));
        }
        println!("interrupted after each of {stops} effects");
    });
}

#[test]
fn an_agent_killed_between_any_two_effects_of_a_release_is_open_only_if_the_release_is_on_disk() {
    if !private_network(
        "an_agent_killed_between_any_two_effects_of_a_release_is_open_only_if_the_release_is_on_disk",
    ) {
        return;
    }
    block_on(async {
        let bench = Bench::new();
        let mut stops = 0;
        for effects in 1.. {
            bench.forget_everything();
            let mut running = bench.start();
            let mut session = bench.session(&mut running).await.expect("connected");
            let cut = bench.deployment.cut(1, &bench.controllers());
            let cut = bench.carry_out(&mut session, cut).await.expect("cut");
            let spent = cut.report.and_then(|r| r.challenge).expect("challenge");
            running.signal(Signal::SIGTERM);
            assert!(running.end().0.success());
            assert_eq!(tables(), ["plain"], "stopping the agent changed the rules");

            let mut running = bench.start_with(Some(effects));
            let mut heard = None;
            if let Some(mut session) = bench.session(&mut running).await
                && let Some(release) = bench.release(&mut session, spent).await
            {
                heard = bench.carry_out(&mut session, release).await;
            }
            if let Some(heard) = heard {
                assert!(verified(&heard), "{:?}", heard.outcomes);
                assert!(reaches_tcp(OUTSIDE) && tables().is_empty());
                assert!(stops > 12, "only {stops} effects were interrupted");
                break;
            }
            let (status, log) = running.end();
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{effects}: {log}");
            stops += 1;
            let Loaded::State(state) = bench.loaded() else { panic!("after {effects} effects: no state") };
            if state.policy.contains() {
                assert!(!tables().is_empty() && !reaches_tcp(OUTSIDE), "opened without a record ({effects})");
            }
            // Whoever starts next carries the record out: open if it says so, closed if not.
            let mut running = bench.start();
            let mut session = bench.session(&mut running).await.expect("connected");
            let wanted = if state.policy.contains() { Links::Cut } else { Links::Open };
            bench.next_report(&mut session, |r| r.links == wanted && r.proofs.verified()).await;
            assert_eq!(
                !state.policy.contains(),
                reaches_tcp(OUTSIDE),
                "after {effects} effects and a restart"
            );
        }
        println!("interrupted after each of {stops} effects");
    });
}
