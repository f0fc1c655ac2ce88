//! The description of the API (OpenAPI 3.1), kept in `docs/openapi.json`.

use utoipa::OpenApi as _;

use super::{enrolments, events, fleet, health, orders, statements, trust};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Digue controller",
        description = "Shows what was measured and relays what people signed. Nothing here changes a host: \
                       every change is a signed envelope that the host checks for itself. Over the unix \
                       socket, file permissions decide who may ask; over HTTPS, a bearer token.",
        license(name = "Apache-2.0 OR MIT"),
        contact()
    ),
    paths(
        fleet::hosts,
        fleet::host,
        fleet::proofs,
        orders::list,
        orders::show,
        orders::create,
        orders::sign,
        orders::cancel,
        trust::roots,
        trust::add_root,
        trust::inventory,
        trust::set_inventory,
        trust::envelopes,
        statements::list,
        statements::create,
        statements::sign,
        statements::approvals,
        enrolments::list,
        enrolments::dismiss,
        events::stream,
        health::alive,
        health::ready,
        health::metrics,
    )
)]
struct Description;

/// The description as it is committed: indented, with a closing line feed.
///
/// # Errors
/// Never in practice.
pub(crate) fn document() -> Result<String, serde_json::Error> {
    let json = serde_json::to_string_pretty(&Description::openapi())?;
    Ok(json + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn description() -> Value {
        serde_json::from_str(&document().expect("written")).expect("json")
    }

    #[test]
    fn the_committed_description_is_the_one_that_the_code_gives() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let committed = std::fs::read_to_string(path).expect("docs/openapi.json");
        assert!(
            committed == document().expect("written"),
            "docs/openapi.json is out of date: run `digue-controller openapi > docs/openapi.json`"
        );
    }

    #[test]
    fn it_is_openapi_3_1_and_describes_every_address_once() {
        let description = description();
        assert!(description["openapi"].as_str().is_some_and(|v| v.starts_with("3.1")));
        let paths = description["paths"].as_object().expect("paths");
        assert_eq!(paths.len(), 19);
    }

    /// The members of a form, and those that may be missing.
    fn members(name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let description = description();
        let form = &description["components"]["schemas"][name];
        let all = form["properties"].as_object().expect("an object").keys().cloned().collect();
        let required = form["required"].as_array().expect("required");
        let required: BTreeSet<String> =
            required.iter().map(|r| r.as_str().expect("name").to_owned()).collect();
        (all, required)
    }

    #[track_caller]
    fn matches(name: &str, value: &Value) {
        let found: BTreeSet<String> = value.as_object().expect("object").keys().cloned().collect();
        let (all, required) = members(name);
        assert!(found.is_subset(&all), "{name} lacks {:?}", found.difference(&all));
        assert!(required.is_subset(&found), "{name} has {:?} too much", required.difference(&found));
    }

    #[test]
    fn the_forms_are_those_of_the_types_that_are_written() {
        let fleet = digue_proto::fleet::Fleet::default();
        let view = serde_json::to_value(fleet.view(digue_proto::id::UnixMillis(1))).expect("json");
        matches("FleetView", &view);
        matches("Summary", &view["summary"]);
        let host = digue_proto::fleet::view::HostView {
            name: "srv-001".parse().expect("name"),
            enrolled: true,
            host_key: None,
            incarnation: 1,
            labels: vec![digue_proto::trust::Label { key: "site".into(), value: "nord".into() }],
            verdict: digue_proto::fleet::view::Verdict::Unassessed,
            lapsed: None,
            verdict_by: Vec::new(),
            assurance: None,
            links: None,
            fresh: false,
            exposed: true,
            level: None,
            proofs: None,
            drift: Vec::new(),
            alarms: Vec::new(),
            last_contact_ms: None,
            reported_at_ms: None,
            boot_id: None,
            clock_offset_ms: None,
            root_version: None,
            order_id: None,
            unconfirmed: Vec::new(),
            heads: vec![digue_proto::order::Head::start(digue_proto::order::Stream::Net)],
            challenge: None,
            chain_gaps: Vec::new(),
            clean_statement: None,
        };
        let host = serde_json::to_value(host).expect("json");
        matches("HostView", &host);
        matches("Label", &host["labels"][0]);
        matches("Head", &host["heads"][0]);
        let envelope = digue_proto::envelope::Envelope {
            payload_type: digue_proto::envelope::PayloadType::Protect,
            payload: Vec::new(),
            signatures: Vec::new(),
        };
        matches("Envelope", &serde_json::to_value(&envelope).expect("json"));
        let bundle =
            digue_proto::bundle::OrderBundle { order: envelope, leaves: Vec::new(), statements: Vec::new() };
        matches("OrderBundle", &serde_json::to_value(&bundle).expect("json"));
    }
}
