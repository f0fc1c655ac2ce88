//! A host's last report, verified under the key that the signed inventory names.

use digue_proto::report::{Check, ReportV1};
use digue_proto::trust::InventoryHost;
use digue_proto::verify::verify_host;

use crate::app::{App, Session};
use crate::client::api::HostDetail;
use crate::message::msg;
use crate::problem::{OrProblem as _, Outcome, Problem};

/// The last report; `None` if the host never reported or has no key.
pub(crate) async fn fetch(session: &Session, host: &InventoryHost) -> Outcome<Option<ReportV1>> {
    let Some(key) = &host.host_key else { return Ok(None) };
    let detail: HostDetail = session.client.get(&format!("/api/v1/hosts/{}", host.host_id)).await?;
    let Some(envelope) = detail.report_envelope else { return Ok(None) };
    let refused = || Problem::new("E0305", msg!("report-not-by-host", host = host.host_id.to_string()));
    let report =
        verify_host::<ReportV1>(&envelope, key, session.trust.deployment_id()).or_problem(refused)?;
    if report.value().host_id == host.host_id {
        Ok(Some(report.value().clone()))
    } else {
        Err(refused().because(format!("it names {}", report.value().host_id)))
    }
}

/// A check in words.
pub(crate) fn check_words(app: &App, check: &Check) -> String {
    match check {
        Check::NotDone {} => app.say(&msg!("check-not-done")),
        Check::Passed { detail, .. } => format!("{} {detail}", app.glyphs.holds(true)),
        Check::Failed { detail, .. } => format!("{} {detail}", app.glyphs.holds(false)),
        Check::NotPossible { detail } => app.say(&msg!("check-not-possible", detail = detail)),
    }
}
