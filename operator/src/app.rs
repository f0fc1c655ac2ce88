//! What every command shares: the language, the terminal, the context, and how to ask for a confirmation.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::trust::{Class, Role, RootV1};
use digue_proto::trust_chain::Trust;
use digue_proto::verify::SignatureError;

use crate::client::Client;
use crate::client::api;
use crate::context::{ConfigDir, Context};
use crate::glyph::Glyphs;
use crate::keygen;
use crate::message::{Message, Speaker, msg};
use crate::problem::{OrProblem as _, Outcome, Problem};
use crate::trust_store::TrustStore;

/// Settings of one run.
pub(crate) struct App {
    /// The language.
    pub(crate) speaker: Speaker,
    /// The marks.
    pub(crate) glyphs: Glyphs,
    /// The folder of the configuration.
    pub(crate) config: ConfigDir,
    /// `--context`.
    pub(crate) context_name: Option<String>,
    /// `--yes`.
    pub(crate) yes: bool,
    /// `--no-input`.
    pub(crate) no_input: bool,
}

impl App {
    /// The text of a message.
    pub(crate) fn say(&self, message: &Message) -> String {
        self.speaker.say(message)
    }

    /// Prints a line for people on standard error: progress, warnings, prompts.
    pub(crate) fn note(&self, message: &Message) {
        self.note_text(&self.say(message));
    }

    /// Prints text on standard error.
    pub(crate) fn note_text(&self, text: &str) {
        // A closed standard error must not stop an order.
        let _closed = writeln!(std::io::stderr(), "{text}");
    }

    /// The context of this run.
    pub(crate) fn context(&self) -> Outcome<Context> {
        self.config.choose(self.context_name.as_deref())
    }

    /// The context, its controller and its trust, brought up to date by the controller where the roots
    /// that it has verify.
    pub(crate) async fn session(&self) -> Outcome<Session> {
        let context = self.context()?;
        let client = Client::new(&context)?;
        let store = TrustStore::new(&context.trust_dir);
        store.require()?;
        let roots: api::Roots = client.get("/api/v1/roots").await?;
        let held = store.chain()?.len();
        let trust = store.extend(&roots.roots)?;
        let trust = trust.map_or_else(|| store.require(), Ok)?;
        if roots.roots.len() > held {
            self.note(&msg!("trust-extended", version = trust.version()));
        }
        Ok(Session { context, client, trust })
    }

    /// Asks whoever runs the command to type `count`; `--yes` stands for it.
    ///
    /// The count catches a wrong selection better than a yes would.
    pub(crate) fn confirm_count(&self, question: &Message, count: usize) -> Outcome<()> {
        if self.yes {
            return Ok(());
        }
        if self.no_input || !std::io::stdin().is_terminal() {
            return Err(Problem::new("E0607", msg!("confirm-needs-yes")));
        }
        let prompt = self.say(&msg!("prompt", question = self.say(question)));
        let _closed = write!(std::io::stderr(), "{prompt} ").and_then(|()| std::io::stderr().flush());
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).or_problem(|| Problem::of("E0608"))?;
        if answer.trim() == count.to_string() { Ok(()) } else { Err(Problem::of("E0608")) }
    }

    /// Adds the signatures of `signers` to an envelope, and checks that each counts before it is kept.
    ///
    /// `counted` gives the number of distinct persons whose signatures count; `root` says who may sign what.
    pub(crate) async fn add_signatures(
        &self,
        envelope: &mut Envelope,
        keys: &[PathBuf],
        root: &RootV1,
        counted: impl Fn(&Envelope) -> digue_proto::verify::Tally<digue_proto::id::PersonId>,
    ) -> Outcome<()> {
        for key in keys {
            if keygen::public_key(key).is_ok_and(|public| public.is_security_key()) {
                self.note(&msg!("touch-the-key"));
            }
            let armour = keygen::sign(key, envelope.payload_type, &envelope.payload).await?;
            let before = counted(envelope);
            envelope.signatures.push(armour);
            let after = counted(envelope);
            if after.counted.len() > before.counted.len() {
                let new = after.counted.difference(&before.counted).map(ToString::to_string);
                let names = new.collect::<Vec<_>>().join(", ");
                self.note(&msg!("signed-by", name = names, kind = envelope.payload_type.namespace()));
                continue;
            }
            envelope.signatures.pop();
            let shown = key.display().to_string();
            let reason = after.rejected.last().filter(|_| after.rejected.len() > before.rejected.len());
            match reason {
                Some(SignatureError::UnknownKey(_)) => {
                    return Err(Problem::new("E0612", without_role(root, key, envelope.payload_type, shown)));
                }
                Some(reason) => {
                    let problem = Problem::new("E0612", msg!("signature-not-counted", path = shown));
                    return Err(problem.because(reason));
                }
                // The same person signed already: nothing is lost, and nothing is gained (B2).
                None => self.note(&msg!("signature-same-person", path = shown)),
            }
        }
        Ok(())
    }
}

/// Why the key of a file does not count here: whose it is, the role that is missing, and who has it.
fn without_role(root: &RootV1, key: &Path, payload_type: PayloadType, shown: String) -> Message {
    let public = keygen::public_key(key).ok();
    let owner = root.persons.iter().find(|p| p.keys.iter().any(|k| Some(&k.key) == public.as_ref()));
    let role = Class::of(payload_type).map(Class::role);
    let assigned = root.roles.iter().find(|r| Some(r.role) == role);
    let holders = assigned.map_or_else(Vec::new, |r| r.persons.iter().map(ToString::to_string).collect());
    let (role, holders) = (role.map_or("-", Role::as_str), holders.join(", "));
    match owner {
        Some(person) => {
            let name = person.id.to_string();
            msg!("signature-no-role", path = shown, name = name, role = role, holders = holders)
        }
        None => msg!("signature-nobody", path = shown, role = role, holders = holders),
    }
}

/// A context with its controller and its trust.
pub(crate) struct Session {
    /// The context.
    pub(crate) context: Context,
    /// Its controller.
    pub(crate) client: Client,
    /// The newest trust root.
    pub(crate) trust: Trust,
}

impl Session {
    /// The key files of the `--sign` values.
    pub(crate) fn keys(&self, app: &App, asked: &[String]) -> Outcome<Vec<PathBuf>> {
        asked.iter().map(|name| self.context.signer_key(&app.config, name)).collect()
    }
}
