//! Packets written to a card as a program with root can: no filter that looks at IP packets sees them.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, sendto, socket};

/// Arguments of `digue-intruder frame`.
#[derive(Debug, Args)]
pub(crate) struct FrameArgs {
    /// The card.
    #[arg(long, default_value = "eth0")]
    card: String,
    /// The hardware address of the router.
    #[arg(long)]
    router: String,
    /// The source, which may be anybody's.
    #[arg(long)]
    from: SocketAddr,
    /// The destination.
    #[arg(long)]
    to: SocketAddr,
    /// What the datagram says.
    #[arg(long)]
    text: String,
}

/// Sends one datagram in one frame. That the kernel drops it is no error.
///
/// # Errors
/// There is no such card, or the addresses are of two families.
pub(crate) fn run(args: &FrameArgs) -> Result<()> {
    let router = hardware_address(&args.router)?;
    let card = link(&args.card)?;
    let own = card.addr().context("the card has no hardware address")?;
    let (kind, packet) = match (args.from.ip(), args.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (0x0800_u16, ipv4(from.octets(), to.octets(), args)?),
        (IpAddr::V6(from), IpAddr::V6(to)) => (0x86dd, ipv6(from.octets(), to.octets(), args)?),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            anyhow::bail!("{} and {} are of two families", args.from, args.to)
        }
    };
    let frame = [&router[..], &own[..], &kind.to_be_bytes(), &packet].concat();
    let raw = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
        .context("opening a packet socket")?;
    match sendto(raw.as_raw_fd(), &frame, &card, MsgFlags::empty()) {
        Ok(_) => println!("sent"),
        Err(error) => println!("not sent: {error}"),
    }
    Ok(())
}

fn hardware_address(text: &str) -> Result<[u8; 6]> {
    let bytes: Result<Vec<u8>, _> = text.split(':').map(|part| u8::from_str_radix(part, 16)).collect();
    let bytes = bytes.with_context(|| format!("{text:?} is not a hardware address"))?;
    bytes.try_into().ok().with_context(|| format!("{text:?} is not a hardware address"))
}

/// The address of a card, for sending by it.
fn link(card: &str) -> Result<LinkAddr> {
    let all = nix::ifaddrs::getifaddrs().context("listing cards")?;
    let found = all.filter(|one| one.interface_name == card);
    let found = found.filter_map(|one| one.address?.as_link_addr().copied()).next();
    found.with_context(|| format!("there is no card {card}"))
}

fn udp(args: &FrameArgs) -> Result<Vec<u8>> {
    ensure!(args.text.len() < 1000, "the text is too long for one frame");
    let mut datagram = Vec::new();
    datagram.extend(args.from.port().to_be_bytes());
    datagram.extend(args.to.port().to_be_bytes());
    datagram.extend(u16::try_from(8 + args.text.len())?.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(args.text.as_bytes());
    Ok(datagram)
}

fn ipv4(from: [u8; 4], to: [u8; 4], args: &FrameArgs) -> Result<Vec<u8>> {
    // A checksum of zero means that there is none.
    let datagram = udp(args)?;
    let mut header = vec![0x45, 0];
    header.extend(u16::try_from(20 + datagram.len())?.to_be_bytes());
    header.extend([0, 1, 0, 0, 64, 17, 0, 0]);
    header.extend(from);
    header.extend(to);
    let sum = checksum(&header);
    header.splice(10..12, sum.to_be_bytes());
    Ok([header, datagram].concat())
}

fn ipv6(from: [u8; 16], to: [u8; 16], args: &FrameArgs) -> Result<Vec<u8>> {
    let mut datagram = udp(args)?;
    let length = u16::try_from(datagram.len())?;
    let pseudo = [&from[..], &to[..], &u32::from(length).to_be_bytes(), &[0, 0, 0, 17], &datagram].concat();
    let sum = match checksum(&pseudo) {
        0 => 0xffff,
        other => other,
    };
    datagram.splice(6..8, sum.to_be_bytes());
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(length.to_be_bytes());
    header.extend([17, 64]);
    header.extend(from);
    header.extend(to);
    Ok([header, datagram].concat())
}

fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(u16::from_be_bytes([*high, 0])),
        _ => 0,
    };
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded & 0xffff).unwrap_or_default()
}
