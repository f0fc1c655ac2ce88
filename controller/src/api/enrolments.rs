//! Servers that ask to enter the inventory. Letting one in is a signed inventory; this only lists them.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use digue_proto::envelope::Envelope;
use digue_proto::fleet::view::API_VERSION;
use digue_proto::id::{HostId, UnixMillis};
use digue_proto::key::{Fingerprint, PublicKey};
use serde::Serialize;

use super::problem::Problem;
use super::{Shared, body, json, schema};

#[derive(Serialize)]
struct EnrolmentAnswer {
    envelope: Envelope,
    host_id: HostId,
    host_key: PublicKey,
    fingerprint: Fingerprint,
    received_at_ms: UnixMillis,
    peer: String,
}

#[derive(Serialize)]
struct EnrolmentsAnswer {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    enrolments: Vec<EnrolmentAnswer>,
}

/// The requests that wait. Check the MAC in each: the controller cannot.
#[utoipa::path(get, path = "/api/v1/enrolments", tag = "enrolments", responses((status = 200, body = schema::EnrolmentsAnswer)))]
pub(super) async fn list(State(controller): Shared) -> Result<Response, Problem> {
    let room = controller.enrolments();
    let enrolments = room.iter().map(|(fingerprint, pending)| EnrolmentAnswer {
        envelope: pending.envelope.clone(),
        host_id: pending.host_id.clone(),
        host_key: pending.host_key.clone(),
        fingerprint: fingerprint.clone(),
        received_at_ms: pending.received_at,
        peer: pending.peer.clone(),
    });
    json(StatusCode::OK, &EnrolmentsAnswer { api_version: API_VERSION, enrolments: enrolments.collect() })
}

/// Dismisses a request. One that was settled meanwhile is no error.
#[utoipa::path(
    delete, path = "/api/v1/enrolments/{fingerprint}", tag = "enrolments",
    params(("fingerprint" = String, Path, description = "of the key, URL-encoded")),
    responses(
        (status = 204, description = "no such request waits any more"), (status = 400, body = Problem),
        (status = 503, body = Problem), (status = 507, body = Problem),
    ),
)]
pub(super) async fn dismiss(
    State(controller): Shared,
    Path(fingerprint): Path<String>,
) -> Result<Response, Problem> {
    let key: Fingerprint = body::segment(&fingerprint)?;
    controller.dismiss_enrolment(&key).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
