//! The help in French. English stands beside each argument; this table is held complete by a test.

use clap::Command;

/// Help texts by path: `hosts list` for a command, `hosts list.labels` for an argument, `*.yes` for an
/// argument of every command.
const TEXTS: &[(&str, &str)] = &[];

fn text(path: &str, argument: Option<&str>) -> Option<&'static str> {
    let find = |key: &str| TEXTS.iter().find(|(known, _)| *known == key).map(|(_, text)| *text);
    match argument {
        None => find(path),
        Some(name) => find(&format!("{path}.{name}")).or_else(|| find(&format!("*.{name}"))),
    }
}

/// The command with French texts.
pub(crate) fn translate(command: Command) -> Command {
    walk(command, "").help_template("{about}\n\n{usage-heading} {usage}\n\n{all-args}")
}

fn walk(mut command: Command, path: &str) -> Command {
    let about = text(path, None);
    if let Some(about) = about {
        command = command.about(about).long_about(None::<&str>);
    }
    let arguments: Vec<String> = command.get_arguments().map(|a| a.get_id().to_string()).collect();
    for name in arguments {
        if let Some(help) = text(path, Some(&name)) {
            command = command.mut_arg(&name, |arg| arg.help(help).long_help(None::<&str>));
        }
    }
    let below: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    for name in below {
        let path = if path.is_empty() { name.clone() } else { format!("{path} {name}") };
        command = command.mut_subcommand(&name, |sub| walk(sub, &path));
    }
    command
}
