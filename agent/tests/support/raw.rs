//! Raw frames, sent as an intruder with root would send them.
#![expect(unsafe_code, reason = "no safe wrapper takes the address of a packet socket")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

/// Sends a frame by a card of the calling thread's namespace, claiming to the kernel that it is of type
/// `claimed` (which the frame itself may contradict).
pub(crate) fn send_frame(card: &str, claimed: u16, frame: &[u8], bypass: bool) -> io::Result<()> {
    let fd: OwnedFd =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    if bypass {
        let on: libc::c_int = 1;
        const PACKET_QDISC_BYPASS: libc::c_int = 20;
        // SAFETY: `on` is valid for reads of its own size.
        let set = unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_QDISC_BYPASS,
                (&raw const on).cast(),
                length_of(&on),
            )
        };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
    }
    // SAFETY: all-zero bytes are a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).expect("a family");
    address.sll_protocol = claimed.to_be();
    address.sll_ifindex = i32::try_from(nix::net::if_::if_nametoindex(card)?).expect("an index");
    address.sll_halen = 6;
    // SAFETY: both pointers are valid for reads of the lengths given.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const address).cast(),
            length_of(&address),
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn length_of<T>(value: &T) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of_val(value)).expect("short")
}

/// A tunnel whose packets can be read from the file.
pub(crate) fn open_tunnel(name: &str) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
    const TUN_WITHOUT_HEADER: i16 = 0x1001;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16..18].copy_from_slice(&TUN_WITHOUT_HEADER.to_ne_bytes());
    // SAFETY: the request is a `struct ifreq` of forty bytes, which the kernel reads and writes.
    let set = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}
