//! `digue explain`: a stable code in words.

use clap::Args;

use crate::app::App;
use crate::explain;
use crate::message::msg;
use crate::output;
use crate::problem::{Exit, Outcome, Problem};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The code, E0412 or digue-E0412; without it all codes are listed.
    code: Option<String>,
}

/// Runs `explain`.
pub(crate) fn run(app: &App, args: &Explain) -> Outcome<Exit> {
    let lang = app.speaker.lang();
    let Some(code) = &args.code else {
        let lines: Vec<String> =
            explain::tables().map(|e| format!("{}  {}", e.code, e.text(lang).title)).collect();
        output::print(&lines.join("\n"))?;
        return Ok(Exit::Done);
    };
    let Some(entry) = explain::entry(code) else {
        return Err(Problem::new("E0601", msg!("explain-unknown", code = code)));
    };
    let text = entry.text(lang);
    let exit = app.say(&msg!("explain-exit", exit = (entry.exit as u8).to_string()));
    output::print(&format!("{}  {}\n\n{}\n\n→ {}\n\n{exit}", entry.code, text.title, text.why, text.todo))?;
    Ok(Exit::Done)
}
