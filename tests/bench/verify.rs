//! What one order costs a host: checking its signatures, the way from its bytes to rules, and to rules in the
//! kernel.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::frame::{Delivery, FromController};
use digue_proto::host::{Effect, Host, Identity, Input, Loaded, Now};
use digue_proto::id::{OrderId, UnixMillis};
use digue_proto::key::PublicKey;
use digue_proto::order::{Action, OrderV1, Stream, Target};
use digue_proto::report::{Clocks, Level};
use digue_proto::rules::{Card, HostFacts, LinkLayer, TableNames, compile};
use digue_proto::trust::{PROTOCOL_VERSION, Person, PersonKey, Role, RoleAssignment, RootV1};
use digue_proto::trust_chain::Trust;
use digue_proto::{sign, strict};
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;

use crate::figure::{Budget, Figure, Findings};
use crate::host::bytes_to_kernel;
use crate::rules::cut_policy;

/// Values of which one is a batch's mean.
const BATCHES: usize = 25;
const ORDERS_PER_BATCH: usize = 200;
/// The frame's length, which the reader of the connection has used up.
const FRAME_HEADER: usize = 4;
const NOW_MS: u64 = 1_800_000_000_000;
const PEOPLE: [&str; 3] = ["alice", "bruno", "claire"];

/// Measures.
///
/// # Errors
/// An order was not accepted.
pub(crate) fn measure(runs: usize) -> Result<Findings> {
    let mut findings = Findings::default();
    for signatures in [3, 2, 1] {
        let trust = trust(signatures)?;
        let order = order(&trust, signatures)?;
        let accepted = trust.verify_order(&order).context("verifying the order")?;
        ensure!(accepted.signers().len() == usize::try_from(signatures)?, "too few signers were counted");
        let micros = batches(|| trust.verify_order(black_box(&order)).is_ok())?;
        let plural = if signatures == 1 { "" } else { "s" };
        let figure = Figure::new(format!("verify an order, {signatures} signature{plural}"), "µs", &micros)?;
        findings.figures.push(if signatures == 3 { figure.within(Budget::AtMost(250.0)) } else { figure });
    }
    let trust = trust(1)?;
    let order = order(&trust, 1)?;
    let delivery = Delivery { order, target: None, statement: None };
    let frame = FromController::Deliver(Box::new(delivery)).encode().context("encoding a frame")?;
    let body = frame.get(FRAME_HEADER..).context("an empty frame")?;
    findings.figures.push(bytes_to_rules(&trust, body)?);
    match bytes_to_kernel(&trust, body, runs) {
        Ok(times) => {
            let figure = Figure::millis("one host: bytes in to rules in the kernel", &times.cut)?;
            findings.figures.push(figure.within(Budget::AtMost(3.0)));
            let of_it =
                [("state written and synced", times.state_written), ("cards looked at", times.looked_at)];
            for (part, times) in of_it {
                findings.figures.push(Figure::millis(format!("- of it: {part}"), &times)?);
            }
        }
        Err(error) => findings.missing.push(format!("bytes in to rules in the kernel: {error:#}")),
    }
    findings.notes.push(format!(
        "each value is the mean of {ORDERS_PER_BATCH} orders in a row, on one core, with warm caches"
    ));
    findings.notes.push(
        "\"bytes in to rules compiled\" is: read the frame, admit the order (verify it, check it against root, \
         clock and generation, write receipt and state down in memory), compile the rules; no disk, no kernel"
            .to_owned(),
    );
    findings.notes.push(
        "\"rules in the kernel\" adds, in a server's network: state on disk and synced, cards and routes looked \
         at, rules loaded and announced by the kernel; the connection is left out"
            .to_owned(),
    );
    Ok(findings)
}

fn batches(mut work: impl FnMut() -> bool) -> Result<Vec<f64>> {
    let mut means = Vec::with_capacity(BATCHES);
    for batch in 0..=BATCHES {
        let started = Instant::now();
        let good = (0..ORDERS_PER_BATCH).filter(|_| work()).count();
        let took = started.elapsed();
        ensure!(good == ORDERS_PER_BATCH, "an order that is good was refused");
        if batch > 0 {
            means.push(took.as_secs_f64() * 1e6 / ORDERS_PER_BATCH as f64);
        }
    }
    Ok(means)
}

