//! Reading what a request brings: bounded, strict, with a clear error.

use std::str::FromStr;

use axum::body::{Body, to_bytes};
use digue_proto::strict;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use digue_proto::limits::MAX_ENVELOPE;

/// Largest order bundle: a leaf and a clean statement for every host of a large fleet, in bytes.
pub(super) const MAX_BUNDLE: usize = 64 * 1024 * 1024;
/// Largest request with one signature, in bytes.
const MAX_SIGNATURE: usize = 16 * 1024;

/// One more signature.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Signature {
    /// An armoured SSHSIG.
    pub(super) signature: String,
}

pub(super) async fn signature(body: Body) -> Result<String, Problem> {
    let Signature { signature } = document(body, MAX_SIGNATURE).await?;
    Ok(signature)
}

/// A strict JSON document of at most `limit` bytes.
pub(super) async fn document<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T, Problem> {
    let bytes = to_bytes(body, limit).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(|s| s.to_string().contains("length limit")) {
            Problem::too_large(limit)
        } else {
            Problem::malformed(error)
        }
    })?;
    strict::from_slice(&bytes, limit).map_err(Problem::malformed)
}

pub(super) async fn envelope(body: Body) -> Result<digue_proto::envelope::Envelope, Problem> {
    let envelope: digue_proto::envelope::Envelope = document(body, MAX_ENVELOPE).await?;
    envelope.check_bounds().map_err(Problem::malformed)?;
    Ok(envelope)
}

/// A part of the path.
pub(super) fn segment<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(Problem::bad_parameter)
}

/// The query as pairs; a name that is not among `known` is an error, not ignored.
pub(super) fn query<'a>(
    pairs: &'a [(String, String)],
    known: &[&str],
) -> Result<impl Iterator<Item = (&'a str, &'a str)>, Problem> {
    match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => {
            Err(Problem::bad_parameter(format!("{name:?} is unknown here; known: {}", known.join(", "))))
        }
        None => Ok(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
    }
}

/// The words of an enumeration as the API spells them.
pub(super) fn word<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Problem> {
    let value = serde_json::Value::String(text.to_owned());
    serde_json::from_value(value).map_err(|error| Problem::bad_parameter(format!("{name}: {error}")))
}
