//! Early boot, a full disk, damaged files, a second agent: what a host does on its worst day.

mod bench;
mod deployment;
mod double;
mod support;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use bench::{Bench, agent, block_on, tables, verified};
use digue_agent::store::Store;
use digue_proto::host::{HostState, Loaded};
use digue_proto::order::Action;
use digue_proto::policy::{BlockList, Policy};
use digue_proto::report::Links;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use support::{INTERNAL, OUTSIDE, private_network, reaches_tcp};

fn boot(bench: &Bench) -> Output {
    agent(bench.dir.path()).args(["boot", "--lab"]).output().expect("boot")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// The bench of a host that was cut and then lost power.
async fn cut_host() -> Bench {
    let bench = Bench::new();
    let mut running = bench.start();
    let mut session = bench.session(&mut running).await.expect("connected");
    let cut = bench.deployment.cut(1, &bench.controllers());
    assert!(verified(&bench.carry_out(&mut session, cut).await.expect("carried out")));
    running.signal(Signal::SIGKILL);
    let _ = running.end();
    bench.forget_rules();
    assert!(reaches_tcp(OUTSIDE));
    bench
}

#[test]
fn early_boot_closes_a_host_that_was_cut_whatever_became_of_its_files() {
    if !private_network("early_boot_closes_a_host_that_was_cut_whatever_became_of_its_files") {
        return;
    }
    block_on(async {
        let bench = cut_host().await;
        let state = bench.state();
        let flip = |name: &str| {
            let mut bytes = fs::read(state.join(name)).expect("state");
            bytes[60] ^= 1;
            fs::write(state.join(name), bytes).expect("damaged");
        };
        let config = bench.dir.path().join("agent.toml");
        let damages: [(&str, &dyn Fn(), bool); 7] = [
            ("nothing", &|| (), true),
            ("one copy damaged", &|| flip("state.a"), true),
            ("roots lost", &|| fs::remove_dir_all(state.join("roots")).expect("removed"), true),
            ("key lost", &|| fs::remove_file(state.join("host_key")).expect("removed"), true),
            ("configuration damaged", &|| append(&config, "surprise = true\n"), true),
            // From here on the internal networks are not known any more: only the controllers stay.
            ("both copies damaged", &|| flip("state.b"), false),
            (
                "both copies deleted",
                &|| {
                    for name in ["state.a", "state.b"] {
                        fs::remove_file(state.join(name)).expect("removed");
                    }
                },
                false,
            ),
        ];
        for (what, damage, state_is_known) in damages {
            damage();
            let begun = Instant::now();
            let output = boot(&bench);
            assert!(output.status.success(), "{what}: {}", said(&output));
            assert!(begun.elapsed() < Duration::from_secs(2), "{what}: {:?}", begun.elapsed());
            assert_eq!(tables(), ["plain"], "{what}");
            assert!(!reaches_tcp(OUTSIDE), "{what}");
            assert_eq!(reaches_tcp(INTERNAL), state_is_known, "{what}");
            bench.forget_rules();
        }
    });
}

fn append(path: &Path, text: &str) {
    // In front: what follows a section would belong to it.
    let old = fs::read_to_string(path).expect("read");
    fs::write(path, text.to_owned() + &old).expect("written");
}

#[test]
fn early_boot_leaves_a_host_alone_that_never_had_an_order_or_was_reopened() {
    if !private_network("early_boot_leaves_a_host_alone_that_never_had_an_order_or_was_reopened") {
        return;
    }
    block_on(async {
        let bench = Bench::new();
        let output = boot(&bench);
        assert!(output.status.success() && said(&output).contains("no order was ever accepted"));
        let (mut store, _) = Store::open(&bench.state());
        store.write(&HostState::fresh()).expect("written");
        let output = boot(&bench);
        assert!(output.status.success() && said(&output).contains("to be open"), "{}", said(&output));
        assert!(tables().is_empty() && reaches_tcp(OUTSIDE));
        // A block list holds on an open host too.
        let blocked = BlockList { networks: vec!["198.51.100.66/32".parse().expect("network")] };
        store.write(&HostState { blocked, ..HostState::fresh() }).expect("written");
        assert!(boot(&bench).status.success());
        assert!(!reaches_tcp(OUTSIDE) && reaches_tcp(INTERNAL));
    });
}

#[test]
fn boot_does_nothing_beside_a_running_agent_and_a_second_agent_does_not_start() {
    if !private_network("boot_does_nothing_beside_a_running_agent_and_a_second_agent_does_not_start") {
        return;
    }
    block_on(async {
        let bench = Bench::new();
        let mut running = bench.start();
        let _session = bench.session(&mut running).await.expect("connected");
        let output = boot(&bench);
        assert!(output.status.success() && said(&output).contains("agent is running"), "{}", said(&output));
        let second = agent(bench.dir.path()).args(["run", "--lab"]).output().expect("second");
        assert!(
            !second.status.success() && said(&second).contains("another agent runs"),
            "{}",
            said(&second)
        );
        assert!(running.alive());
    });
}

#[test]
fn an_agent_that_cannot_start_leaves_its_host_as_closed_as_its_state_says() {
    if !private_network("an_agent_that_cannot_start_leaves_its_host_as_closed_as_its_state_says") {
        return;
    }
    block_on(async {
        let bench = cut_host().await;
        fs::remove_dir_all(bench.state().join("roots")).expect("removed");
        let output = agent(bench.dir.path()).args(["run", "--lab"]).output().expect("run");
        assert!(!output.status.success());
        assert_eq!(tables(), ["plain"]);
        assert!(!reaches_tcp(OUTSIDE) && reaches_tcp(INTERNAL));
        bench.forget_rules();
        fs::write(bench.dir.path().join("agent.toml"), bench.config() + "surprise = 1\n").expect("written");
        let output = agent(bench.dir.path()).args(["run", "--lab"]).output().expect("run");
        assert_eq!(output.status.code(), Some(78), "{}", said(&output));
        assert!(!reaches_tcp(OUTSIDE));
    });
}

#[test]
fn an_order_that_cannot_be_written_down_is_not_carried_out_until_it_can() {
    if !private_network("an_order_that_cannot_be_written_down_is_not_carried_out_until_it_can") {
        return;
    }
    if let Err(e) = unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS) {
        eprintln!("skipped: a private mount namespace is not to be had ({e})");
        return;
    }
    block_on(async {
        let bench = Bench::new();
        let state = bench.state();
        // The state moves to a disk of half a megabyte; what is reserved there is taken away again.
        let aside = bench.dir.path().join("aside");
        fs::rename(&state, &aside).expect("moved");
        fs::create_dir(&state).expect("made");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
        mount(Some("tmpfs"), &state, Some("tmpfs"), MsFlags::empty(), Some("size=512k")).expect("tmpfs");
        fs::copy(aside.join("host_key"), state.join("host_key")).expect("copied");
        fs::copy(aside.join("root.sha256"), state.join("root.sha256")).expect("copied");
        fs::create_dir(state.join("roots")).expect("made");
        fs::copy(aside.join("roots/1.json"), state.join("roots/1.json")).expect("copied");

        let mut running = bench.start();
        let mut session = bench.session(&mut running).await.expect("connected");
        bench.next_report(&mut session, |r| r.links == Links::Open).await;
        for name in ["state.a", "state.b"] {
            let file = fs::OpenOptions::new().write(true).open(state.join(name)).expect("state");
            file.set_len(0).expect("the reserve is gone");
        }
        let mut filler = fs::File::create(state.join("filler")).expect("filler");
        while filler.write_all(&[0; 4096]).is_ok() {}

        let cut = bench.deployment.cut(1, &bench.controllers());
        tokio::select! {
            heard = bench.carry_out(&mut session, cut.clone()) => panic!("carried out: {heard:?}"),
            () = bench.snapshot_says(|s| s.trouble.is_some()) => {}
        }
        assert!(tables().is_empty() && reaches_tcp(OUTSIDE), "acted before it was written down");
        let told = agent(bench.dir.path()).args(["status"]).env("LANG", "C").output().expect("status");
        assert!(said(&told).contains("CANNOT WRITE TO ITS DISK"), "{}", said(&told));
        assert_eq!(told.status.code(), Some(3));

        drop(filler);
        fs::remove_file(state.join("filler")).expect("room");
        // The same order, which was never lost, is carried out now.
        let heard = bench.carry_out(&mut session, cut).await.expect("carried out");
        assert!(verified(&heard), "{:?}", heard.outcomes);
        assert!(!reaches_tcp(OUTSIDE));
        bench.snapshot_says(|s| s.trouble.is_none() && s.links == Links::Cut).await;
    });
}

