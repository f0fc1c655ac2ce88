//! A cut that reopens by itself when no controller can be reached: by the agent, and by the kernel when the
//! agent is dead. Each test takes as long as the shortest drill that an order may ask for.

mod bench;
mod deployment;
mod double;
mod support;

use std::time::{Duration, Instant};

use bench::{Bench, Running, agent, block_on, verified};
use digue_proto::host::Loaded;
use digue_proto::report::{Links, ReportV1};
use nix::sys::signal::Signal;
use support::{OUTSIDE, private_network, reaches_tcp};

const SECONDS: u32 = 30;
/// Until then it must be open again.
const LATEST: Duration = Duration::from_secs(50);

async fn drilled() -> (Bench, Running, double::Session) {
    let bench = Bench::new();
    let mut running = bench.start();
    let mut session = bench.session(&mut running).await.expect("connected");
    let report = bench.next_report(&mut session, |r| r.links == Links::Open).await;
    let challenge = report.challenge.expect("challenge");
    let drill = bench.deployment.drill(1, &bench.controllers(), SECONDS, &bench.key, challenge);
    let heard = bench.carry_out(&mut session, drill).await.expect("carried out");
    assert!(verified(&heard), "{:?}", heard.outcomes);
    assert!(!reaches_tcp(OUTSIDE));
    (bench, running, session)
}

async fn until_open(since: Instant, earliest: Duration) {
    while !reaches_tcp(OUTSIDE) {
        assert!(since.elapsed() < LATEST, "still closed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let open = since.elapsed();
    assert!(open > earliest, "open after {open:?} already");
}

fn reopened(report: &ReportV1) -> bool {
    report.links == Links::Open && report.alarms.iter().any(|a| a.kind == "reopened_by_timer")
}

#[test]
fn the_kernel_reopens_a_drill_whose_agent_is_dead_and_the_next_agent_does_not_close_it_again() {
    const TEST: &str =
        "the_kernel_reopens_a_drill_whose_agent_is_dead_and_the_next_agent_does_not_close_it_again";
    if !private_network(TEST) {
        return;
    }
    block_on(async {
        let (bench, mut running, session) = drilled().await;
        running.signal(Signal::SIGKILL);
        let _ = running.end();
        drop(session);
        until_open(Instant::now(), Duration::from_secs(25)).await;
        // Nor does early boot, within the same boot.
        let booted = agent(bench.dir.path()).args(["boot", "--lab"]).output().expect("boot");
        assert!(booted.status.success() && reaches_tcp(OUTSIDE));
        let mut running = bench.start();
        let mut session = bench.session(&mut running).await.expect("connected");
        bench.next_report(&mut session, reopened).await;
        assert!(reaches_tcp(OUTSIDE) && bench::tables().is_empty(), "{:?}", bench::tables());
    });
}

#[test]
fn an_agent_that_reaches_no_controller_ends_the_drill_and_says_so_when_it_reaches_one_again() {
    const TEST: &str =
        "an_agent_that_reaches_no_controller_ends_the_drill_and_says_so_when_it_reaches_one_again";
    if !private_network(TEST) {
        return;
    }
    block_on(async {
        let (bench, mut running, session) = drilled().await;
        // While a controller answers, the drill goes on: the proofs of contact keep it alive.
        let begun = Instant::now();
        let mut session = session;
        while begun.elapsed() < Duration::from_secs(u64::from(SECONDS) + 10) {
            bench.attend(&mut session, Duration::from_millis(200)).await;
            assert!(!reaches_tcp(OUTSIDE), "open after {:?} although a controller answers", begun.elapsed());
        }
        // From now on connections are refused. The last proof of contact may be a third of the time old.
        drop(session);
        let lost = Instant::now();
        bench.refuse_until(until_open(lost, Duration::from_secs(15))).await;
        let mut session = bench.session(&mut running).await.expect("connected");
        bench.next_report(&mut session, reopened).await;
        let Loaded::State(state) = bench.loaded() else { panic!("no state") };
        assert!(!state.policy.contains());
        assert!(running.alive() && reaches_tcp(OUTSIDE) && bench::tables().is_empty());
    });
}
