//! Entering, making and joining namespaces: the laboratory's only `unsafe` code.
//!
//! A machine has two processes to begin with. Its *init* is process 1 of process ids of its own: when it
//! ends, the kernel ends the rest, so nothing can be left behind. Its *service* is the first process in the
//! machine's network. The init is in a network of its own, which stays empty: what runs on a machine can
//! thus tell that it is not in the network of process 1, as an agent does before it changes rules.
//! Deliberately absent: links and addresses (`network`), and any way back into the namespaces that the
//! laboratory was started from.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::stat::Mode;
use nix::unistd::{sethostname, write};

/// The network namespace of the calling process, as the kernel numbers it.
///
/// # Errors
/// `/proc` is not mounted.
pub fn network_namespace() -> Result<u64> {
    let file = "/proc/self/ns/net";
    Ok(fs::metadata(file).with_context(|| format!("reading {file}"))?.ino())
}

/// Moves the calling process into new network, UTS and IPC namespaces, and its future children into a new
/// process id namespace. As an ordinary user a user namespace is made first, in which that user is
/// root. Returns whether it was.
///
/// # Errors
/// The kernel or its configuration does not allow it; the message says which setting, and what to do.
pub fn enter_private() -> Result<bool> {
    let before = network_namespace()?;
    let private = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID;
    let user_namespace = match unshare(private) {
        Ok(()) => false,
        Err(Errno::EPERM) => {
            become_root_of_user_namespace().map_err(|e| refused("making a user namespace", e))?;
            unshare(private).map_err(|e| refused("making network and process namespaces", e))?;
            true
        }
        Err(e) => return Err(refused("making network and process namespaces", e)),
    };
    ensure!(
        network_namespace()? != before,
        "the kernel reported a new network namespace, but the process is still in the old one; nothing was changed"
    );
    Ok(user_namespace)
}

fn become_root_of_user_namespace() -> Result<(), Errno> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    let put = |file: &str, text: String| {
        fs::write(file, text).map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    };
    put("/proc/self/setgroups", "deny".into())?;
    put("/proc/self/uid_map", format!("0 {uid} 1"))?;
    put("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Why the kernel refused, in words: the settings that distributions use for this are looked up.
pub(crate) fn refused(doing: &str, errno: Errno) -> anyhow::Error {
    let set = |file: &str, to: &str| fs::read_to_string(file).is_ok_and(|text| text.trim() == to);
    let why = if set("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "kernel.unprivileged_userns_clone is 0 on this machine"
    } else if set("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor restricts user namespaces on this machine (kernel.apparmor_restrict_unprivileged_userns is 1)"
    } else if set("/proc/sys/user/max_user_namespaces", "0") {
        "user.max_user_namespaces is 0 on this machine"
    } else {
        "the kernel, a container or a security module does not allow it"
    };
    anyhow!(
        "{doing} was refused ({}): {why}.\nStart the laboratory as root instead: sudo digue-lab up",
        errno.desc()
    )
}

/// Gives the laboratory a view of the file system of its own: changes to mounts stay inside, `/proc` shows
/// the laboratory's processes alone, and `/run` is empty but for `keep`, so that nothing inside can talk to
/// the machine's own service manager.
///
/// # Errors
/// A mount was refused.
pub(crate) fn private_mounts(keep: &std::path::Path) -> Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| refused("making a mount namespace", e))?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|e| refused("making mounts private", e))?;
    mount(Some("proc"), "/proc", Some("proc"), guarded(), none)
        .map_err(|e| refused("mounting /proc for the laboratory", e))?;
    let kept = open(keep, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("opening {}", keep.display()))?;
    mount(Some("run"), "/run", Some("tmpfs"), guarded(), Some("mode=0755,size=16m"))
        .map_err(|e| refused("mounting /run for the laboratory", e))?;
    if keep.starts_with("/run") {
        fs::create_dir_all(keep).with_context(|| format!("creating {}", keep.display()))?;
        let from = format!("/proc/self/fd/{}", kept.as_raw_fd());
        mount(Some(from.as_str()), keep, none, MsFlags::MS_BIND, none)
            .map_err(|e| refused("keeping the laboratory's folder", e))?;
    }
    Ok(())
}

/// Mounts `file` over `target` for the laboratory alone; a target that does not exist is left out.
///
/// # Errors
/// The mount was refused.
pub(crate) fn cover_file(file: &std::path::Path, target: &std::path::Path) -> Result<()> {
    let Ok(target) = fs::canonicalize(target) else { return Ok(()) };
    let none: Option<&str> = None;
    mount(Some(file), &target, none, MsFlags::MS_BIND, none)
        .with_context(|| format!("mounting {} over {}", file.display(), target.display()))
}

