//! Private networks for tests of the drivers against the real kernel.
//!
//! A test that begins with [`private_network`] runs in a network namespace of its own. As an ordinary user
//! it runs again in a user namespace; where the kernel forbids that, it is skipped with the reason.
#![allow(dead_code, reason = "every test file uses its own part")]

pub(crate) mod raw;
pub(crate) mod wire;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use digue_agent::drivers::Place;
use digue_proto::policy::{BlockList, OnLostManagement, Policy, Profile};
use digue_proto::rules::{HostFacts, RuleSet, TableNames, compile};
use nix::sched::{CloneFlags, setns, unshare};

pub(crate) const INNER: &str = "DIGUE_TEST_INNER";

pub(crate) const CONTROLLER: &str = "10.77.0.2:7443";
pub(crate) const CONTROLLER6: &str = "[fd77::2]:7443";
pub(crate) const INTERNAL: &str = "10.77.0.9:445";
pub(crate) const INTERNAL6: &str = "[fd77::9]:445";
pub(crate) const OUTSIDE: &str = "198.51.100.66:443";
pub(crate) const OUTSIDE6: &str = "[2001:db8:66::66]:443";

/// Moves the calling thread into a fresh network namespace. `false` if the test has nothing left to do
/// here: it was run in a user namespace instead, or cannot run.
pub(crate) fn private_network(test: &str) -> bool {
    if !has("ip") {
        return false;
    }
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {
            Place::current(true).expect("a fresh namespace is not the machine's own");
            ip("link set lo up");
            true
        }
        Err(denied) if std::env::var_os(INNER).is_none() => {
            let exe = std::env::current_exe().expect("own path");
            let mut unshare = Command::new("unshare");
            unshare.args(["--user", "--map-root-user", "--net", "--"]).arg(exe);
            let run = unshare.args(["--exact", test, "--nocapture"]).env(INNER, "1").output();
            match run {
                Ok(output) if output.status.success() => {}
                Ok(output) if String::from_utf8_lossy(&output.stderr).contains("unshare:") => {
                    eprintln!("skipped: no network namespace ({denied}) and no user namespace");
                }
                Ok(output) => panic!("in a user namespace:\n{}", String::from_utf8_lossy(&output.stderr)),
                Err(error) => eprintln!("skipped: no network namespace ({denied}), no unshare ({error})"),
            }
            false
        }
        Err(denied) => {
            eprintln!("skipped: no network namespace ({denied})");
            false
        }
    }
}

/// Whether a program can be run; prints why the rest of the test is skipped otherwise.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("-V").output().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Runs a command in the calling thread's namespace; gives its output, or its complaint.
pub(crate) fn run(program: &str, arguments: &str) -> Result<String, String> {
    let output = Command::new(program).args(arguments.split_whitespace()).output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

pub(crate) fn ip(arguments: &str) -> String {
    run("ip", arguments).unwrap_or_else(|error| panic!("ip {arguments}: {error}"))
}

/// Adds a card without a link header, `tun0`, where the device may be opened.
pub(crate) fn tunnel() -> bool {
    let added = run("ip", "tuntap add tun0 mode tun");
    if let Err(error) = &added {
        eprintln!("skipped: no card without a link header: {}", error.trim());
    }
    added.is_ok()
}

/// A network namespace that lives as long as this value.
pub(crate) struct Net {
    handle: File,
}

impl Net {
    pub(crate) fn new() -> Self {
        std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a second namespace");
            let net = Self { handle: File::open("/proc/thread-self/ns/net").expect("the namespace") };
            ip("link set lo up");
            net
        })
        .join()
        .expect("a namespace")
    }

    /// The calling thread's own.
    pub(crate) fn own() -> Self {
        Self { handle: File::open("/proc/thread-self/ns/net").expect("the namespace") }
    }

    /// Runs `job` inside.
    pub(crate) fn within<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET).expect("entering a namespace");
                job()
            });
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A path by which `ip` finds it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd())
    }
}

/// A host (the calling thread's namespace) with one card `eth0`, and behind it everything else in one
/// namespace: a router, controllers, internal machines, and the outside.
pub(crate) struct World {
    pub(crate) rest: Net,
    pub(crate) wire: wire::Wire,
}

impl World {
    pub(crate) fn new() -> Self {
        let rest = Net::new();
        ip(&format!("link add eth0 type veth peer name up0 netns {}", rest.path()));
        rest.within(|| {
            for address in
                ["10.77.0.1/16", "10.77.0.2/16", "10.77.0.9/16", "fd77::1/64", "fd77::2/64", "fd77::9/64"]
            {
                let flag = if address.contains(':') { " nodad" } else { "" };
                ip(&format!("addr add {address} dev up0{flag}"));
            }
            ip("link set up0 up");
            for address in ["198.51.100.66/32", "2001:db8:66::66/128 nodad"] {
                ip(&format!("addr add dev lo {address}"));
            }
        });
        for address in ["10.77.1.1/16", "fd77::101/64"] {
            let flag = if address.contains(':') { " nodad" } else { "" };
            ip(&format!("addr add {address} dev eth0{flag}"));
        }
        ip("link set eth0 up");
        ip("route add default via 10.77.0.1");
        ip("-6 route add default via fd77::1");
        let wire = rest.within(wire::Wire::open);
        for address in [CONTROLLER, CONTROLLER6, INTERNAL, INTERNAL6, OUTSIDE, OUTSIDE6] {
            rest.within(|| serve(address));
        }
        Self { rest, wire }
    }
}

/// Answers on an address with what it is sent: TCP and UDP.
pub(crate) fn serve(address: &str) {
    let tcp = TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    let udp = UdpSocket::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    std::thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            std::thread::spawn(move || echo(stream));
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            _ = udp.send_to(&buffer[..length], from);
        }
    });
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 2048];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// Long enough for a packet to come back if it can, on a machine that is busy.
const PATIENCE: Duration = Duration::from_millis(700);

/// A TCP session through which a message went both ways, if it can be had.
pub(crate) fn session(to: &str) -> Option<TcpStream> {
    let to: SocketAddr = to.parse().expect("address");
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
    talk(&mut stream).then_some(stream)
}

/// Whether a message goes both ways through a session.
pub(crate) fn talk(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut answer = [0; 5];
    stream.write_all(b"hello").is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"hello"
}

pub(crate) fn reaches_tcp(to: &str) -> bool {
    session(to).is_some()
}

pub(crate) fn reaches_udp(to: &str) -> bool {
    let to: SocketAddr = to.parse().expect("address");
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut buffer = [0; 16];
    socket.send_to(b"hello", to).is_ok() && socket.recv_from(&mut buffer).is_ok()
}

pub(crate) fn names(seed: u8) -> TableNames {
    TableNames::from_entropy([seed; 8])
}

pub(crate) fn policy(profile: Profile) -> Policy {
    Policy {
        profile,
        controllers: vec![CONTROLLER.parse().expect("address"), CONTROLLER6.parse().expect("address")],
        internal: vec!["10.77.0.0/16".parse().expect("network"), "fd77::/64".parse().expect("network")],
        exceptions: Vec::new(),
        on_lost_management: OnLostManagement::Hold,
    }
}

pub(crate) fn rules(profile: Profile, facts: &HostFacts) -> RuleSet {
    compile(&policy(profile), &BlockList::default(), facts, &names(7))
}

/// Waits until something holds; panics if it does not within ten seconds.
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what} did not happen");
        std::thread::yield_now();
    }
}
