//! `digue hosts enroll`: over SSH, by join secret, or by a key carried by hand.

use std::path::PathBuf;

use clap::Args;
use digue_proto::id::HostId;

use crate::app::{App, Session};
use crate::client::api::{Enrolment, Enrolments};
use crate::enrol::{self, Enrolled, NewKey, SshTarget};
use crate::fleet;
use crate::inventory_edit;
use crate::message::msg;
use crate::output;
use crate::problem::{Exit, Outcome, Problem};

/// Arguments of `hosts enroll`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("way").required(true).multiple(false).args(["ssh", "invite", "accept", "key", "keys_from"])))]
pub(crate) struct Enroll {
    /// With --accept: only these servers.
    #[arg(value_name = "HOST")]
    hosts: Vec<HostId>,
    /// Run the agent's init on the server over SSH: HOST or HOST=USER@ADDRESS; may be repeated.
    #[arg(long, value_name = "HOST[=DEST]", value_parser = enrol::ssh_target)]
    ssh: Vec<SshTarget>,
    /// Draw a join secret for a server and print the file to carry there.
    #[arg(long, value_name = "HOST")]
    invite: Option<HostId>,
    /// Accept the requests of invited servers.
    #[arg(long)]
    accept: bool,
    /// Enter a key carried by hand: HOST=PUBLICKEY or HOST=FILE; may be repeated.
    #[arg(long, value_name = "HOST=KEY", value_parser = enrol::key_argument)]
    key: Vec<NewKey>,
    /// Enter keys from lines printed by `digue-agent init`; - is standard input.
    #[arg(long, value_name = "FILE")]
    keys_from: Option<PathBuf>,
    /// Also add servers that the inventory does not name.
    #[arg(long)]
    add_missing: bool,
    /// SSH program and its options.
    #[arg(long, value_name = "COMMAND", default_value = enrol::SSH)]
    ssh_command: String,
    /// Command on the server, for instance `sudo -n digue-agent init`.
    #[arg(long, value_name = "COMMAND", default_value = enrol::AGENT)]
    agent_command: String,
    /// Signer; may be repeated.
    #[arg(long, value_name = "NAME", required_unless_present = "invite")]
    sign: Vec<String>,
}

/// Runs `hosts enroll`.
pub(crate) async fn run(app: &App, args: Enroll) -> Outcome<Exit> {
    if !args.hosts.is_empty() && !args.accept {
        return Err(Problem::new("E0601", msg!("enroll-hosts-without-accept")));
    }
    if let Some(host) = &args.invite {
        return invite(app, host, args.add_missing).await;
    }
    // Files are read before the controller is asked for anything.
    let mut keys = args.key.clone();
    if let Some(path) = &args.keys_from {
        keys.extend(enrol::keys_from(path)?);
    }
    let session = app.session().await?;
    let mut failures: Vec<Problem> = Vec::new();
    for target in &args.ssh {
        match enrol::over_ssh(&session, target, &args.ssh_command, &args.agent_command).await {
            Ok(key) => keys.push(key),
            Err(problem) => failures.push(problem),
        }
    }
    let mut requests = Vec::new();
    if args.accept {
        let (accepted, refused) = accept(app, &session, &args.hosts).await?;
        keys.extend(accepted.iter().map(|(key, _)| key.clone()));
        requests = accepted.into_iter().map(|(_, request)| request).collect();
        failures.extend(refused);
    }
    for failure in &failures {
        app.note_text(&failure.render(&app.speaker, app.glyphs));
    }
    if !keys.is_empty() {
        enter(app, &session, &keys, args.add_missing || args.accept, &args.sign).await?;
        for request in &requests {
            finish(app, &session, request).await?;
        }
    }
    match failures.iter().map(Problem::exit).find(|exit| *exit == Exit::Tampering) {
        Some(tampering) => Ok(tampering),
        None if !failures.is_empty() => Ok(Exit::Partial),
        None if keys.is_empty() => {
            app.note(&msg!("enroll-nothing"));
            Ok(Exit::Done)
        }
        None => Ok(Exit::Done),
    }
}

