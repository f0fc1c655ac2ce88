//! The crash matrix of the store: every torn write, every damaged copy, a full disk.

use super::*;
use digue_proto::policy::Policy;
use std::os::unix::fs::PermissionsExt as _;

fn cut(seq: u64) -> HostState {
    let controllers = vec!["10.77.0.2:7443".parse().expect("address")];
    HostState { policy: Policy::closed(controllers), seq, ..HostState::fresh() }
}

fn seq(loaded: &Loaded) -> u64 {
    match loaded {
        Loaded::State(state) => state.seq,
        Loaded::Absent => panic!("absent"),
        Loaded::Unreadable(why) => panic!("unreadable: {why}"),
    }
}

fn written(states: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("directory");
    let (mut store, loaded) = Store::open(dir.path());
    assert_eq!(loaded, Loaded::Absent);
    for seq in 1..=states {
        store.write(&cut(seq)).expect("written");
    }
    dir
}

#[test]
fn the_newest_state_is_read_after_any_number_of_writes_and_restarts() {
    let dir = written(1);
    for number in 2..=9 {
        let (mut store, loaded) = Store::open(dir.path());
        assert_eq!(seq(&loaded), number - 1);
        store.write(&cut(number)).expect("written");
    }
    assert_eq!(seq(&Store::open(dir.path()).1), 9);
    let mode = std::fs::metadata(dir.path().join("state.a")).expect("file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the outbox is readable by others");
}

#[test]
fn a_write_torn_at_any_byte_leaves_the_state_before_it_and_the_next_write_heals() {
    let dir = written(2);
    // State 2 is in one copy, states 1 in the other: find the older and tear the write of state 3 into it.
    let (store, _) = Store::open(dir.path());
    let older = dir.path().join(COPIES[store.next]);
    let before = std::fs::read(&older).expect("read");
    let after = encode(store.generation + 1, &cut(3).to_bytes().expect("bytes"));
    for length in 0..after.len() {
        let mut torn = before.clone();
        torn[..length].copy_from_slice(&after[..length]);
        std::fs::write(&older, &torn).expect("torn");
        let (mut store, loaded) = Store::open(dir.path());
        // What is still missing may happen to be what was there before.
        let expected = if torn.starts_with(&after) { 3 } else { 2 };
        assert_eq!(seq(&loaded), expected, "torn at byte {length}");
        if expected == 2 && length % 50 == 0 {
            store.write(&cut(3)).expect("written");
            assert_eq!(seq(&Store::open(dir.path()).1), 3, "healed after byte {length}");
            let newest = dir.path().join(COPIES[1 - store.next]);
            assert_eq!(newest, older, "the only valid copy was overwritten");
            std::fs::write(&older, &before).expect("restored");
        }
    }
    // The same, on a file that ends where the write stopped.
    for length in 0..after.len() {
        std::fs::write(&older, &after[..length]).expect("torn");
        assert_eq!(seq(&Store::open(dir.path()).1), 2, "cut off at byte {length}");
    }
    std::fs::write(&older, &after).expect("whole");
    assert_eq!(seq(&Store::open(dir.path()).1), 3);
}

#[test]
fn either_copy_may_be_damaged_or_lost_and_a_state_is_still_read() {
    for (name, expected) in [("state.a", 3), ("state.b", 3)] {
        for damage in ["flip", "empty", "remove"] {
            let dir = written(3);
            let path = dir.path().join(name);
            hurt(&path, damage);
            let found = seq(&Store::open(dir.path()).1);
            assert!(found == expected || found == expected - 1, "{name} {damage}: {found}");
        }
    }
}

#[test]
fn a_host_whose_two_copies_are_damaged_or_deleted_counts_as_unreadable_never_as_absent() {
    for damage in ["flip", "empty", "remove"] {
        let dir = written(3);
        for name in COPIES {
            hurt(&dir.path().join(name), damage);
        }
        let (mut store, loaded) = Store::open(dir.path());
        assert!(matches!(loaded, Loaded::Unreadable(_)), "{damage}: {loaded:?}");
        store.write(&cut(7)).expect("a new state can be written");
        assert_eq!(seq(&Store::open(dir.path()).1), 7);
    }
}

