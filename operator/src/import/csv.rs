//! Inventories as CSV, as French and English spreadsheets write them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use digue_proto::id::HostId;
use digue_proto::trust::Label;

use super::{Imported, decode};

/// What a column means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    Name,
    Fqdn,
    Addresses,
    Labels,
    /// A label of its own.
    Label(String),
    /// No title; must be empty everywhere.
    Untitled,
}

/// Titles, without accents and case, and what they mean.
const TITLES: &[(&str, &[&str])] = &[
    ("name", &["nom", "name", "hostname", "host", "hote", "serveur", "server", "machine"]),
    ("fqdn", &["fqdn", "nom_complet", "dns"]),
    ("ip", &["ip", "ips", "adresse", "adresses", "adresse_ip", "address", "addresses", "ip_address"]),
    ("labels", &["etiquettes", "labels", "tags"]),
    ("criticality", &["criticite", "criticality", "criticity"]),
    ("owner", &["responsable", "proprietaire", "owner", "contact"]),
    ("inventory", &["inventaire", "no_inventaire", "numero_inventaire", "inventory", "asset", "asset_tag"]),
    ("site", &["site", "lieu", "location"]),
    ("service", &["service", "service_metier", "business_service"]),
    ("role", &["role", "fonction"]),
];

/// A title without accents, case, spaces and dashes.
fn normal(title: &str) -> String {
    let plain = title.trim().chars().map(|c| match c.to_lowercase().next().unwrap_or(c) {
        'à' | 'â' | 'ä' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'î' | 'ï' => 'i',
        'ô' | 'ö' => 'o',
        'ù' | 'û' | 'ü' => 'u',
        'ç' => 'c',
        ' ' | '-' | '\'' | '’' | '\u{a0}' => '_',
        other => other,
    });
    plain.filter(|c| *c != '°').collect()
}

fn meaning(title: &str) -> Meaning {
    let title = normal(title);
    if title.is_empty() {
        return Meaning::Untitled;
    }
    let known = TITLES.iter().find(|(_, titles)| titles.contains(&title.as_str())).map(|(key, _)| *key);
    match known {
        Some("name") => Meaning::Name,
        Some("fqdn") => Meaning::Fqdn,
        Some("ip") => Meaning::Addresses,
        Some("labels") => Meaning::Labels,
        Some(key) => Meaning::Label(key.to_owned()),
        None => Meaning::Label(title),
    }
}

/// The separator that stands most often in the title line, outside quotes.
fn separator(text: &str) -> u8 {
    let line = text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
    let count = |sign: char| {
        let mut quoted = false;
        line.chars()
            .filter(|c| {
                quoted ^= *c == '"';
                !quoted && *c == sign
            })
            .count()
    };
    let signs = [(b';', count(';')), (b',', count(',')), (b'\t', count('\t'))];
    // The first of equals wins, so a file with one column is read with semicolons.
    signs.into_iter().rev().max_by_key(|(_, n)| *n).map_or(b';', |(sign, _)| sign)
}

/// Reads a CSV file; all problems are listed, each with its line and column.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Imported>, Vec<String>> {
    let text = decode::text(bytes).map_err(|problem| vec![problem])?;
    if text.bytes().filter(|b| *b == b'"').count() % 2 == 1 {
        return Err(vec!["a quote is opened and never closed".to_owned()]);
    }
    let mut reader = ::csv::ReaderBuilder::new()
        .delimiter(separator(&text))
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let titles = match records.next() {
        None => return Err(vec!["the file is empty".to_owned()]),
        Some(Err(error)) => return Err(vec![format!("line 1: {error}")]),
        Some(Ok(record)) => record.iter().map(str::to_owned).collect::<Vec<_>>(),
    };
    let columns: Vec<Meaning> = titles.iter().map(|title| meaning(title)).collect();
    check_titles(&titles, &columns)?;
    let mut hosts: Vec<Imported> = Vec::new();
    let mut problems = Vec::new();
    let mut lines: BTreeMap<HostId, usize> = BTreeMap::new();
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                problems.push(error.to_string());
                break;
            }
        };
        let line = record.position().map_or(0, |p| line_at(&text, p.byte()));
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if record.len() != columns.len() {
            problems.push(format!(
                "line {line}: {} columns, the title line has {}",
                record.len(),
                columns.len()
            ));
            continue;
        }
        let row = Row { line, titles: &titles, cells: record.iter().map(str::trim).collect() };
        match row.read(&columns) {
            Err(more) => problems.extend(more),
            Ok(host) => match lines.insert(host.name.clone(), line) {
                Some(first) => {
                    problems.push(format!("line {line}: {} stands already on line {first}", host.name))
                }
                None => hosts.push(host),
            },
        }
    }
    if hosts.is_empty() && problems.is_empty() {
        problems.push("the file names no host".to_owned());
    }
    if problems.is_empty() { Ok(hosts) } else { Err(problems) }
}

/// The line of the record that starts at or after byte `at`; blank lines before it are passed over.
fn line_at(text: &str, at: u64) -> usize {
    let start = usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
    let blank = text.bytes().skip(start).take_while(|b| matches!(b, b'\r' | b'\n')).count();
    text.bytes().take(start + blank).filter(|b| *b == b'\n').count() + 1
}

