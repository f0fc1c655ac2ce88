//! Choosing hosts by label (`-l site=annexe`), by name, or all; never all by default.

use std::collections::BTreeSet;

use digue_proto::fleet::view::HostView;
use digue_proto::id::HostId;
use digue_proto::trust::Label;
use serde::{Deserialize, Serialize};

use crate::message::msg;
use crate::problem::{Outcome, Problem};

/// One condition on labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Term {
    key: String,
    value: String,
    negated: bool,
}

/// `k=v` and `k!=v`, joined by commas; all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Labels(Vec<Term>);

impl std::str::FromStr for Labels {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let term = |part: &str| {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not KEY=VALUE"))?;
            let (key, negated) = key.strip_suffix('!').map_or((key, false), |key| (key, true));
            if key.trim().is_empty() || value.trim().is_empty() {
                return Err(format!("{part:?} is not KEY=VALUE"));
            }
            Ok(Term { key: key.trim().to_owned(), value: value.trim().to_owned(), negated })
        };
        text.split(',').map(term).collect::<Result<_, _>>().map(Self)
    }
}

impl Labels {
    /// Whether all conditions hold. A key may stand several times in a host's labels: one match is enough.
    pub(crate) fn hold(&self, labels: &[Label]) -> bool {
        self.0
            .iter()
            .all(|term| labels.iter().any(|l| l.key == term.key && l.value == term.value) != term.negated)
    }
}

/// Which hosts a plan is for, as asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    /// Hosts by name; commas or spaces between them.
    #[arg(value_name = "HOST", value_delimiter = ',')]
    pub(crate) hosts: Vec<HostId>,
    /// Hosts by label: k=v, k!=v, joined by commas; all of them must hold, also over repeated options.
    #[arg(short = 'l', long = "label", value_name = "K=V")]
    pub(crate) labels: Vec<Labels>,
    /// Every host of the signed inventory.
    #[arg(long)]
    pub(crate) all: bool,
}

impl Selection {
    /// The hosts chosen, in the order of the view.
    ///
    /// Refused: no selection at all, one that contradicts itself, an unknown name, an empty result.
    pub(crate) fn choose<'a>(&self, rows: &'a [HostView]) -> Outcome<Vec<&'a HostView>> {
        let ways = usize::from(!self.hosts.is_empty())
            + usize::from(!self.labels.is_empty())
            + usize::from(self.all);
        match ways {
            0 => return Err(Problem::new("E0654", msg!("target-none"))),
            1 => {}
            _ => return Err(Problem::new("E0601", msg!("target-contradicts"))),
        }
        if let Some(unknown) = self.hosts.iter().find(|h| !rows.iter().any(|r| r.name == **h)) {
            return Err(Problem::new("E0640", msg!("host-unknown", host = unknown.to_string())));
        }
        let chosen: Vec<_> = rows
            .iter()
            .filter(|row| {
                let named = self.hosts.contains(&row.name);
                let labelled = !self.labels.is_empty() && self.labels.iter().all(|l| l.hold(&row.labels));
                self.all || named || labelled
            })
            .collect();
        if chosen.is_empty() {
            return Err(Problem::new("E0654", msg!("target-empty", known = self.known(rows))));
        }
        Ok(chosen)
    }

    /// The values that the asked keys have in the inventory: the place to find one's own typing error.
    fn known(&self, rows: &[HostView]) -> String {
        let labels = || rows.iter().flat_map(|row| &row.labels);
        let mut keys: BTreeSet<&str> =
            self.labels.iter().flat_map(|l| &l.0).map(|t| t.key.as_str()).collect();
        if !keys.iter().any(|key| labels().any(|l| l.key == *key)) {
            keys = labels().map(|l| l.key.as_str()).collect();
            return keys.into_iter().map(|key| format!("{key}=…")).collect::<Vec<_>>().join(", ");
        }
        let values: BTreeSet<String> = labels()
            .filter(|l| keys.contains(l.key.as_str()))
            .map(|l| format!("{}={}", l.key, l.value))
            .collect();
        values.into_iter().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::tests::{inventory_host, row};

    fn labelled(name: &str, seed: u8, labels: &[(&str, &str)]) -> HostView {
        let label =
            |(key, value): &(&str, &str)| Label { key: (*key).to_owned(), value: (*value).to_owned() };
        HostView { labels: labels.iter().map(label).collect(), ..row(&inventory_host(name, seed)) }
    }

    #[test]
    fn conditions_join_and_a_repeated_label_matches_by_any_value() {
        let host = labelled("a", 1, &[("group", "db"), ("group", "web"), ("site", "annexe")]);
        let holds = |text: &str| text.parse::<Labels>().expect("a selector").hold(&host.labels);
        assert!(holds("site=annexe,group=web"));
        assert!(holds("site!=hdv"));
        assert!(!holds("site=annexe,group!=db"));
        for bad in ["site", "=x", "site=", "a=b,,c=d"] {
            assert!(bad.parse::<Labels>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn nothing_is_targeted_by_default_and_unknown_names_are_refused() {
        let rows = [labelled("a", 1, &[("site", "x")]), labelled("b", 2, &[])];
        let code = |selection: Selection| selection.choose(&rows).map_err(|p| p.code).map(|c| c.len());
        assert_eq!(code(Selection::default()), Err("E0654".to_owned()));
        assert_eq!(code(Selection { all: true, ..Selection::default() }), Ok(2));
        let unknown = Selection { hosts: vec!["c".parse().expect("name")], ..Selection::default() };
        assert_eq!(code(unknown), Err("E0640".to_owned()));
        let both = Selection { hosts: vec!["a".parse().expect("name")], all: true, ..Selection::default() };
        assert_eq!(code(both), Err("E0601".to_owned()));
        let none = Selection { labels: vec!["site=y".parse().expect("selector")], ..Selection::default() };
        assert_eq!(code(none), Err("E0654".to_owned()));
    }
}
