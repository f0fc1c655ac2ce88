//! The laboratory itself, without Digue: what it makes, what it leaves alone, and that it leaves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use digue_lab::control::{ProgramAction, Request, Response};
use digue_lab::incident::{Act, IncidentKind};
use digue_lab::laboratory::Laboratory;
use digue_lab::network::GuestKind;
use digue_lab::options::LabOptions;
use digue_lab::service::Arrival;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_digue-lab"))
}

/// A folder for one laboratory, and the options to start it with.
fn options(folder: &tempfile::TempDir, hosts: u16) -> LabOptions {
    LabOptions {
        dir: folder.path().join("lab"),
        hosts,
        bare: true,
        second_controller: false,
        attached: true,
        programs: PathBuf::new(),
        config_dir: folder.path().join("config"),
        context: "lab".into(),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dl").tempdir_in("/tmp").expect("a folder")
}

/// Starts a laboratory; `None`, with the reason printed, where the machine does not allow one.
fn laboratory(hosts: u16) -> Option<(Laboratory, tempfile::TempDir)> {
    if let Err(reason) = Laboratory::available(program()) {
        eprintln!("skipped: {reason}");
        return None;
    }
    let folder = folder();
    let laboratory = Laboratory::up(program(), &options(&folder, hosts), |_| ()).expect("a laboratory");
    Some((laboratory, folder))
}

fn run(laboratory: &Laboratory, machine: &str, command: &[&str]) -> Output {
    laboratory.exec(machine, command.iter().copied()).output().expect("digue-lab exec")
}

fn probe(laboratory: &Laboratory, machine: &str, arguments: &[&str]) -> (bool, String) {
    let command: Vec<&str> = ["digue-lab", "probe"].iter().chain(arguments).copied().collect();
    let output = run(laboratory, machine, &command);
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until `holds`, and fails with `what` if it does not within twenty seconds.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what} did not happen within 20 s");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Every process that descends from `ancestor`, with its start time, which tells it from a later one.
fn descendants(ancestor: u32) -> BTreeSet<(u32, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = fields.split(' ').collect();
        all.push((pid, fields[1].parse::<u32>().expect("parent"), fields[0] == "Z", fields[19].to_owned()));
    }
    let mut found = BTreeSet::from([ancestor]);
    loop {
        let more: Vec<u32> =
            all.iter().filter(|p| found.contains(&p.1) && !found.contains(&p.0)).map(|p| p.0).collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found.remove(&ancestor);
    all.into_iter().filter(|p| found.contains(&p.0) && !p.2).map(|p| (p.0, p.3)).collect()
}

fn alive(processes: &BTreeSet<(u32, String)>) -> usize {
    let lives = |(pid, start): &&(u32, String)| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, fields)| {
            let mut fields = fields.split(' ');
            fields.next() != Some("Z") && fields.nth(18) == Some(start)
        })
    };
    processes.iter().filter(lives).count()
}

/// Links, addresses and routes of the network namespace that the test runs in, without counters.
fn own_network() -> Vec<String> {
    let links = fs::read_to_string("/proc/net/dev").expect("links");
    let mut seen: Vec<String> =
        links.lines().map(|line| line.split(':').next().unwrap_or_default().trim().to_owned()).collect();
    for file in ["route", "ipv6_route", "if_inet6", "fib_trie"] {
        let text = fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
        // The reference and use counts of IPv6 routes (fields 7 and 8) count traffic.
        let stable = |line: &str| match file {
            "ipv6_route" => line
                .split(' ')
                .filter(|field| !field.is_empty())
                .enumerate()
                .filter(|(n, _)| !(6..8).contains(n))
                .map(|(_, field)| field)
                .collect(),
            _ => line.to_owned(),
        };
        seen.extend(text.lines().map(stable));
    }
    seen
}

#[test]
fn a_server_reaches_the_internet_the_printer_and_the_controller_over_both_protocols() {
    let Some((laboratory, _folder)) = laboratory(12) else { return };
    let (reached, said) = probe(
        &laboratory,
        "srv-001",
        &[
            "tcp",
            "198.51.100.66:443",
            "[2001:db8:66::66]:443",
            "10.77.0.20:7",
            "[fd77::20]:7",
            "10.77.0.2:7",
            "[fd77::2]:7",
            "10.77.1.12:8080",
            "198.51.100.80:80",
        ],
    );
    assert!(reached, "{said}");
    let (reached, said) = probe(
        &laboratory,
        "srv-012",
        &["udp", "198.51.100.66:4444", "[2001:db8:66::80]:7", "10.77.1.1:8080"],
    );
    assert!(reached, "{said}");
    let (reached, said) = probe(
        &laboratory,
        "srv-012",
        &["icmp", "198.51.100.66", "2001:db8:66::66", "10.77.0.20", "fd77::20"],
    );
    assert!(reached, "{said}");
}

