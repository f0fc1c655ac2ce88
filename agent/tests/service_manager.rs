//! The descriptor store of the service manager, played by the test: a killed agent's tables stay owned,
//! and the next agent takes over without a gap.

mod bench;
mod deployment;
mod double;
mod support;

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench::{Bench, Running, agent, block_on, tables, verified};
use digue_agent::store::Store;
use digue_proto::host::{HostState, Loaded};
use digue_proto::policy::Policy;
use digue_proto::report::Links;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, bind, recvmsg, socket,
};
use support::{OUTSIDE, private_network, reaches_tcp, run};

/// What a service manager does with notifications: it keeps descriptors by their names.
struct Manager {
    hears: OwnedFd,
    path: std::path::PathBuf,
    kept: Vec<(String, OwnedFd)>,
    ready: bool,
}

impl Manager {
    fn new(dir: &std::path::Path) -> Self {
        let path = dir.join("notify");
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let hears = socket(AddressFamily::Unix, SockType::Datagram, flags, None).expect("socket");
        bind(hears.as_raw_fd(), &UnixAddr::new(&path).expect("address")).expect("bound");
        Self { hears, path, kept: Vec::new(), ready: false }
    }

    /// Takes in every notification that waits.
    fn listen(&mut self) {
        loop {
            let mut bytes = [0; 1024];
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let mut space = nix::cmsg_space!([RawFd; 4]);
            let got = recvmsg::<UnixAddr>(
                self.hears.as_raw_fd(),
                &mut parts,
                Some(&mut space),
                MsgFlags::MSG_CMSG_CLOEXEC,
            );
            let Ok(got) = got else { return };
            let passed: Vec<RawFd> = got
                .cmsgs()
                .expect("control messages")
                .flat_map(|c| if let ControlMessageOwned::ScmRights(fds) = c { fds } else { Vec::new() })
                .collect();
            let length = got.bytes;
            let text = String::from_utf8(bytes[..length].to_vec()).expect("text");
            let name = text.lines().find_map(|l| l.strip_prefix("FDNAME=")).unwrap_or_default().to_owned();
            if text.contains("FDSTOREREMOVE=1") {
                self.kept.retain(|(kept, _)| *kept != name);
            } else if text.contains("FDSTORE=1") {
                self.kept.extend(passed.iter().map(|fd| (name.clone(), own(*fd))));
            }
            self.ready |= text.contains("READY=1");
        }
    }

    fn start(&self, bench: &Bench) -> Running {
        let mut program = agent(bench.dir.path());
        program.args(["run", "--lab"]);
        // The shell gives the descriptors the numbers that a service manager gives them, and its own
        // process id to the agent.
        let mut script = String::new();
        for (index, (_, fd)) in self.kept.iter().enumerate() {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).expect("inheritable");
            script += &format!("exec {}<&{1} {1}<&-; ", 3 + index, fd.as_raw_fd());
        }
        let names: Vec<&str> = self.kept.iter().map(|(name, _)| name.as_str()).collect();
        script += "export LISTEN_PID=$$; exec \"$@\"";
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash"]).arg(program.get_program()).args(program.get_args());
        command.env("NOTIFY_SOCKET", &self.path).env("LISTEN_FDS", names.len().to_string());
        command.env("LISTEN_FDNAMES", names.join(":")).stderr(Stdio::inherit());
        let running = Running { child: command.spawn().expect("agent") };
        for (_, fd) in &self.kept {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("not inheritable");
        }
        running
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            let names: Vec<&String> = self.kept.iter().map(|(name, _)| name).collect();
            let told =
                || format!("{what} did not happen: ready {}, kept {names:?}, {:?}", self.ready, tables());
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", told());
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.listen();
        }
    }
}