async fn invite(app: &App, host: &HostId, add_missing: bool) -> Outcome<Exit> {
    let session = app.session().await?;
    let inventory = fleet::inventory(&session).await?;
    let known = inventory.is_some_and(|i| i.value().host(host).is_some());
    if !known && !add_missing {
        return Err(Problem::new("E0640", msg!("host-unknown", host = host.to_string())));
    }
    let path = enrol::invite(app, &session.context.name, host)?;
    app.note(&msg!("enroll-invited", host = host.to_string()));
    output::print(&path.display().to_string())?;
    Ok(Exit::Done)
}

async fn accept(
    app: &App,
    session: &Session,
    only: &[HostId],
) -> Outcome<(Vec<(NewKey, Enrolment)>, Vec<Problem>)> {
    let waiting: Enrolments = session.client.get("/api/v1/enrolments").await?;
    let (mut accepted, mut refused): (Vec<(NewKey, Enrolment)>, Vec<Problem>) = (Vec::new(), Vec::new());
    for request in waiting.enrolments {
        if !only.is_empty() && !only.contains(&request.host_id) {
            continue;
        }
        match enrol::judge(app, session, &request) {
            Ok(Some(key)) if accepted.iter().any(|(known, _)| known.host == key.host) => {
                let host = key.host.to_string();
                refused.push(Problem::new("E0644", msg!("enrol-twice", host = host)));
            }
            Ok(Some(key)) => accepted.push((key, request)),
            Ok(None) => {
                let (host, peer) = (request.host_id.to_string(), output::printable(&request.peer));
                app.note(&msg!("enroll-not-invited", host = host, peer = peer));
            }
            Err(problem) => refused.push(problem),
        }
    }
    Ok((accepted, refused))
}

/// A secret serves once: its file goes, and so does the request.
async fn finish(app: &App, session: &Session, request: &Enrolment) -> Outcome<()> {
    let path = enrol::invite_file(app, &session.context.name, &request.host_id);
    if let Err(error) = std::fs::remove_file(&path) {
        let shown = path.display().to_string();
        return Err(Problem::new("E0605", msg!("file-not-written", path = shown)).because(error));
    }
    let name = percent_encoded(request.fingerprint.as_str());
    match session.client.delete(&format!("/api/v1/enrolments/{name}")).await {
        // The controller dismisses it by itself once the inventory names the key.
        Err(problem) if matches!(problem.code.as_str(), "E0503" | "E0624") => Ok(()),
        done => done,
    }
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

async fn enter(app: &App, session: &Session, keys: &[NewKey], add: bool, sign: &[String]) -> Outcome<()> {
    let current = fleet::inventory(session).await?;
    let mut inventory = inventory_edit::next(current.as_ref().map(|i| i.value()), &session.trust);
    let done = enrol::put(&mut inventory, keys, add)?;
    let mut changed = 0usize;
    for ((host, what), key) in done.iter().zip(keys) {
        let (host, key) = (host.to_string(), key.key.fingerprint().to_string());
        changed += usize::from(*what != Enrolled::Unchanged);
        app.note(&match what {
            Enrolled::First => msg!("enroll-first", host = host, key = key),
            Enrolled::Rebuilt => msg!("enroll-rebuilt", host = host, key = key),
            Enrolled::Unchanged => msg!("enroll-unchanged", host = host, key = key),
            Enrolled::Added => msg!("enroll-added", host = host, key = key),
        });
    }
    if changed == 0 {
        return Ok(());
    }
    let question = msg!("confirm-enroll", count = changed);
    inventory_edit::submit(app, session, inventory, sign, &question, changed).await
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn a_fingerprint_in_a_path_is_one_segment() {
        assert_eq!(percent_encoded("SHA256:a+b/c="), "SHA256%3Aa%2Bb%2Fc%3D");
    }
}
