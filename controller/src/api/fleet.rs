//! Hosts as measured.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use digue_proto::envelope::Envelope;
use digue_proto::fleet::view::{API_VERSION, HostView, Verdict};
use digue_proto::id::HostId;
use digue_proto::report::{Links, ReportV1};
use digue_proto::verify::Verified;
use serde::Serialize;

use super::problem::Problem;
use super::{Shared, body, json, schema};
use crate::clock;

#[derive(Default)]
struct Filter {
    labels: Vec<(String, String)>,
    verdicts: Vec<Verdict>,
    links: Vec<Links>,
}

impl Filter {
    fn read(pairs: &[(String, String)]) -> Result<Self, Problem> {
        let mut filter = Self::default();
        for (name, value) in body::query(pairs, &["label", "verdict", "links"])? {
            match name {
                "label" => {
                    let label = value.split_once('=').filter(|(key, _)| !key.is_empty());
                    let (key, wanted) = label.ok_or_else(|| {
                        Problem::bad_parameter(format!("label: {value:?} is not of the form key=value"))
                    })?;
                    filter.labels.push((key.to_owned(), wanted.to_owned()));
                }
                "verdict" => filter.verdicts.push(body::word(name, value)?),
                _ => filter.links.push(body::word(name, value)?),
            }
        }
        Ok(filter)
    }

    /// Labels are all required; of verdicts and links any one.
    fn lets_through(&self, host: &HostView) -> bool {
        let labelled =
            |(key, value): &(String, String)| host.labels.iter().any(|l| l.key == *key && l.value == *value);
        self.labels.iter().all(labelled)
            && (self.verdicts.is_empty() || self.verdicts.contains(&host.verdict))
            && (self.links.is_empty() || host.links.is_some_and(|links| self.links.contains(&links)))
    }
}

/// The fleet. Filters choose the hosts listed; the summary always counts the whole inventory.
#[utoipa::path(
    get, path = "/api/v1/hosts", tag = "fleet",
    params(
        ("label" = Option<Vec<String>>, Query, description = "key=value; repeated: all must hold"),
        ("verdict" = Option<Vec<schema::Verdict>>, Query, description = "repeated: any"),
        ("links" = Option<Vec<schema::Links>>, Query, description = "repeated: any"),
    ),
    responses((status = 200, body = schema::FleetView), (status = 400, body = Problem)),
)]
pub(super) async fn hosts(
    State(controller): Shared,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let filter = Filter::read(&pairs)?;
    let mut view = controller.read().fleet.view(clock::now());
    view.hosts.retain(|host| filter.lets_through(host));
    json(StatusCode::OK, &view)
}

#[derive(Serialize)]
struct HostAnswer<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    host: HostView,
    report: Option<&'a ReportV1>,
    report_envelope: Option<&'a Envelope>,
}

/// Most hosts whose proofs stand in one answer: about 5 KB each.
const MAX_PROOFS: usize = 1_000;

#[derive(Serialize)]
struct Proof<'a> {
    host: &'a HostId,
    report: Option<&'a Envelope>,
    heartbeat: Option<&'a Envelope>,
}

#[derive(Serialize)]
struct ProofsAnswer<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    proofs: Vec<Proof<'a>>,
    next: Option<&'a HostId>,
}

/// The signed documents that the rows of the fleet rest on, so that nobody has to take the rows on trust:
/// of each host its last report, and its last heartbeat if that is newer.
#[utoipa::path(
    get, path = "/api/v1/proofs", tag = "fleet",
    params(
        ("after" = Option<String>, Query, description = "only hosts that sort behind this name"),
        ("limit" = Option<u64>, Query, description = "at most so many hosts; 1,000 at most"),
    ),
    responses((status = 200, body = schema::ProofsAnswer), (status = 400, body = Problem)),
)]
pub(super) async fn proofs(
    State(controller): Shared,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (mut after, mut limit): (Option<HostId>, usize) = (None, MAX_PROOFS);
    for (name, value) in body::query(&pairs, &["after", "limit"])? {
        let bad = || Problem::bad_parameter(format!("{name}: {value:?} is not usable"));
        match name {
            "after" => after = Some(value.parse().map_err(|_| bad())?),
            _ => limit = value.parse::<usize>().map_err(|_| bad())?.clamp(1, MAX_PROOFS),
        }
    }
    let state = controller.read();
    let listed = state.fleet.inventory().map_or(&[][..], |inventory| &inventory.value().hosts);
    let first = after.map_or(0, |after| listed.partition_point(|host| host.host_id <= after));
    let rest = listed.get(first..).unwrap_or_default();
    let page = rest.get(..limit).unwrap_or(rest);
    let proofs: Vec<Proof<'_>> = page
        .iter()
        .map(|host| Proof {
            host: &host.host_id,
            report: state.fleet.report(&host.host_id).map(Verified::envelope),
            heartbeat: state.fleet.heartbeat(&host.host_id).map(Verified::envelope),
        })
        .collect();
    let next = if page.len() < rest.len() { page.last().map(|host| &host.host_id) } else { None };
    let answer = ProofsAnswer { api_version: API_VERSION, proofs, next };
    json(StatusCode::OK, &answer)
}

/// One host with its last report: the signed bytes, and a parsed copy that proves nothing.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}", tag = "fleet",
    params(("host" = String, Path, description = "its name")),
    responses(
        (status = 200, body = schema::HostAnswer),
        (status = 404, body = Problem, description = "not in the signed inventory"),
    ),
)]
pub(super) async fn host(State(controller): Shared, Path(host): Path<String>) -> Result<Response, Problem> {
    let id: HostId = body::segment(&host)?;
    let state = controller.read();
    let view = state.fleet.host_view(&id, clock::now());
    let view = view.ok_or_else(|| Problem::not_found(format!("{id} is not in the signed inventory")))?;
    let report = state.fleet.report(&id);
    let answer = HostAnswer {
        api_version: API_VERSION,
        host: view,
        report: report.map(|r| r.value()),
        report_envelope: report.map(|r| r.envelope()),
    };
    json(StatusCode::OK, &answer)
}
