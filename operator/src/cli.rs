//! The command line as a whole: global options, the language of the help, completion.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};

use crate::app::App;
use crate::commands::Command;
use crate::context::ConfigDir;
use crate::glyph::Glyphs;
use crate::help_fr;
use crate::message::{Lang, Speaker};
use crate::problem::Exit;

/// Plan, sign and follow orders to cut servers off and to reopen them.
#[derive(Debug, Parser)]
#[command(name = "digue", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Context to use; default: the default context, or the only one.
    #[arg(long, global = true, value_name = "NAME", env = "DIGUE_CONTEXT")]
    context: Option<String>,
    /// Language; default: that of the environment.
    #[arg(long, global = true, value_enum)]
    lang: Option<Lang>,
    /// Colours.
    #[arg(long, global = true, value_enum, default_value_t)]
    color: Colour,
    /// Never ask; fail and name the option instead.
    #[arg(long, global = true)]
    no_input: bool,
    /// Take every confirmation as given. It never stands for a signature.
    #[arg(long, global = true)]
    yes: bool,
    #[command(subcommand)]
    command: Command,
}

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Colour {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The language asked for anywhere on the command line, before it is parsed: the help depends on it.
fn asked_language(args: &[OsString]) -> Option<Lang> {
    let words: Vec<&str> = args.iter().filter_map(|a| a.to_str()).collect();
    let found = words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--lang") {
        Some("") => words.get(at + 1).copied(),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    })?;
    Lang::from_str(found, true).ok()
}

/// The command with its help in `lang`.
pub(crate) fn command(lang: Lang) -> clap::Command {
    let command = Cli::command();
    match lang {
        Lang::En => command,
        Lang::Fr => help_fr::translate(command),
    }
}

/// Parses the command line. Help, version and wrong use end here with their exit code.
pub(crate) fn parse(args: Vec<OsString>) -> Result<(App, Command), ExitCode> {
    let lang = asked_language(&args).unwrap_or_else(|| Lang::from_environment(variable));
    let set = |name: &str| variable(name).is_some_and(|v| !v.is_empty());
    let plain = set("NO_COLOR") || variable("TERM").is_some_and(|t| t == "dumb");
    let choice = if plain { ColorChoice::Never } else { ColorChoice::Auto };
    let matches = command(lang).color(choice).try_get_matches_from(args);
    let parsed = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = parsed.map_err(|error| {
        // A closed output stream cannot be told anything.
        let _closed = error.print();
        let code = if error.use_stderr() { Exit::Usage } else { Exit::Done };
        ExitCode::from(code)
    })?;
    let colour = match cli.color {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => set("CLICOLOR_FORCE") || (!plain && std::io::stdout().is_terminal()),
    };
    let glyphs = Glyphs { unicode: Glyphs::unicode_environment(variable), colour };
    let app = App {
        speaker: Speaker::new(lang),
        glyphs,
        config: ConfigDir(config_dir()),
        context_name: cli.context,
        yes: cli.yes,
        no_input: cli.no_input,
    };
    Ok((app, cli.command))
}

/// `$DIGUE_CONFIG_DIR`, or `digue` below `$XDG_CONFIG_HOME` or `~/.config`.
fn config_dir() -> PathBuf {
    let path = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    path("DIGUE_CONFIG_DIR").unwrap_or_else(|| {
        let base = path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config")));
        base.unwrap_or_else(|| PathBuf::from(".")).join("digue")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_in_both_languages() {
        command(Lang::En).debug_assert();
        command(Lang::Fr).debug_assert();
    }

    #[test]
    fn the_language_is_found_before_the_rest_is_parsed() {
        let of = |args: &[&str]| asked_language(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of(&["digue", "status", "--lang", "fr"]), Some(Lang::Fr));
        assert_eq!(of(&["digue", "--lang=en", "status"]), Some(Lang::En));
        assert_eq!(of(&["digue", "--lang", "xx"]), None);
        assert_eq!(of(&["digue"]), None);
    }
}
