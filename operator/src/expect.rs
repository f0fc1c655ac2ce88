//! `--expect`: conditions on the counts, `clean>=80% and exposed==0`. A percentage is of the signed
//! inventory, never of what happens to report.

use digue_proto::fleet::view::Summary;

/// Comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Equal,
    Different,
    AtLeast,
    AtMost,
    More,
    Less,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    text: String,
    counter: &'static str,
    relation: Relation,
    number: u64,
    percent: bool,
}

/// Conditions that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expectation(Vec<Condition>);

/// The counters, by their names in the API.
pub(crate) fn counters(summary: &Summary) -> [(&'static str, u64); 12] {
    [
        ("expected", summary.expected),
        ("enrolled", summary.enrolled),
        ("clean", summary.clean),
        ("no_finding", summary.no_finding),
        ("suspect", summary.suspect),
        ("compromised", summary.compromised),
        ("unassessed", summary.unassessed),
        ("exposed", summary.exposed),
        ("cut", summary.cut),
        ("failed", summary.failed),
        ("stale", summary.stale),
        ("never_enrolled", summary.never_enrolled),
    ]
}

impl std::str::FromStr for Expectation {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let conditions = text.split(" and ").map(condition).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(conditions))
    }
}

fn condition(text: &str) -> Result<Condition, String> {
    let text = text.trim();
    // Longer signs first, so that ">=" is not read as ">".
    const SIGNS: [(&str, Relation); 7] = [
        ("==", Relation::Equal),
        ("!=", Relation::Different),
        (">=", Relation::AtLeast),
        ("<=", Relation::AtMost),
        (">", Relation::More),
        ("<", Relation::Less),
        ("=", Relation::Equal),
    ];
    let found = SIGNS.iter().find_map(|(sign, relation)| {
        let (left, right) = text.split_once(sign)?;
        Some((left.trim(), *relation, right.trim()))
    });
    let (name, relation, right) = found.ok_or_else(|| format!("{text:?} compares nothing"))?;
    let known = counters(&Summary::default());
    let counter = known.iter().map(|(known, _)| *known).find(|known| *known == name).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        format!("{name:?} is not a counter; counters are {}", names.join(", "))
    })?;
    let (digits, percent) = right.strip_suffix('%').map_or((right, false), |digits| (digits.trim(), true));
    let number: u64 = digits.parse().map_err(|_| format!("{right:?} is not a whole number or percentage"))?;
    if percent && number > 100 {
        return Err(format!("{right:?} is more than everything"));
    }
    Ok(Condition { text: text.to_owned(), counter, relation, number, percent })
}

impl Expectation {
    /// The conditions that do not hold, each with the value found; empty if all hold.
    pub(crate) fn unmet(&self, summary: &Summary) -> Vec<String> {
        let unmet = self.0.iter().filter(|condition| !condition.holds(summary));
        unmet
            .map(|c| format!("{} ({}={}/{})", c.text, c.counter, c.value(summary), summary.expected))
            .collect()
    }
}

impl Condition {
    fn value(&self, summary: &Summary) -> u64 {
        counters(summary).iter().find(|(name, _)| *name == self.counter).map_or(0, |(_, value)| *value)
    }

    fn holds(&self, summary: &Summary) -> bool {
        // Cross-multiplied: no rounding decides. Of an empty inventory no percentage holds.
        let (found, wanted) = if self.percent {
            if summary.expected == 0 {
                return false;
            }
            (u128::from(self.value(summary)) * 100, u128::from(self.number) * u128::from(summary.expected))
        } else {
            (u128::from(self.value(summary)), u128::from(self.number))
        };
        match self.relation {
            Relation::Equal => found == wanted,
            Relation::Different => found != wanted,
            Relation::AtLeast => found >= wanted,
            Relation::AtMost => found <= wanted,
            Relation::More => found > wanted,
            Relation::Less => found < wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmet(text: &str, summary: &Summary) -> usize {
        text.parse::<Expectation>().expect("an expectation").unmet(summary).len()
    }

    #[test]
    fn percentages_are_of_the_inventory_and_are_not_rounded() {
        let summary = Summary { expected: 3, enrolled: 2, clean: 2, ..Summary::default() };
        assert_eq!(unmet("clean>=66%", &summary), 0);
        assert_eq!(unmet("clean>=67%", &summary), 1);
        assert_eq!(unmet("clean>=67% and exposed==0", &summary), 1);
        assert_eq!(unmet("exposed=0 and enrolled<3 and clean!=1", &summary), 0);
    }

    #[test]
    fn nothing_is_true_of_an_empty_inventory_in_percent() {
        assert_eq!(unmet("clean>=0%", &Summary::default()), 1);
        assert_eq!(unmet("exposed==0", &Summary::default()), 0);
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_never_taken_as_true() {
        for bad in [
            "",
            "clean",
            "clean>=",
            "clean>=80.5%",
            "clean>=101%",
            "sain>=1",
            "clean>=1 or exposed==0",
            "clean>=-1",
        ] {
            assert!(bad.parse::<Expectation>().is_err(), "{bad:?} was accepted");
        }
    }
}
