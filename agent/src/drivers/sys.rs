//! The few system calls for which no safe wrapper exists. The only place of this crate where `unsafe` is
//! allowed; each block says why it is sound.
#![expect(unsafe_code, reason = "the audited module of this crate")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// The domain and the protocol of a socket.
pub(super) fn socket_kind(socket: BorrowedFd<'_>) -> io::Result<(libc::c_int, libc::c_int)> {
    Ok((socket_option(socket, libc::SO_DOMAIN)?, socket_option(socket, libc::SO_PROTOCOL)?))
}

fn socket_option(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: `value` is valid for writes of `length` bytes, and both live until the call returns.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_mut(&mut value).cast(),
            &raw mut length,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Sends one whole frame by a card, as a raw packet socket does.
pub(super) fn send_frame(socket: BorrowedFd<'_>, ifindex: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
    address.sll_halen = 6;
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: both pointers are valid for reads of the lengths given, and live until the call returns.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            std::ptr::from_ref(&address).cast(),
            length,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
