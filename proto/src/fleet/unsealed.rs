//! Documents that still collect signatures: read for showing and for early refusal, never for acting.
//!
//! Whether a document is in force is decided by [`crate::verify`] alone.

use crate::envelope::{Envelope, PayloadType};
use crate::limits::MAX_SIGNATURES;
use crate::order::OrderV1;
use crate::statement::{Stated, StatementError, StatementV1};
use crate::trust::Class;
use crate::trust_chain::Trust;
use crate::verify::{self, SignatureError, VerifyError};

/// Adds to `envelope` those of `more` that are not in it yet. All of them must count, so that a signer
/// learns at once if theirs does not, and nobody can fill the sixteen places with noise.
pub(super) fn merge(
    envelope: &mut Envelope,
    more: &[String],
    class: Class,
    trust: &Trust,
) -> Result<(), SignatureError> {
    for armour in more {
        if envelope.signatures.contains(armour) {
            continue;
        }
        let alone = Envelope { signatures: vec![armour.clone()], ..envelope.clone() };
        let tally = trust.tally(&alone, class);
        let Some(person) = tally.counted.first() else {
            return Err(tally.rejected.into_iter().next().unwrap_or(SignatureError::Invalid));
        };
        let already = trust.tally(envelope, class).counted.contains(person);
        if !already && envelope.signatures.len() < MAX_SIGNATURES {
            envelope.signatures.push(armour.clone());
        }
    }
    Ok(())
}

/// Reads an order whose signatures may still be too few.
///
/// # Errors
/// [`VerifyError`] if no signatures could ever bring it into force here.
pub(super) fn read_order(envelope: &Envelope, trust: &Trust) -> Result<(OrderV1, Class), VerifyError> {
    let signed = match Class::of(envelope.payload_type) {
        Some(class @ (Class::Query | Class::Protect | Class::Release)) => class,
        Some(Class::Root | Class::Inventory | Class::Clean | Class::Suspect) | None => {
            return Err(VerifyError::WrongType { found: envelope.payload_type, expected: "an order" });
        }
    };
    envelope.check_bounds().map_err(VerifyError::Bounds)?;
    let order = OrderV1::from_payload(&envelope.payload)?;
    if order.deployment_id != trust.deployment_id() {
        return Err(VerifyError::Deployment(order.deployment_id));
    }
    if order.root_version > trust.version() {
        return Err(VerifyError::NewerRoot { named: order.root_version, held: trust.version() });
    }
    let needed = order.action.class();
    if needed == signed { Ok((order, signed)) } else { Err(VerifyError::WrongClass { needed, signed }) }
}

/// Reads a statement whose signatures may still be too few.
///
/// # Errors
/// [`VerifyError`] if no signatures could ever bring it into force here.
pub(super) fn read_statement(envelope: &Envelope, trust: &Trust) -> Result<StatementV1, VerifyError> {
    if !matches!(envelope.payload_type, PayloadType::Clean | PayloadType::Suspect) {
        return Err(VerifyError::WrongType { found: envelope.payload_type, expected: "a statement" });
    }
    envelope.check_bounds().map_err(VerifyError::Bounds)?;
    let statement: StatementV1 = verify::payload(envelope)?;
    if statement.deployment_id != trust.deployment_id() {
        return Err(VerifyError::Deployment(statement.deployment_id));
    }
    if (statement.verdict == Stated::Clean) != (envelope.payload_type == PayloadType::Clean) {
        return Err(StatementError::WrongClass(statement.verdict).into());
    }
    statement.validate()?;
    Ok(statement)
}
