//! The event stream (server-sent events).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream};

use super::Shared;
use super::problem::Problem;
use crate::controller::Controller;
use crate::events;

/// Most watchers at once.
const MAX_WATCHERS: i64 = 256;
/// Time between two pings.
const PING: Duration = Duration::from_secs(15);

/// Counts a watcher for as long as it watches.
struct Watcher(Arc<Controller>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.metrics.sse_clients.dec();
    }
}

/// What changes, as it changes: `host`, `order`, `inventory`; `resync` if events were missed.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events",
    params(("Last-Event-ID" = Option<u64>, Header, description = "go on behind this event")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(super) async fn stream(State(controller): Shared, headers: HeaderMap) -> Result<Response, Problem> {
    let last = match headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default()) {
        None => None,
        Some(text) => {
            let bad = |_| Problem::bad_parameter(format!("Last-Event-ID: {text:?} is not a whole number"));
            Some(text.parse::<u64>().map_err(bad)?)
        }
    };
    if controller.metrics.sse_clients.inc() >= MAX_WATCHERS {
        controller.metrics.sse_clients.dec();
        return Err(Problem::busy("too many watchers of the event stream"));
    }
    let watcher = Watcher(Arc::clone(&controller));
    let events = Sse::new(follow(watcher, last)).keep_alive(KeepAlive::new().interval(PING).text("ping"));
    let mut response = events.into_response();
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    response.headers_mut().insert(unbuffered, HeaderValue::from_static("no"));
    Ok(response)
}

fn follow(watcher: Watcher, last: Option<u64>) -> impl Stream<Item = Result<Event, Infallible>> {
    let cursor = watcher.0.changes.events.watch(last);
    let stopping = watcher.0.stopping.subscribe();
    let ready = std::collections::VecDeque::<events::Event>::new();
    stream::unfold(
        (watcher, cursor, stopping, ready),
        |(watcher, mut cursor, mut stopping, mut ready)| async {
            while ready.is_empty() {
                ready.extend(watcher.0.changes.events.since(&mut cursor));
                if ready.is_empty() {
                    tokio::select! {
                        news = cursor.news() => if !news { return None },
                        _ = stopping.wait_for(|stop| *stop) => return None,
                    }
                }
            }
            let event = ready.pop_front()?;
            let sent =
                Event::default().id(event.id.to_string()).event(event.kind.as_str()).data(&*event.data);
            Some((Ok(sent), (watcher, cursor, stopping, ready)))
        },
    )
}
