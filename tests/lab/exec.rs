//! `digue-lab exec`: runs a command inside a machine, with the caller's own terminal, environment and
//! working directory, so that anyone can try to escape a cut by hand.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};

use crate::control::{Request, Response, ask_with_descriptor};
use crate::namespace::{end_with_parent, join};
use crate::place::Place;

/// The exit code when the command could not be run inside at all.
pub const NOT_INSIDE: u8 = 125;
/// The exit code when there is such a file, but it cannot be run.
const NOT_RUNNABLE: u8 = 126;
/// The exit code when there is no such command.
const NOT_FOUND: u8 = 127;

/// Runs `command` in `machine` and returns its exit code; 128 and the signal's number if one ended it. The
/// caller must have one thread.
///
/// # Errors
/// No laboratory, no such machine, or it is switched off.
pub fn exec(place: &Place, machine: &str, command: &[OsString]) -> Result<u8> {
    let request = Request::Enter { machine: machine.to_owned() };
    let (response, service) = ask_with_descriptor(place, &request)?;
    let (Response::Entered { user_namespace }, Some(service)) = (response, service) else {
        bail!("the laboratory sent no descriptor of {machine}");
    };
    let (here, path) = (env::current_dir(), path_with_own_folder());
    join(&service, user_namespace)?;
    let (program, arguments) = command.split_first().context("no command was given")?;
    let mut inside = Command::new(program);
    inside.args(arguments).env("DIGUE_LAB_MACHINE", machine).env("PATH", path);
    match here {
        Ok(here) if here.is_dir() => inside.current_dir(here),
        Ok(_) | Err(_) => inside.current_dir("/"),
    };
    end_with_parent(&mut inside);
    let mut child = match inside.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("digue-lab: {}: {error}", program.to_string_lossy());
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            return Ok(if missing { NOT_FOUND } else { NOT_RUNNABLE });
        }
    };
    // The terminal sends these to the command too, which decides what they mean.
    let mut left_to_command = SigSet::empty();
    left_to_command.add(Signal::SIGINT);
    left_to_command.add(Signal::SIGQUIT);
    left_to_command.thread_block().context("leaving the terminal's signals to the command")?;
    let status = child.wait().context("waiting for the command")?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(u8::try_from(code).unwrap_or(NOT_INSIDE))
}

/// `digue-lab probe` can be run inside without naming its folder.
fn path_with_own_folder() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let own = env::current_exe().ok().and_then(|own| own.parent().map(ToOwned::to_owned));
    let folders = own.into_iter().chain(env::split_paths(&path));
    env::join_paths(folders).unwrap_or(path)
}
