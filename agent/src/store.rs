//! The durable state of the host core, in two copies written by turns.
//!
//! `state.a` and `state.b` each hold a header (magic, generation, length, SHA-256) and the state. A write
//! overwrites the older copy in place and syncs once, so a crash at any byte leaves the newer copy whole;
//! a reader takes the valid copy with the highest generation. Both files are made longer than they need
//! to be, so that a full disk does not keep a host from recording a cut.
//!
//! Architecture invariant: *absent* means that the host never had a state, *unreadable* that it had one.
//! The file `had-state` tells the two apart when both copies were deleted. Deliberately absent: repair.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use digue_proto::host::{HostState, Loaded};
use digue_proto::id::Digest;
use digue_proto::limits::MAX_ENVELOPE;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::files;

const MAGIC: [u8; 8] = *b"DIGUEST1";
const HEADER: usize = 56;
/// Bytes reserved for each copy when it is made.
const RESERVED: i64 = 256 * 1024;
const COPIES: [&str; 2] = ["state.a", "state.b"];
/// Made once, after the first state was written.
const MARKER: &str = "had-state";

/// Why the state cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The state is larger than what would be read again.
    #[error("the state has {0} bytes, the limit is {MAX_ENVELOPE}")]
    TooLarge(usize),
    /// The state cannot be serialised.
    #[error("serialising the state")]
    Serialise(#[source] digue_proto::strict::StrictError),
}

/// The two copies of one state directory.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    generation: u64,
    /// The copy to overwrite next: never the one that holds the newest valid state.
    next: usize,
    files: [Option<File>; 2],
    marked: bool,
}

/// What one copy holds.
enum Copy {
    Absent,
    Valid {
        generation: u64,
        state: Box<HostState>,
    },
    /// `sound` is the generation of a copy whose checksum holds but whose state this version cannot read.
    Invalid {
        why: String,
        sound: Option<u64>,
    },
}

impl Store {
    /// Opens the store of a directory and reads the newest valid state.
    pub fn open(dir: &Path) -> (Self, Loaded) {
        let marker = dir.join(MARKER).try_exists();
        let marked = matches!(marker, Ok(true));
        let copies = COPIES.map(|name| read_copy(&dir.join(name)));
        let mut newest: Option<(u64, usize)> = None;
        let mut highest = 0;
        for (index, copy) in copies.iter().enumerate() {
            match copy {
                Copy::Valid { generation, .. } => {
                    highest = highest.max(*generation);
                    if newest.is_none_or(|(best, _)| *generation > best) {
                        newest = Some((*generation, index));
                    }
                }
                Copy::Invalid { sound: Some(generation), .. } => highest = highest.max(*generation),
                Copy::Invalid { sound: None, .. } | Copy::Absent => {}
            }
        }
        // A newer state that was written whole by another version is no torn write: going back to the
        // older one could open the host.
        newest = newest.filter(|(generation, _)| *generation == highest);
        let next = newest.map_or(0, |(_, index)| 1 - index);
        let loaded = judge(copies, newest.map(|(_, index)| index), &marker);
        let files = [None, None];
        (Self { dir: dir.to_owned(), generation: highest, next, files, marked }, loaded)
    }

    /// Writes a state and syncs it: when this returns, a power cut does not lose it.
    ///
    /// # Errors
    /// [`StoreError`]; the state that was there before then still stands.
    pub fn write(&mut self, state: &HostState) -> Result<(), StoreError> {
        let payload = state.to_bytes().map_err(StoreError::Serialise)?;
        if payload.len() > MAX_ENVELOPE {
            return Err(StoreError::TooLarge(payload.len()));
        }
        let bytes = encode(self.generation + 1, &payload);
        self.write_copy(self.next, &bytes)?;
        self.generation += 1;
        self.next = 1 - self.next;
        if !self.marked {
            // Last, and only once a copy is on disk: a crash before it must not look like a lost state.
            self.write_copy(self.next, &bytes)?;
            let path = self.dir.join(MARKER);
            let text = b"This host has a state: its absence is an alarm. Do not delete.\n";
            files::replace(&path, text, 0o600, files::Durable::Yes).map_err(|source| StoreError::File {
                operation: "writing",
                path,
                source,
            })?;
            self.marked = true;
        }
        Ok(())
    }

