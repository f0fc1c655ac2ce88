//! The demonstration as a program: it verifies the real thing, and it notices when the thing is not real.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use digue_lab::laboratory::Laboratory;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_digue-lab"))
}

/// Digue's programs as `make test` builds them.
fn programs() -> PathBuf {
    let folder = program().parent().expect("a folder").to_owned();
    for name in ["digue", "digue-agent", "digue-controller"] {
        assert!(folder.join(name).is_file(), "{name} is missing: cargo build --workspace --bins");
    }
    folder
}

/// A demonstration in a folder of its own, with a home that it must not touch; `None`, with the reason
/// printed, where the machine does not allow a laboratory.
fn demonstration(programs: &Path, folder: &Path, arguments: &[&str]) -> Option<Output> {
    if let Err(reason) = Laboratory::available(program()) {
        eprintln!("skipped: {reason}");
        return None;
    }
    let home = folder.join("home");
    fs::create_dir_all(&home).expect("a folder");
    let mut command = Command::new(program());
    command.arg("--dir").arg(folder.join("lab")).arg("demo").args(["--hosts", "3"]).args(arguments);
    command.env("DIGUE_BIN_DIR", programs).env("HOME", &home).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command.env_remove("DIGUE_CONFIG_DIR").env_remove("XDG_CONFIG_HOME").env_remove("DIGUE_LAB_DIR");
    let output = command.output().expect("digue-lab demo");
    assert!(!folder.join("lab").exists(), "the laboratory's folder is still there");
    assert_eq!(fs::read_dir(&home).expect("home").count(), 0, "something was written at home");
    Some(output)
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dl").tempdir_in("/tmp").expect("a folder")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_whole_story_is_verified_with_three_servers_in_french() {
    let folder = folder();
    let Some(output) = demonstration(&programs(), folder.path(), &["--yes", "--lang", "fr"]) else { return };
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("10 étapes") && said.contains("tous vérifiés"), "{said}");
    assert!(said.contains("srv-003 est isolé") && !said.contains('✗'), "{said}");
}

#[test]
fn a_step_that_is_only_claimed_ends_the_story() {
    // The command says that it is done, and does nothing.
    for (claimed, reason) in [("apply", "0 of 3 servers cut and verified"), ("keys", "allowed_signers")] {
        let (folder, real) = (folder(), programs());
        let fake = folder.path().join("bin");
        fs::create_dir(&fake).expect("a folder");
        for name in ["digue-agent", "digue-controller"] {
            symlink(real.join(name), fake.join(name)).expect("a link");
        }
        let digue = real.join("digue");
        let lie = format!(
            "#!/bin/sh\ncase \"$1 $2\" in 'apply cut.plan'|'keys export') [ $1 = {claimed} ] && exit 0;; esac\nexec '{}' \"$@\"\n",
            digue.display()
        );
        fs::write(fake.join("digue"), lie).expect("a script");
        fs::set_permissions(fake.join("digue"), fs::Permissions::from_mode(0o755)).expect("mode");
        let Some(output) = demonstration(&fake, folder.path(), &["--yes", "--lang", "en"]) else { return };
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let told = said.lines().any(|line| line.contains("NOT VERIFIED") && line.contains(reason));
        assert!(told && !said.contains("all verified"), "{said}");
    }
}

#[test]
fn nothing_is_left_when_it_is_interrupted() {
    if let Err(reason) = Laboratory::available(program()) {
        eprintln!("skipped: {reason}");
        return;
    }
    let (folder, programs) = (folder(), programs());
    let lab = folder.path().join("lab");
    let mut command = Command::new(program());
    command.arg("--dir").arg(&lab).args(["demo", "--yes"]).env("DIGUE_BIN_DIR", programs);
    let mut running = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("digue-lab demo");
    let mut said = BufReader::new(running.stdout.take().expect("its output")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("incident beacon")), "it never came to the incident");
    let pid = i32::try_from(running.id()).expect("a process id");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGINT).expect("kill");
    let rest: Vec<String> = said.collect();
    assert_eq!(running.wait().expect("its end").code(), Some(130), "{rest:?}");
    assert!(!rest.iter().any(|line| line.contains("VERIFIED")), "{rest:?}");
    assert!(!lab.exists(), "the laboratory's folder is still there");
}

#[test]
fn it_waits_for_a_key_unless_it_is_told_not_to() {
    let output = Command::new(program()).arg("demo").stdin(Stdio::null()).output().expect("digue-lab");
    assert!(!output.status.success() && said(&output).contains("--yes"), "{}", said(&output));
}