#[test]
fn status_tells_the_person_on_the_host_which_order_cut_it_with_and_without_an_agent() {
    if !private_network("status_tells_the_person_on_the_host_which_order_cut_it_with_and_without_an_agent") {
        return;
    }
    block_on(async {
        let bench = Bench::new();
        let status = |language: &str| {
            let mut command = agent(bench.dir.path());
            command.arg("status").env("LC_ALL", language).output().expect("status")
        };
        let mut running = bench.start();
        let mut session = bench.session(&mut running).await.expect("connected");
        let cut = bench.deployment.cut(1, &bench.controllers());
        bench.carry_out(&mut session, cut).await.expect("carried out");
        let told = status("fr_FR.UTF-8");
        for expected in ["LIENS COUPÉS (vérifié)", "exercise", "a test", "10.77.0.2:7444", "Ne videz pas"]
        {
            assert!(said(&told).contains(expected), "{expected}: {}", said(&told));
        }
        assert_eq!(told.status.code(), Some(0));
        let json = agent(bench.dir.path()).args(["status", "-o", "json"]).output().expect("status");
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
        assert_eq!((&json["running"], &json["snapshot"]["links"]), (&true.into(), &"cut".into()));
        assert!(!json.to_string().contains("challenge"));

        running.signal(Signal::SIGKILL);
        let _ = running.end();
        let told = status("C");
        assert!(said(&told).contains("NOT RUNNING") && said(&told).contains("exercise"), "{}", said(&told));
        assert_eq!(told.status.code(), Some(3));
        // After a boot the run directory is empty, and only the state on disk is left to tell.
        fs::remove_dir_all(bench.dir.path().join("run")).expect("removed");
        let told = status("C");
        for expected in ["are to be cut", "exercise", "Do not flush the firewall"] {
            assert!(said(&told).contains(expected), "{expected}: {}", said(&told));
        }
    });
}