    fn write_copy(&mut self, index: usize, bytes: &[u8]) -> Result<(), StoreError> {
        let (Some(name), Some(slot)) = (COPIES.get(index), self.files.get_mut(index)) else { return Ok(()) };
        let path = self.dir.join(name);
        let fail = |operation| {
            let path = path.clone();
            move |source| StoreError::File { operation, path, source }
        };
        if slot.is_none() {
            match OpenOptions::new().write(true).open(&path) {
                Ok(file) => *slot = Some(file),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    *slot = Some(make_copy(&path, bytes).map_err(fail("making"))?);
                    return Ok(());
                }
                Err(e) => return Err(fail("opening")(e)),
            }
        }
        let Some(file) = slot.as_ref() else { return Ok(()) };
        let written = file.write_all_at(bytes, 0).map_err(fail("writing"));
        let synced = written.and_then(|()| file.sync_data().map_err(fail("syncing")));
        if synced.is_err() {
            // After a failed sync the kernel may forget what was dirty: nothing of this handle is believed.
            *slot = None;
        }
        synced
    }
}

/// Makes a copy that was not there: prepared aside and renamed, so that it is never seen half made.
fn make_copy(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let temporary = files::temporary(path);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    // Some file systems cannot reserve; then a full disk is noticed when it happens.
    let _ = fallocate(&file, FallocateFlags::empty(), 0, RESERVED);
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    files::sync_parent(path)?;
    Ok(file)
}

fn checksum(generation: u64, payload: &[u8]) -> Digest {
    Digest::of_parts(&[&MAGIC, &generation.to_be_bytes(), payload])
}

fn encode(generation: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(MAGIC);
    bytes.extend(generation.to_be_bytes());
    bytes.extend((payload.len() as u64).to_be_bytes());
    bytes.extend(checksum(generation, payload).as_bytes());
    bytes.extend(payload);
    bytes
}

fn read_copy(path: &Path) -> Copy {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Copy::Absent,
        Err(e) => return Copy::Invalid { why: format!("{}: {e}", path.display()), sound: None },
    };
    let invalid = |why, sound| Copy::Invalid { why: format!("{}: {why}", path.display()), sound };
    match decode(&bytes) {
        Err(why) => invalid(why, None),
        Ok((generation, payload)) => match HostState::from_bytes(payload) {
            Ok(state) => Copy::Valid { generation, state: Box::new(state) },
            Err(e) => invalid(e.to_string(), Some(generation)),
        },
    }
}

/// The generation and the payload of a copy whose checksum holds.
fn decode(bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or("too short for a header")?;
    if *magic != MAGIC {
        return Err("not a state file of this version".to_owned());
    }
    let (generation, rest) = rest.split_first_chunk::<8>().ok_or("too short for a header")?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or("too short for a header")?;
    let (sum, rest) = rest.split_first_chunk::<32>().ok_or("too short for a header")?;
    let generation = u64::from_be_bytes(*generation);
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| "its length is absurd")?;
    let payload = rest.get(..length).ok_or("shorter than its header says")?;
    if checksum(generation, payload) != Digest::from_bytes(*sum) {
        return Err("its checksum does not match".to_owned());
    }
    Ok((generation, payload))
}

fn judge(copies: [Copy; 2], newest: Option<usize>, marker: &io::Result<bool>) -> Loaded {
    let mut problems = Vec::new();
    for (index, copy) in copies.into_iter().enumerate() {
        match copy {
            Copy::Valid { state, .. } if newest == Some(index) => return Loaded::State(state),
            Copy::Valid { .. } | Copy::Absent => {}
            Copy::Invalid { why, .. } => problems.push(why),
        }
    }
    match (problems.is_empty(), marker) {
        (false, _) => Loaded::Unreadable(problems.join("; ")),
        (true, Ok(false)) => Loaded::Absent,
        (true, Ok(true)) => Loaded::Unreadable("both copies of the state were deleted".to_owned()),
        (true, Err(e)) => Loaded::Unreadable(format!("the state directory cannot be read: {e}")),
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