/// Handles on one machine's namespaces, held open as long as this lives.
#[derive(Debug)]
pub(crate) struct Namespaces {
    service: OwnedFd,
    network: OwnedFd,
}

/// Everything of a machine that a process enters for itself; the process id namespace is for its children.
const JOINED: CloneFlags = CloneFlags::CLONE_NEWNET
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC);

/// Starts the init of a new machine: `command` becomes process 1 of namespaces of its own.
///
/// # Errors
/// A namespace or mount was refused, or the program cannot be run.
pub(crate) fn spawn_init(mut command: Command, host_name: &str) -> Result<Child> {
    let name = host_name.to_owned();
    let prepare = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        unshare(JOINED)?;
        let none: Option<&str> = None;
        mount(Some("proc"), "/proc", Some("proc"), guarded(), none)?;
        Ok(sethostname(&name)?)
    };
    // SAFETY: the closure makes system calls alone; what it passes was allocated before the fork.
    unsafe { command.pre_exec(prepare) };
    let own = fs::File::open("/proc/self/ns/pid").context("opening /proc/self/ns/pid")?;
    unshare(CloneFlags::CLONE_NEWPID).map_err(|e| refused("making a process id namespace", e))?;
    let spawned = command.spawn();
    setns(&own, CloneFlags::CLONE_NEWPID).context("leaving the machine's process ids")?;
    spawned.with_context(|| format!("making the namespaces of {host_name}"))
}

/// Starts the service of the machine whose init this is, in a new network that is the machine's. A router
/// forwards packets.
///
/// # Errors
/// The init has ended, a namespace was refused, or the program cannot be run.
pub(crate) fn spawn_service(mut command: Command, init: &Child, router: bool) -> Result<(Child, Namespaces)> {
    let init = process_descriptor(init.id())?;
    let settings = Settings::of(router);
    let of_machine = init.try_clone().context("copying a descriptor")?;
    let prepare = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        setns(&of_machine, JOINED.difference(CloneFlags::CLONE_NEWNET))?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        settings.apply()
    };
    // SAFETY: the closure makes system calls alone; what it writes was allocated before the fork.
    unsafe { command.pre_exec(prepare) };
    let child = with_process_ids(&init, || command.spawn())?;
    let namespaces = Namespaces::of(&child)?;
    Ok((child, namespaces))
}

impl Namespaces {
    /// A descriptor of the network namespace, for netlink.
    pub(crate) fn network(&self) -> BorrowedFd<'_> {
        self.network.as_fd()
    }

    /// The process descriptor of the service, which stands for all the machine's namespaces.
    pub(crate) fn service(&self) -> BorrowedFd<'_> {
        self.service.as_fd()
    }

    fn of(service: &Child) -> Result<Self> {
        let pid = service.id();
        let file = format!("/proc/{pid}/ns/net");
        let network: OwnedFd = fs::File::open(&file).with_context(|| format!("opening {file}"))?.into();
        Ok(Self { service: process_descriptor(pid)?, network })
    }

    /// Starts `command` as a process of this machine. It ends when its starter ends.
    ///
    /// # Errors
    /// The machine is gone, or the program cannot be run.
    pub(crate) fn spawn(&self, mut command: Command) -> Result<Child> {
        let machine = self.service.try_clone().context("copying a descriptor")?;
        let prepare = move || {
            set_pdeathsig(Signal::SIGKILL)?;
            Ok(setns(&machine, JOINED)?)
        };
        // SAFETY: the closure makes two system calls: it takes no lock and allocates nothing.
        unsafe { command.pre_exec(prepare) };
        with_process_ids(&self.service, || command.spawn())
    }

    /// Starts the first process of a *guest*: a network, mounts and a host name of its own behind this
    /// machine, with this machine's process ids, as root on the machine sees its containers.
    ///
    /// # Errors
    /// The machine is gone, or the program cannot be run.
    pub(crate) fn spawn_guest(&self, mut command: Command, name: &str) -> Result<(Child, Self)> {
        let machine = self.service.try_clone().context("copying a descriptor")?;
        let (name, settings) = (name.to_owned(), Settings::of(false));
        let prepare = move || {
            set_pdeathsig(Signal::SIGKILL)?;
            setns(&machine, CloneFlags::CLONE_NEWNS)?;
            unshare(JOINED)?;
            sethostname(&name)?;
            settings.apply()
        };
        // SAFETY: the closure makes system calls alone; what it writes was allocated before the fork.
        unsafe { command.pre_exec(prepare) };
        let child = with_process_ids(&self.service, || command.spawn())?;
        let namespaces = Self::of(&child)?;
        Ok((child, namespaces))
    }
}

