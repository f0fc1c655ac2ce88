//! Sessions that are opened once and spoken on for as long as the process lives: a cut must end them, and
//! a release must not bring them back.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::say;

/// How often each session is spoken on.
const BEAT: Duration = Duration::from_millis(25);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where a session goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Udp(SocketAddr),
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |address: &str| address.parse().map_err(|error| format!("{address:?}: {error}"));
        match text.split_once(':') {
            Some(("tcp", address)) => parse(address).map(Self::Tcp),
            Some(("udp", address)) => parse(address).map(Self::Udp),
            Some(_) | None => Err(format!("{text:?} is not tcp:ADDRESS:PORT or udp:ADDRESS:PORT")),
        }
    }
}

/// What came of speaking on a session.
#[derive(Debug, Serialize)]
struct Said<'a> {
    target: &'a str,
    /// `answered`, `silent` or `error`.
    event: &'a str,
    detail: String,
}

/// Opens all sessions and speaks on each until the process is ended.
///
/// # Errors
/// A session cannot be opened; from then on errors are printed.
pub(crate) fn run(targets: &[Target], text: &str) -> Result<()> {
    let mut threads = Vec::new();
    for target in targets {
        let (session, name) = open(*target)?;
        let text = text.to_owned();
        threads.push(std::thread::spawn(move || speak(session, &name, &text)));
    }
    for thread in threads {
        thread.join().ok().context("a session's thread ended")??;
    }
    Ok(())
}

enum Session {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

fn open(target: Target) -> Result<(Session, String)> {
    Ok(match target {
        Target::Tcp(address) => {
            let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            (Session::Tcp(stream), format!("tcp:{address}"))
        }
        Target::Udp(address) => {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).context("opening a UDP socket")?;
            socket.connect(address).with_context(|| format!("connecting to {address}"))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            (Session::Udp(socket), format!("udp:{address}"))
        }
    })
}

/// Speaks for ever, and says so whenever what comes of it changes, and at every answer.
fn speak(mut session: Session, name: &str, text: &str) -> Result<()> {
    let mut before = String::new();
    for number in 1_u64.. {
        let words = format!("{text} {number}\n");
        let once = match &mut session {
            Session::Tcp(stream) => {
                stream.write_all(words.as_bytes()).and_then(|()| stream.read(&mut [0; 512]))
            }
            Session::Udp(socket) => socket.send(words.as_bytes()).and_then(|_| socket.recv(&mut [0; 512])),
        };
        let (event, detail) = match once {
            Ok(0) => ("error", "closed by the other side".to_owned()),
            Ok(_) => ("answered", number.to_string()),
            Err(error)
                if [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut].contains(&error.kind()) =>
            {
                ("silent", String::new())
            }
            Err(error) => ("error", error.to_string()),
        };
        let now = format!("{event} {detail}");
        if before != now {
            say(&Said { target: name, event, detail })?;
        }
        before = now;
        std::thread::sleep(BEAT);
    }
    Ok(())
}
