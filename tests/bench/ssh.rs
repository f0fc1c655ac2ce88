//! What an administrator has today: `clush -f 64` (or `xargs -P64 ssh`) and `nft -f` on every server, with a
//! real sshd in each server's network.
//!
//! It is given every advantage: keys are in place, host keys are not looked at, no name service or PAM
//! module slows a login, the rules are fewer, and their file is already where `nft` finds it.
//! Keys and configuration are made for one laboratory and go away with it.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use digue_agent::drivers::{NetDriver, NftDriver};
use digue_proto::rules::RuleSet;

use crate::lab::{Lab, find_program, run, wait_until, word};
use crate::namespace::{Server, inside};
use crate::probe::{all_reach_outside, none_reaches_outside};
use crate::rules::administrators_rules;
use crate::watch::Watch;

/// Sessions at the same time.
const ABREAST: &str = "64";
/// Until every server must be cut; two hundred logins take under a minute on two cores.
const LIMIT: Duration = Duration::from_secs(180);

/// Times for all servers together.
#[derive(Debug, Default)]
pub(crate) struct Ssh {
    /// What ran the sessions.
    pub(crate) tool: &'static str,
    /// From starting the tool until the kernel had cut the last server.
    pub(crate) cut: Vec<Duration>,
    /// From starting the tool until it ended: as near to "verified" as it comes.
    pub(crate) ended: Vec<Duration>,
}

/// Servers with an sshd each.
struct Doors<'a> {
    lab: &'a Lab,
    sshd: Vec<Child>,
    command: Command,
    tool: &'static str,
}

/// Measures `runs` times, each time from open servers, and makes sure that all were cut.
///
/// # Errors
/// A program is missing, an sshd does not answer, or a server was not cut.
pub(crate) fn measure(lab: &Lab, servers: &[Server], runs: usize) -> Result<Ssh> {
    let mut doors = Doors::open(lab, servers)?;
    let mut watch = Watch::open(servers)?;
    let mut drivers = inside(servers, |_, place| Ok(NftDriver::open(place)?))?;
    let mut ssh = Ssh { tool: doors.tool, ..Ssh::default() };
    for _ in 0..runs {
        all_reach_outside(servers)?;
        let ((started, ended), cuts) = watch.cuts_during(LIMIT, || {
            let started = Instant::now();
            let done = doors.command.output().with_context(|| format!("running {:?}", doors.command))?;
            let said = String::from_utf8_lossy(&done.stderr);
            ensure!(done.status.success(), "{} ended with {}: {}", doors.tool, done.status, said.trim());
            Ok((started, started.elapsed()))
        })?;
        ssh.cut.push(cuts.since(started)?.1);
        ssh.ended.push(ended);
        none_reaches_outside(servers)?;
        for driver in &mut drivers {
            driver.apply(&RuleSet::empty())?;
        }
    }
    Ok(ssh)
}