/// Each order meets a host that has not seen it, woken before the clock starts.
fn bytes_to_rules(trust: &Trust, body: &[u8]) -> Result<Figure> {
    let (facts, names) = (facts(), TableNames::from_entropy([7; 8]));
    let (fresh, _) = Host::wake(identity()?, trust.clone(), Loaded::Absent, &now());
    let mut waiting: Vec<Host> = Vec::new();
    let mut means = Vec::with_capacity(BATCHES);
    for batch in 0..=BATCHES {
        waiting.resize(ORDERS_PER_BATCH, fresh.clone());
        let now = now();
        let started = Instant::now();
        for host in &mut waiting {
            let FromController::Deliver(delivery) = FromController::decode(black_box(body))? else {
                bail!("the frame is another one");
            };
            let effects = host.handle(Input::Deliver(delivery), &now);
            let apply = effects.into_iter().find_map(|effect| match effect {
                Effect::Apply(apply) => Some(apply),
                Effect::Persist(_)
                | Effect::PersistRoot(_)
                | Effect::Prove(_)
                | Effect::ReadBack
                | Effect::RearmRollback { .. }
                | Effect::Send(_)
                | Effect::Note { .. } => None,
            });
            let apply = apply.context("the host did not carry the order out")?;
            let rules = compile(&apply.policy, &apply.blocked, &facts, &names);
            ensure!(!black_box(rules).is_empty(), "the order made no rules");
        }
        let took = started.elapsed();
        waiting.clear();
        if batch > 0 {
            means.push(took.as_secs_f64() * 1e6 / ORDERS_PER_BATCH as f64);
        }
    }
    Figure::new("one host: bytes in to rules compiled", "µs", &means)
}

fn key(name: &str) -> Result<PrivateKey> {
    let mut seed = [0; 32];
    let bytes = name.as_bytes();
    seed.get_mut(..bytes.len()).context("a long name")?.copy_from_slice(bytes);
    Ok(PrivateKey::from(Ed25519Keypair::from_seed(&seed)))
}

fn public(name: &str) -> Result<PublicKey> {
    Ok(PublicKey::from_data(key(name)?.public_key().key_data().clone())?)
}

/// A root under which a cut takes this many persons.
fn trust(signatures: u32) -> Result<Trust> {
    let persons = PEOPLE.map(|name| -> Result<Person> {
        let key = PersonKey { key: public(name)?, require_touch: false, require_pin: false };
        Ok(Person { id: name.parse()?, keys: vec![key] })
    });
    let roles = Role::ALL.map(|role| -> Result<RoleAssignment> {
        let threshold = if role == Role::Protect { signatures } else { u32::try_from(role.minimum())? };
        let persons = PEOPLE.iter().map(|name| Ok(name.parse()?)).collect::<Result<_>>()?;
        Ok(RoleAssignment { role, persons, threshold, disjoint_from: Vec::new() })
    });
    let root = RootV1 {
        deployment_id: None,
        version: 1,
        issued_at_ms: UnixMillis(NOW_MS),
        gen_epoch: 0,
        protocol_min: PROTOCOL_VERSION,
        persons: persons.into_iter().collect::<Result<_>>()?,
        roles: roles.into_iter().collect::<Result<_>>()?,
        controllers: Vec::new(),
        inventory_min_version: 1,
    };
    let envelope = sealed(PayloadType::Root, strict::to_vec(&root)?, 2)?;
    Ok(Trust::initial(&envelope, &envelope.digest())?)
}

fn sealed(payload_type: PayloadType, payload: Vec<u8>, signatures: usize) -> Result<Envelope> {
    let signatures = PEOPLE.iter().take(signatures);
    let signatures = signatures.map(|name| Ok(sign::sign(&key(name)?, payload_type, &payload)?));
    let signatures = signatures.collect::<Result<_>>()?;
    Ok(Envelope { payload_type, payload, signatures })
}

fn order(trust: &Trust, signatures: u32) -> Result<Envelope> {
    let order = OrderV1 {
        deployment_id: trust.deployment_id(),
        order_id: OrderId::from_bytes([1; 16]),
        root_version: 1,
        stream: Stream::Net,
        gen_epoch: 0,
        generation: 1,
        issued_at_ms: UnixMillis(NOW_MS),
        not_after_ms: UnixMillis(NOW_MS + 86_400_000),
        incident: "benchmark".to_owned(),
        action: Action::Contain { policy: cut_policy()?, allow_self_cut: false },
        target: Target::All {},
        heads: Vec::new(),
        reason: "how long does it take?".to_owned(),
    };
    sealed(PayloadType::Protect, strict::to_vec(&order)?, usize::try_from(signatures)?)
}

/// Of the host that the orders of this benchmark are given to.
pub(crate) fn identity() -> Result<Identity> {
    Ok(Identity {
        host_id: "srv-001".parse()?,
        host_key: public("srv-001")?,
        controllers: cut_policy()?.controllers,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        level: Level::L4,
        level_detail: Vec::new(),
        built_at_ms: UnixMillis(NOW_MS),
    })
}

fn now() -> Now {
    let clocks = Clocks {
        wall_ms: UnixMillis(NOW_MS + 1_000),
        boottime_ms: 1_000_000,
        boot_id: "00000000-0000-4000-8000-000000000001".to_owned(),
    };
    Now { clocks, entropy: [3; 16] }
}

fn facts() -> HostFacts {
    let card = |name: &str, ifindex, external| Card {
        name: name.to_owned(),
        ifindex,
        mac: Some([2, 0, 0, 0, 0, 1]),
        kind: String::new(),
        link_layer: LinkLayer::Ethernet,
        bond_port: false,
        carries_vlan: false,
        external,
        up: true,
    };
    let cards = vec![card("eth0", 2, true), card("lo", 1, false)];
    HostFacts { cards, ..HostFacts::unknown() }
}
