//! The words of `digue-agent status`, in French and English: for the person who is logged in on a host
//! whose network is dead and wonders why.

use std::fmt::Write as _;
use std::net::IpAddr;

use digue_proto::policy::{Direction, Exception, Policy, Profile, Transport};
use digue_proto::report::{Check, Links};

use crate::status::{OrderNote, Snapshot};
use crate::view::{Stored, View};

/// The language of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Français.
    French,
}

impl Language {
    /// The language that `LC_ALL`, `LC_MESSAGES` or `LANG` asks for; English if none does.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(variable).find(|v| !v.is_empty());
        if set.is_some_and(|v| v.starts_with("fr")) { Self::French } else { Self::English }
    }

    const fn say(self, english: &'static str, french: &'static str) -> &'static str {
        match self {
            Self::English => english,
            Self::French => french,
        }
    }
}

/// The whole answer.
pub fn status(view: &View, language: Language) -> String {
    let mut page = Page { text: String::new(), language };
    page.view(view);
    page.text
}

struct Page {
    text: String,
    language: Language,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn say(&mut self, english: &'static str, french: &'static str) {
        let line = self.language.say(english, french);
        self.line(line);
    }

    fn item(&mut self, english: &'static str, french: &'static str, value: &str) {
        let label = self.language.say(english, french);
        // Writing to a text cannot fail.
        let _ = writeln!(self.text, "  {label:<16} {value}");
    }

    fn view(&mut self, view: &View) {
        match (&view.snapshot, view.running) {
            (Some(snapshot), true) => self.snapshot(snapshot, view.tables_in_kernel),
            (Some(snapshot), false) => {
                self.not_running(view);
                self.say(
                    "This is what it last wrote down, and nobody has measured it since:",
                    "Voici ce qu'il a noté en dernier ; personne ne l'a mesuré depuis :",
                );
                self.line("");
                self.snapshot(snapshot, view.tables_in_kernel);
            }
            (None, _) => {
                self.not_running(view);
                self.tables(view.tables_in_kernel);
            }
        }
    }

    fn tables(&mut self, tables: Option<usize>) {
        if let Some(tables) = tables {
            let value = match self.language {
                Language::English => format!("{tables} of Digue's tables, counted just now"),
                Language::French => format!("{tables} tables de Digue, comptées à l'instant"),
            };
            self.item("in the kernel", "dans le noyau", &value);
        }
    }

    fn not_running(&mut self, view: &View) {
        if let Some(why) = &view.configuration {
            self.say(
                "The configuration cannot be read, so this looks only where an agent keeps its files by default:",
                "La configuration est illisible ; ceci ne regarde que là où un agent range ses fichiers par défaut :",
            );
            self.line(&format!("  {why}"));
            self.say(
                "An agent that was started with another file may be running: name that file with --config.",
                "Un agent lancé avec un autre fichier tourne peut-être : nommez ce fichier par --config.",
            );
        }
        if view.running {
            self.say(
                "The agent is starting; it has written nothing down yet.",
                "L'agent démarre ; il n'a encore rien noté.",
            );
        } else if view.configuration.is_none() {
            self.say(
                "THE DIGUE AGENT IS NOT RUNNING. Rules that it applied stay in the kernel without it.",
                "L'AGENT DIGUE NE TOURNE PAS. Les règles qu'il a appliquées restent dans le noyau sans lui.",
            );
        }
        match &view.stored {
            Stored::NotRead => {}
            Stored::Never if view.tables_in_kernel.is_some_and(|tables| tables > 0) => self.say(
                "No order is stored there, yet tables of Digue are in the kernel: this host's links may be cut.",
                "Aucun ordre n'y est enregistré, mais le noyau porte des tables de Digue : les liens sont peut-être coupés.",
            ),
            Stored::Never if view.configuration.is_some() => {
                self.say("No order is stored there.", "Aucun ordre n'y est enregistré.");
            }
            Stored::Never => self.say(
                "No order was ever accepted on this host.",
                "Aucun ordre n'a jamais été accepté sur cette machine.",
            ),
            Stored::Unreadable(why) => {
                self.say(
                    "Its state cannot be read, so this host counts as cut:",
                    "Son état est illisible : cette machine compte comme coupée :",
                );
                self.line(&format!("  {why}"));
                self.warning(None);
            }
            Stored::Ordered { contained, blocked, order } => {
                if *contained {
                    self.say(
                        "By the order on disk, this host's links are to be cut.",
                        "D'après l'ordre enregistré, les liens de cette machine doivent être coupés.",
                    );
                } else if *blocked > 0 {
                    self.say(
                        "By the orders on disk, some networks are to be blocked; the rest is open.",
                        "D'après les ordres enregistrés, certains réseaux sont bloqués ; le reste est ouvert.",
                    );
                } else {
                    self.say(
                        "By the orders on disk, this host's links are to be open.",
                        "D'après les ordres enregistrés, les liens de cette machine doivent être ouverts.",
                    );
                }
                if let Some(order) = order {
                    self.order(order);
                }
                if *contained {
                    self.warning(order.as_ref());
                }
            }
        }
    }

