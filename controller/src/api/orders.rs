//! Orders: taken as signed, relayed as signed.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use digue_proto::bundle::OrderBundle;
use digue_proto::fleet::view::{API_VERSION, OrderView};
use digue_proto::id::OrderId;
use serde::Serialize;

use super::problem::Problem;
use super::{Shared, body, json, schema};
use crate::controller::Controller;

#[derive(Serialize)]
struct OrdersAnswer {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    orders: Vec<OrderView>,
}

#[derive(Serialize)]
struct OrderAnswer<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    order: OrderView,
    bundle: &'a OrderBundle,
}

/// Counts a refusal, whatever it was.
pub(super) fn counted<E: Into<Problem>>(controller: &Controller, error: E) -> Problem {
    let problem = error.into();
    controller.metrics.rejected(problem.code());
    problem
}

/// Every order, oldest first.
#[utoipa::path(
    get, path = "/api/v1/orders", tag = "orders",
    responses((status = 200, body = schema::OrdersAnswer)),
)]
pub(super) async fn list(State(controller): Shared) -> Result<Response, Problem> {
    let orders = controller.read().fleet.order_views();
    json(StatusCode::OK, &OrdersAnswer { api_version: API_VERSION, orders })
}

/// One order with everything that was signed.
#[utoipa::path(
    get, path = "/api/v1/orders/{order}", tag = "orders",
    params(("order" = String, Path, description = "its name, 32 hexadecimal digits")),
    responses((status = 200, body = schema::OrderAnswer), (status = 404, body = Problem)),
)]
pub(super) async fn show(State(controller): Shared, Path(order): Path<String>) -> Result<Response, Problem> {
    let id: OrderId = body::segment(&order)?;
    let state = controller.read();
    let missing = || Problem::not_found(format!("no order {id} is known"));
    let entry = state.fleet.order_by_name(id).ok_or_else(missing)?;
    let view = state.fleet.order_view(entry.bundle.order.digest()).ok_or_else(missing)?;
    json(StatusCode::OK, &OrderAnswer { api_version: API_VERSION, order: view, bundle: &entry.bundle })
}

/// Hands in an order with however many signatures it has. It goes on its way when they suffice.
#[utoipa::path(
    post, path = "/api/v1/orders", tag = "orders", request_body = schema::OrderBundle,
    responses(
        (status = 201, body = schema::OrderView),
        (status = 200, body = schema::OrderView, description = "it was known; signatures were merged"),
        (status = 400, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem), (status = 507, body = Problem),
    ),
)]
pub(super) async fn create(State(controller): Shared, request: Body) -> Result<Response, Problem> {
    let bundle: OrderBundle = body::document(request, body::MAX_BUNDLE).await?;
    let (view, new) = controller.accept_order(&bundle).await.map_err(|e| counted(&controller, e))?;
    json(if new { StatusCode::CREATED } else { StatusCode::OK }, &view)
}

/// Adds one signature.
#[utoipa::path(
    post, path = "/api/v1/orders/{order}/signatures", tag = "orders", request_body = body::Signature,
    params(("order" = String, Path, description = "its name")),
    responses(
        (status = 200, body = schema::OrderView),
        (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem, description = "the signature does not count, and why"),
        (status = 503, body = Problem), (status = 507, body = Problem),
    ),
)]
pub(super) async fn sign(
    State(controller): Shared,
    Path(order): Path<String>,
    request: Body,
) -> Result<Response, Problem> {
    let (id, armour) = (body::segment(&order)?, body::signature(request).await?);
    let view = controller.sign_order(id, &armour).await.map_err(|e| counted(&controller, e))?;
    json(StatusCode::OK, &view)
}

/// Withdraws an order that still awaits signatures.
#[utoipa::path(
    post, path = "/api/v1/orders/{order}/cancel", tag = "orders",
    params(("order" = String, Path, description = "its name")),
    responses(
        (status = 200, body = schema::OrderView),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is signed and on its way"),
        (status = 503, body = Problem), (status = 507, body = Problem),
    ),
)]
pub(super) async fn cancel(
    State(controller): Shared,
    Path(order): Path<String>,
) -> Result<Response, Problem> {
    let view = controller.cancel_order(body::segment(&order)?).await;
    json(StatusCode::OK, &view.map_err(|e| counted(&controller, e))?)
}
