//! The stream of changes (server-sent events), resumed after a lost connection without a gap.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::Client;
use crate::message::msg;
use crate::problem::{Outcome, Problem};

/// Longest line of the stream, in bytes.
const MAX_LINE: usize = 4 * 1024 * 1024;
/// The controller sends a sign of life every 15 seconds; three missing ones mean that it is gone.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(45);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// `host`, `order`, `inventory`, `resync`, `ping`.
    pub(crate) kind: String,
    /// JSON.
    pub(crate) data: String,
}

/// Splits the bytes of a stream into events (the part of the HTML standard that is used).
#[derive(Debug, Default)]
struct Parser {
    buffer: Vec<u8>,
    kind: String,
    data: String,
    last_id: Option<String>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            events.extend(self.line(line.trim_end_matches(['\n', '\r'])));
        }
        events
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
            return (!data.is_empty()).then_some(Event { kind, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "id" => self.last_id = Some(value.to_owned()),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

/// The stream, reconnected as often as needed by its caller.
pub(crate) struct Events<'a> {
    client: &'a Client,
    body: Option<Incoming>,
    parser: Parser,
    ready: std::collections::VecDeque<Event>,
    /// When anything last came: kept over calls, so that a caller who gives up waiting now and then does
    /// not put off the moment at which the silence is noticed.
    heard: Instant,
}

impl<'a> Events<'a> {
    /// Opens the stream.
    pub(crate) async fn open(client: &'a Client) -> Outcome<Self> {
        let body = client.stream("/api/v1/events", None).await?;
        Ok(Self {
            client,
            body: Some(body),
            parser: Parser::default(),
            ready: std::collections::VecDeque::new(),
            heard: Instant::now(),
        })
    }

    fn lose(&mut self) -> Problem {
        self.body = None;
        Problem::new("E0626", msg!("stream-lost", address = self.client.address()))
    }

    /// The next event. After an error, the next call reconnects from the last event seen.
    pub(crate) async fn next(&mut self) -> Outcome<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if self.body.is_none() {
                let last = self.parser.last_id.clone();
                self.parser = Parser { last_id: last.clone(), ..Parser::default() };
                self.body = Some(self.client.stream("/api/v1/events", last.as_deref()).await?);
                self.heard = Instant::now();
            }
            let Some(body) = self.body.as_mut() else { continue };
            // Waiting borrows the body, so a caller may give up waiting without losing anything.
            let frame = match tokio::time::timeout_at(self.heard + SILENCE, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(self.lose().because(error)),
                Ok(None) | Err(_) => return Err(self.lose()),
            };
            self.heard = Instant::now();
            if let Some(bytes) = frame.data_ref() {
                self.ready.extend(self.parser.push(bytes));
            }
            if self.parser.buffer.len() > MAX_LINE || self.parser.data.len() > MAX_LINE {
                return Err(self.lose());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A controller that was stopped in the middle: it takes the request, begins to answer, and is silent.
    #[tokio::test]
    async fn a_stream_that_fell_silent_is_lost_also_for_a_caller_who_gives_up_waiting_now_and_then() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("api.sock");
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
        let client = Client::for_tests(crate::context::Endpoint::Unix(path));
        let frozen = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 64];
            assert!(stream.read(&mut request).await.expect("a request") > 0);
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            stream.write_all(head).await.expect("written");
            stream
        };
        let (events, _frozen) = tokio::join!(Events::open(&client), frozen);
        let mut events = events.expect("a stream");
        tokio::time::pause();
        let looks = std::time::Duration::from_secs(15);
        let mut gave_up = 0;
        let lost = loop {
            match tokio::time::timeout(looks, events.next()).await {
                Err(_) => gave_up += 1,
                Ok(ended) => break ended,
            }
            assert!(gave_up < 10, "the silence is never noticed");
        };
        assert_eq!(lost.expect_err("silence").code, "E0626");
    }

    #[test]
    fn events_cut_anywhere_are_put_together_and_comments_are_skipped() {
        let text = ": hello\nid: 7\nevent: host\ndata: {\"a\":\ndata: 1}\n\n:ping\n\nid: 8\r\nevent:order\r\ndata:{}\r\n\r\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let events: Vec<Event> =
                text.as_bytes().chunks(size).flat_map(|chunk| parser.push(chunk)).collect();
            let expected = [
                Event { kind: "host".to_owned(), data: "{\"a\":\n1}".to_owned() },
                Event { kind: "order".to_owned(), data: "{}".to_owned() },
            ];
            assert_eq!(events, expected, "chunks of {size}");
            assert_eq!(parser.last_id.as_deref(), Some("8"));
        }
    }
}