    fn snapshot(&mut self, snapshot: &Snapshot, tables: Option<usize>) {
        let headline = self.headline(snapshot);
        self.line(&format!("{} — {headline}", snapshot.host_id));
        if let Some(trouble) = &snapshot.trouble {
            self.say(
                "THE AGENT CANNOT WRITE TO ITS DISK and does nothing until it can:",
                "L'AGENT NE PEUT PAS ÉCRIRE SUR SON DISQUE et ne fait rien tant que cela dure :",
            );
            self.line(&format!("  {trouble}"));
        }
        if let Some(order) = &snapshot.order {
            self.order(order);
        }
        if snapshot.policy.contains() {
            self.open_things(&snapshot.policy);
        }
        if !snapshot.blocked.networks.is_empty() {
            let networks = join(&snapshot.blocked.networks);
            self.item("blocked", "bloqué", &networks);
        }
        if snapshot.policy.contains() {
            self.proofs(snapshot);
        }
        for drift in &snapshot.drift {
            self.item("differs", "écart", drift);
        }
        let controller = if snapshot.connected {
            self.language.say("connected", "connecté")
        } else {
            self.language.say("NOT CONNECTED", "NON CONNECTÉ")
        };
        self.item("controller", "contrôleur", controller);
        self.tables(tables);
        for alarm in &snapshot.alarms {
            self.item("alarm", "alarme", &format!("{}: {} ({})", alarm.kind, alarm.detail, alarm.at_ms));
        }
        if snapshot.policy.contains() {
            self.reopening(snapshot);
            self.warning(snapshot.order.as_ref());
        }
    }