/// Runs `spawn` so that its children get the process ids of the machine that `process` is part of.
fn with_process_ids(process: &OwnedFd, spawn: impl FnOnce() -> io::Result<Child>) -> Result<Child> {
    let own = fs::File::open("/proc/self/ns/pid").context("opening /proc/self/ns/pid")?;
    setns(process, CloneFlags::CLONE_NEWPID)
        .context("entering a machine's process ids (is it switched off?)")?;
    let spawned = spawn();
    setns(&own, CloneFlags::CLONE_NEWPID).context("leaving the machine's process ids")?;
    spawned.context("starting a program inside")
}

const fn guarded() -> MsFlags {
    MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC)
}

/// What is written between fork and exec, allocated beforehand.
struct Settings {
    switches: Vec<(CString, &'static [u8])>,
}

impl Settings {
    fn of(router: bool) -> Self {
        let forward: &'static [u8] = if router { b"1" } else { b"0" };
        let mut switches = Vec::new();
        let mut put = |name: &str, value: &'static [u8]| {
            // A name of ours holds no NUL byte.
            switches.extend(CString::new(format!("/proc/sys/net/{name}")).ok().map(|path| (path, value)));
        };
        for which in ["all", "default"] {
            // An address is usable at once, without the second of duplicate address detection.
            put(&format!("ipv6/conf/{which}/accept_dad"), b"0");
            put(&format!("ipv6/conf/{which}/disable_ipv6"), b"0");
            put(&format!("ipv6/conf/{which}/accept_ra"), b"0");
            put(&format!("ipv4/conf/{which}/rp_filter"), b"0");
            put(&format!("ipv6/conf/{which}/forwarding"), forward);
        }
        put("ipv4/ip_forward", forward);
        Self { switches }
    }

    /// Runs between fork and exec: system calls only.
    fn apply(&self) -> io::Result<()> {
        let none: Option<&str> = None;
        // `/sys/class/net` shows the network namespace in which it was mounted.
        mount(Some("sysfs"), "/sys", Some("sysfs"), guarded().union(MsFlags::MS_RDONLY), none)?;
        for (path, value) in &self.switches {
            let file = open(path.as_c_str(), OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
            write(&file, value)?;
        }
        Ok(())
    }
}

/// Makes `command` end when the calling process ends, however that ends.
pub(crate) fn end_with_parent(command: &mut Command) {
    let prepare = || Ok(set_pdeathsig(Signal::SIGKILL)?);
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(prepare) };
}

/// Moves the calling process into the namespaces of the machine whose service this descriptor names; its
/// children get the machine's process ids. The caller must have one thread.
///
/// # Errors
/// The machine is gone, or belongs to somebody else.
pub(crate) fn join(service: &OwnedFd, user_namespace: bool) -> Result<()> {
    let user = if user_namespace { CloneFlags::CLONE_NEWUSER } else { CloneFlags::empty() };
    match setns(service, user | JOINED | CloneFlags::CLONE_NEWPID) {
        Ok(()) => Ok(()),
        Err(Errno::ESRCH) => bail!("the machine's first process has ended: it is switched off"),
        Err(Errno::EPERM) => bail!("permission denied: the laboratory was started by another user"),
        Err(e) => Err(e).context("entering the machine's namespaces"),
    }
}

fn process_descriptor(pid: u32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers, and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(io::Error::last_os_error).context("opening a process descriptor (Linux 5.8)")?;
    // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends `bytes` with one descriptor over a Unix socket.
///
/// # Errors
/// The peer is gone, or the socket's buffer is full.
pub(crate) fn send_with_descriptor(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fd: BorrowedFd<'_>,
) -> io::Result<()> {
    let fds = [fd.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&fds)];
    let parts = [io::IoSlice::new(bytes)];
    let sent = sendmsg::<()>(socket.as_raw_fd(), &parts, &message, MsgFlags::MSG_NOSIGNAL, None)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives up to `buffer.len()` bytes and the descriptor that came with them, if one did.
///
/// # Errors
/// The peer is gone.
pub(crate) fn receive_with_descriptor(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [io::IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut received = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            for fd in fds {
                // SAFETY: the kernel has just installed this descriptor for us; whatever it replaces in
                // `received` is closed by its own drop.
                received = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    Ok((message.bytes, received))
}
