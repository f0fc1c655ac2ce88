//! The host's clocks and its source of randomness: the only place where either is read.

use digue_proto::host::Now;
use digue_proto::id::UnixMillis;
use digue_proto::report::Clocks;
use nix::time::{ClockId, clock_gettime};
use rand_core::{OsRng, RngCore as _};

/// When this program was built, as milliseconds since 1970: the wall clock is never believed to be
/// earlier. Taken from `SOURCE_DATE_EPOCH` where packages are built, else the year of this version.
pub const BUILT_AT_MS: UnixMillis = UnixMillis(match option_env!("SOURCE_DATE_EPOCH") {
    Some(text) => seconds(text.as_bytes()) * 1_000,
    None => 1_767_225_600_000,
});

const fn seconds(digits: &[u8]) -> u64 {
    let (mut total, mut rest) = (0, digits);
    while let [digit, tail @ ..] = rest {
        assert!(digit.is_ascii_digit(), "SOURCE_DATE_EPOCH must be a number of seconds");
        total = total * 10 + (*digit - b'0') as u64;
        rest = tail;
    }
    total
}

/// Why the time or entropy cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// The boot id cannot be read.
    #[error("reading {BOOT_ID}")]
    BootId(#[source] std::io::Error),
    /// A clock cannot be read.
    #[error("reading the clock {0}")]
    Clock(&'static str, #[source] nix::Error),
    /// The kernel gives no randomness.
    #[error("drawing entropy from the kernel")]
    Entropy(#[source] rand_core::Error),
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The clocks of this boot.
#[derive(Debug, Clone)]
pub struct HostClocks {
    boot_id: String,
}

impl HostClocks {
    /// Reads the boot id, which does not change while the process lives.
    ///
    /// # Errors
    /// [`ClockError`] if `/proc` does not tell it.
    pub fn new() -> Result<Self, ClockError> {
        let boot_id = std::fs::read_to_string(BOOT_ID).map_err(ClockError::BootId)?;
        Ok(Self { boot_id: boot_id.trim().to_owned() })
    }

    /// The identity of this boot.
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// What the clocks say now.
    ///
    /// # Errors
    /// [`ClockError`] if the kernel does not tell the time.
    pub fn read(&self) -> Result<Clocks, ClockError> {
        let wall =
            clock_gettime(ClockId::CLOCK_REALTIME).map_err(|e| ClockError::Clock("CLOCK_REALTIME", e))?;
        let boot =
            clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(|e| ClockError::Clock("CLOCK_BOOTTIME", e))?;
        let clocks = Clocks {
            wall_ms: UnixMillis(millis(wall)),
            boottime_ms: millis(boot),
            boot_id: self.boot_id.clone(),
        };
        Ok(clocks)
    }

    /// The time and entropy for one call of the host core.
    ///
    /// # Errors
    /// [`ClockError`].
    pub fn now(&self) -> Result<Now, ClockError> {
        Ok(Now { clocks: self.read()?, entropy: entropy()? })
    }
}

fn millis(time: nix::sys::time::TimeSpec) -> u64 {
    // Before 1970 counts as 1970: the floor of the host core takes over.
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    seconds.saturating_mul(1_000).saturating_add(u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000_000)
}

/// Bytes that nobody can guess.
///
/// # Errors
/// [`ClockError::Entropy`] if the kernel has none to give.
pub fn entropy<const N: usize>() -> Result<[u8; N], ClockError> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(ClockError::Entropy)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_past_the_build_date_and_boot_time_never_goes_back() {
        let clocks = HostClocks::new().expect("clocks");
        let (one, two) = (clocks.now().expect("now"), clocks.now().expect("now"));
        assert!(one.clocks.wall_ms > BUILT_AT_MS);
        assert!(one.clocks.boottime_ms <= two.clocks.boottime_ms);
        assert_ne!(one.entropy, two.entropy);
        assert_eq!(one.clocks.boot_id.len(), 36);
    }

    #[test]
    fn seconds_are_read_digit_by_digit() {
        assert_eq!(seconds(b"1767225600"), 1_767_225_600);
    }
}
