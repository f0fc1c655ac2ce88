//! Shells that stay open: one on this machine, and one in each machine of a laboratory, there with /etc,
//! /usr and /var of its own, in which anything may be installed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use digue_lab::laboratory::Laboratory;

/// Longest wait for one command, and for what comes about by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Said after each command, with its exit code.
const MARK: &str = "digue-documentation-mark";

/// What a machine of a laboratory is made ready with. `$1` is the folder for what it changes, `$2` more
/// options for the mounts, `$3` the agent's configuration, if it has one already, `$4` where programs are.
const MAKE_READY: &str = r#"
ready=yes
mkdir -p "$1" && mount -t tmpfs changes "$1" && mount -t tmpfs run /run || ready=no
for tree in etc usr var; do
    mkdir -p "$1/$tree" "$1/$tree.work"
    mount -t overlay -o "lowerdir=/$tree,upperdir=$1/$tree,workdir=$1/$tree.work$2" "$tree" "/$tree" || ready=no
done
mkdir -p /etc/digue && : > /usr/sbin/may-be-written && rm /usr/sbin/may-be-written || ready=no
if [ -n "$3" ]; then
    cp "$3" /etc/digue/agent.toml && cp "$4/digue-agent" /usr/sbin/ || ready=no
fi
systemctl() {
    [ "$1 $2" = "enable --now" ] || { echo "systemctl $*: only enable --now is known here"; return 64; }
    shift 2
    for unit in "$@"; do
        file=/etc/systemd/system/$unit.service
        [ -f "$file" ] || { echo "$file is not installed"; return 5; }
        of() { sed -n "s/^$1=//p" "$file"; }
        [ -z "$(of RuntimeDirectory)" ] || mkdir -p "/run/$(of RuntimeDirectory)"
        [ -z "$(of StateDirectory)" ] || mkdir -p "/var/lib/$(of StateDirectory)"
        case $(of Type) in
            oneshot) $(of ExecStart) || return 1 ;;
            notify) NOTIFY_SOCKET=$NOTIFY $(of ExecStart) > "/var/log/$unit.log" 2>&1 & echo notify >> "$STARTED" ;;
            *) echo "$unit is of a type that is not known here"; return 64 ;;
        esac
    done
}
[ $ready = yes ]
"#;

/// All shells of one page.
pub(crate) struct Shells<'a> {
    laboratory: &'a Laboratory,
    folder: PathBuf,
    programs: PathBuf,
    with_digue: bool,
    open: BTreeMap<String, Shell>,
}

impl<'a> Shells<'a> {
    /// None is open yet. With Digue, the laboratory's own context and agents are at hand.
    pub(crate) fn new(laboratory: &'a Laboratory, folder: &Path, programs: &Path, with_digue: bool) -> Self {
        let (folder, programs) = (folder.to_owned(), programs.to_owned());
        Self { laboratory, folder, programs, with_digue, open: BTreeMap::new() }
    }

    /// Opens the shell for a prompt, unless it is open.
    ///
    /// # Errors
    /// Why this machine and user cannot have it.
    pub(crate) fn open(&mut self, place: &str) -> Result<(), String> {
        if self.open.contains_key(place) {
            return Ok(());
        }
        let shell = match place {
            "$" => self.here(),
            "desk$" => self.inside("operator")?,
            "controller#" => self.inside("controller")?,
            other => self.inside(other.trim_end_matches('#'))?,
        };
        self.open.insert(place.to_owned(), shell);
        Ok(())
    }

    pub(crate) fn get(&mut self, place: &str) -> &mut Shell {
        self.open.get_mut(place).expect("an open shell")
    }

