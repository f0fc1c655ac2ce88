//! The second half: one server is isolated and stated compromised; reopening the others takes two people
//! twice; and everything is verified with tools that are not Digue's.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::cutting::{BEACON, INCIDENT, last_line, own_rules, with_own_rules};
use super::evidence::{self, Expecting, HostRow, Tally, try_from};
use super::stage::Stage;
use super::stock;
use super::story::Story;
use super::teller::both;
use crate::service::now_ms;
use crate::topology::SERVICE_PORT;

/// What is sent after the isolation, while a release waits, and after it.
const ISOLATED: &str = "after-the-isolation";
const WAITING: &str = "release-half-signed";
const REOPENED: &str = "after-the-release";

/// `digue order list -o json`, as far as it is needed here.
#[derive(Deserialize)]
struct OrderTable {
    orders: Vec<OrderRow>,
}

#[derive(Deserialize)]
struct OrderRow {
    order_id: String,
    action: String,
}

/// Step 7: cut off from the inside too, and stated compromised.
pub(super) fn the_victim_is_isolated(story: &mut Story<'_>) -> Result<()> {
    let (stage, victim) = (story.stage, story.stage.victim());
    let text = both!(
        story.teller,
        "{victim} is isolated, and stated compromised",
        "{victim} est isolé, et déclaré compromis"
    );
    story.teller.step(&text);
    let reason = both!(story.teller, "Source of the intrusion", "Origine de l'intrusion");
    let common = ["--incident", INCIDENT, "--reason", &reason];
    let plan = ["digue", "plan", "isolate", &victim, "-o", "isolate.plan"];
    story.run(&[&plan[..], &common].concat(), 0)?;
    let apply = ["digue", "apply", "isolate.plan", "--sign", "alice", "--wait", "--timeout", "1m", "--yes"];
    let applied = story.run(&apply, 0)?;
    story.teller.output(&last_line(&applied.out));
    let set =
        ["digue", "verdict", "set", &victim, "compromised", "--reason", &reason, "--sign", "alice", "--yes"];
    story.run(&set, 0)?;
    let host = row(stage, &victim)?;
    let text = both!(
        story.teller,
        "{victim} counts as compromised, and proves its cut over a new connection to the controller",
        "{victim} compte comme compromis, et prouve sa coupure par une nouvelle connexion au contrôleur"
    );
    story.teller.finding(host.verdict == "compromised" && host.cut_and_proved(), &text)?;

    let machines = stage.machines()?;
    let neighbour = machines.iter().find(|m| m.name != victim).context("there is no neighbour")?;
    let own = machines.iter().find(|m| m.name == victim).context("there is no such server")?;
    let inwards = || Ok([evidence::inside(neighbour), evidence::outside()].concat());
    let out = try_from(stage, std::slice::from_ref(&victim), |_| inwards(), ISOLATED, Expecting::Silence)?;
    let service: Vec<String> = own.sockets(SERVICE_PORT).iter().map(ToString::to_string).collect();
    let towards = |_: &str| Ok(vec![("tcp", service.clone())]);
    let others: Vec<String> = stage.servers().into_iter().filter(|server| *server != victim).collect();
    let into = try_from(stage, &others, towards, ISOLATED, Expecting::Silence)?;
    let text = both!(
        story.teller,
        "{victim} reaches neither printer nor neighbours nor the outside ({} tries), and no neighbour reaches it ({} tries) {}",
        "{victim} n'atteint ni imprimante, ni voisins, ni l'extérieur ({} essais), et aucun voisin ne l'atteint ({} essais) {}",
        out.tried,
        into.tried,
        Tally::some(&[out.reached.clone(), into.reached.clone()].concat())
    );
    story.teller.finding(out.none_reached() && into.none_reached(), text.trim_end())
}

