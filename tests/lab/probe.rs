//! `digue-lab probe`: tries to reach addresses from wherever it runs, so that nobody needs `nc` or `ping`
//! inside a machine. A target is *reached* when its own answer came back, never when sending succeeded.
//!
//! Deliberately absent: raw frames and other escapes; those are written by the tests that try them.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, recv, send,
    setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

/// How a target is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Connect, send the text, read it back.
    Tcp,
    /// Send the text, receive it back.
    Udp,
    /// Echo request (needs to be root inside).
    Icmp,
}

/// Arguments of `digue-lab probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// How to try.
    pub protocol: Protocol,
    /// `ADDRESS:PORT` (`[ADDRESS]:PORT` for IPv6), or just `ADDRESS` for icmp.
    #[arg(required = true)]
    pub targets: Vec<String>,
    /// How long one try may take, in milliseconds.
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    pub timeout: u64,
    /// Try again until every target was reached, at most this long, in milliseconds.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub within: u64,
    /// The text that is sent.
    #[arg(long, default_value = "digue-lab probe")]
    pub text: String,
    /// Output: lines for people, or one JSON array.
    #[arg(long, short, value_enum, default_value_t = crate::control::Output::Table)]
    pub output: crate::control::Output,
}

/// What came of one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// The target as it was named.
    pub target: String,
    /// How it was tried.
    pub protocol: Protocol,
    /// Whether its answer came back.
    pub reached: bool,
    /// How long the last try took, in milliseconds.
    pub took_ms: f64,
    /// Why it was not reached.
    pub error: Option<String>,
}

/// Tries all targets at once. Returns whether all were reached.
///
/// # Errors
/// A target that is no address.
pub async fn run(args: &ProbeArgs) -> Result<bool> {
    let mut tries = tokio::task::JoinSet::new();
    let text: std::sync::Arc<str> = args.text.as_str().into();
    let (limit, within) = (Duration::from_millis(args.timeout), Duration::from_millis(args.within));
    for (index, target) in args.targets.iter().enumerate() {
        let address = parse(args.protocol, target)?;
        let (target, text, protocol) = (target.clone(), text.clone(), args.protocol);
        tries.spawn_local(async move {
            (index, until_reached(protocol, target, address, &text, limit, within).await)
        });
    }
    let mut probed = tries.join_all().await;
    probed.sort_by_key(|(index, _)| *index);
    let probed: Vec<Probed> = probed.into_iter().map(|(_, probed)| probed).collect();
    match args.output {
        crate::control::Output::Json => println!("{}", serde_json::to_string(&probed)?),
        crate::control::Output::Table => probed.iter().for_each(|one| match &one.error {
            None => println!("{} reached in {:.1} ms", one.target, one.took_ms),
            Some(error) => println!("{} not reached: {error}", one.target),
        }),
    }
    Ok(probed.iter().all(|one| one.reached))
}

fn parse(protocol: Protocol, target: &str) -> Result<SocketAddr> {
    match protocol {
        Protocol::Icmp => target.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)),
        Protocol::Tcp | Protocol::Udp => target.parse::<SocketAddr>(),
    }
    .with_context(|| {
        format!(
            "{target:?} is not an address{}",
            if protocol == Protocol::Icmp { "" } else { " with a port, such as 198.51.100.66:443" }
        )
    })
}

async fn until_reached(
    protocol: Protocol,
    target: String,
    address: SocketAddr,
    text: &str,
    limit: Duration,
    within: Duration,
) -> Probed {
    let started = Instant::now();
    loop {
        let try_started = Instant::now();
        let tried = timeout(limit, once(protocol, address, text, limit)).await;
        let tried = tried.unwrap_or_else(|_| Err(anyhow!("no answer within {} ms", limit.as_millis())));
        let took_ms = try_started.elapsed().as_secs_f64() * 1000.0;
        if tried.is_ok() || started.elapsed() >= within {
            let error = tried.err().map(|error| format!("{error:#}"));
            return Probed { target, protocol, reached: error.is_none(), took_ms, error };
        }
        // A refusal comes back at once; this keeps the tries from taking the machine.
        sleep(Duration::from_millis(20)).await;
    }
}

async fn once(protocol: Protocol, address: SocketAddr, text: &str, limit: Duration) -> Result<()> {
    match protocol {
        Protocol::Tcp => tcp(address, text).await,
        Protocol::Udp => udp(address, text).await,
        Protocol::Icmp => icmp(address.ip(), limit).await,
    }
}

async fn tcp(address: SocketAddr, text: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await.context("connected, but the answer did not come")?;
    if back == text.as_bytes() { Ok(()) } else { bail!("something else answered") }
}

async fn udp(address: SocketAddr, text: &str) -> Result<()> {
    let any: SocketAddr = if address.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    socket.send(text.as_bytes()).await?;
    let mut back = vec![0; text.len() + 1];
    let length = socket.recv(&mut back).await?;
    if back.get(..length) == Some(text.as_bytes()) { Ok(()) } else { bail!("something else answered") }
}

/// Type of echo request and reply, and whether the IPv4 header comes with what is received.
const ECHO_V4: (u8, u8, usize) = (8, 0, 20);
const ECHO_V6: (u8, u8, usize) = (128, 129, 0);

/// A raw socket waits on a thread of its own, and at most `limit`.
async fn icmp(address: IpAddr, limit: Duration) -> Result<()> {
    tokio::task::spawn_blocking(move || echo_once(address, limit)).await.context("waiting for the echo")?
}

fn echo_once(address: IpAddr, limit: Duration) -> Result<()> {
    let (family, protocol, (request, reply, header)) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, ECHO_V4),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, ECHO_V6),
    };
    let raw = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol);
    let raw = raw.context("opening a raw socket (be root inside)")?;
    // Connected, it receives from this address alone.
    connect(raw.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, 0)))?;
    let message = echo_message(request, u16::try_from(std::process::id() & 0xffff)?);
    send(raw.as_raw_fd(), &message, MsgFlags::empty())?;
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        setsockopt(&raw, ReceiveTimeout, &TimeVal::microseconds(i64::try_from(left.as_micros())?))?;
        let mut buffer = [0; 512];
        let length = match recv(raw.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => length,
            Err(Errno::EAGAIN) => bail!("no answer within {} ms", limit.as_millis()),
            Err(error) => return Err(error.into()),
        };
        let answer = buffer.get(header..length).unwrap_or_default();
        // The kernel fills in the ICMPv6 checksum, so compare what is behind it.
        if answer.first() == Some(&reply) && answer.get(4..) == message.get(4..) {
            return Ok(());
        }
    }
}

fn echo_message(request: u8, identifier: u16) -> Vec<u8> {
    let mut message = vec![request, 0, 0, 0];
    message.extend(identifier.to_be_bytes());
    message.extend([0, 1]);
    message.extend(b"digue-lab echo!!");
    let sum: u32 =
        message.chunks(2).map(|pair| pair.iter().fold(0, |word, byte| word << 8 | u32::from(*byte))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let [high, low] = (!u16::try_from(folded & 0xffff).unwrap_or_default()).to_be_bytes();
    if let [_, _, c0, c1, ..] = message.as_mut_slice() {
        (*c0, *c1) = (high, low);
    }
    message
}