#[test]
fn a_crash_while_the_very_first_state_is_written_leaves_a_host_that_was_never_contained() {
    let whole = written(1);
    let bytes = std::fs::read(whole.path().join("state.a")).expect("read");
    for length in [0, 1, HEADER, bytes.len()] {
        let dir = tempfile::tempdir().expect("directory");
        std::fs::write(dir.path().join("state.a.new"), &bytes[..length]).expect("prepared");
        assert_eq!(Store::open(dir.path()).1, Loaded::Absent);
    }
    // The first copy is in place, the second and the marker are not.
    let dir = tempfile::tempdir().expect("directory");
    std::fs::write(dir.path().join("state.a"), &bytes).expect("copy");
    let (mut store, loaded) = Store::open(dir.path());
    assert_eq!(seq(&loaded), 1);
    store.write(&cut(2)).expect("written");
    assert!(dir.path().join(MARKER).exists());
    assert_eq!(seq(&Store::open(dir.path()).1), 2);
}

#[test]
fn a_directory_that_cannot_be_listed_is_unreadable() {
    let dir = tempfile::tempdir().expect("directory");
    let not_a_dir = dir.path().join("file");
    std::fs::write(&not_a_dir, "").expect("file");
    assert!(matches!(Store::open(&not_a_dir).1, Loaded::Unreadable(_)));
}

#[test]
fn a_state_from_another_version_of_the_form_is_unreadable() {
    let dir = written(2);
    // Only the newer copy is foreign: going back to the older one would be a rollback.
    std::fs::write(dir.path().join("state.a"), encode(9, br#"{"form":2}"#)).expect("written");
    let (mut store, loaded) = Store::open(dir.path());
    assert!(matches!(loaded, Loaded::Unreadable(_)), "{loaded:?}");
    store.write(&cut(3)).expect("written");
    assert_eq!(seq(&Store::open(dir.path()).1), 3);
}

#[test]
fn a_full_disk_does_not_keep_a_host_that_has_a_state_from_recording_a_cut() {
    let dir = tempfile::tempdir().expect("directory");
    let Some(small) = SmallDisk::mount(dir.path()) else { return };
    let (mut store, _) = Store::open(small.path());
    store.write(&cut(1)).expect("written");
    // Fill the disk to the last byte.
    let filler = std::fs::File::create(small.path().join("filler")).expect("filler");
    let mut at = 0;
    while filler.write_at(&[0; 4096], at).is_ok_and(|n| n == 4096) {
        at += 4096;
    }
    store.write(&cut(2)).expect("the space was reserved");
    assert_eq!(seq(&Store::open(small.path()).1), 2);
    // A state that outgrows the reserve fails, says so, and leaves the newest state in force.
    let mut large = cut(3);
    let detail = "x".repeat(9_000);
    large.alarms = (0..64)
        .map(|at| digue_proto::report::Alarm {
            kind: "k".to_owned(),
            detail: detail.clone(),
            at_ms: digue_proto::id::UnixMillis(at),
        })
        .collect();
    let error = store.write(&large).expect_err("the disk is full");
    assert!(matches!(error, StoreError::File { .. }), "{error}");
    assert_eq!(seq(&Store::open(small.path()).1), 2);
    drop(filler);
    std::fs::remove_file(small.path().join("filler")).expect("room again");
    store.write(&large).expect("written");
    assert_eq!(seq(&Store::open(small.path()).1), 3);
}

/// A tmpfs of one megabyte, in a mount namespace of this thread's own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        // Mounting belongs to root; an ordinary user's run says what it leaves out.
        if let Err(e) = unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS) {
            eprintln!("skipped: a private mount namespace is not to be had ({e})");
            return None;
        }
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some("size=1m")).expect("tmpfs");
        Some(Self(at.to_owned()))
    }
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.0);
    }
}

fn hurt(path: &Path, damage: &str) {
    match damage {
        "flip" => {
            let mut bytes = std::fs::read(path).expect("read");
            bytes[HEADER + 5] ^= 1;
            std::fs::write(path, bytes).expect("write");
        }
        "empty" => std::fs::write(path, b"").expect("write"),
        other => {
            assert_eq!(other, "remove");
            std::fs::remove_file(path).expect("removed");
        }
    }
}