impl<'a> Doors<'a> {
    fn open(lab: &'a Lab, servers: &[Server]) -> Result<Self> {
        let find = |name: &str, package: &str| {
            find_program(name).with_context(|| format!("{name} is missing; install {package} (tests/setup)"))
        };
        let sshd = find("sshd", "openssh-server")?;
        let nft = find("nft", "nftables")?;
        let folder = lab.file("ssh");
        fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let rules =
            in_nft_words(lab, servers.first().context("no servers")?, &administrators_rules()?, &nft)?;
        let file = folder.join("cut.nft");
        fs::write(&file, rules).with_context(|| format!("writing {}", file.display()))?;
        let (server_config, client_config) = configure(&folder)?;
        let names: Vec<&str> = servers.iter().map(|server| server.machine.name.as_str()).collect();
        let remote = format!("{} -f {}", word(&nft)?, word(&file)?);
        let options = format!("-F {}", word(&client_config)?);
        let (tool, command) = if find_program("clush").is_some() {
            let listed = names.join(",");
            let words = [
                "clush", "-S", "-f", ABREAST, "-t", "60", "-u", "170", "-o", &options, "-w", &listed, &remote,
            ];
            ("clush -f 64", lab.laboratory().exec("operator", words))
        } else {
            let listed = names.join(" ");
            let script = format!("echo {listed} | xargs -n1 -P{ABREAST} -I@ ssh {options} @ '{remote}'");
            ("xargs -P64 ssh", lab.laboratory().exec("operator", ["sh", "-c", &script]))
        };
        // All machines of a laboratory share /run.
        run(lab.laboratory().exec("operator", ["mkdir", "-p", "/run/sshd"]))?;
        let mut doors = Self { lab, sshd: Vec::new(), command, tool };
        doors.command.stdin(Stdio::null());
        for name in &names {
            let words = [word(&sshd)?, "-D", "-e", "-f", word(&server_config)?];
            let mut command = lab.laboratory().exec(name, words);
            let log = doors.log(name);
            let log = fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            doors.sshd.push(command.spawn().with_context(|| format!("starting sshd on {name}"))?);
        }
        doors.wait_until_open(servers)?;
        Ok(doors)
    }

    fn wait_until_open(&self, servers: &[Server]) -> Result<()> {
        inside(servers, |server, _| {
            let name = &server.machine.name;
            let open = || TcpStream::connect((Ipv4Addr::LOCALHOST, 22)).is_ok();
            wait_until("sshd is open", Duration::from_secs(20), open).with_context(|| {
                let said = fs::read_to_string(self.log(name)).unwrap_or_default();
                format!("its sshd says {:?}", said.trim())
            })
        })?;
        Ok(())
    }

    fn log(&self, server: &str) -> PathBuf {
        self.lab.file("ssh").join(format!("{server}.log"))
    }
}

impl Drop for Doors<'_> {
    fn drop(&mut self) {
        for sshd in &mut self.sshd {
            // The sshd inside ends with the process that entered the server for it.
            let _ = sshd.kill();
            let _ = sshd.wait();
        }
    }
}

/// The rules in nft's own words: they are loaded once, listed by `nft` and removed again.
fn in_nft_words(lab: &Lab, server: &Server, rules: &RuleSet, nft: &Path) -> Result<String> {
    let of_one = std::slice::from_ref(server);
    let mut drivers = inside(of_one, |_, place| {
        let mut driver = NftDriver::open(place)?;
        driver.apply(rules)?;
        Ok(driver)
    })?;
    let text = run(lab.laboratory().exec(&server.machine.name, [word(nft)?, "list", "ruleset"]))?;
    for driver in &mut drivers {
        driver.apply(&RuleSet::empty())?;
    }
    Ok(text)
}

/// Throw-away keys, and the files of sshd and ssh.
fn configure(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let path = |name: &str| folder.join(name);
    for key in ["host_key", "user_key"] {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"]).arg(path(key));
        run(command).context("making a throw-away key")?;
    }
    let shown = folder.display();
    let server = format!(
        "HostKey {shown}/host_key\nAuthorizedKeysFile {shown}/user_key.pub\nPermitRootLogin prohibit-password\n\
         StrictModes no\nUsePAM no\nUseDNS no\nPidFile none\nPasswordAuthentication no\nLogLevel ERROR\n\
         LoginGraceTime 120\nPrintMotd no\n"
    );
    let client = format!(
        "User root\nIdentityFile {shown}/user_key\nIdentitiesOnly yes\nBatchMode yes\nConnectTimeout 60\n\
         StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nGlobalKnownHostsFile /dev/null\n\
         AddressFamily inet\nLogLevel ERROR\n"
    );
    for (name, text) in [("sshd_config", server), ("ssh_config", client)] {
        fs::write(path(name), text).with_context(|| format!("writing {}", path(name).display()))?;
    }
    Ok((path("sshd_config"), path("ssh_config")))
}
