//! How the story is printed: two languages beside each other, one mark a finding, plain text without a
//! terminal's tricks, so that it can be read aloud, logged and compared.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    /// English.
    En,
    /// French.
    Fr,
}

/// Formats one of two texts, the one in the teller's language.
macro_rules! both {
    ($teller:expr, $en:literal, $fr:literal $(, $argument:expr)* $(,)?) => {
        match $teller.lang {
            $crate::demo::teller::Lang::En => format!($en $(, $argument)*),
            $crate::demo::teller::Lang::Fr => format!($fr $(, $argument)*),
        }
    };
}
pub(crate) use both;

/// Prints the story and counts what was found.
#[derive(Debug)]
pub(crate) struct Teller {
    pub(crate) lang: Lang,
    unicode: bool,
    colour: bool,
    started: Instant,
    steps: usize,
    findings: usize,
}

impl Teller {
    /// In `lang`, or in the language and character set of the environment.
    pub(crate) fn new(lang: Option<Lang>) -> Self {
        let unicode = first_set(&["LC_ALL", "LC_CTYPE", "LANG"]).to_ascii_lowercase();
        let spoken = first_set(&["LC_ALL", "LC_MESSAGES", "LANG"]).to_ascii_lowercase();
        let from_environment = if spoken.starts_with("fr") { Lang::Fr } else { Lang::En };
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            lang: lang.unwrap_or(from_environment),
            unicode: unicode.contains("utf-8") || unicode.contains("utf8"),
            colour: !plain && std::io::stdout().is_terminal(),
            started: Instant::now(),
            steps: 0,
            findings: 0,
        }
    }

    /// The locale in which `digue` says the same words with the same marks.
    pub(crate) const fn locale(&self) -> &'static str {
        match (self.lang, self.unicode) {
            (Lang::En, true) => "en_US.UTF-8",
            (Lang::En, false) => "en_US",
            (Lang::Fr, true) => "fr_FR.UTF-8",
            (Lang::Fr, false) => "fr_FR",
        }
    }

    /// Time since the demonstration began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The first line.
    pub(crate) fn title(&self, text: &str) {
        println!("{}", self.bold(text));
    }

    /// A step begins.
    pub(crate) fn step(&mut self, text: &str) {
        self.steps += 1;
        let heading = format!("{}. {text}", self.steps);
        println!("\n{}    {}", self.bold(&heading), seconds(self.elapsed()));
    }

    /// A command, as one could type it.
    pub(crate) fn command(&self, line: &str) {
        println!("  $ {line}");
    }

    /// What a command printed.
    pub(crate) fn output(&self, text: &str) {
        text.lines().for_each(|line| println!("    {line}"));
    }

    /// Something that was measured. What must hold and does not ends the story.
    ///
    /// # Errors
    /// It does not hold.
    pub(crate) fn finding(&mut self, holds: bool, text: &str) -> Result<()> {
        if !holds {
            bail!("{text}");
        }
        self.findings += 1;
        println!("  {} {text}", self.coloured("32", if self.unicode { "✓" } else { "+" }));
        Ok(())
    }

    /// Something that cannot be shown here, and why.
    pub(crate) fn skipped(&self, why: &str) {
        let word = both!(self, "skipped", "non montré");
        println!("  {} {word}: {why}", if self.unicode { "–" } else { "-" });
    }

    /// Why the story ends here.
    pub(crate) fn failed(&self, why: &str) {
        println!("  {} {why}", self.coloured("31", if self.unicode { "✗" } else { "x" }));
    }

    /// A line without a mark.
    pub(crate) fn plain(&self, text: &str) {
        println!("{text}");
    }

    /// The last lines: how much was measured, how long it took, and what was not shown.
    pub(crate) fn summary(&self, skipped: &[String]) {
        let (steps, findings, took) = (self.steps, self.findings, seconds(self.elapsed()));
        let text = both!(
            self,
            "{steps} steps, {findings} findings, all verified, in {took}.",
            "{steps} étapes, {findings} constats, tous vérifiés, en {took}."
        );
        println!("\n{}", self.bold(&text));
        for why in skipped {
            let word = both!(self, "Not shown", "Non montré");
            println!("{word}: {why}");
        }
    }

    fn bold(&self, text: &str) -> String {
        self.coloured("1", text)
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// `3.2 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// `190 ms`.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

fn first_set(names: &[&str]) -> String {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty())).unwrap_or_default()
}
