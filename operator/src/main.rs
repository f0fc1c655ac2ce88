//! `digue`: plan, sign and follow orders.
//!
//! The command holds no state of its own but contexts, trust roots and keys' paths. It trusts the
//! controller with nothing: what it shows is held against signed documents, and what it signs is rendered
//! from the very bytes that are signed.

mod app;
mod audit;
mod cli;
mod client;
mod commands;
mod context;
mod enrol;
mod expect;
mod explain;
mod files;
mod fleet;
mod follow;
mod glyph;
mod help_fr;
mod host_table;
mod import;
mod inventory_edit;
mod inventory_watch;
mod keygen;
mod message;
mod output;
mod plan;
mod problem;
mod proofs;
mod reports;
mod selector;
mod state_words;
mod statements;
#[cfg(test)]
mod tests;
mod time;
mod trust_draft;
mod trust_store;

use std::process::ExitCode;

use problem::Exit;

fn main() -> ExitCode {
    let (app, command) = match cli::parse(std::env::args_os().collect()) {
        Ok(parsed) => parsed,
        Err(exit) => return exit,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            app.note_text(&format!("digue: {error}"));
            return Exit::Failed.into();
        }
    };
    match runtime.block_on(commands::run(&app, command)) {
        Ok(exit) => exit.into(),
        Err(problem) => {
            app.note_text(&problem.render(&app.speaker, app.glyphs));
            problem.exit().into()
        }
    }
}
