//! Trust roots, the signed inventory, and the record of everything that was stored.

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use digue_proto::envelope::Envelope;
use digue_proto::fleet::view::API_VERSION;
use digue_proto::id::{Digest, HostId, UnixMillis};
use serde::Serialize;

use super::orders::counted;
use super::problem::Problem;
use super::{Shared, body, json, schema};
use crate::authority::Accepted;

/// Envelopes in one page, unless told.
const PAGE: usize = 500;
/// Most envelopes in one page.
const MAX_PAGE: usize = 1000;
/// About the most bytes in one page.
const PAGE_BYTES: usize = 32 * 1024 * 1024;

#[derive(Serialize)]
struct RootsAnswer<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    roots: &'a [Envelope],
}

#[derive(Serialize)]
struct InventoryAnswer<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    inventory: Option<&'a Envelope>,
}

#[derive(Serialize)]
struct AcceptedAnswer {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    version: u64,
    digest: Digest,
}

fn accepted(accepted: Accepted) -> Result<Response, Problem> {
    let Accepted { version, digest, new } = accepted;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    json(status, &AcceptedAnswer { api_version: API_VERSION, version, digest })
}

/// The chain of trust roots from version 1.
#[utoipa::path(get, path = "/api/v1/roots", tag = "trust", responses((status = 200, body = schema::RootsAnswer)))]
pub(super) async fn roots(State(controller): Shared) -> Result<Response, Problem> {
    json(StatusCode::OK, &RootsAnswer { api_version: API_VERSION, roots: &controller.read().roots })
}

/// Hands in the first or the next trust root.
#[utoipa::path(
    post, path = "/api/v1/roots", tag = "trust", request_body = schema::Envelope,
    responses(
        (status = 201, body = schema::AcceptedAnswer), (status = 200, body = schema::AcceptedAnswer),
        (status = 400, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem), (status = 507, body = Problem),
    ),
)]
pub(super) async fn add_root(State(controller): Shared, request: Body) -> Result<Response, Problem> {
    let root = body::envelope(request).await?;
    accepted(controller.accept_root(root).await.map_err(|e| counted(&controller, e))?)
}

/// The signed inventory in force.
#[utoipa::path(get, path = "/api/v1/inventory", tag = "trust", responses((status = 200, body = schema::InventoryAnswer)))]
pub(super) async fn inventory(State(controller): Shared) -> Result<Response, Problem> {
    let state = controller.read();
    let inventory = state.fleet.inventory().map(|inventory| inventory.envelope());
    json(StatusCode::OK, &InventoryAnswer { api_version: API_VERSION, inventory })
}

/// Hands in a newer inventory.
#[utoipa::path(
    post, path = "/api/v1/inventory", tag = "trust", request_body = schema::Envelope,
    responses(
        (status = 201, body = schema::AcceptedAnswer), (status = 200, body = schema::AcceptedAnswer),
        (status = 400, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem), (status = 507, body = Problem),
    ),
)]
pub(super) async fn set_inventory(State(controller): Shared, request: Body) -> Result<Response, Problem> {
    let inventory = body::envelope(request).await?;
    accepted(controller.accept_inventory(&inventory).await.map_err(|e| counted(&controller, e))?)
}

#[derive(Serialize)]
struct StoredAnswer {
    seq: u64,
    received_at_ms: UnixMillis,
    envelope: Envelope,
    host_id: Option<HostId>,
}

#[derive(Serialize)]
struct EnvelopesAnswer {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    envelopes: Vec<StoredAnswer>,
    next: Option<u64>,
}

/// Everything that was stored, in the order of arrival; heartbeats are not.
#[utoipa::path(
    get, path = "/api/v1/envelopes", tag = "trust",
    params(
        ("after" = Option<u64>, Query, description = "the last number of the page before; 0 by default"),
        ("limit" = Option<usize>, Query, description = "1 to 1000; 500 by default"),
    ),
    responses((status = 200, body = schema::EnvelopesAnswer), (status = 400, body = Problem)),
)]
pub(super) async fn envelopes(
    State(controller): Shared,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (mut after, mut limit) = (0, PAGE);
    for (name, value) in body::query(&pairs, &["after", "limit"])? {
        let number: u64 = value
            .parse()
            .map_err(|_| Problem::bad_parameter(format!("{name}: {value:?} is not a whole number")))?;
        match name {
            "after" => after = number,
            _ => limit = usize::try_from(number).unwrap_or(usize::MAX),
        }
    }
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::bad_parameter(format!("limit: {limit} is not between 1 and {MAX_PAGE}")));
    }
    let after = after.min(i64::MAX.unsigned_abs());
    let page = controller.query(move |store| store.envelopes(after, limit + 1, PAGE_BYTES)).await?;
    let more = page.len() > limit || page.iter().map(|e| e.envelope.len()).sum::<usize>() >= PAGE_BYTES;
    let page: Vec<_> = page.into_iter().take(limit).collect();
    let next = page.last().map(|last| last.seq).filter(|_| more);
    let envelopes = page.into_iter().map(|stored| {
        let envelope = Envelope::from_json(&stored.envelope).map_err(Problem::internal)?;
        Ok(StoredAnswer {
            seq: stored.seq,
            received_at_ms: stored.received_at,
            envelope,
            host_id: stored.host,
        })
    });
    let envelopes = envelopes.collect::<Result<_, Problem>>()?;
    json(StatusCode::OK, &EnvelopesAnswer { api_version: API_VERSION, envelopes, next })
}
