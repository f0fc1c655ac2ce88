//! The HTTP API under `/api/v1`. It shows what was measured and takes what people signed; it has no way
//! to change anything by itself.
//!
//! Every change is a signed envelope, checked in [`crate::authority`]. Two requests are not: withdrawing
//! an order that was never fully signed, and dismissing a request to enter the inventory.

mod body;
mod enrolments;
mod events;
mod fleet;
mod health;
mod openapi;
mod orders;
mod problem;
mod schema;
mod statements;
mod trust;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use digue_proto::id::Digest;

use crate::controller::Controller;
pub(crate) use openapi::document as openapi_document;
use problem::Problem;

/// What every handler has.
type Shared = axum::extract::State<Arc<Controller>>;

/// The API for whoever can open the unix socket.
pub(crate) fn router(controller: Arc<Controller>) -> Router {
    let v1 = Router::new()
        .route("/hosts", get(fleet::hosts))
        .route("/hosts/{host}", get(fleet::host))
        .route("/proofs", get(fleet::proofs))
        .route("/orders", get(orders::list).post(orders::create))
        .route("/orders/{order}", get(orders::show))
        .route("/orders/{order}/signatures", post(orders::sign))
        .route("/orders/{order}/cancel", post(orders::cancel))
        .route("/roots", get(trust::roots).post(trust::add_root))
        .route("/inventory", get(trust::inventory).post(trust::set_inventory))
        .route("/statements", get(statements::list).post(statements::create))
        .route("/statements/{digest}/signatures", post(statements::sign))
        .route("/approvals", get(statements::approvals))
        .route("/enrolments", get(enrolments::list))
        .route("/enrolments/{fingerprint}", delete(enrolments::dismiss))
        .route("/envelopes", get(trust::envelopes))
        .route("/events", get(events::stream));
    Router::new()
        .nest("/api/v1", v1)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(no_such_address)
        .method_not_allowed_fallback(wrong_method)
        .with_state(controller)
        .layer(from_fn(no_store))
}

/// The same behind a bearer token, for the network.
pub(crate) fn router_with_token(controller: Arc<Controller>, token: Digest) -> Router {
    let check = move |request: Request, next: Next| async move {
        let open = matches!(request.uri().path(), "/healthz" | "/readyz");
        if open || bears(&request, token) {
            next.run(request).await
        } else {
            let mut response = Problem::unauthorised().into_response();
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            response
        }
    };
    router(controller).layer(from_fn(check))
}

/// Digests are compared, so that the time taken says nothing about the token.
fn bears(request: &Request, token: Digest) -> bool {
    let header = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let shown = header.and_then(|value| value.strip_prefix(b"Bearer "));
    shown.is_some_and(|shown| Digest::of(shown.trim_ascii()) == token)
}

async fn no_store(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn no_such_address(request: Request) -> Problem {
    Problem::no_such_address(format!("there is nothing at {}", request.uri().path()))
}

async fn wrong_method(request: Request) -> Problem {
    Problem::method(format!("{} does not take {}", request.uri().path(), request.method()))
}

/// A JSON answer.
fn json<T: serde::Serialize>(status: StatusCode, value: &T) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(Problem::internal)?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}
