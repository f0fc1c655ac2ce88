//! Reading and writing files so that a crash or a full disk leaves the old file or the new one.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::message::msg;
use crate::problem::{OrProblem as _, Outcome, Problem};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

fn unreadable(path: &Path) -> Problem {
    Problem::new("E0604", msg!("file-not-read", path = path.display().to_string()))
}

fn unwritable(path: &Path) -> Problem {
    Problem::new("E0605", msg!("file-not-written", path = path.display().to_string()))
}

/// Reads a file; `-` is standard input.
pub(crate) fn read(path: &Path) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_FILE).read_to_end(&mut bytes).or_problem(|| unreadable(path))?;
        return Ok(bytes);
    }
    let file = fs::File::open(path).or_problem(|| unreadable(path))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).or_problem(|| unreadable(path))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(unreadable(path).because(format!("> {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

/// Reads a text file.
pub(crate) fn read_text(path: &Path) -> Outcome<String> {
    String::from_utf8(read(path)?).or_problem(|| unreadable(path))
}

/// Reads a file that may not be there yet; any other failure is a failure, never "not there".
pub(crate) fn read_if_there(path: &Path) -> Outcome<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path).because(error)),
        Ok(_) => read(path).map(Some),
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// Makes a folder and its parents, readable by its owner alone if it did not exist.
pub(crate) fn private_folder(path: &Path) -> Outcome<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).or_problem(|| unwritable(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).or_problem(|| unwritable(path))
}

/// Replaces a file in one step; its folder must exist.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Outcome<()> {
    let folder = parent(path);
    let attempt = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".digue-")
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(&folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        fs::File::open(&folder)?.sync_all()
    };
    attempt().or_problem(|| unwritable(path))
}

/// Writes a file that must not exist yet.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Outcome<()> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Problem::new("E0606", msg!("file-exists", path = path.display().to_string())));
        }
        Err(error) => return Err(unwritable(path).because(error)),
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.or_problem(|| unwritable(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_new_file_never_overwrites() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        write(&path, b"one", 0o600).expect("written");
        write(&path, b"two", 0o600).expect("replaced");
        assert_eq!(read(&path).expect("read"), b"two");
        assert_eq!(write_new(&path, b"three", 0o600).map_err(|p| p.code), Err("E0606".to_owned()));
        assert_eq!(read(&path).expect("read"), b"two");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_missing_file_is_none_and_a_folder_in_its_place_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read_if_there(&folder.path().join("no")), Ok(None));
        assert_eq!(read_if_there(folder.path()).map_err(|p| p.code), Err("E0604".to_owned()));
    }
}
