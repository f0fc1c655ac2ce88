//! Every stable code: what it means, why it happens and what to do, in both languages.

use crate::message::Lang;
use crate::problem::Exit;

/// A code's text in one language.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    /// What happened, in a few words.
    pub(crate) title: &'static str,
    /// Why it happens.
    pub(crate) why: &'static str,
    /// What to do.
    pub(crate) todo: &'static str,
}

/// One code.
#[derive(Debug)]
pub(crate) struct Entry {
    /// `E0601`.
    pub(crate) code: &'static str,
    /// What the command exits with.
    pub(crate) exit: Exit,
    fr: Text,
    en: Text,
}

impl Entry {
    /// The text in `lang`.
    pub(crate) const fn text(&self, lang: Lang) -> Text {
        match lang {
            Lang::Fr => self.fr,
            Lang::En => self.en,
        }
    }
}

/// The entry of a code, written `E0601`, `e0601` or `digue-E0601`.
pub(crate) fn entry(code: &str) -> Option<&'static Entry> {
    let code = code.strip_prefix("digue-").unwrap_or(code);
    tables().find(|entry| entry.code.eq_ignore_ascii_case(code))
}

/// Every entry, by code.
pub(crate) fn tables() -> impl Iterator<Item = &'static Entry> {
    let tables = [core::ENTRIES, host::ENTRIES, controller::ENTRIES, operator::ENTRIES, inventory::ENTRIES];
    tables.into_iter().flatten()
}

/// Short form of an [`Entry`] for the tables.
const fn code(
    code: &'static str,
    exit: Exit,
    fr: (&'static str, &'static str, &'static str),
    en: (&'static str, &'static str, &'static str),
) -> Entry {
    const fn text(parts: (&'static str, &'static str, &'static str)) -> Text {
        Text { title: parts.0, why: parts.1, todo: parts.2 }
    }
    Entry { code, exit, fr: text(fr), en: text(en) }
}

mod controller;
mod core;
mod host;
mod inventory;
mod operator;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Codes in source files: a quoted `E0` and three digits.
    fn codes(dir: &Path, found: &mut Vec<String>) {
        for item in std::fs::read_dir(dir).expect("a source folder").flatten() {
            let path = item.path();
            if path.is_dir() {
                codes(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let quoted = text.split("\"E0").skip(1).filter_map(|rest| rest.split_once('"'));
                found.extend(
                    quoted
                        .filter(|(n, _)| n.len() == 3 && n.bytes().all(|b| b.is_ascii_digit()))
                        .map(|(n, _)| format!("E0{n}")),
                );
            }
        }
    }

    #[test]
    fn every_code_in_every_crate_is_explained() {
        let mut found = Vec::new();
        for part in ["proto", "agent", "controller", "operator"] {
            codes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(part).join("src"), &mut found);
        }
        found.sort();
        found.dedup();
        assert!(found.len() > 50, "the sources were not found");
        let missing: Vec<_> = found.iter().filter(|code| entry(code).is_none()).collect();
        assert!(missing.is_empty(), "not explained: {missing:?}");
    }

    #[test]
    fn codes_are_unique_and_complete_in_both_languages() {
        let mut seen = std::collections::BTreeSet::new();
        for entry in tables() {
            assert!(seen.insert(entry.code), "{} stands twice", entry.code);
            for lang in [Lang::Fr, Lang::En] {
                let text = entry.text(lang);
                assert!(
                    !text.title.is_empty() && !text.why.is_empty() && !text.todo.is_empty(),
                    "{}",
                    entry.code
                );
            }
        }
        assert!(entry("digue-e0601").is_some());
    }
}
