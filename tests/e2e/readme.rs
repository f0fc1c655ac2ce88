//! Every command of the documentation, run in the order in which it stands there.
//!
//! The prompt says where: `$` on this machine (only Digue's own commands), `desk$`, `controller#` and
//! `srv-001#` on machines of a laboratory, in a shell that stays open, as root of a file system of its own.
//! A command ends with 0, unless its comment says `ends with N`; one whose comment says `within seconds` may
//! take several tries. Deliberately absent: systemd; `systemctl enable --now` starts what the installed
//! unit files say, and waits for what they notify.

#[path = "readme/page.rs"]
mod page;
#[path = "readme/shell.rs"]
mod shell;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use digue_lab::laboratory::Laboratory;
use digue_lab::options::LabOptions;
use page::{Command, Page};
use shell::{Shell, Shells};

/// The only commands that are not run here: `.ci/run` runs them.
const RUN_ELSEWHERE: [&str; 2] = ["make demo", "make test"];
/// The pages whose commands are run, or compared with one that is.
const PAGES: [&str; 5] = [
    "README.md",
    "README.fr.md",
    "docs/guide/operator.en.md",
    "docs/guide/operateur.fr.md",
    "docs/guide/agent.md",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(page: &str) -> Page {
    let file = repository().join(page);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{page}: {error}"));
    Page::parse(&text).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// Which laboratory the machines of a page are in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    /// Machines without Digue: the page installs it.
    Bare,
    /// Twelve servers with Digue, and the context `lab`.
    Digue,
}

/// Runs every command of a page; `None`, with the reason printed, where the machine does not allow it.
fn run(page: &str, around: Around) -> Option<()> {
    let program = Path::new(env!("CARGO_BIN_EXE_digue-lab"));
    let programs = program.parent().expect("a folder");
    if let Err(reason) = Laboratory::available(program) {
        eprintln!("skipped: {reason}");
        return None;
    }
    for needed in ["ssh-keygen", "jq", "unshare"] {
        if std::process::Command::new("sh")
            .args(["-c", &format!("command -v {needed}")])
            .output()
            .is_ok_and(|o| !o.status.success())
        {
            eprintln!("skipped: {needed} is not installed");
            return None;
        }
    }
    for needed in ["digue", "digue-agent", "digue-controller"] {
        assert!(programs.join(needed).is_file(), "{needed} is missing: cargo build --workspace --bins");
    }
    let folder = tempfile::Builder::new().prefix("dl").tempdir_in("/tmp").expect("a folder");
    let work = folder.path().join("work");
    fs::create_dir_all(work.join("target")).expect("a folder");
    // A page speaks of a checkout that was built; these are the same files.
    symlink(programs, work.join("target/release")).expect("a link");
    symlink(repository().join("deploy"), work.join("deploy")).expect("a link");
    let options = LabOptions {
        dir: folder.path().join("machines"),
        hosts: if around == Around::Bare { 2 } else { 12 },
        bare: around == Around::Bare,
        second_controller: false,
        attached: true,
        programs: programs.to_owned(),
        config_dir: folder.path().join("config"),
        context: "lab".into(),
    };
    let laboratory = Laboratory::up(program, &options, |_| ()).expect("a laboratory");
    let mut shells = Shells::new(&laboratory, folder.path(), programs, around == Around::Digue);
    let page_read = read(page);
    assert!(!page_read.commands.is_empty(), "{page} has no commands");
    for command in &page_read.commands {
        if RUN_ELSEWHERE.contains(&command.text.as_str()) {
            continue;
        }
        if let Err(reason) = shells.open(&command.place) {
            eprintln!("skipped from {}:{} on: {reason}", page, command.line);
            return None;
        }
        let shell = shells.get(&command.place);
        check(page, command, shell);
    }
    drop(shells);
    laboratory.down().expect("the end of the laboratory");
    Some(())
}

fn check(page: &str, command: &Command, shell: &mut Shell) {
    let mut ran = shell.run(&command.text);
    let started = std::time::Instant::now();
    while command.within_seconds && ran.0 != command.ends_with && started.elapsed() < shell::PATIENCE {
        std::thread::park_timeout(std::time::Duration::from_millis(100));
        ran = shell.run(&command.text);
    }
    let (code, said) = ran;
    assert_eq!(
        code, command.ends_with,
        "{page}:{}: {} {}\nended with {code}:\n{said}",
        command.line, command.place, command.text
    );
}

#[test]
fn every_command_of_the_readme_works_in_its_order() {
    run("README.md", Around::Bare);
}

#[test]
fn every_command_of_the_operators_guide_works_in_its_order() {
    run("docs/guide/operator.en.md", Around::Digue);
}

#[test]
fn every_command_of_the_french_operators_guide_works_in_its_order() {
    run("docs/guide/operateur.fr.md", Around::Digue);
}

#[test]
fn every_command_of_the_agents_guide_works_in_its_order() {
    run("docs/guide/agent.md", Around::Digue);
}

#[test]
fn the_french_readme_has_the_commands_of_the_english_one() {
    // Free text is in each page's own language.
    let plain = |page: &str| -> Vec<String> {
        let commands = read(page).commands.into_iter();
        commands.map(|c| format!("{} {}", c.place, without_quoted(&c.text))).collect()
    };
    assert_eq!(plain("README.fr.md"), plain("README.md"));
}

fn without_quoted(text: &str) -> String {
    text.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

#[test]
fn what_is_not_run_here_is_run_before_a_change_lands() {
    let ci = fs::read_to_string(repository().join(".ci/run")).expect(".ci/run");
    for command in RUN_ELSEWHERE {
        let run = ci.lines().any(|line| line == command || line.starts_with(&format!("{command} ")));
        assert!(run, ".ci/run does not run {command:?}");
    }
}

#[test]
fn every_link_of_the_documentation_leads_to_a_file() {
    for page in PAGES {
        let folder = repository().join(page).parent().expect("a folder").to_owned();
        for link in read(page).links {
            let file = link.split('#').next().unwrap_or_default();
            assert!(
                file.is_empty() || folder.join(file).exists(),
                "{page} leads to {link}, which is not there"
            );
        }
    }
}

#[test]
fn a_page_with_a_command_that_no_test_would_run_is_refused() {
    let refused = |text: &str| Page::parse(text).expect_err("refused");
    assert!(refused("```sh\ndigue status\n```\n").contains("console"));
    assert!(refused("```console\n$ rm -rf /\n```\n").contains("rm"));
    assert!(refused("```console\n$ digue status; rm -rf /\n```\n").contains("one command"));
    assert!(refused("```console\n$ digue status\n").contains("not closed"));
    assert!(refused("```console\nprinter# ls\n```\n").contains("printer"));
}

#[test]
fn places_lines_and_expectations_are_read_as_they_stand() {
    let text = "x\n```console\n$ digue status\noutput\nsrv-001# cat > a <<EOF\n> b\n> EOF\ndesk$ digue apply p   # ends with 13: more\n```\n";
    let page = Page::parse(text).expect("a page");
    let read: BTreeMap<usize, (&str, &str, i32)> =
        page.commands.iter().map(|c| (c.line, (c.place.as_str(), c.text.as_str(), c.ends_with))).collect();
    assert_eq!(read[&3], ("$", "digue status", 0));
    assert_eq!(read[&5], ("srv-001#", "cat > a <<EOF\nb\nEOF", 0));
    assert_eq!(read[&8], ("desk$", "digue apply p   # ends with 13: more", 13));
}
