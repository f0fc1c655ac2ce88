//! The command line as a whole: global options, the language of the help, completion.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};

use crate::app::App;
use crate::commands::Command;
use crate::context::ConfigDir;
use crate::glyph::Glyphs;
use crate::help_fr;
use crate::message::{Lang, Speaker, msg};
use crate::problem::{Exit, Problem};

/// Plan, sign and follow orders to cut servers off and to reopen them.
#[derive(Debug, Parser)]
#[command(name = "digue", version, disable_help_subcommand = true, disable_help_flag = true)]
#[command(disable_version_flag = true, next_help_heading = "Global options")]
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
    let flag =
        |name: &'static str, action, help: &'static str| Arg::new(name).long(name).action(action).help(help);
    let command = Cli::command()
        .arg(flag("help", ArgAction::Help, "Print help").short('h').global(true))
        .arg(flag("version", ArgAction::Version, "Print version").short('V'));
    in_language(command, "", lang)
}

/// Puts the help of a command and of everything below it into `lang`. What clap would add in English
/// (values, defaults, headings) is written here.
fn in_language(mut command: clap::Command, path: &str, lang: Lang) -> clap::Command {
    let french = lang == Lang::Fr;
    if let Some(about) = help_fr::text(path, None).filter(|_| french) {
        command = command.about(about).long_about(None::<&str>);
    }
    let (usage, commands, global, default) = match lang {
        Lang::Fr => ("Utilisation :", "Commandes", "Options générales", "défaut"),
        Lang::En => ("Usage:", "Commands", "Global options", "default"),
    };
    command = command
        .help_template(format!("{{about-with-newline}}\n{usage} {{usage}}\n\n{{all-args}}"))
        .subcommand_help_heading(commands);
    let names: Vec<String> = command.get_arguments().map(|a| a.get_id().to_string()).collect();
    for name in names {
        command = command.mut_arg(&name, |arg| {
            let english = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let mut help = help_fr::text(path, Some(&name)).filter(|_| french).map_or(english, str::to_owned);
            if arg.get_action().takes_values() {
                let values: Vec<String> =
                    arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
                let defaults: Vec<String> =
                    arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
                if !values.is_empty() {
                    help = format!("{help} [{}]", values.join(", "));
                }
                if !defaults.is_empty() {
                    help = format!("{help} [{default}{} {}]", lang.colon(), defaults.join(" "));
                }
            }
            let (heading, valued) = (arg.get_help_heading().map(|_| global), arg.get_action().takes_values());
            let mut arg = arg.help(help).long_help(None::<&str>);
            if valued {
                arg = arg.hide_possible_values(true).hide_default_value(true).hide_env(true);
            }
            match heading {
                Some(heading) => arg.help_heading(heading),
                None => arg,
            }
        });
    }
    let below: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    for name in below {
        let path = if path.is_empty() { name.clone() } else { format!("{path} {name}") };
        command = command.mut_subcommand(&name, |sub| in_language(sub, &path, lang));
    }
    command
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
        if error.use_stderr() && lang == Lang::Fr {
            let _closed = writeln!(std::io::stderr(), "{}", refusal(&error, &Speaker::new(lang)));
        } else {
            let _closed = error.print();
        }
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

/// Why a command line is refused, in the speaker's language; clap's own words are English.
fn refusal(error: &clap::Error, speaker: &Speaker) -> String {
    let part = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        Some(_) | None => String::new(),
    };
    let (argument, value) = (part(ContextKind::InvalidArg), part(ContextKind::InvalidValue));
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is said as a whole")]
    let message = match error.kind() {
        ErrorKind::UnknownArgument => msg!("usage-unknown", argument = argument),
        ErrorKind::InvalidSubcommand => {
            msg!("usage-unknown", argument = part(ContextKind::InvalidSubcommand))
        }
        ErrorKind::InvalidValue if value.is_empty() => msg!("usage-no-value", argument = argument),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            msg!("usage-value", argument = argument, value = value)
        }
        ErrorKind::MissingRequiredArgument => msg!("usage-missing", arguments = argument),
        ErrorKind::ArgumentConflict => {
            msg!("usage-conflict", argument = argument, other = part(ContextKind::PriorArg))
        }
        _ => msg!("usage-wrong"),
    };
    let mut problem = Problem::new("E0601", message);
    let allowed = part(ContextKind::ValidValue);
    if let Some(source) = std::error::Error::source(error) {
        problem = problem.because(source);
    } else if !allowed.is_empty() {
        problem = problem.because(format!("[{allowed}]"));
    }
    let usage = part(ContextKind::Usage);
    let glyphs = Glyphs { unicode: Glyphs::unicode_environment(variable), colour: false };
    let usage = usage.strip_prefix("Usage:").unwrap_or(&usage).trim();
    format!("{}\n  {usage}", problem.render(speaker, glyphs)).trim_end().to_owned()
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

    /// Commands and arguments by path, with their English help.
    fn texts(command: &clap::Command, path: &str, found: &mut Vec<(String, String)>) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        found.push((path.to_owned(), about));
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            found.push((format!("{path}.{}", arg.get_id()), help));
        }
        for sub in command.get_subcommands() {
            let name = sub.get_name();
            let path = if path.is_empty() { name.to_owned() } else { format!("{path} {name}") };
            texts(sub, &path, found);
        }
    }

    #[test]
    fn every_command_and_argument_has_help_in_both_languages_and_no_text_is_left_over() {
        let (mut english, mut french) = (Vec::new(), Vec::new());
        texts(&command(Lang::En), "", &mut english);
        texts(&command(Lang::Fr), "", &mut french);
        assert!(english.len() > 100);
        for ((path, en), (_, fr)) in english.iter().zip(&french) {
            assert!(!en.is_empty(), "no help for {path:?}");
            assert_ne!(en, fr, "{path:?} is not translated");
        }
        let paths: Vec<&str> = english.iter().map(|(path, _)| path.as_str()).collect();
        let unused = help_fr::unused(&paths);
        assert!(unused.is_empty(), "translations of nothing: {unused:?}");
    }

    #[test]
    fn a_wrong_command_line_is_refused_in_french_too() {
        let speaker = Speaker::new(Lang::Fr);
        let of = |args: &[&str]| {
            let error = command(Lang::Fr).try_get_matches_from(args).expect_err("refused");
            refusal(&error, &speaker)
        };
        assert!(of(&["digue", "statut"]).contains("statut : inconnu"));
        assert!(
            of(&["digue", "plan", "cut", "--all"]).contains("il manque --incident <NAME>, --reason <TEXT>")
        );
        let bad = of(&["digue", "status", "--expect", "sain>1"]);
        assert!(bad.contains("sain>1") && bad.contains("counters are"), "{bad}");
        assert!(of(&["digue", "status", "--state", "x"]).contains("exposed"));
        assert!(of(&["digue", "status", "--watch", "--expect", "clean>1"]).contains("s'excluent"));
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
