//! systemd's notification socket: readiness, the watchdog, and the descriptor store that keeps the
//! netlink socket which owns our tables while the agent restarts (04, trap 12).
//!
//! Deliberately absent: libsystemd. Without `$NOTIFY_SOCKET` everything here does nothing.

use std::io::IoSlice;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socket,
};

/// The first descriptor that systemd passes.
const FIRST: RawFd = 3;
/// More than this is not believed.
const MOST: RawFd = 64;

/// A channel to the service manager.
#[derive(Debug)]
pub struct ServiceManager {
    channel: Option<(OwnedFd, UnixAddr)>,
    /// Half the watchdog's time, if there is one.
    pub watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The manager that started this process, if any.
    pub fn from_environment() -> Self {
        let address = std::env::var_os("NOTIFY_SOCKET").and_then(|path| {
            let bytes = path.as_bytes();
            match bytes.strip_prefix(b"@") {
                Some(name) => UnixAddr::new_abstract(name).ok(),
                None => UnixAddr::new(Path::new(&path)).ok(),
            }
        });
        let channel = address.and_then(|address| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None).ok()?;
            Some((fd, address))
        });
        let watchdog = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        Self { channel, watchdog: watchdog.map(|usec: u64| Duration::from_micros(usec / 2)) }
    }

    /// No manager: what is told goes nowhere.
    pub const fn none() -> Self {
        Self { channel: None, watchdog: None }
    }

    /// The service is up: at boot, what waits for it may go on.
    pub fn ready(&self) {
        self.tell("READY=1", &[]);
    }

    /// The service is alive.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.tell("WATCHDOG=1", &[]);
        }
    }

    /// A line for `systemctl status`.
    pub fn status(&self, line: &str) {
        self.tell(&format!("STATUS={}", line.replace('\n', " ")), &[]);
    }

    /// Gives the manager a duplicate of a descriptor to keep under a name. A name may be kept many times.
    ///
    /// Returns whether it was handed over.
    pub fn keep(&self, name: &str, fd: BorrowedFd<'_>) -> bool {
        // FDPOLL=0: a netlink socket that has an error to read must not be dropped for it.
        self.tell(&format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), &[fd.as_raw_fd()])
    }

    /// Makes the manager close every descriptor kept under a name.
    pub fn forget(&self, name: &str) -> bool {
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[])
    }

    fn tell(&self, message: &str, descriptors: &[RawFd]) -> bool {
        let Some((fd, address)) = &self.channel else { return false };
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
        let parts = [IoSlice::new(message.as_bytes())];
        match sendmsg(fd.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, Some(address)) {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, message, "service_manager_unreachable");
                false
            }
        }
    }
}

/// Takes the descriptors that the service manager kept, with their names.
///
/// To be called once, first thing: it takes ownership of descriptors by their numbers.
pub fn inherited() -> Vec<(String, OwnedFd)> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<RawFd>().ok());
    let for_us = number("LISTEN_PID").is_some_and(|pid| pid == nix::unistd::getpid().as_raw());
    let count = number("LISTEN_FDS").filter(|count| for_us && (1..=MOST).contains(count)).unwrap_or(0);
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    (FIRST..FIRST + count)
        .map(|fd| {
            #[expect(unsafe_code, reason = "the one place where a descriptor is known by its number alone")]
            // SAFETY: the service manager opened descriptors 3 to 3+LISTEN_FDS-1 for this process alone
            // (LISTEN_PID), and nothing else in this program claims them: this runs once, before any thread.
            let owned = unsafe { OwnedFd::from_raw_fd(fd) };
            let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
            if let Err(error) = nix::fcntl::fcntl(&owned, flags) {
                tracing::warn!(fd, %error, "inherited_descriptor_stays_open_in_children");
            }
            (names.next().unwrap_or_default().to_owned(), owned)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{ControlMessageOwned, bind, recvmsg};
    use std::io::{IoSliceMut, Read as _, Write as _};
    use std::os::fd::AsFd as _;

    fn manager(dir: &Path) -> (OwnedFd, ServiceManager) {
        let address = UnixAddr::new(&dir.join("notify")).expect("address");
        let flags = SockFlag::SOCK_CLOEXEC;
        let hears = socket(AddressFamily::Unix, SockType::Datagram, flags, None).expect("socket");
        bind(hears.as_raw_fd(), &address).expect("bound");
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None).expect("socket");
        (hears, ServiceManager { channel: Some((fd, address)), watchdog: Some(Duration::from_secs(1)) })
    }

    #[test]
    fn a_descriptor_given_to_the_manager_arrives_under_its_name_and_is_the_same_file() {
        let dir = tempfile::tempdir().expect("directory");
        let (hears, told) = manager(dir.path());
        let (mut near, far) = std::os::unix::net::UnixStream::pair().expect("pair");
        assert!(told.keep("owner", far.as_fd()));
        let mut bytes = [0; 256];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let got = recvmsg::<UnixAddr>(hears.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())
            .expect("message");
        let kept = match got.cmsgs().expect("control").next() {
            Some(ControlMessageOwned::ScmRights(fds)) => fds,
            other => panic!("no descriptor: {other:?}"),
        };
        let length = got.bytes;
        assert_eq!(&bytes[..length], b"FDSTORE=1\nFDNAME=owner\nFDPOLL=0");
        #[expect(unsafe_code, reason = "the test takes the descriptor that it was just given")]
        // SAFETY: the kernel made this descriptor for this message and nobody else holds its number.
        let kept = unsafe { OwnedFd::from_raw_fd(kept[0]) };
        drop(far);
        let mut kept = std::os::unix::net::UnixStream::from(kept);
        kept.write_all(b"alive").expect("written");
        drop(kept);
        let mut text = String::new();
        near.read_to_string(&mut text).expect("read");
        assert_eq!(text, "alive");
    }

    #[test]
    fn readiness_and_watchdog_are_told_and_without_a_manager_nothing_happens() {
        let dir = tempfile::tempdir().expect("directory");
        let (hears, told) = manager(dir.path());
        told.ready();
        told.alive();
        told.status("links\ncut");
        for expected in ["READY=1", "WATCHDOG=1", "STATUS=links cut"] {
            let mut bytes = [0; 64];
            let length = nix::unistd::read(&hears, &mut bytes).expect("message");
            assert_eq!(std::str::from_utf8(&bytes[..length]).expect("text"), expected);
        }
        let alone = ServiceManager::none();
        assert!(!alone.keep("owner", hears.as_fd()));
    }
}