fn check_titles(titles: &[String], columns: &[Meaning]) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    if !columns.contains(&Meaning::Name) && !columns.contains(&Meaning::Fqdn) {
        let seen = titles.join(", ");
        problems.push(format!("line 1: no column named nom or name (columns found: {seen})"));
    }
    for (at, column) in columns.iter().enumerate() {
        let earlier = columns.iter().take(at).position(|c| c == column && *c != Meaning::Untitled);
        if let Some(earlier) = earlier {
            let title = titles.get(at).map_or("", String::as_str);
            problems.push(format!("line 1, column {} ({title}): the same as column {}", at + 1, earlier + 1));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

struct Row<'a> {
    line: usize,
    titles: &'a [String],
    cells: Vec<&'a str>,
}

impl Row<'_> {
    fn problem(&self, column: usize, what: &str) -> String {
        let title = self.titles.get(column).map_or("", String::as_str);
        format!("line {}, column {} ({title}): {what}", self.line, column + 1)
    }

    fn read(&self, columns: &[Meaning]) -> Result<Imported, Vec<String>> {
        let mut problems = Vec::new();
        let (mut name, mut fqdn) = (None, None);
        let (mut addresses, mut labels) = (Vec::new(), Vec::new());
        for (at, (column, cell)) in columns.iter().zip(&self.cells).enumerate() {
            if cell.is_empty() {
                continue;
            }
            match column {
                Meaning::Name => name = Some((at, *cell)),
                Meaning::Fqdn => {
                    fqdn = Some((at, *cell));
                    labels.push((at, "fqdn".to_owned(), (*cell).to_owned()));
                }
                Meaning::Addresses => {
                    for word in cell.split([' ', '|', ',', ';']).filter(|w| !w.is_empty()) {
                        match word.parse::<IpAddr>() {
                            Ok(address) => addresses.push(address),
                            Err(_) => {
                                problems.push(self.problem(at, &format!("{word:?} is not an IP address")))
                            }
                        }
                    }
                }
                Meaning::Labels => {
                    for word in cell.split(['|', ',', ';']).map(str::trim).filter(|w| !w.is_empty()) {
                        let (key, value) = word.split_once('=').unwrap_or(("label", word));
                        labels.push((at, key.trim().to_owned(), value.trim().to_owned()));
                    }
                }
                Meaning::Label(key) => labels.push((at, key.clone(), (*cell).to_owned())),
                Meaning::Untitled => problems.push(self.problem(at, "a value in a column without a title")),
            }
        }
        for (at, key, value) in &labels {
            let bad = |text: &str| text.is_empty() || text.len() > 200 || text.chars().any(char::is_control);
            if bad(key) || bad(value) {
                problems.push(self.problem(*at, "a label is empty, longer than 200 bytes or spans lines"));
            }
        }
        let parsed = name.or(fqdn).map(|(at, text)| (at, text.to_lowercase().parse::<HostId>()));
        let name = match parsed {
            None => {
                problems.push(format!("line {}: no name", self.line));
                None
            }
            Some((at, Err(error))) => {
                problems.push(self.problem(at, &error.to_string()));
                None
            }
            Some((_, Ok(name))) => Some(name),
        };
        let labels = labels.into_iter().map(|(_, key, value)| Label { key, value }).collect();
        match name {
            Some(name) if problems.is_empty() => Ok(Imported { name, addresses, labels }),
            Some(_) | None => Err(problems),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_french_spreadsheet_in_windows_1252_reads_like_an_english_one() {
        let french = b"Nom;Adresse IP;Site;Criticit\xe9;\xc9tiquettes;Salle\r\nSRV-001;10.0.0.1|fd00::1;H\xf4tel de ville;haute;env=prod,vip;B12\r\n";
        let hosts = read(french).expect("hosts");
        let label = |key: &str| hosts[0].labels.iter().find(|l| l.key == key).map(|l| l.value.clone());
        assert_eq!(hosts[0].name.as_str(), "srv-001");
        assert_eq!(hosts[0].addresses.len(), 2);
        assert_eq!(label("site").as_deref(), Some("Hôtel de ville"));
        assert_eq!(label("criticality").as_deref(), Some("haute"));
        assert_eq!(label("env").as_deref(), Some("prod"));
        assert_eq!(label("label").as_deref(), Some("vip"));
        assert_eq!(label("salle").as_deref(), Some("B12"));
        let english = "\u{feff}name,ip,site,criticality,tags,salle\nsrv-001,10.0.0.1|fd00::1,Hôtel de ville,haute,\"env=prod,vip\",B12\n";
        assert_eq!(read(english.as_bytes()).expect("hosts"), hosts);
    }

    #[test]
    fn every_problem_names_its_line_and_column() {
        let text =
            "nom;ip\nsrv-1;10.0.0.300\n\nSrv 2;10.0.0.2\nsrv-3\nsrv-4;10.0.0.4\nSRV-4;10.0.0.5\n;10.0.0.6\n";
        let problems = read(text.as_bytes()).expect_err("refused");
        let starts = [
            "line 2, column 2 (ip)",
            "line 4, column 1 (nom)",
            "line 5: 1 columns",
            "line 7: srv-4 stands already on line 6",
            "line 8: no name",
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:#?}");
        for (problem, start) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start), "{problem} does not start with {start}");
        }
    }

    #[test]
    fn files_that_are_no_inventory_are_refused() {
        for bad in ["", "ip;site\n10.0.0.1;x\n", "nom;nom\na;b\n", "nom;ip\n", "nom;site\na;\"open\n"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_value_without_a_title_is_refused_and_an_empty_column_is_not() {
        assert!(read(b"nom;\na;\n").is_ok());
        assert!(read(b"nom;\na;x\n").is_err());
    }
}
