//! The network namespaces in which this host's processes live: containers have sockets of their own.

use std::fs::{File, read_dir};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns};

use super::{DriverError, Place, os};

/// A network namespace, held open.
#[derive(Debug)]
pub struct Namespace {
    handle: File,
    /// Device and inode, by which it is told from others.
    pub identity: (u64, u64),
    /// A process that lives in it.
    pub process: u32,
}

/// The distinct network namespaces of the processes that can be seen, other than `own`, as far as `wanted`
/// lets them through. Which ones belong to this host is for the caller to say: in a laboratory many hosts
/// share one process table. Processes that vanish or may not be looked at are passed over.
///
/// # Errors
/// If `/proc` cannot be listed.
pub fn namespaces(
    own: &Place,
    wanted: impl Fn(u32, (u64, u64)) -> bool,
) -> Result<Vec<Namespace>, DriverError> {
    let proc = PathBuf::from("/proc");
    let entries = read_dir(&proc).map_err(|source| DriverError::File { path: proc.clone(), source })?;
    let mut seen = vec![own.identity()];
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let path = entry.path().join("ns/net");
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let identity = (metadata.dev(), metadata.ino());
        if seen.contains(&identity) {
            continue;
        }
        seen.push(identity);
        if !wanted(process, identity) {
            continue;
        }
        // The process may have moved since; what counts is what was opened.
        let Ok(handle) = File::open(&path) else { continue };
        if handle.metadata().is_ok_and(|opened| (opened.dev(), opened.ino()) == identity) {
            found.push(Namespace { handle, identity, process });
        }
    }
    Ok(found)
}

/// Runs `job` in a network namespace, on a thread that ends with it.
///
/// # Errors
/// If the namespace may not be entered; the calling thread stays where it is in any case.
pub fn within<T: Send>(namespace: &Namespace, job: impl FnOnce() -> T + Send) -> Result<T, DriverError> {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            setns(namespace.handle.as_fd(), CloneFlags::CLONE_NEWNET)
                .map_err(os("entering a network namespace"))?;
            Ok(job())
        });
        match inside.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
