//! The first processes of every machine: its init, and a small echo service; on the "internet" also a name
//! server that answers anything. What reaches the "internet" is written down, so that a test can see from
//! outside that nothing did.
//!
//! Deliberately absent: any request that makes the service do something; it sends back what it gets.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::topology::{ATTACKER, Listens};

/// What the service of one machine does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceOptions {
    /// The sockets to open.
    pub listens: Listens,
    /// Where arrivals are written, as JSON lines.
    pub record: Option<PathBuf>,
}

/// Something that reached a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// `tcp` (accepted), `tcp-data`, `tcp-end`, `udp` or `dns`.
    pub event: String,
    /// The address it was sent to.
    pub to: SocketAddr,
    /// Where it came from; the border translates addresses, so this is often the border.
    pub from: SocketAddr,
    /// How many bytes.
    pub bytes: u64,
    /// The first bytes, as far as they are printable.
    pub text: String,
}

/// Serves until the process is ended.
///
/// # Errors
/// A socket cannot be opened; the machine is then useless, and ends.
pub async fn serve(options: ServiceOptions) -> Result<()> {
    let recorder = Rc::new(Recorder::open(options.record)?);
    let mut tasks = tokio::task::JoinSet::new();
    for address in &options.listens.echo {
        let listener = once_there(|| TcpListener::bind(address)).await;
        let listener = listener.with_context(|| format!("listening on {address}/tcp"))?;
        tasks.spawn_local(accept(listener, recorder.clone()));
        let socket = once_there(|| UdpSocket::bind(address)).await;
        let socket = socket.with_context(|| format!("listening on {address}/udp"))?;
        tasks.spawn_local(answer(socket, "udp", |datagram| Some(datagram.to_vec()), recorder.clone()));
    }
    for address in &options.listens.dns {
        let socket = once_there(|| UdpSocket::bind(address)).await;
        let socket = socket.with_context(|| format!("listening on {address}/udp"))?;
        tasks.spawn_local(answer(socket, "dns", dns_answer, recorder.clone()));
    }
    tasks.join_all().await;
    Ok(())
}

/// How long a service waits for the addresses of its machine, which are added after it was started.
const ADDRESS_WITHIN: Duration = Duration::from_secs(20);

async fn once_there<T, F: Future<Output = std::io::Result<T>>>(bind: impl Fn() -> F) -> std::io::Result<T> {
    let started = Instant::now();
    loop {
        match bind().await {
            Err(error)
                if error.kind() == ErrorKind::AddrNotAvailable && started.elapsed() < ADDRESS_WITHIN =>
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other => return other,
        }
    }
}

/// Process 1 of a machine: collects orphans that have ended, for as long as the machine is on.
///
/// # Errors
/// The kernel does not let it wait.
pub fn init() -> Result<()> {
    let mut child_ended = SigSet::empty();
    child_ended.add(Signal::SIGCHLD);
    child_ended.thread_block().context("watching for ended processes")?;
    loop {
        let any_child = None;
        while waitpid(any_child, Some(WaitPidFlag::WNOHANG))
            .is_ok_and(|status| status != WaitStatus::StillAlive)
        {}
        child_ended.wait().context("watching for ended processes")?;
    }
}

async fn accept(listener: TcpListener, recorder: Rc<Recorder>) {
    loop {
        // Too many open connections: those that are there go on, the new one is refused.
        let Ok((stream, peer)) = listener.accept().await else { continue };
        tokio::task::spawn_local(echo(stream, peer, recorder.clone()));
    }
}

async fn echo(mut stream: TcpStream, peer: SocketAddr, recorder: Rc<Recorder>) {
    let Ok(local) = stream.local_addr() else { return };
    recorder.write("tcp", local, peer, 0, &[]);
    let mut buffer = vec![0; 16 * 1024];
    let mut total = 0;
    while let Ok(length) = stream.read(&mut buffer).await {
        let Some(data) = buffer.get(..length).filter(|data| !data.is_empty()) else { break };
        if total == 0 {
            recorder.write("tcp-data", local, peer, length as u64, data);
        }
        total += length as u64;
        if stream.write_all(data).await.is_err() {
            break;
        }
    }
    recorder.write("tcp-end", local, peer, total, &[]);
}

