//! The folder of a running laboratory: where it is, who may use it, and how it disappears.
//!
//! Deliberately absent: deleting anything that this laboratory did not make. A folder without our marker is
//! refused.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// The longest path of a Unix socket is 107 bytes, and the longest of ours is this much below the folder.
const SOCKET_NAME_BYTES: usize = 16;

/// The folder of one laboratory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    root: PathBuf,
}

/// Held by the laboratory's outermost process as long as anything of it lives.
#[derive(Debug)]
pub struct Occupied {
    place: Place,
    _lock: File,
}

impl Place {
    /// The folder named by `--dir`, or `$DIGUE_LAB_DIR`, or `$XDG_RUNTIME_DIR/digue-lab`, or
    /// `/tmp/digue-lab-UID`.
    ///
    /// # Errors
    /// The path is too long for a Unix socket, or the working directory is gone.
    pub fn resolve(dir: Option<&Path>) -> Result<Self> {
        let named = std::env::var_os("DIGUE_LAB_DIR").filter(|dir| !dir.is_empty());
        let dir = dir.map(ToOwned::to_owned).or_else(|| named.map(PathBuf::from));
        let root = match (dir, std::env::var_os("XDG_RUNTIME_DIR")) {
            (Some(dir), _) => std::path::absolute(dir).context("finding the working directory")?,
            (None, Some(runtime)) if Path::new(&runtime).is_dir() => Path::new(&runtime).join("digue-lab"),
            (None, _) => PathBuf::from(format!("/tmp/digue-lab-{}", nix::unistd::geteuid())),
        };
        ensure!(
            root.as_os_str().len() + SOCKET_NAME_BYTES < 108,
            "{} is too long: the path of a Unix socket holds 107 bytes; choose a shorter --dir",
            root.display()
        );
        Ok(Self { root })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the folder.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Where the laboratory listens for its verbs.
    pub fn control_socket(&self) -> PathBuf {
        self.join("control.sock")
    }

    /// The log of the laboratory itself.
    pub fn log(&self) -> PathBuf {
        self.join("lab.log")
    }

    /// What reached the "internet": one [`crate::service::Arrival`] a line.
    pub fn arrivals(&self) -> PathBuf {
        self.join("arrivals.jsonl")
    }

    /// The files of one machine.
    pub fn host(&self, name: &str) -> PathBuf {
        self.join("hosts").join(name)
    }

    fn marker(&self) -> PathBuf {
        self.join(".digue-lab")
    }

    /// Takes the folder for a new laboratory: made if missing, emptied of an earlier laboratory's files.
    ///
    /// # Errors
    /// A laboratory runs there, it belongs to somebody else, or it holds files that are not ours.
    pub fn occupy(&self) -> Result<Occupied> {
        let root = self.root.display();
        if let Some(parent) = self.root.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        let made = match DirBuilder::new().mode(0o700).create(&self.root) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error).with_context(|| format!("creating {root}")),
        };
        let found = fs::symlink_metadata(&self.root).with_context(|| format!("reading {root}"))?;
        let own = found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw();
        ensure!(own, "{root} is not a folder of yours; choose another one with --dir");
        if !made && !self.marker().exists() && fs::read_dir(&self.root)?.next().is_some() {
            bail!("{root} holds files that are not a laboratory's; choose another folder with --dir");
        }
        let marker = OpenOptions::new().write(true).create(true).truncate(false).open(self.marker());
        let mut lock = marker.with_context(|| format!("creating {}", self.marker().display()))?;
        if lock.try_lock().is_err() {
            bail!(
                "a laboratory already runs in {root}; end it with `digue-lab down`, or choose another --dir"
            );
        }
        self.empty()?;
        lock.set_len(0)?;
        writeln!(lock, "Made by digue-lab, which removes this folder with everything in it.")?;
        Ok(Occupied { place: self.clone(), _lock: lock })
    }

    /// Waits until no laboratory holds the folder; returns at once if none does.
    ///
    /// # Errors
    /// The marker cannot be read.
    pub fn wait_until_free(&self) -> Result<()> {
        match File::open(self.marker()) {
            Ok(file) => file.lock_shared().with_context(|| format!("waiting for {}", self.root.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("opening {}", self.marker().display())),
        }
    }

    /// Removes everything but the marker.
    fn empty(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            if path == self.marker() {
                continue;
            }
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }
}

impl Occupied {
    /// Removes the folder: the laboratory has ended.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove(self) -> Result<()> {
        self.place.empty()?;
        fs::remove_file(self.place.marker()).context("removing the marker")?;
        fs::remove_dir(&self.place.root).with_context(|| format!("removing {}", self.place.root.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_foreign_files_is_neither_taken_nor_emptied() {
        let dir = tempfile::tempdir().expect("folder");
        let file = dir.path().join("thesis.txt");
        fs::write(&file, "years of work").expect("file");
        let place = Place::resolve(Some(dir.path())).expect("place");
        let error = place.occupy().expect_err("refused").to_string();
        assert!(error.contains("not a laboratory's"), "{error}");
        assert!(file.exists());
    }

    #[test]
    fn one_folder_holds_one_laboratory_and_is_gone_afterwards() {
        let dir = tempfile::tempdir().expect("folder");
        let place = Place::resolve(Some(&dir.path().join("lab"))).expect("place");
        let first = place.occupy().expect("taken");
        let error = place.occupy().expect_err("refused").to_string();
        assert!(error.contains("already runs"), "{error}");
        fs::write(place.log(), "text").expect("file");
        first.remove().expect("removed");
        assert!(!place.root().exists());
        place.wait_until_free().expect("free");
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused() {
        assert!(Place::resolve(Some(Path::new(&"/tmp/x".repeat(30)))).is_err());
    }
}