    fn headline(&self, snapshot: &Snapshot) -> &'static str {
        match snapshot.links {
            Links::Open if snapshot.blocked.networks.is_empty() => {
                self.language.say("links open", "liens ouverts")
            }
            Links::Open => self.language.say(
                "links open, except to blocked networks",
                "liens ouverts, sauf vers les réseaux bloqués",
            ),
            Links::Cutting => self
                .language
                .say("LINKS BEING CUT (not verified yet)", "COUPURE EN COURS (pas encore vérifiée)"),
            Links::Cut => self.language.say(
                "LINKS CUT (verified): the network is cut on purpose",
                "LIENS COUPÉS (vérifié) : le réseau est coupé volontairement",
            ),
            Links::Releasing => self.language.say("links being reopened", "réouverture en cours"),
            Links::Failed => self.language.say(
                "CUT FAILED: what was ordered is not what is in the kernel",
                "ÉCHEC DE COUPURE : ce qui est ordonné n'est pas ce qui est dans le noyau",
            ),
        }
    }

    fn order(&mut self, order: &OrderNote) {
        let mut value = order.order_id.short();
        if let Some(digest) = order.digest {
            let _ = write!(value, " (SHA-256 {digest})");
        }
        self.item("order", "ordre", &value);
        if let Some(incident) = &order.incident {
            self.item("incident", "incident", incident);
        }
        if let Some(reason) = &order.reason {
            self.item("reason", "motif", reason);
        }
        if let Some(at) = order.received_at_ms {
            self.item("since", "depuis", &at.to_string());
        }
    }

    fn open_things(&mut self, policy: &Policy) {
        let profile = match policy.profile {
            Profile::Observe => "observe",
            Profile::Cut => "cut",
            Profile::Isolate => "isolate",
            Profile::Dark => "dark",
        };
        self.item("profile", "profil", profile);
        let loopback = self.language.say("loopback", "boucle locale");
        self.item("stays open", "reste ouvert", loopback);
        let none = self.language.say("no controller", "aucun contrôleur");
        let controllers = if policy.profile == Profile::Dark || policy.controllers.is_empty() {
            none.to_owned()
        } else {
            let label = self.language.say("controllers", "contrôleurs");
            format!("{label} {}", join(&policy.controllers))
        };
        self.item("", "", &controllers);
        if policy.profile == Profile::Cut && !policy.internal.is_empty() {
            let label = self.language.say("internal networks", "réseaux internes");
            self.item("", "", &format!("{label} {}", join(&policy.internal)));
        }
        if policy.profile != Profile::Dark {
            for exception in &policy.exceptions {
                let line = self.exception(exception);
                self.item("", "", &line);
            }
        }
    }

    fn exception(&self, exception: &Exception) -> String {
        let direction = match exception.direction {
            Direction::Inbound => self.language.say("from", "depuis"),
            Direction::Outbound => self.language.say("to", "vers"),
        };
        let transport = match exception.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        let peer = exception.peer;
        let whole = match peer.addr() {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let peer = if peer.prefix_len() == whole { peer.addr().to_string() } else { peer.to_string() };
        let mut line = format!(
            "{direction} {peer} {transport}/{}: {} ({})",
            exception.port, exception.reason, exception.owner
        );
        if let Some(until) = exception.until_ms {
            let _ = write!(line, ", {} {}", self.language.say("until", "jusqu'au"), until);
        }
        line
    }

    fn proofs(&mut self, snapshot: &Snapshot) {
        let proofs = &snapshot.proofs;
        let rows = [
            ("rules read back", "règles relues", &proofs.read_back),
            ("probes", "sondes", &proofs.probes),
            ("new connection", "nouvelle liaison", &proofs.management),
        ];
        for (english, french, check) in rows {
            let value = self.check(check);
            self.item(english, french, &value);
        }
    }

    fn check(&self, check: &Check) -> String {
        match check {
            Check::NotDone {} => self.language.say("not done yet", "pas encore fait").to_owned(),
            Check::Passed { detail, at_ms } => {
                format!("{} {detail} ({})", self.language.say("passed:", "réussi :"), at_ms)
            }
            Check::Failed { detail, at_ms } => {
                format!("{} {detail} ({})", self.language.say("FAILED:", "ÉCHEC :"), at_ms)
            }
            Check::NotPossible { detail } => {
                format!("{} {detail}", self.language.say("not possible here:", "impossible ici :"))
            }
        }
    }

    fn reopening(&mut self, snapshot: &Snapshot) {
        if snapshot.reopens_at_boottime_ms.is_some() {
            self.say(
                "\nThe kernel reopens the links by itself if no controller is reached in the time that the order gave.",
                "\nLe noyau rouvrira les liens de lui-même si aucun contrôleur n'est joint dans le délai fixé par l'ordre.",
            );
        } else {
            self.say(
                "\nThe links are reopened by an order that two people signed, and by nothing else.",
                "\nSeul un ordre signé par deux personnes rouvre les liens.",
            );
        }
    }

    fn warning(&mut self, order: Option<&OrderNote>) {
        self.say(
            "Do not flush the firewall, do not stop the agent: neither reopens anything, both raise an alarm.",
            "Ne videz pas le pare-feu, n'arrêtez pas l'agent : cela ne rouvre rien et déclenche une alarme.",
        );
        let name = order.map(|o| o.order_id.short()).unwrap_or_default();
        let line = match (self.language, name.as_str()) {
            (Language::English, "") => "Call your incident team.".to_owned(),
            (Language::French, "") => "Appelez votre équipe de crise.".to_owned(),
            (Language::English, name) => format!("Call your incident team and name the order: {name}."),
            (Language::French, name) => {
                format!("Appelez votre équipe de crise et donnez-lui l'ordre : {name}.")
            }
        };
        self.line(&line);
    }
}

fn join<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
