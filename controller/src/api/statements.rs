//! Statements about hosts, and everything that waits for signatures.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use digue_proto::envelope::Envelope;
use digue_proto::fleet::StatementEntry;
use digue_proto::fleet::view::{API_VERSION, OrderState, OrderView};
use digue_proto::id::{Digest, HostId, PersonId};
use digue_proto::statement::Stated;
use serde::Serialize;

use super::orders::counted;
use super::problem::Problem;
use super::{Shared, body, json, schema};

#[derive(Serialize)]
struct StatementsAnswer<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    statements: Vec<&'a Envelope>,
}

#[derive(Serialize)]
struct Progress {
    digest: Digest,
    host_id: HostId,
    verdict: Stated,
    state: &'static str,
    signers: Vec<PersonId>,
    needed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<Envelope>,
}

#[derive(Serialize)]
struct ApprovalsAnswer {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    orders: Vec<OrderView>,
    statements: Vec<Progress>,
}

fn progress(digest: Digest, entry: &StatementEntry, envelope: Option<Envelope>) -> Progress {
    Progress {
        digest,
        host_id: entry.host_id.clone(),
        verdict: entry.verdict,
        state: if entry.accepted { "accepted" } else { "awaiting_signatures" },
        signers: entry.signers.iter().cloned().collect(),
        needed: entry.needed as u64,
        envelope,
    }
}

/// The statements in force as far as their signatures go, oldest first.
#[utoipa::path(
    get, path = "/api/v1/statements", tag = "statements",
    params(("host" = Option<String>, Query, description = "only about this host")),
    responses((status = 200, body = schema::StatementsAnswer), (status = 400, body = Problem)),
)]
pub(super) async fn list(
    State(controller): Shared,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let mut wanted: Option<HostId> = None;
    for (_, value) in body::query(&pairs, &["host"])? {
        wanted = Some(body::segment(value)?);
    }
    let state = controller.read();
    let statements = state.fleet.statements().map(|(_, entry)| entry);
    let statements = statements
        .filter(|entry| entry.accepted && wanted.as_ref().is_none_or(|host| *host == entry.host_id))
        .map(|entry| &entry.envelope)
        .collect();
    json(StatusCode::OK, &StatementsAnswer { api_version: API_VERSION, statements })
}

/// Hands in a statement with however many signatures it has.
#[utoipa::path(
    post, path = "/api/v1/statements", tag = "statements", request_body = schema::Envelope,
    responses(
        (status = 200, body = schema::StatementProgress),
        (status = 400, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem), (status = 507, body = Problem),
    ),
)]
pub(super) async fn create(State(controller): Shared, request: Body) -> Result<Response, Problem> {
    let statement = body::envelope(request).await?;
    let taken = controller.accept_statement(&statement).await;
    let (digest, entry) = taken.map_err(|e| counted(&controller, e))?;
    json(StatusCode::OK, &progress(digest, &entry, None))
}

/// Adds one signature.
#[utoipa::path(
    post, path = "/api/v1/statements/{digest}/signatures", tag = "statements", request_body = body::Signature,
    params(("digest" = String, Path, description = "of the statement's payload")),
    responses(
        (status = 200, body = schema::StatementProgress),
        (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem), (status = 507, body = Problem),
    ),
)]
pub(super) async fn sign(
    State(controller): Shared,
    Path(digest): Path<String>,
    request: Body,
) -> Result<Response, Problem> {
    let (digest, armour) = (body::segment(&digest)?, body::signature(request).await?);
    let taken = controller.sign_statement(digest, &armour).await;
    let (digest, entry) = taken.map_err(|e| counted(&controller, e))?;
    json(StatusCode::OK, &progress(digest, &entry, None))
}

/// Everything that waits for signatures.
#[utoipa::path(get, path = "/api/v1/approvals", tag = "statements", responses((status = 200, body = schema::ApprovalsAnswer)))]
pub(super) async fn approvals(State(controller): Shared) -> Result<Response, Problem> {
    let state = controller.read();
    let waiting = state.fleet.orders().filter(|(_, entry)| entry.state() == OrderState::AwaitingSignatures);
    let orders = waiting.filter_map(|(digest, _)| state.fleet.order_view(digest)).collect();
    let statements = state.fleet.statements().filter(|(_, entry)| !entry.accepted);
    let statements =
        statements.map(|(digest, entry)| progress(digest, entry, Some(entry.envelope.clone()))).collect();
    json(StatusCode::OK, &ApprovalsAnswer { api_version: API_VERSION, orders, statements })
}
