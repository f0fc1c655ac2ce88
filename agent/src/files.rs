//! Writing small files so that a crash leaves the old one or the new one, never a part of either.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Whether a file must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// Synced, with its directory, before the call returns.
    Yes,
    /// Whole at any time, but perhaps an older one after a power cut.
    No,
}

/// The name under which a file is prepared before it is renamed into place.
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Replaces a file as a whole; `mode` applies to the new one.
///
/// # Errors
/// Of the first operation that failed; the old file, if any, then stands.
pub fn replace(path: &Path, bytes: &[u8], mode: u32, durable: Durable) -> io::Result<()> {
    let temporary = temporary(path);
    // A leftover of an earlier crash might have another mode or owner.
    match std::fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    if durable == Durable::Yes {
        file.sync_all()?;
    }
    std::fs::rename(&temporary, path)?;
    if durable == Durable::Yes { sync_parent(path) } else { Ok(()) }
}

/// Syncs the directory that holds `path`, so that a rename in it survives a power cut.
///
/// # Errors
/// If the directory cannot be opened or synced.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Makes a directory that only root may enter or list if `private`, and its parents.
///
/// # Errors
/// If it cannot be made.
pub fn make_dir(path: &Path, private: bool) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mode = if private { 0o700 } else { 0o755 };
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_whole_and_leaves_no_temporary_behind() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("status.json");
        std::fs::write(temporary(&path), "left by a crash").expect("leftover");
        replace(&path, b"one", 0o600, Durable::Yes).expect("written");
        replace(&path, b"two", 0o600, Durable::No).expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"two");
        assert!(!temporary(&path).exists());
    }
}
