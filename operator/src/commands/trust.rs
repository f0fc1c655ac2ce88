//! `digue trust`: drafts, signatures and publication of trust roots.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use digue_proto::envelope::Envelope;
use digue_proto::fleet::view::API_VERSION;
use digue_proto::id::{Digest, HostId, PersonId};
use digue_proto::trust::{Class, RootV1};
use digue_proto::trust_chain::Trust;
use digue_proto::words::fingerprint_words;
use serde_json::json;

use crate::app::App;
use crate::client::{Client, api};
use crate::context;
use crate::files;
use crate::message::msg;
use crate::output;
use crate::problem::{Exit, OrProblem as _, Outcome, Problem};
use crate::time;
use crate::trust_draft::{self, Changes, ControllerSpec, Draft, PersonSpec, ThresholdSpec};
use crate::trust_store::TrustStore;

/// The trust root: who may sign what.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Draft the first trust root.
    Init(Init),
    /// Draft the root that follows the current one.
    Rotate(Rotate),
    /// Sign a draft; the signature lies beside it.
    Sign {
        /// The draft.
        file: PathBuf,
        /// Signer of the context, or key file; may be repeated.
        #[arg(long, value_name = "NAME", required = true)]
        sign: Vec<String>,
    },
    /// Verify a signed draft, keep it, and hand it to the controller.
    Publish {
        /// The draft, with its signatures beside it.
        file: PathBuf,
        /// Keep it only; the controller is not contacted.
        #[arg(long)]
        offline: bool,
    },
    /// Take the chain of roots from the controller, checked against a digest from elsewhere.
    Fetch {
        /// SHA-256 of root version 1, as told by whoever made it.
        #[arg(long, value_name = "HEX")]
        root_sha256: Option<Digest>,
    },
    /// Show the trust root in force.
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `trust init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// A person, a public key and roles: alice=alice.pub:root,protect or :all; repeat for more keys.
    #[arg(long, value_name = "NAME=KEY:ROLES", required = true)]
    person: Vec<PersonSpec>,
    /// A controller and the SHA-256 of its public key.
    #[arg(long, value_name = "NAME=HEX")]
    controller: Vec<ControllerSpec>,
    /// Persons needed for a role; never below the compiled minimum.
    #[arg(long, value_name = "ROLE=N")]
    threshold: Vec<ThresholdSpec>,
    /// Security keys must also check a PIN or a finger.
    #[arg(long)]
    require_pin: bool,
    /// File to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Arguments of `trust rotate`.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Add a person, or a key and roles to a person.
    #[arg(long, value_name = "NAME=KEY:ROLES")]
    add_person: Vec<PersonSpec>,
    /// Remove a person with all keys and roles.
    #[arg(long, value_name = "NAME")]
    remove_person: Vec<PersonId>,
    /// Remove a key by its fingerprint.
    #[arg(long, value_name = "SHA256:…")]
    remove_key: Vec<String>,
    /// Add or replace a controller.
    #[arg(long, value_name = "NAME=HEX")]
    add_controller: Vec<ControllerSpec>,
    /// Remove a controller.
    #[arg(long, value_name = "NAME")]
    remove_controller: Vec<HostId>,
    /// Persons needed for a role.
    #[arg(long, value_name = "ROLE=N")]
    threshold: Vec<ThresholdSpec>,
    /// Raise the epoch: orders numbered under the old one no longer count.
    #[arg(long)]
    bump_epoch: bool,
    /// Accept no older inventory.
    #[arg(long, value_name = "N")]
    inventory_min_version: Option<u64>,
    /// New security keys must also check a PIN or a finger.
    #[arg(long)]
    require_pin: bool,
    /// File to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Runs a `trust` command.
pub(crate) async fn run(app: &App, command: TrustCommand) -> Outcome<Exit> {
    match command {
        TrustCommand::Init(args) => {
            let changes = Changes {
                add_persons: args.person,
                add_controllers: args.controller,
                thresholds: args.threshold,
                require_pin: args.require_pin,
                ..Changes::default()
            };
            write_draft(app, &trust_draft::first(&changes, time::now())?, &args.output)
        }
        TrustCommand::Rotate(args) => rotate(app, args),
        TrustCommand::Sign { file, sign } => sign_draft(app, &file, &sign).await,
        TrustCommand::Publish { file, offline } => publish(app, &file, offline).await,
        TrustCommand::Fetch { root_sha256 } => fetch(app, root_sha256).await,
        TrustCommand::Show { json } => show(app, json),
    }
}

fn write_draft(app: &App, root: &RootV1, path: &Path) -> Outcome<Exit> {
    let bytes = trust_draft::payload(root)?;
    files::write_new(path, &bytes, 0o644)?;
    let words = fingerprint_words(&Digest::of(&bytes));
    app.note(&msg!(
        "trust-drafted",
        version = root.version,
        path = path.display().to_string(),
        words = words
    ));
    Ok(Exit::Done)
}

fn rotate(app: &App, args: Rotate) -> Outcome<Exit> {
    let trust = TrustStore::new(&app.context()?.trust_dir).require()?;
    let changes = Changes {
        add_persons: args.add_person,
        remove_persons: args.remove_person,
        remove_keys: args.remove_key,
        add_controllers: args.add_controller,
        remove_controllers: args.remove_controller,
        thresholds: args.threshold,
        bump_epoch: args.bump_epoch,
        inventory_min_version: args.inventory_min_version,
        require_pin: args.require_pin,
    };
    let root = trust_draft::next(trust.root(), trust.deployment_id(), &changes, time::now())?;
    write_draft(app, &root, &args.output)
}

/// Who may sign a draft: by the root in force, if there is one, and by the draft itself.
fn draft_tally(
    draft: &Draft,
    current: Option<&Trust>,
    envelope: &Envelope,
) -> digue_proto::verify::Tally<PersonId> {
    let mut tally = draft.tally(envelope);
    if let Some(trust) = current {
        tally.counted.extend(trust.tally(envelope, Class::Root).counted);
    }
    tally
}

/// Where a person's signature goes: `FILE.PERSON.sig`, or with a number if a signature by another key of
/// theirs stands there. Who replaces a key signs with both, for the old root and for the new one.
fn place_beside(
    path: &Path,
    person: &PersonId,
    armour: &str,
    counts: impl Fn(&str) -> bool,
) -> Outcome<PathBuf> {
    let mut number = 1;
    loop {
        let mut beside = path.as_os_str().to_owned();
        beside.push(if number == 1 { format!(".{person}.sig") } else { format!(".{person}.{number}.sig") });
        let beside = PathBuf::from(beside);
        let there = files::read_if_there(&beside)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if there.is_none_or(|there| there == armour || !counts(&there)) {
            return Ok(beside);
        }
        number += 1;
    }
}

async fn sign_draft(app: &App, path: &Path, signers: &[String]) -> Outcome<Exit> {
    let draft = Draft::read(path)?;
    let chosen = app.context().ok();
    let current = match &chosen {
        Some(context) => TrustStore::new(&context.trust_dir).load()?,
        None => None,
    };
    app.note_text(&describe(app, &draft.root, &draft.envelope.digest()));
    for name in signers {
        let key = match &chosen {
            Some(context) => context.signer_key(&app.config, name)?,
            None => context::key_file(&app.config, name)?,
        };
        let mut envelope = draft.envelope.clone();
        envelope.signatures.clear();
        app.add_signatures(&mut envelope, &[key], &draft.root, |e| draft_tally(&draft, current.as_ref(), e))
            .await?;
        let person = draft_tally(&draft, current.as_ref(), &envelope).counted.into_iter().next();
        let (Some(person), Some(armour)) = (person, envelope.signatures.first()) else { continue };
        let counts = |other: &str| {
            let alone = Envelope { signatures: vec![other.to_owned()], ..draft.envelope.clone() };
            !draft_tally(&draft, current.as_ref(), &alone).counted.is_empty()
        };
        files::write(&place_beside(path, &person, armour, counts)?, armour.as_bytes(), 0o644)?;
    }
    let again = Draft::read(path)?;
    let counted = draft_tally(&again, current.as_ref(), &again.envelope).counted;
    let names: Vec<_> = counted.iter().map(ToString::to_string).collect();
    app.note(&msg!("trust-signed-so-far", names = names.join(", "), count = names.len()));
    Ok(Exit::Done)
}

async fn publish(app: &App, path: &Path, offline: bool) -> Outcome<Exit> {
    let context = app.context()?;
    let store = TrustStore::new(&context.trust_dir);
    let draft = Draft::read(path)?;
    let digest = draft.envelope.digest();
    let current = store.load()?;
    let held = store.chain()?;
    let position = usize::try_from(draft.root.version).unwrap_or(usize::MAX).saturating_sub(1);
    let trust = match held.get(position) {
        Some(own) if own.digest() == digest => store.require()?,
        Some(_) => return Err(Problem::new("E0631", msg!("trust-forked", version = draft.root.version))),
        None => {
            if draft.root.version == 1 {
                // The signatures are checked before the digest is pinned, so a bad draft pins nothing.
                Trust::initial(&draft.envelope, &digest)
                    .or_problem(|| Problem::new("E0632", msg!("trust-root-refused")))?;
                store.pin(&digest)?;
            }
            store.append(current.as_ref(), &draft.envelope)?
        }
    };
    if !offline {
        let client = Client::new(&context)?;
        let known: api::Roots = client.get("/api/v1/roots").await?;
        for envelope in store.chain()?.iter().skip(known.roots.len()) {
            client.submit("/api/v1/roots", envelope).await?;
        }
    }
    let words = fingerprint_words(&trust.digest());
    app.note(&msg!("trust-published", version = trust.version(), words = words));
    output::print(&trust.digest().to_string())?;
    Ok(Exit::Done)
}

async fn fetch(app: &App, pin: Option<Digest>) -> Outcome<Exit> {
    let context = app.context()?;
    let store = TrustStore::new(&context.trust_dir);
    let client = Client::new(&context)?;
    let roots: api::Roots = client.get("/api/v1/roots").await?;
    if let Some(digest) = pin {
        let Some(first) = roots.roots.first() else {
            return Err(Problem::new("E0632", msg!("trust-controller-none")));
        };
        Trust::initial(first, &digest).or_problem(|| Problem::new("E0631", msg!("trust-root-refused")))?;
        store.pin(&digest)?;
    }
    if store.pinned()?.is_none() {
        return Err(Problem::new(
            "E0630",
            msg!("trust-none", path = context.trust_dir.display().to_string()),
        ));
    }
    let trust = store.extend(&roots.roots)?;
    let trust = trust.ok_or_else(|| Problem::new("E0632", msg!("trust-controller-none")))?;
    app.note(&msg!("trust-extended", version = trust.version()));
    Ok(Exit::Done)
}

fn show(app: &App, as_json: bool) -> Outcome<Exit> {
    let trust = TrustStore::new(&app.context()?.trust_dir).require()?;
    if as_json {
        output::print_json(&json!({
            "apiVersion": API_VERSION,
            "deployment_id": trust.deployment_id(),
            "digest": trust.digest(),
            "root": trust.root(),
        }))?;
    } else {
        output::print(&describe(app, trust.root(), &trust.digest()))?;
    }
    Ok(Exit::Done)
}

/// A root in words, from its parsed bytes.
fn describe(app: &App, root: &RootV1, digest: &Digest) -> String {
    let mut lines = vec![app.say(&msg!(
        "trust-title",
        version = root.version,
        digest = digest.to_string(),
        words = fingerprint_words(digest),
    ))];
    for person in &root.persons {
        let roles = root.roles.iter().filter(|r| r.persons.contains(&person.id)).map(|r| r.role.as_str());
        let roles = roles.collect::<Vec<_>>().join(", ");
        lines.push(app.say(&msg!("trust-person", name = person.id.to_string(), roles = roles)));
        lines.extend(person.keys.iter().map(|k| {
            let touch = if k.require_pin {
                " touch+PIN"
            } else if k.require_touch {
                " touch"
            } else {
                ""
            };
            format!("    {}{touch}", k.key.fingerprint())
        }));
    }
    let needed = root.roles.iter().map(|r| {
        let need = usize::try_from(r.threshold).unwrap_or(usize::MAX).max(r.role.minimum());
        format!("{}={need}", r.role.as_str())
    });
    lines.push(app.say(&msg!("trust-thresholds", list = needed.collect::<Vec<_>>().join(" "))));
    for controller in &root.controllers {
        let (name, pin) = (controller.name.to_string(), controller.spki_sha256.to_string());
        lines.push(app.say(&msg!("trust-controller", name = name, pin = pin)));
    }
    lines.push(app.say(&msg!("trust-epoch", epoch = root.gen_epoch, floor = root.inventory_min_version)));
    lines.join("\n")
}