/// Step 8: neither without a clean statement nor with one signature.
pub(super) fn one_person_cannot_reopen(story: &mut Story<'_>) -> Result<()> {
    let (stage, victim) = (story.stage, story.stage.victim());
    let text = both!(
        story.teller,
        "Reopening is hard: not without clean statements, not alone",
        "Rouvrir est difficile : pas sans déclaration de santé, pas seul"
    );
    story.teller.step(&text);
    let reason = both!(story.teller, "Services needed by the public", "Services attendus par le public");
    let early = ["digue", "plan", "release", "--all", "--detailed-exitcode", "-o", "early.plan"];
    let common = ["--incident", INCIDENT, "--reason", &reason];
    // 0: the plan would do nothing; 20: it would do something.
    let planned = story.run(&[&early[..], &common].concat(), 0)?;
    story.teller.output(&planned.out);
    let text = both!(
        story.teller,
        "nobody is confirmed clean, so the plan reopens nobody",
        "personne n'est confirmé sain, donc le plan ne rouvre personne"
    );
    story.teller.finding(true, &text)?;

    let others: Vec<String> = stage.servers().into_iter().filter(|server| *server != victim).collect();
    let examined =
        both!(story.teller, "Examined: logs, accounts, binaries", "Examiné : journaux, comptes, binaires");
    let mut set = vec!["digue", "verdict", "set"];
    let names = others.join(",");
    set.extend([names.as_str(), "clean", "--assurance", "L1", "--reason", &examined]);
    set.extend(["--sign", "bruno", "--sign", "claire", "--yes"]);
    story.run(&set, 0)?;
    let fleet = stage.fleet()?;
    let stated = |host: &&HostRow| host.verdict == "clean" && host.verdict_by == ["bruno", "claire"];
    let clean = fleet.iter().filter(stated).count();
    let text = both!(
        story.teller,
        "{clean} of {} servers confirmed clean by Bruno and by Claire, the forensic partner",
        "{clean} serveurs sur {} confirmés sains par Bruno et par Claire, la partenaire forensique",
        fleet.len()
    );
    story.teller.finding(clean == others.len(), &text)?;

    let plan = ["digue", "plan", "release", "--all", "--detailed-exitcode", "-o", "release.plan"];
    let planned = story.run(&[&plan[..], &common].concat(), 20)?;
    story.teller.output(&last_line(&planned.out));
    let apply = ["digue", "apply", "release.plan", "--sign", "alice", "--wait", "--timeout", "1m", "--yes"];
    let refused = story.run(&apply, 13)?;
    story.teller.output(&refused.err);
    let cut = stage.fleet()?.iter().filter(|host| host.links.as_deref() == Some("cut")).count();
    let tally = try_from(stage, &others, |_| Ok(evidence::outside()), WAITING, Expecting::Silence)?;
    let arrived = story.packets_since_cut()?;
    let text = both!(
        story.teller,
        "with one signature nothing opens: {cut} of {} servers are cut, {} tries reach nothing, {arrived} packets arrived outside",
        "avec une seule signature rien ne s'ouvre : {cut} serveurs sur {} coupés, {} essais n'atteignent rien, {arrived} paquet arrivé dehors",
        fleet.len(),
        tally.tried
    );
    story.teller.finding(cut == fleet.len() && tally.none_reached() && arrived == 0, &text)
}

/// Step 9: with the second person's signature, and only those confirmed clean.
pub(super) fn two_people_reopen(story: &mut Story<'_>) -> Result<()> {
    let (stage, victim) = (story.stage, story.stage.victim());
    let text = both!(
        story.teller,
        "Bruno reads the same order at his desk, and signs it too",
        "Bruno lit le même ordre à son poste, et le signe aussi"
    );
    story.teller.step(&text);
    let release = orders(stage)?.into_iter().find(|order| order.action == "release");
    let release = release.context("no release is listed")?.order_id;
    let short = release.get(..8).unwrap_or(&release).to_owned();
    let sign = ["digue", "order", "sign", &short, "--sign", "bruno", "--wait", "--timeout", "1m", "--yes"];
    let signed = story.run(&sign, 0)?;
    let reopened_at = now_ms();
    story.teller.output(&last_line(&signed.out));
    let others: Vec<String> = stage.servers().into_iter().filter(|server| *server != victim).collect();
    let fleet = stage.fleet()?;
    let open = fleet.iter().filter(|host| host.fresh && host.links.as_deref() == Some("open"));
    let open: Vec<&str> = open.map(|host| host.name.as_str()).collect();
    let text = both!(
        story.teller,
        "{} servers reopened by their own signed reports; {victim} was left out of the plan and stays isolated",
        "{} serveurs rouverts d'après leurs propres rapports signés ; {victim} n'était pas dans le plan et reste isolé",
        open.len()
    );
    story.teller.finding(open == others && row(stage, &victim)?.cut_and_proved(), &text)?;

    let tally = try_from(stage, &others, |_| Ok(evidence::outside()), REOPENED, Expecting::Reach)?;
    let text = both!(
        story.teller,
        "the others reach the outside again: {} of {} tries {}",
        "les autres atteignent de nouveau l'extérieur : {} essais sur {} {}",
        tally.reached.len(),
        tally.tried,
        Tally::some(&tally.missed)
    );
    story.teller.finding(tally.all_reached(), text.trim_end())?;
    let only = |_: &str| Ok(evidence::outside());
    let tally = try_from(stage, std::slice::from_ref(&victim), only, REOPENED, Expecting::Silence)?;
    let beacon = story.arrived_since_cut(|one| one.text.contains(BEACON))?;
    let text = both!(
        story.teller,
        "{victim} still reaches nothing outside, and since the cut {beacon} messages of the intruder have arrived {}",
        "{victim} n'atteint toujours rien dehors, et depuis la coupure {beacon} message de l'intrus est arrivé {}",
        Tally::some(&tally.reached)
    );
    story
        .teller
        .finding(tally.none_reached() && beacon == 0 && reopened_at > story.cut_at_ms, text.trim_end())?;
    if let Some(before) = story.own_rules.take() {
        let (server, now) = (with_own_rules(story), own_rules(story)?);
        let text = both!(
            story.teller,
            "the administrator's own firewall rules on {server} are what they were, byte for byte",
            "les règles de pare-feu propres à l'administrateur sur {server} sont identiques, octet pour octet"
        );
        story.teller.finding(now == before, &text)?;
    }
    let counts = format!("clean=={} and cut==1 and compromised==1 and exposed==0", others.len());
    let status = story.run(&["digue", "status", "--expect", &counts], 0)?;
    story.teller.output(&status.out);
    Ok(())
}

