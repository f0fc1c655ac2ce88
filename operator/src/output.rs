//! Lists as tables for people, and as JSON, CSV or names for machines. Machine output is never translated.

use std::io::Write as _;

use digue_proto::fleet::view::API_VERSION;
use serde_json::{Value, json};

use crate::problem::{Exit, OrProblem as _, Outcome, Problem};

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// More columns for people.
    Wide,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
    /// Comma-separated values with English column names.
    Csv,
    /// Names alone, one a line.
    Name,
}

/// One column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// Title for people, translated.
    pub(crate) title: String,
    /// Title for machines.
    pub(crate) machine: &'static str,
    /// Shown by `wide` only.
    pub(crate) wide: bool,
}

/// A list ready to print in every format.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listing {
    /// The columns.
    pub(crate) columns: Vec<Column>,
    /// Texts for people, one row an entry.
    pub(crate) rows: Vec<Vec<String>>,
    /// Values for CSV, one row an entry.
    pub(crate) values: Vec<Vec<String>>,
    /// The names.
    pub(crate) names: Vec<String>,
    /// The JSON of each entry.
    pub(crate) json: Vec<Value>,
    /// The member of the JSON document that holds the entries.
    pub(crate) json_key: &'static str,
    /// More members of the JSON document.
    pub(crate) json_more: Vec<(&'static str, Value)>,
}

/// Writes to standard output. A reader that went away (`| head`) ends the program quietly.
pub(crate) fn print(text: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(Exit::Done as i32),
        written => written.or_problem(|| Problem::of("E0605")),
    }
}

/// Prints one JSON document, indented.
pub(crate) fn print_json(value: &Value) -> Outcome<()> {
    print(&serde_json::to_string_pretty(value).or_problem(|| Problem::of("E0605"))?)
}

impl Listing {
    /// The list as text.
    pub(crate) fn render(&self, format: Format) -> Outcome<String> {
        Ok(match format {
            Format::Table | Format::Wide => self.table(format == Format::Wide),
            Format::Name => self.names.join("\n"),
            Format::Jsonl => {
                let lines: Vec<String> = self.json.iter().map(Value::to_string).collect();
                lines.join("\n")
            }
            Format::Json => {
                let mut document = json!({ "apiVersion": API_VERSION });
                if let Some(object) = document.as_object_mut() {
                    for (key, value) in &self.json_more {
                        object.insert((*key).to_owned(), value.clone());
                    }
                    object.insert(self.json_key.to_owned(), Value::Array(self.json.clone()));
                }
                serde_json::to_string_pretty(&document).or_problem(|| Problem::of("E0605"))?
            }
            Format::Csv => self.csv()?,
        })
    }

    /// Prints the list; nothing at all if there is nothing to print.
    pub(crate) fn print(&self, format: Format) -> Outcome<()> {
        let text = self.render(format)?;
        if text.is_empty() { Ok(()) } else { print(&text) }
    }

    fn csv(&self) -> Outcome<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let titles: Vec<&str> = self.columns.iter().map(|c| c.machine).collect();
        writer.write_record(&titles).or_problem(|| Problem::of("E0605"))?;
        for row in &self.values {
            let row: Vec<String> = row.iter().map(|cell| spreadsheet_safe(cell)).collect();
            writer.write_record(&row).or_problem(|| Problem::of("E0605"))?;
        }
        let bytes = writer.into_inner().or_problem(|| Problem::of("E0605"))?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    fn table(&self, wide: bool) -> String {
        let shown: Vec<usize> =
            self.columns.iter().enumerate().filter(|(_, c)| wide || !c.wide).map(|(i, _)| i).collect();
        let title = |i: &usize| self.columns.get(*i).map_or("", |c| c.title.as_str());
        let cell = |row: &[String], i: &usize| row.get(*i).map_or_else(String::new, |text| printable(text));
        let mut lines: Vec<Vec<String>> = vec![shown.iter().map(|i| title(i).to_owned()).collect()];
        lines.extend(self.rows.iter().map(|row| shown.iter().map(|i| cell(row, i)).collect()));
        let widths: Vec<usize> = (0..shown.len())
            .map(|i| lines.iter().filter_map(|l| l.get(i)).map(|c| c.chars().count()).max().unwrap_or(0))
            .collect();
        let line = |cells: &Vec<String>| {
            let padded = cells.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Most characters of one text from outside that are shown; machine formats carry the whole.
const MAX_SHOWN: usize = 4_000;

/// Text from a host, a document or the controller without what could move a terminal's cursor, split a
/// line, or make text read in another order than it is written; and not endless.
pub(crate) fn printable(text: &str) -> String {
    let shown = text.chars().map(|c| match c {
        '\n' | '\r' | '\t' => ' ',
        // Marks and overrides of direction, and the separators that some programs break lines at.
        '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    });
    let mut shown = shown;
    let mut kept: String = shown.by_ref().take(MAX_SHOWN).collect();
    if shown.next().is_some() {
        kept.push('…');
    }
    kept
}

/// A cell that a spreadsheet would take for a formula gets a leading apostrophe.
fn spreadsheet_safe(cell: &str) -> String {
    let cell = printable(cell);
    // Leading spaces do not keep every spreadsheet from seeing a formula.
    if cell.trim_start().starts_with(['=', '+', '-', '@']) && cell.parse::<f64>().is_err() {
        format!("'{cell}")
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let column = |title: &str, machine, wide| Column { title: title.to_owned(), machine, wide };
        Listing {
            columns: vec![column("HÔTE", "name", false), column("SITE", "site", true)],
            rows: vec![vec!["srv-001".to_owned(), "a\x1b[2Jb".to_owned()]],
            values: vec![vec!["srv-001".to_owned(), "=cmd()".to_owned()]],
            names: vec!["srv-001".to_owned()],
            json: vec![json!({"name": "srv-001"})],
            json_key: "hosts",
            json_more: Vec::new(),
        }
    }

    #[test]
    fn tables_hide_wide_columns_and_escape_what_would_move_the_cursor() {
        assert_eq!(listing().render(Format::Table).expect("text"), "HÔTE\nsrv-001");
        assert_eq!(listing().render(Format::Wide).expect("text"), "HÔTE     SITE\nsrv-001  a\u{fffd}[2Jb");
    }

    #[test]
    fn text_from_outside_cannot_move_the_cursor_split_a_line_turn_around_or_go_on_for_ever() {
        assert_eq!(printable("é\x1b]0;x\x07\u{9b}2J"), "é\u{fffd}]0;x\u{fffd}\u{fffd}2J");
        assert_eq!(printable("one\ntwo\r\u{2028}three"), "one two \u{fffd}three");
        assert_eq!(printable("\u{202e}naelc\u{2066}"), "\u{fffd}naelc\u{fffd}");
        assert_eq!(printable(&"à".repeat(300_000)).chars().count(), MAX_SHOWN + 1);
        assert_eq!(spreadsheet_safe("\t=1+1"), "' =1+1");
        assert_eq!(
            (spreadsheet_safe("-12"), spreadsheet_safe("Évry")),
            ("-12".to_owned(), "Évry".to_owned())
        );
    }

    #[test]
    fn machine_formats_carry_the_api_version_and_no_formula() {
        let value: Value =
            serde_json::from_str(&listing().render(Format::Json).expect("text")).expect("JSON");
        assert_eq!(value, json!({"apiVersion": "digue/v1", "hosts": [{"name": "srv-001"}]}));
        assert_eq!(listing().render(Format::Csv).expect("text"), "name,site\nsrv-001,'=cmd()");
        assert_eq!(listing().render(Format::Name).expect("text"), "srv-001");
    }
}
