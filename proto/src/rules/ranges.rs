//! Networks as the intervals that a kernel set holds: sorted, and merged where they overlap or touch.

use ipnet::IpNet;

use super::bytes::Hex;
use super::ruleset::Element;
use super::view::Version;

/// The networks of one version as intervals.
pub(super) fn intervals(networks: &[IpNet], version: Version) -> Vec<Element> {
    let mut spans: Vec<(u128, u128)> =
        networks.iter().filter(|net| version.of(net.network())).map(|net| span(*net)).collect();
    spans.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (from, to) in spans {
        match merged.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    let hex = |value: u128| -> Hex {
        let bytes = value.to_be_bytes();
        bytes.get(16 - version.width()..).unwrap_or_default().into()
    };
    merged.into_iter().map(|(from, to)| Element { from: hex(from), to: hex(to), timeout_ms: None }).collect()
}

fn span(net: IpNet) -> (u128, u128) {
    match net {
        IpNet::V4(net) => (u32::from(net.network()).into(), u32::from(net.broadcast()).into()),
        IpNet::V6(net) => (net.network().into(), net.broadcast().into()),
    }
}
