//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use digue_proto::id::UnixMillis;

/// Now, by this machine's wall clock.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