#[test]
fn what_is_not_there_is_reported_as_not_reached() {
    let Some((laboratory, _folder)) = laboratory(1) else { return };
    for target in
        [["tcp", "10.77.9.9:7"], ["tcp", "10.77.0.20:81"], ["udp", "10.77.9.9:7"], ["icmp", "10.77.9.9"]]
    {
        let (reached, said) = probe(&laboratory, "srv-001", &[target[0], target[1], "--timeout", "300"]);
        assert!(!reached && said.contains("not reached"), "{target:?}: {said}");
    }
}

#[test]
fn exec_passes_exit_code_output_and_working_directory() {
    let Some((laboratory, folder)) = laboratory(1) else { return };
    let code = |command: &[&str]| run(&laboratory, "srv-001", command).status.code();
    assert_eq!(code(&["sh", "-c", "exit 42"]), Some(42));
    assert_eq!(code(&["sh", "-c", "kill -9 $$"]), Some(128 + 9));
    assert_eq!(code(&["no-such-command"]), Some(127));
    assert_eq!(code(&["/etc/passwd"]), Some(126));
    assert_eq!(run(&laboratory, "srv-999", &["true"]).status.code(), Some(125));
    let mut command = laboratory.exec("srv-001", ["sh", "-c", "hostname; pwd"]);
    let output = command.current_dir(folder.path()).output().expect("exec");
    let expected = format!("srv-001\n{}\n", folder.path().display());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn a_machine_has_processes_names_and_services_of_its_own() {
    let Some((laboratory, _folder)) = laboratory(2) else { return };
    let script = "readlink /proc/self/ns/net /proc/1/ns/net; ls /run; ls /sys/class/net; cat /proc/net/unix | grep -c @";
    let output = run(&laboratory, "srv-002", &["sh", "-c", script]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert_ne!(lines[0], lines[1], "an agent compares its network with that of process 1");
    assert_eq!(lines[2..], ["eth0", "lo", "0"], "no runtime files, links or abstract sockets of the machine");
    let count = run(&laboratory, "srv-002", &["sh", "-c", "ls -d /proc/[0-9]* | wc -l"]);
    let count = String::from_utf8_lossy(&count.stdout).trim().parse::<u32>().expect("a number");
    assert!(count < 8, "{count} processes are visible");
    let resolved = run(&laboratory, "srv-002", &["getent", "hosts", "srv-001"]);
    assert!(String::from_utf8_lossy(&resolved.stdout).contains("srv-001"));
}

#[test]
fn the_network_that_it_was_started_from_stays_as_it_was() {
    let before = own_network();
    let Some((laboratory, _folder)) = laboratory(12) else { return };
    assert_eq!(own_network(), before);
    let inside = laboratory.status().expect("status").network_namespace;
    assert_ne!(inside, digue_lab::namespace::network_namespace().expect("own namespace"));
    laboratory.down().expect("down");
    assert_eq!(own_network(), before);
}

#[test]
fn down_ends_every_process_and_removes_the_folder() {
    let Some((laboratory, folder)) = laboratory(12) else { return };
    let processes = descendants(std::process::id());
    assert!(processes.len() > 2 * 19, "only {} processes were found", processes.len());
    let ended = laboratory.down().expect("down");
    assert_eq!(ended, 2 * 19);
    assert_eq!(alive(&processes), 0);
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 0);
}

#[test]
fn everything_ends_when_the_outermost_or_the_inner_process_is_killed() {
    for level in ["outermost", "inner"] {
        let Some((mut laboratory, folder)) = laboratory(3) else { return };
        let processes = descendants(std::process::id());
        let names = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let verb = if level == "outermost" { "\0keep\0" } else { "\0inside\0" };
        let victim = processes.iter().find(|(pid, _)| names(*pid).contains(verb)).expect("the process").0;
        let killed = Command::new("kill").args(["-9", &victim.to_string()]).status().expect("kill");
        assert!(killed.success());
        laboratory.wait().expect("it ends");
        wait_until("the end of all processes", || alive(&processes) == 0);
        let again =
            Laboratory::up(program(), &options(&folder, 1), |_| ()).expect("the folder can be used again");
        again.down().expect("down");
    }
}

#[test]
fn guests_of_every_kind_reach_the_internet_and_so_does_their_host() {
    let Some((laboratory, _folder)) = laboratory(2) else { return };
    let kinds = [("web", GuestKind::Routed), ("vm", GuestKind::Bridged), ("mac", GuestKind::Macvlan)];
    for (name, kind) in kinds {
        let request = Request::CreateGuest { host: "srv-001".into(), kind, name: name.into() };
        let Response::Guest(guest) = laboratory.ask(&request).expect("a guest") else { panic!("no guest") };
        assert!(guest.on && guest.host == "srv-001");
        for machine in [name, "srv-001"] {
            let targets = ["tcp", "198.51.100.66:443", "[2001:db8:66::66]:443", "10.77.1.2:8080"];
            let (reached, said) = probe(&laboratory, machine, &targets);
            assert!(reached, "{machine} with {name}: {said}");
        }
    }
    let again = Request::CreateGuest { host: "srv-002".into(), kind: GuestKind::Routed, name: "web".into() };
    assert!(laboratory.ask(&again).expect_err("taken").to_string().contains("taken"));
    laboratory.ask(&Request::RemoveGuest { name: "web".into() }).expect("removed");
    assert_eq!(run(&laboratory, "web", &["true"]).status.code(), Some(125));
}

#[test]
fn a_machine_without_its_cable_is_out_of_reach_until_it_is_plugged_in_again() {
    let Some((laboratory, _folder)) = laboratory(2) else { return };
    let cable =
        |plugged| laboratory.ask(&Request::Cable { machine: "srv-002".into(), plugged }).expect("cable");
    let reach = |arguments: &[&str]| {
        let targets =
            ["tcp", "10.77.1.1:8080", "[fd77::1:1]:8080", "198.51.100.66:443", "[2001:db8:66::66]:443"];
        probe(&laboratory, "srv-002", &[&targets, arguments].concat()).0
    };
    assert!(reach(&[]));
    cable(false);
    assert!(!reach(&["--timeout", "300"]));
    cable(true);
    assert!(reach(&["--within", "5000"]));
    let none = Request::Program { machine: "srv-001".into(), action: ProgramAction::Kill };
    assert!(laboratory.ask(&none).expect_err("bare").to_string().contains("does not run"));
}

fn lines<T: serde::de::DeserializeOwned>(file: &Path) -> Vec<T> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn a_beacon_is_seen_by_the_attacker_and_stops_when_it_is_stopped() {
    let Some((laboratory, _folder)) = laboratory(7) else { return };
    let start =
        |kind| laboratory.ask(&Request::StartIncident { kind, host: "srv-007".into() }).expect("started");
    start(IncidentKind::Beacon);
    let arrivals = laboratory.place().arrivals();
    let seen = |event: &str| {
        lines::<Arrival>(&arrivals).iter().any(|a| a.event == event && a.text.contains("decoy"))
    };
    wait_until("a beacon at the attacker", || seen("tcp-data") && seen("udp"));
    start(IncidentKind::Lateral);
    let log = laboratory.place().host("srv-007").join("incident-lateral.jsonl");
    wait_until("the end of the lateral movement", || {
        lines::<Act>(&log).iter().any(|act| act.what == "ended")
    });
    assert_eq!(lines::<Act>(&log).iter().filter(|act| act.what == "answered").count(), 6);
    laboratory.ask(&Request::StopIncidents).expect("stopped");
    let states = laboratory.status().expect("status").incidents;
    assert!(states.iter().all(|incident| incident.state.starts_with("ended")), "{states:?}");
}

#[test]
fn a_folder_holds_one_laboratory_and_two_folders_hold_two() {
    let Some((laboratory, folder)) = laboratory(1) else { return };
    let refused = Laboratory::up(program(), &options(&folder, 1), |_| ()).expect_err("refused").to_string();
    assert!(refused.contains("already runs"), "{refused}");
    let elsewhere = self::folder();
    let second = Laboratory::up(program(), &options(&elsewhere, 1), |_| ()).expect("a second laboratory");
    for both in [&laboratory, &second] {
        assert!(probe(both, "srv-001", &["tcp", "198.51.100.66:443"]).0);
    }
}

#[test]
fn missing_programs_are_named_with_the_command_that_builds_them() {
    if let Err(reason) = Laboratory::available(program()) {
        eprintln!("skipped: {reason}");
        return;
    }
    let folder = folder();
    let with_digue = LabOptions { bare: false, programs: folder.path().to_owned(), ..options(&folder, 1) };
    let error = Laboratory::up(program(), &with_digue, |_| ()).expect_err("no programs").to_string();
    assert!(error.contains("cargo build -p digue -p digue-agent -p digue-controller"), "{error}");
    assert!(!folder.path().join("config").exists(), "a context was left behind");
}

#[test]
fn verbs_without_a_laboratory_say_what_to_do() {
    let folder = folder();
    for verb in [vec!["status"], vec!["exec", "srv-001", "--", "true"], vec!["incident", "beacon"]] {
        let output =
            Command::new(program()).arg("--dir").arg(folder.path()).args(&verb).output().expect("digue-lab");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("digue-lab up"), "{verb:?}: {said}");
    }
}

#[test]
fn an_ordinary_user_runs_one_too() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: the other tests already run as an ordinary user");
        return;
    }
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("permissions");
    // The build folder may be out of this user's reach.
    let copy = folder.path().join("digue-lab");
    fs::copy(program(), &copy).expect("copy");
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new(&copy);
        command.uid(65534).gid(65534).env_remove("XDG_RUNTIME_DIR").current_dir("/");
        command.arg("--dir").arg(folder.path().join("lab")).args(arguments).output().expect("digue-lab")
    };
    let possible = as_nobody(&["check"]);
    if !possible.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&possible.stderr));
        return;
    }
    let up = as_nobody(&["up", "--bare", "--detach", "--hosts", "2"]);
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let inside = as_nobody(&[
        "exec",
        "srv-001",
        "--",
        "digue-lab",
        "probe",
        "tcp",
        "198.51.100.66:443",
        "10.77.1.2:8080",
    ]);
    let down = as_nobody(&["down"]);
    assert!(inside.status.success(), "{}", String::from_utf8_lossy(&inside.stdout));
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
}
