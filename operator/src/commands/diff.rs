//! `digue diff`: the rules that a plan would put in place, beside those in force.

use std::path::PathBuf;

use clap::Args;
use digue_proto::id::HostId;
use digue_proto::order::Action;
use digue_proto::policy::{BlockList, Policy};
use digue_proto::report::ReportV1;
use digue_proto::rules::{HostFacts, TableNames, compile};

use crate::app::App;
use crate::fleet;
use crate::message::msg;
use crate::output;
use crate::plan::file::Plan;
use crate::plan::show;
use crate::problem::{Exit, Outcome, Problem};
use crate::reports;

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The plan file.
    plan: PathBuf,
    /// Only this server.
    #[arg(long)]
    host: Option<HostId>,
}

/// The `net` and `block` state of a host.
type State = (Policy, BlockList);

fn after(action: &Action, before: &State) -> State {
    let (policy, blocked) = before.clone();
    match action {
        Action::Contain { policy, .. } | Action::Adjust { policy } => (policy.clone(), blocked),
        Action::Release { .. } => (Policy::open(), blocked),
        Action::Block { blocked } | Action::Unblock { blocked } => (policy, blocked.clone()),
        Action::Report {} => (policy, blocked),
    }
}

/// The rules of a state on a host of which only the policy is known.
fn rules((policy, blocked): &State) -> String {
    let names = TableNames::from_entropy([0; 8]);
    compile(policy, blocked, &HostFacts::unknown(), &names).render()
}

/// Runs `diff`.
pub(crate) async fn run(app: &App, args: Diff) -> Outcome<Exit> {
    let (plan, read) = Plan::read(&args.plan)?;
    let session = app.session().await?;
    let Some(read) = read else {
        output::print(&show::plan(app, &plan, None, &session.trust))?;
        return Ok(Exit::Done);
    };
    let fleet = fleet::load(app, &session).await?;
    let targets =
        plan.observed.iter().map(|o| &o.host).filter(|h| args.host.as_ref().is_none_or(|only| only == *h));
    let mut groups: Vec<(State, Vec<HostId>)> = Vec::new();
    for host in targets {
        let report = match fleet.inventory.host(host) {
            Some(listed) => reports::fetch(&session, listed).await?,
            None => None,
        };
        let before = report
            .map_or_else(|| (Policy::open(), BlockList::default()), |r: ReportV1| (r.policy, r.blocked));
        match groups.iter_mut().find(|(state, _)| *state == before) {
            Some((_, hosts)) => hosts.push(host.clone()),
            None => groups.push((before, vec![host.clone()])),
        }
    }
    if groups.is_empty() {
        let host = args.host.map_or_else(String::new, |h| h.to_string());
        return Err(Problem::new("E0654", msg!("host-not-in-plan", host = host)));
    }
    app.note(&msg!("diff-facts-unknown"));
    for (before, hosts) in &groups {
        let after = after(&read.order.action, before);
        output::print(&format!("# {}", show::names(hosts.iter())))?;
        for (title, policy) in [(msg!("diff-before"), &before.0), (msg!("diff-after"), &after.0)] {
            output::print(&format!(
                "# {}{} {}",
                app.say(&title),
                app.speaker.lang().colon(),
                show::stays_open(app, policy).join("; ")
            ))?;
        }
        let lines = unified(&rules(before), &rules(&after));
        output::print(&if lines.is_empty() { app.say(&msg!("diff-none")) } else { lines.join("\n") })?;
    }
    Ok(Exit::Done)
}

/// Lines with `-`, `+` or a space, from the longest common subsequence; empty if nothing differs.
fn unified(before: &str, after: &str) -> Vec<String> {
    if before == after {
        return Vec::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let width = new.len() + 1;
    let mut common = vec![0u32; (old.len() + 1) * width];
    let at = |i: usize, j: usize| i * width + j;
    let value = |table: &[u32], i, j| table.get(at(i, j)).copied().unwrap_or(0);
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let best = if old.get(i) == new.get(j) {
                value(&common, i + 1, j + 1) + 1
            } else {
                value(&common, i + 1, j).max(value(&common, i, j + 1))
            };
            if let Some(cell) = common.get_mut(at(i, j)) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (None, None) => return lines,
            (Some(a), Some(b)) if a == b => {
                lines.push(format!(" {a}"));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || value(&common, i + 1, j) >= value(&common, i, j + 1) => {
                lines.push(format!("-{a}"));
                i += 1;
            }
            (_, Some(b)) => {
                lines.push(format!("+{b}"));
                j += 1;
            }
            (Some(a), None) => {
                lines.push(format!("-{a}"));
                i += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_common_are_kept_and_the_rest_is_marked() {
        assert_eq!(unified("a\nb\nc", "a\nx\nc\nd"), [" a", "-b", "+x", " c", "+d"]);
        assert_eq!(unified("", "a"), ["+a"]);
        assert_eq!(unified("a", ""), ["-a"]);
        assert!(unified("a", "a").is_empty());
    }

    #[test]
    fn the_same_policy_renders_to_the_same_rules_and_a_cut_names_its_controllers() {
        let cut = Policy {
            profile: digue_proto::policy::Profile::Cut,
            controllers: vec!["10.77.0.2:7443".parse().expect("address")],
            ..Policy::open()
        };
        let text = rules(&(cut.clone(), BlockList::default()));
        assert_eq!(text, rules(&(cut, BlockList::default())));
        assert!(text.contains("10.77.0.2"), "{text}");
    }
}
