//! Is it alive, is it ready, what are its figures.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use digue_proto::fleet::view::API_VERSION;
use digue_proto::id::Digest;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::{Shared, json};
use crate::clock;

/// Whether the controller can do its work.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Readiness {
    /// The version of this API.
    #[serde(rename = "apiVersion")]
    api_version: String,
    /// Whether all of the following allow work.
    pub(crate) ready: bool,
    /// Whether the last write to the disk succeeded.
    store: bool,
    /// Whether it is shutting down.
    stopping: bool,
    /// The trust root in force; 0 if none was published yet.
    root_version: u64,
    /// Whether that root names this controller's key.
    pinned_by_root: bool,
    /// The inventory in force; 0 if none was published yet.
    inventory_version: u64,
    /// Agents of the inventory that are connected.
    agents: usize,
    /// SHA-256 of this controller's public key.
    #[schema(value_type = String)]
    spki_sha256: Digest,
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String)))]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether it can do its work, and what is missing.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)),
)]
pub(super) async fn ready(State(controller): Shared) -> Result<Response, Problem> {
    let (store, stopping) = (controller.writer.healthy(), *controller.stopping.borrow());
    let readiness = {
        let state = controller.read();
        let trust = state.fleet.trust();
        let named = |t: &digue_proto::trust_chain::Trust| {
            t.root().controllers.iter().any(|c| c.spki_sha256 == controller.pin)
        };
        Readiness {
            api_version: API_VERSION.to_owned(),
            ready: store && !stopping,
            store,
            stopping,
            root_version: trust.map_or(0, digue_proto::trust_chain::Trust::version),
            pinned_by_root: trust.is_some_and(named),
            inventory_version: state.fleet.inventory().map_or(0, |i| i.value().version),
            agents: controller.hub.count(),
            spki_sha256: controller.pin,
        }
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &readiness)
}

/// Figures for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, content_type = "application/openmetrics-text", body = String)),
)]
pub(super) async fn metrics(State(controller): Shared) -> Result<Response, Problem> {
    let (view, orders) = {
        let state = controller.read();
        (state.fleet.view(clock::now()), state.fleet.order_views())
    };
    let healthy = controller.writer.healthy();
    let text = controller.metrics.scrape(&view, &orders, controller.hub.count(), healthy);
    let text = text.map_err(Problem::internal)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