/// Step 10: everything that was ordered and reported, by other people's tools.
pub(super) fn stock_tools_verify_everything(story: &mut Story<'_>) -> Result<()> {
    let stage = story.stage;
    let text = both!(story.teller, "Everything can be checked without Digue", "Tout se vérifie sans Digue");
    story.teller.step(&text);
    story.run(&["digue", "keys", "export", "-o", "allowed_signers"], 0)?;
    let orders = orders(stage)?;
    let last = orders.last().context("no order is listed")?;
    let short = last.order_id.get(..8).unwrap_or_default().to_owned();
    story.run(&["digue", "order", "export", &short, "-d", "order"], 0)?;
    let readme = super::stage::text_of(&stage.file("order/README.txt"))?;
    let mut followed = 0;
    for line in readme.lines().filter(|l| l.starts_with("ssh-keygen ") || l.starts_with("sha256sum ")) {
        let inside = ["sh", "-c", &format!("cd order && {line}")].map(ToOwned::to_owned);
        story.teller.command(&format!("(cd order && {line})"));
        let words: Vec<&str> = inside.iter().map(String::as_str).collect();
        let ran = stage.run(&words)?.must_end_with(0)?;
        story.teller.output(ran.out.trim_end());
        followed += 1;
    }
    ensure!(followed >= 2, "order/README.txt names {followed} commands");

    let (checked, loose) = stock::verify_store(stage, &stage.file("allowed_signers"))?;
    let text = both!(
        story.teller,
        "ssh-keygen accepts all {} signatures of all {} stored documents: {} orders, {} receipts, {} reports, {} others",
        "ssh-keygen accepte les {} signatures des {} documents conservés : {} ordres, {} accusés, {} rapports, {} autres",
        checked.signatures,
        checked.documents(),
        checked.orders,
        checked.receipts,
        checked.reports,
        checked.others
    );
    let enough = checked.orders >= 3 && checked.receipts >= stage.servers().len() && checked.reports > 0;
    story.teller.finding(enough, &text)?;
    let signers = stage.file("allowed_signers");
    let who = stock::signer(&loose, &signers)?;
    let refused = !stock::accepted(&stock::forged(&loose)?, &signers, &who)?;
    let text = both!(
        story.teller,
        "and refuses the cut order once one bit of it is changed",
        "et refuse l'ordre de coupure dès qu'un de ses bits est changé"
    );
    story.teller.finding(refused, &text)?;
    let audited = story.run(&["digue", "audit", "verify"], 0)?;
    story.teller.output(&audited.out);
    let text = both!(
        story.teller,
        "the controller's store holds: every chain, every signature",
        "le journal du contrôleur est intègre : chaque chaîne, chaque signature"
    );
    story.teller.finding(true, &text)
}

fn row(stage: &Stage, server: &str) -> Result<HostRow> {
    let found = stage.fleet()?.into_iter().find(|host| host.name == server);
    found.with_context(|| format!("{server} is not listed"))
}

fn orders(stage: &Stage) -> Result<Vec<OrderRow>> {
    let ran = stage.run(&["digue", "order", "list", "-o", "json"])?.must_end_with(0)?;
    let table: OrderTable = serde_json::from_str(&ran.out).context("reading the list of orders")?;
    Ok(table.orders)
}