    /// A shell on this machine, which only ever sees folders of the test.
    fn here(&self) -> Shell {
        let mut command = Command::new("sh");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.programs.display()));
        let lab = if self.with_digue { "machines" } else { "lab" };
        command.env("DIGUE_LAB_DIR", self.folder.join(lab));
        self.spawn(command, "here")
    }

    fn inside(&self, machine: &str) -> Result<Shell, String> {
        let command = self.laboratory.exec(machine, ["unshare", "--mount", "sh"]);
        let mut shell = self.spawn(command, machine);
        let (code, _) = shell.run("PATH=/usr/sbin:/usr/bin:/sbin:/bin; unset DIGUE_LAB_DIR");
        assert_eq!(code, 0);
        let changes = self.folder.join("changes").join(machine);
        let agent = self.laboratory.place().host(machine).join("agent.toml");
        let agent = if agent.is_file() { agent.display().to_string() } else { String::new() };
        let root = nix::unistd::geteuid().is_root();
        let options = if root { "" } else { ",userxattr" };
        let (changes, programs) = (changes.display(), self.programs.display());
        let ready = format!("set -- '{changes}' '{options}' '{agent}' '{programs}'\n{MAKE_READY}");
        let (code, said) = shell.run(&ready);
        if code == 0 {
            return Ok(shell);
        }
        assert!(!root, "{machine} cannot be made ready: {said}");
        Err(format!("{machine} cannot have a file system of its own here: {said}"))
    }

    fn spawn(&self, mut command: Command, name: &str) -> Shell {
        let home = self.folder.join("home").join(name);
        fs::create_dir_all(&home).expect("a folder");
        let notify = self.folder.join(format!("{name}.notify"));
        let started = self.folder.join(format!("{name}.started"));
        command.env("HOME", &home).env("LC_ALL", "C.UTF-8").env("NOTIFY", &notify).env("STARTED", &started);
        command.env_remove("DIGUE_CONTEXT").env_remove("XDG_CONFIG_HOME");
        if self.with_digue {
            command.env("DIGUE_CONFIG_DIR", self.folder.join("config"));
        } else {
            command.env_remove("DIGUE_CONFIG_DIR");
        }
        command.current_dir(self.folder.join("work"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let notifications = UnixDatagram::bind(&notify).expect("a socket");
        notifications.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let said = self.folder.join(format!("{name}.out"));
        Shell { child, input: Some(input), lines, said, notifications, started, seen: 0 }
    }
}

/// A shell that takes one command after the other.
pub(crate) struct Shell {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    said: PathBuf,
    notifications: UnixDatagram,
    started: PathBuf,
    seen: usize,
}

impl Shell {
    /// Types a command, and returns its exit code and what it printed.
    pub(crate) fn run(&mut self, command: &str) -> (i32, String) {
        let input = self.input.as_mut().expect("an open shell");
        let said = self.said.display();
        writeln!(input, "{{ {command}\n}} </dev/null >'{said}' 2>&1; echo {MARK} $?")
            .expect("a shell that reads");
        let answer = self.lines.recv_timeout(PATIENCE);
        let text = fs::read_to_string(&self.said).unwrap_or_default();
        let answer = answer.unwrap_or_else(|error| panic!("{command}: {error}; it printed:\n{text}"));
        let code = answer.strip_prefix(MARK).and_then(|code| code.trim().parse().ok());
        let code = code.unwrap_or_else(|| panic!("{command}: the shell said {answer:?}"));
        self.wait_for_services(command);
        (code, text)
    }

    /// Waits until what was started has said that it is ready, as systemd would.
    fn wait_for_services(&mut self, command: &str) {
        let started = fs::read_to_string(&self.started).unwrap_or_default().lines().count();
        while self.seen < started {
            let mut message = [0; 1024];
            let length = self.notifications.recv(&mut message);
            let length = length.unwrap_or_else(|error| panic!("{command}: never ready: {error}"));
            let message = String::from_utf8_lossy(&message[..length]).into_owned();
            if message.lines().any(|line| line == "READY=1") {
                self.seen += 1;
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It ends with its input; what it started ends with its machine.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
