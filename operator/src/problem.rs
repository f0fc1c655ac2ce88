//! What went wrong, for people: what happened, why, what to do, and a stable code.

use std::fmt::Display;

use crate::explain;
use crate::glyph::Glyphs;
use crate::message::{Message, Speaker};
use crate::output::printable;

/// Exit codes. An unknown code must be treated as a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done and verified, or read, or the expectation is met.
    Done = 0,
    /// Failed, or `--expect` not met.
    Failed = 1,
    /// Wrong use of the command.
    Usage = 2,
    /// Some hosts were not reached, failed or are not verified.
    Partial = 3,
    /// `--timeout` passed while waiting; the order goes on.
    Timeout = 4,
    /// The controller cannot be reached.
    Unreachable = 10,
    /// Not authenticated, or not allowed.
    NotAllowed = 11,
    /// A signature, hash or chain does not hold: treat as tampering.
    Tampering = 12,
    /// More signatures are needed.
    MoreSignatures = 13,
    /// Expired, superseded, or the fleet moved since the plan.
    Moved = 14,
    /// `plan --detailed-exitcode`: there is something to do.
    Pending = 20,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure with its stable code; the code decides the exit code and the advice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    /// `E0601` and so on, see [`explain`].
    pub(crate) code: String,
    /// What happened, more precisely than the code's title.
    pub(crate) message: Option<Message>,
    /// The cause as another program or crate words it; not translated.
    pub(crate) cause: Option<String>,
}

/// What commands and their parts return.
pub(crate) type Outcome<T> = Result<T, Problem>;

impl Problem {
    /// A problem with a precise message.
    pub(crate) fn new(code: &str, message: Message) -> Self {
        Self { code: code.to_owned(), message: Some(message), cause: None }
    }

    /// A problem that its title says in full.
    pub(crate) fn of(code: &str) -> Self {
        Self { code: code.to_owned(), message: None, cause: None }
    }

    /// Adds the cause, if there is no other yet.
    pub(crate) fn because(mut self, cause: impl Display) -> Self {
        self.cause.get_or_insert_with(|| cause.to_string());
        self
    }

    /// The exit code that belongs to the code.
    pub(crate) fn exit(&self) -> Exit {
        explain::entry(&self.code).map_or(Exit::Failed, |entry| entry.exit)
    }

    /// The lines to print on standard error.
    pub(crate) fn render(&self, speaker: &Speaker, glyphs: Glyphs) -> String {
        let known = explain::entry(&self.code).map(|entry| entry.text(speaker.lang()));
        let mut lines = Vec::new();
        let title = known.map_or("", |text| text.title);
        let message = self.message.as_ref().map(|m| speaker.say(m));
        match message {
            Some(message) if title.is_empty() => lines.push(format!("digue: {message}")),
            Some(message) => lines.push(format!("digue: {title}{} {message}", speaker.lang().colon())),
            None => lines.push(format!("digue: {title}")),
        }
        lines.extend(
            self.cause.iter().flat_map(|cause| cause.lines()).map(|cause| format!("  {}", printable(cause))),
        );
        lines.extend(known.map(|text| format!("  {} {}", glyphs.arrow(), text.todo)));
        lines.push(format!("  digue-{} {} digue explain {}", self.code, glyphs.dot(), self.code));
        lines.join("\n")
    }
}

/// Turns the errors of a fallible call into a [`Problem`].
pub(crate) trait OrProblem<T> {
    /// Maps the error to `problem`, with the error as its cause.
    fn or_problem(self, problem: impl FnOnce() -> Problem) -> Outcome<T>;
}

impl<T, E: Display> OrProblem<T> for Result<T, E> {
    fn or_problem(self, problem: impl FnOnce() -> Problem) -> Outcome<T> {
        self.map_err(|error| problem().because(error))
    }
}