async fn answer(
    socket: UdpSocket,
    event: &'static str,
    reply: impl Fn(&[u8]) -> Option<Vec<u8>>,
    recorder: Rc<Recorder>,
) {
    let Ok(local) = socket.local_addr() else { return };
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // An error here is an ICMP answer to an earlier reply: the next datagram is unaffected.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let data = buffer.get(..length).unwrap_or_default();
        recorder.write(event, local, peer, length as u64, data);
        if let Some(reply) = reply(data) {
            let _ = socket.send_to(&reply, peer).await;
        }
    }
}

/// Answers the first question of `query` with the attacker's address; a question for another type than A or
/// AAAA gets no records. `None` if the message is no question.
fn dns_answer(query: &[u8]) -> Option<Vec<u8>> {
    let id = query.get(..2)?;
    let is_query = query.get(2)? & 0x80 == 0;
    let mut end = 12;
    loop {
        let label = usize::from(*query.get(end)?);
        end += label + 1;
        match label {
            0 => break,
            1..=63 => {}
            _ => return None,
        }
    }
    let question = query.get(12..end + 4)?;
    if !is_query {
        return None;
    }
    let record: Vec<u8> = match question.get(question.len() - 4..question.len() - 2)? {
        [0, 1] => ATTACKER.0.octets().to_vec(),
        [0, 28] => ATTACKER.1.octets().to_vec(),
        _ => Vec::new(),
    };
    let answers = u8::from(!record.is_empty());
    let mut reply = id.to_vec();
    // A response with recursion, no error; one question, and none or one answer.
    reply.extend([0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0]);
    reply.extend(question);
    if answers == 1 {
        // The name is the question's, at offset 12; type and class are repeated; 1 s to live.
        reply.extend([0xc0, 0x0c]);
        reply.extend(question.get(question.len() - 4..)?);
        reply.extend([0, 0, 0, 1, 0, u8::try_from(record.len()).ok()?]);
        reply.extend(record);
    }
    Some(reply)
}

/// At most this much is recorded, so that a forgotten laboratory does not fill the disk.
const RECORD_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How much of a datagram or stream is kept as text.
const TEXT_BYTES: usize = 120;

struct Recorder {
    file: Option<RefCell<(File, u64)>>,
}

impl Recorder {
    fn open(path: Option<PathBuf>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { file: None }) };
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        Ok(Self { file: Some(RefCell::new((file, 0))) })
    }

    fn write(&self, event: &str, to: SocketAddr, from: SocketAddr, bytes: u64, data: &[u8]) {
        let Some(file) = &self.file else { return };
        let (file, written) = &mut *file.borrow_mut();
        let text =
            data.iter().take(TEXT_BYTES).map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '.' });
        let arrival = Arrival { at_ms: now_ms(), event: event.into(), to, from, bytes, text: text.collect() };
        if let Ok(mut line) = serde_json::to_vec(&arrival)
            && *written < RECORD_MAX_BYTES
        {
            line.push(b'\n');
            *written += line.len() as u64;
            if let Err(error) = file.write_all(&line) {
                eprintln!("digue-lab: an arrival could not be recorded: {error}");
            }
        }
    }
}

/// Milliseconds since 1970 by this machine's clock.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|elapsed| u64::try_from(elapsed.as_millis()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_resolves_to_the_attacker_and_nonsense_gets_no_answer() {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(b"\x04evil\x07example\x00\x00\x01\x00\x01");
        let reply = dns_answer(&query).expect("a reply");
        assert_eq!(reply.get(..2), Some(&[0xab, 0xcd][..]));
        assert!(reply.ends_with(&[198, 51, 100, 66]));
        assert_eq!(dns_answer(&query[..20]), None);
        assert_eq!(dns_answer(&reply), None);
        query[12] = 0xc0;
        assert_eq!(dns_answer(&query), None);
    }
}
