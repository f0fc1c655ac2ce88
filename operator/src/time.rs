//! Times and durations as people write and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use digue_proto::id::UnixMillis;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The wall clock of this machine.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn zoned(at: UnixMillis) -> Option<jiff::Zoned> {
    let ms = i64::try_from(at.0).ok()?;
    Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(TimeZone::system()))
}

/// `14:32:07`, in this machine's zone.
pub(crate) fn clock(at: UnixMillis) -> String {
    zoned(at).map_or_else(|| at.0.to_string(), |z| z.strftime("%H:%M:%S").to_string())
}

/// `2026-11-24 14:32:07 CET`, in this machine's zone.
pub(crate) fn date_clock(at: UnixMillis) -> String {
    zoned(at).map_or_else(|| at.0.to_string(), |z| z.strftime("%Y-%m-%d %H:%M:%S %Z").to_string())
}

/// The name of this machine's zone.
pub(crate) fn zone() -> String {
    TimeZone::system().iana_name().unwrap_or("UTC").to_owned()
}

/// `00:12:40`, or `3 j 04:00` in days beyond one (`d` in English).
pub(crate) fn elapsed(ms: u64, day: &str) -> String {
    let seconds = ms / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    if days > 0 {
        return format!("{days} {day} {hours:02}:{minutes:02}");
    }
    format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

/// Reads `90s`, `30m`, `12h`, `2d`; as a clap value parser.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration; write 90s, 30m, 12h or 2d");
    let unit = text.chars().last().ok_or_else(bad)?;
    let number: u64 = text.strip_suffix(unit).and_then(|n| n.parse().ok()).ok_or_else(bad)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' | 'j' => 86_400,
        _ => return Err(bad()),
    };
    match number.checked_mul(seconds) {
        Some(total) if (1..=366 * 86_400).contains(&total) => Ok(Duration::from_secs(total)),
        Some(_) | None => Err(format!("{text:?} is not between 1s and 366d")),
    }
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        assert_eq!(duration("12h"), Ok(Duration::from_secs(43_200)));
        assert_eq!(duration("2j"), duration("2d"));
        for bad in ["", "12", "h", "-1h", "0s", "1.5h", "999999999999999999d", "400d", "12é"] {
            assert!(duration(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn elapsed_times_beyond_a_day_name_the_days() {
        assert_eq!(elapsed(760_000, "d"), "00:12:40");
        assert_eq!(elapsed(86_400_000 * 3 + 3_600_000 * 4, "j"), "3 j 04:00");
    }
}