#[test]
fn a_newer_trust_root_is_on_disk_before_it_serves_and_outlives_a_restart() {
    if !private_network("a_newer_trust_root_is_on_disk_before_it_serves_and_outlives_a_restart") {
        return;
    }
    block_on(async {
        use digue_proto::frame::FromController;
        let bench = Bench::new();
        let mut running = bench.start();
        let mut session = bench.session(&mut running).await.expect("connected");
        assert_eq!(session.hello.root_version, 1);
        session.say(&FromController::Roots(vec![bench.deployment.next_root()])).await;
        bench.next_report(&mut session, |r| r.root_version == 2).await;
        assert!(bench.state().join("roots/2.json").exists());
        running.signal(Signal::SIGKILL);
        let _ = running.end();
        let mut running = bench.start();
        let session = bench.session(&mut running).await.expect("connected");
        assert_eq!(session.hello.root_version, 2);
        drop((session, running));

        // A chain that ends early is not silently accepted.
        fs::write(bench.state().join("roots/2.json"), "damaged").expect("damaged");
        let mut running = bench.start();
        let mut session = bench.session(&mut running).await.expect("connected");
        assert_eq!(session.hello.root_version, 1);
        let rolled_back =
            |r: &digue_proto::report::ReportV1| r.alarms.iter().any(|a| a.kind == "root_rolled_back");
        bench.next_report(&mut session, rolled_back).await;
    });
}

#[test]
fn a_block_order_closes_one_address_on_an_open_host_and_survives_a_restart() {
    if !private_network("a_block_order_closes_one_address_on_an_open_host_and_survives_a_restart") {
        return;
    }
    block_on(async {
        let bench = Bench::new();
        let mut running = bench.start();
        let mut session = bench.session(&mut running).await.expect("connected");
        let blocked = BlockList { networks: vec!["198.51.100.66/32".parse().expect("network")] };
        let block = bench.deployment.protect(1, Action::Block { blocked });
        let heard = bench.carry_out(&mut session, block).await.expect("carried out");
        assert!(verified(&heard), "{:?}", heard.outcomes);
        assert!(!reaches_tcp(OUTSIDE) && reaches_tcp(INTERNAL));
        running.signal(Signal::SIGKILL);
        let _ = running.end();
        let mut running = bench.start();
        let mut session = bench.session(&mut running).await.expect("connected");
        bench.next_report(&mut session, |r| r.proofs.read_back.passed()).await;
        assert!(!reaches_tcp(OUTSIDE) && reaches_tcp(INTERNAL));
        let Loaded::State(state) = bench.loaded() else { panic!("no state") };
        assert_eq!(state.policy, Policy::open());
    });
}
