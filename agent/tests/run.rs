//! The running agent: cut, reopened, tampered with.

mod bench;
mod deployment;
mod double;
mod support;

use std::time::{Duration, Instant};

use bench::{Bench, block_on, tables, verified};
use digue_proto::report::{Links, Outcome};
use nix::sys::signal::Signal;
use support::{INTERNAL, OUTSIDE, private_network, reaches_tcp, run};

#[test]
fn an_order_cuts_the_host_and_a_release_by_two_people_reopens_it() {
    if !private_network("an_order_cuts_the_host_and_a_release_by_two_people_reopens_it") {
        return;
    }
    block_on(async {
        let bench = Bench::new();
        let mut running = bench.start();
        let mut session = bench.session(&mut running).await.expect("connected");
        assert!(reaches_tcp(OUTSIDE) && reaches_tcp(INTERNAL), "the test network does not work");

        let cut = bench.deployment.cut(1, &bench.controllers());
        let heard = bench.carry_out(&mut session, cut.clone()).await.expect("carried out");
        assert_eq!(heard.outcomes, [Outcome::Acknowledged {}, Outcome::Applied {}, Outcome::Verified {}]);
        assert!(heard.seqs.is_sorted_by(|a, b| a < b), "{:?}", heard.seqs);
        let report = heard.report.expect("report");
        assert_eq!((report.links, report.rules_meant), (Links::Cut, report.rules_observed));
        assert!(report.proofs.verified() && report.proofs.probes.passed(), "{:?}", report.proofs);
        assert!(!reaches_tcp(OUTSIDE) && reaches_tcp(INTERNAL));
        assert_eq!(tables(), ["owned", "plain"]);

        // One signature is not enough to reopen.
        let challenge = report.challenge.expect("challenge");
        let boot_id = report.clocks.boot_id.clone();
        let alone = bench.deployment.release(2, &bench.key, challenge, &boot_id, 1);
        let heard = bench.carry_out(&mut session, alone).await.expect("answered");
        assert!(matches!(&heard.outcomes[..], [Outcome::Refused { .. }]), "{:?}", heard.outcomes);
        assert!(!reaches_tcp(OUTSIDE));

        let release = bench.deployment.release(2, &bench.key, challenge, &boot_id, 2);
        let heard = bench.carry_out(&mut session, release).await.expect("carried out");
        assert!(verified(&heard), "{:?}", heard.outcomes);
        assert_eq!(heard.report.expect("report").links, Links::Open);
        assert!(reaches_tcp(OUTSIDE));
        assert!(tables().is_empty(), "{:?}", tables());

        running.signal(Signal::SIGTERM);
        let (status, log) = running.end();
        assert!(status.success(), "{log}");
    });
}

#[test]
fn rules_that_were_flushed_or_changed_are_there_again_at_once_and_the_culprit_is_named() {
    if !private_network("rules_that_were_flushed_or_changed_are_there_again_at_once_and_the_culprit_is_named")
        || !support::has("nft")
    {
        return;
    }
    block_on(async {
        let bench = Bench::new();
        let mut running = bench.start();
        let mut session = bench.session(&mut running).await.expect("connected");
        let cut = bench.deployment.cut(1, &bench.controllers());
        bench.carry_out(&mut session, cut).await.expect("carried out");
        let _ = run("nft", "flush ruleset");
        let begun = Instant::now();
        let report =
            bench.next_report(&mut session, |r| r.alarms.iter().any(|a| a.kind == "rules_changed")).await;
        let alarm = report.alarms.iter().find(|a| a.kind == "rules_changed").expect("alarm");
        assert!(alarm.detail.starts_with("nft (process "), "{}", alarm.detail);
        let report = bench.next_report(&mut session, |r| r.links == Links::Cut).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(report.rules_meant, report.rules_observed);
        assert_eq!(tables(), ["owned", "plain"]);
        assert!(!reaches_tcp(OUTSIDE));
    });
}
