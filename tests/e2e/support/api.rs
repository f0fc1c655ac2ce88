//! The controller's API over its Unix socket, without the operator's command in between.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::{PATIENCE, Scene};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// One request on a connection of its own.
///
/// # Errors
/// The controller cannot be reached or does not answer.
pub(crate) fn request(socket: &Path, method: &str, path: &str, body: &[u8]) -> std::io::Result<Answer> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = raw(socket, &[head.as_bytes(), body].concat())?;
    Ok(read(&answer))
}

/// Sends bytes, and returns everything that comes back.
///
/// # Errors
/// The controller cannot be reached or does not answer.
pub(crate) fn raw(socket: &Path, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // A controller that has refused the head need not read the body.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn read(answer: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let body = if header("transfer-encoding") == "chunked" { unchunked(body) } else { body.to_owned() };
    Answer { status, content_type: header("content-type"), text: body }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or_default();
        let Some(chunk) = rest.get(..length).filter(|chunk| !chunk.is_empty()) else { break };
        whole.push_str(chunk);
        body = rest.get(length + 2..).unwrap_or_default();
    }
    whole
}

impl Scene {
    /// The controller's socket.
    pub(crate) fn api_socket(&self) -> std::path::PathBuf {
        self.in_lab("api.sock")
    }

    /// One request; the controller must answer.
    #[track_caller]
    pub(crate) fn api(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        request(&self.api_socket(), method, path, body).expect("an answer")
    }

    /// What is there at a path of the API.
    #[track_caller]
    pub(crate) fn fetch(&self, path: &str) -> Value {
        let answer = self.api("GET", path, b"");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Every stored document, in its order.
    #[track_caller]
    pub(crate) fn stored(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut after = Value::from(0);
        while !after.is_null() {
            let page = self.fetch(&format!("/api/v1/envelopes?after={after}&limit=100"));
            all.extend(page["envelopes"].as_array().expect("envelopes").iter().cloned());
            after = page["next"].clone();
        }
        all
    }
}
