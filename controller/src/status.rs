//! `digue-controller status`: asks the running controller over its unix socket.
//!
//! A request of five lines needs no HTTP client.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

/// The answer of `/readyz` as JSON text, and whether the controller is ready.
///
/// # Errors
/// If no controller answers.
pub(crate) fn ask(socket: &Path) -> anyhow::Result<(String, bool)> {
    let place = || format!("asking the controller on {}", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(place)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).with_context(place)?;
    let request = "GET /readyz HTTP/1.1\r\nHost: controller\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).with_context(place)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(place)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let ready = head.split_whitespace().nth(1) == Some("200");
    Ok((body.to_owned(), ready))
}