#[expect(unsafe_code, reason = "the descriptor was just passed to this process")]
fn own(fd: RawFd) -> OwnedFd {
    use std::os::fd::FromRawFd as _;
    // SAFETY: the kernel made this descriptor for this message, and nobody else holds its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[test]
fn tables_stay_owned_while_the_agent_is_dead_and_the_next_one_takes_over_without_a_gap() {
    const TEST: &str = "tables_stay_owned_while_the_agent_is_dead_and_the_next_one_takes_over_without_a_gap";
    if !private_network(TEST) || !support::has("nft") || !support::has("bash") {
        return;
    }
    block_on(async {
        let bench = Bench::new();
        let mut manager = Manager::new(bench.dir.path());
        let mut running = manager.start(&bench);
        let mut session = bench.session(&mut running).await.expect("connected");
        let cut = bench.deployment.cut(1, &bench.controllers());
        assert!(verified(&bench.carry_out(&mut session, cut).await.expect("carried out")));
        manager.until("readiness", |m| m.ready && m.kept.len() == 1).await;

        running.signal(Signal::SIGKILL);
        let _ = running.child.wait();
        assert_eq!(tables(), ["owned", "plain"], "the descriptor store did not keep the owned tables");
        // The plain copy falls to anyone; the owned one does not.
        let _ = run("nft", "flush ruleset");
        assert_eq!(tables(), ["owned"]);
        assert!(!reaches_tcp(OUTSIDE));

        let first = manager.kept[0].0.clone();
        manager.ready = false;
        let mut running = manager.start(&bench);
        // From the first moment to the last nothing gets out.
        let mut session = loop {
            assert!(!reaches_tcp(OUTSIDE), "a gap");
            match tokio::time::timeout(Duration::from_millis(50), bench.session(&mut running)).await {
                Ok(Some(session)) => break session,
                Ok(None) => panic!("the agent died"),
                Err(_) => {}
            }
        };
        bench.next_report(&mut session, |r| r.links == Links::Cut && r.proofs.verified()).await;
        manager.until("taking over", |m| m.ready && m.kept.len() == 1 && m.kept[0].0 != first).await;
        assert_eq!(tables(), ["owned", "plain"]);
        assert!(!reaches_tcp(OUTSIDE));
        running.signal(Signal::SIGTERM);
        assert!(running.child.wait().expect("ended").success());
    });
}

#[test]
fn a_release_that_was_written_down_opens_although_the_store_still_holds_the_tables() {
    const TEST: &str = "a_release_that_was_written_down_opens_although_the_store_still_holds_the_tables";
    if !private_network(TEST) || !support::has("bash") {
        return;
    }
    block_on(async {
        let bench = Bench::new();
        let mut manager = Manager::new(bench.dir.path());
        let mut running = manager.start(&bench);
        let mut session = bench.session(&mut running).await.expect("connected");
        let cut = bench.deployment.cut(1, &bench.controllers());
        assert!(verified(&bench.carry_out(&mut session, cut).await.expect("carried out")));
        manager.until("readiness", |m| m.ready && m.kept.len() == 1).await;
        running.signal(Signal::SIGKILL);
        let _ = running.child.wait();
        // As if the agent had been killed right after it wrote an admitted release down.
        let (mut store, loaded) = Store::open(&bench.state());
        let Loaded::State(state) = loaded else { panic!("no state") };
        store.write(&HostState { policy: Policy::open(), ..*state }).expect("written");

        manager.ready = false;
        let mut running = manager.start(&bench);
        manager.until("opening", |m| m.ready && m.kept.len() == 1 && tables().is_empty()).await;
        assert!(reaches_tcp(OUTSIDE));
        let mut session = bench.session(&mut running).await.expect("connected");
        bench.next_report(&mut session, |r| r.links == Links::Open).await;

        // On an open host no descriptor is hoarded, however often the agent is restarted.
        for _ in 0..3 {
            running.signal(Signal::SIGKILL);
            let _ = running.child.wait();
            manager.ready = false;
            running = manager.start(&bench);
            manager.until("readiness", |m| m.ready && m.kept.len() == 1).await;
        }
    });
}
