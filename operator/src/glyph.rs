//! The marks of verdicts and links; ASCII where the locale is not UTF-8.

use digue_proto::fleet::view::Verdict;
use digue_proto::report::Links;

/// Which marks to print, and whether to colour them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glyphs {
    /// The terminal shows more than ASCII.
    pub(crate) unicode: bool,
    /// Colour may be added; it never carries meaning alone.
    pub(crate) colour: bool,
}

impl Glyphs {
    /// Whether the environment's character set is UTF-8.
    pub(crate) fn unicode_environment(variable: impl Fn(&str) -> Option<String>) -> bool {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| {
            let value = variable(name)?;
            (!value.is_empty()).then_some(value)
        });
        let value = set.unwrap_or_default().to_ascii_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    }

    fn pick(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }

    /// The mark of a verdict.
    pub(crate) fn verdict(self, verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Clean => self.pick("✓", "+"),
            Verdict::NoFinding => self.pick("○", "o"),
            Verdict::Unassessed => self.pick("–", "-"),
            Verdict::Suspect => "?",
            Verdict::Compromised => self.pick("✕", "x"),
        }
    }

    /// The mark of the links.
    pub(crate) const fn links(self, links: Option<Links>) -> &'static str {
        match links {
            Some(Links::Cut) => "#",
            Some(Links::Cutting | Links::Releasing) => "~",
            Some(Links::Failed) => "!",
            Some(Links::Open) => ".",
            None => " ",
        }
    }

    /// The mark of no contact.
    pub(crate) const fn stale(self) -> &'static str {
        "*"
    }

    /// Something that holds, or does not.
    pub(crate) fn holds(self, holds: bool) -> &'static str {
        if holds { self.pick("✓", "+") } else { self.pick("✗", "x") }
    }

    /// The separator of the parts of a line.
    pub(crate) fn dot(self) -> &'static str {
        self.pick("·", "|")
    }

    /// From one state to the next.
    pub(crate) fn arrow(self) -> &'static str {
        self.pick("→", "->")
    }

    /// `text`, in bold if colours are on.
    pub(crate) fn bold(self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_has_an_ascii_form_and_no_two_verdicts_share_one() {
        let ascii = Glyphs { unicode: false, colour: false };
        let all =
            [Verdict::Clean, Verdict::NoFinding, Verdict::Unassessed, Verdict::Suspect, Verdict::Compromised];
        let marks: std::collections::BTreeSet<_> = all.iter().map(|v| ascii.verdict(*v)).collect();
        assert_eq!(marks.len(), all.len());
        assert!(marks.iter().all(|mark| mark.is_ascii()));
        assert!(ascii.arrow().is_ascii() && ascii.dot().is_ascii() && ascii.holds(true).is_ascii());
    }
}
