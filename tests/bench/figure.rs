//! Figures: what was measured, beside its budget; as a table for people and as JSON for programs.
//!
//! A figure has a median of at least the runs that were asked for, with minimum and maximum. A figure over
//! its budget is printed as such and fails nothing: machines differ. What fails is a thing that could not
//! be measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::machine::Machine;

/// A limit that a figure is held against.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Budget {
    /// The figure must not be larger.
    AtMost(f64),
    /// The figure must not be smaller.
    AtLeast(f64),
}

impl Budget {
    const fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {}", digits(limit)),
            Self::AtLeast(limit) => format!("≥ {}", digits(limit)),
        }
    }
}

/// One thing that was measured several times.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// What it is, with how many hosts.
    pub(crate) name: String,
    /// Of all numbers here.
    pub(crate) unit: &'static str,
    /// How often it was measured.
    pub(crate) runs: usize,
    /// The middle one, or the mean of the middle two.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
    /// What it is held against, if anything.
    pub(crate) budget: Option<Budget>,
}

impl Figure {
    /// A figure of these values.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, values: &[f64]) -> Result<Self> {
        let name = name.into();
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied();
        let middle = sorted.len() / 2;
        let upper = at(middle);
        let median = if sorted.len().is_multiple_of(2) {
            at(middle.wrapping_sub(1)).zip(upper).map(|(a, b)| f64::midpoint(a, b))
        } else {
            upper
        };
        let (Some(median), Some(min), Some(max)) = (median, at(0), sorted.last().copied()) else {
            anyhow::bail!("nothing was measured for {name:?}");
        };
        Ok(Self { name, unit, runs: sorted.len(), median, min, max, budget: None })
    }

    /// A figure of these times, in milliseconds.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn millis(name: impl Into<String>, times: &[Duration]) -> Result<Self> {
        let values: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        Self::new(name, "ms", &values)
    }

    /// The same, held against a budget.
    #[must_use]
    pub(crate) const fn within(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }
}

/// The median of one figure divided by that of another, of the same run of the program.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ratio {
    /// What is divided by what, with how many hosts.
    pub(crate) name: String,
    /// How many times.
    pub(crate) value: f64,
    /// What it is held against, if anything.
    pub(crate) budget: Option<Budget>,
}

impl Ratio {
    /// `over` divided by `under`.
    pub(crate) fn new(name: impl Into<String>, over: &Figure, under: &Figure) -> Self {
        Self { name: name.into(), value: over.median / under.median, budget: None }
    }

    /// The same, held against a budget.
    #[must_use]
    pub(crate) const fn within(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }
}

/// Everything that one benchmark found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What was measured. The first is the benchmark's own figure.
    pub(crate) figures: Vec<Figure>,
    /// Medians of this run divided by each other.
    pub(crate) ratios: Vec<Ratio>,
    /// What a reader must know to understand the numbers.
    pub(crate) notes: Vec<String>,
    /// What could not be measured, or did not hold.
    pub(crate) missing: Vec<String>,
}

/// What stands in `target/bench/NAME.json`.
#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    unit: Option<&'static str>,
    runs: Option<usize>,
    median: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    ratios: BTreeMap<&'a str, f64>,
    figures: &'a [Figure],
    notes: &'a [String],
    missing: &'a [String],
    machine: &'a Machine,
}

impl Findings {
    /// Writes them below `folder`, and returns the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, name: &str, folder: &Path, machine: &Machine) -> Result<PathBuf> {
        let first = self.figures.first();
        let document = Document {
            name,
            unit: first.map(|f| f.unit),
            runs: first.map(|f| f.runs),
            median: first.map(|f| f.median),
            min: first.map(|f| f.min),
            max: first.map(|f| f.max),
            ratios: self.ratios.iter().map(|r| (r.name.as_str(), r.value)).collect(),
            figures: &self.figures,
            notes: &self.notes,
            missing: &self.missing,
            machine,
        };
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let file = folder.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&document)?;
        fs::write(&file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }

    /// The table, in the form of docs/BENCHMARKS.md.
    pub(crate) fn table(&self, name: &str) -> String {
        let mut rows = vec![[name, "median", "min – max", "runs", "budget", ""].map(str::to_owned)];
        for figure in &self.figures {
            let range = format!("{} – {}", digits(figure.min), digits(figure.max));
            let median = format!("{} {}", digits(figure.median), figure.unit);
            let (budget, verdict) = verdict(figure.budget, figure.median);
            rows.push([figure.name.clone(), median, range, figure.runs.to_string(), budget, verdict]);
        }
        for ratio in &self.ratios {
            let (budget, verdict) = verdict(ratio.budget, ratio.value);
            let value = format!("{} ×", digits(ratio.value));
            rows.push([ratio.name.clone(), value, String::new(), String::new(), budget, verdict]);
        }
        let mut text = aligned(&rows);
        for note in &self.notes {
            text.push_str(&format!("\n- {note}"));
        }
        for missing in &self.missing {
            text.push_str(&format!("\n- NOT MEASURED: {missing}"));
        }
        text.push('\n');
        text
    }
}

fn verdict(budget: Option<Budget>, value: f64) -> (String, String) {
    budget.map_or_else(Default::default, |budget| {
        let verdict = if budget.holds(value) { "PASS" } else { "over" };
        (budget.shown(), verdict.to_owned())
    })
}

/// Three significant digits, or all of a large number.
fn digits(value: f64) -> String {
    let places = match value.abs() {
        v if v >= 99.95 || v == 0.0 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 => 2,
        v if v >= 0.00995 => 3,
        _ => 5,
    };
    format!("{value:.places$}")
}

fn aligned(rows: &[[String; 6]]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let pad = width(column).saturating_sub(cell.chars().count());
            text.push_str(&format!("| {cell}{} ", " ".repeat(pad)));
        }
        text.push_str("|\n");
        if number == 0 {
            for column in 0..row.len() {
                text.push_str(&format!("|{}", "-".repeat(width(column) + 2)));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        let figure = Figure::new("f", "ms", &[4.0, 1.0, 2.0, 9.0]).expect("figure");
        assert_eq!((figure.median, figure.min, figure.max, figure.runs), (3.0, 1.0, 9.0, 4));
        let figure = Figure::new("f", "ms", &[5.0, 1.0, 2.0]).expect("figure");
        assert_eq!(figure.median, 2.0);
        assert!(Figure::new("f", "ms", &[]).is_err());
    }

    #[test]
    fn a_figure_over_its_budget_is_not_a_pass() {
        assert_eq!(verdict(Some(Budget::AtMost(2.0)), 2.1).1, "over");
        assert_eq!(verdict(Some(Budget::AtMost(2.0)), 2.0).1, "PASS");
        assert_eq!(verdict(Some(Budget::AtLeast(20.0)), 19.0).1, "over");
        assert_eq!(verdict(None, 1.0).1, "");
    }

    #[test]
    fn three_digits_are_shown_whatever_the_size() {
        let shown: Vec<String> = [0.0123, 0.5, 1.234, 12.34, 123.4].iter().map(|v| digits(*v)).collect();
        assert_eq!(shown, ["0.012", "0.500", "1.23", "12.3", "123"]);
    }
}
