//! Reading JSON so that one text has one meaning, or none.
//!
//! `serde_json` refuses trailing bytes, a BOM, duplicate and unknown members of a struct that denies
//! unknown fields, and numbers that do not fit; this adds bounds on size and depth. Signed types hold no
//! maps and no floats, because a map accepts a member twice (3.2 of the trust design).

use serde::de::DeserializeOwned;

use crate::limits::MAX_JSON_DEPTH;

/// Why a text is not the JSON document that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrictError {
    /// Larger than the limit that the caller gave.
    #[error("{size} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Nested deeper than [`MAX_JSON_DEPTH`].
    #[error("nested deeper than {MAX_JSON_DEPTH} levels")]
    TooDeep,
    /// Not the expected document.
    #[error("{0}")]
    Json(String),
}

/// Parses one strict JSON document of at most `limit` bytes.
///
/// # Errors
/// [`StrictError`] if the text breaks a bound or is not exactly a `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, StrictError> {
    if bytes.len() > limit {
        return Err(StrictError::TooLarge { size: bytes.len(), limit });
    }
    if depth(bytes) > MAX_JSON_DEPTH {
        return Err(StrictError::TooDeep);
    }
    serde_json::from_slice(bytes).map_err(|e| StrictError::Json(e.to_string()))
}

fn depth(bytes: &[u8]) -> usize {
    let (mut now, mut deepest, mut in_text, mut escaped) = (0usize, 0usize, false, false);
    for byte in bytes {
        match (in_text, escaped, byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (_, false, b'"') => in_text = !in_text,
            (false, _, b'[' | b'{') => {
                now += 1;
                deepest = deepest.max(now);
            }
            (false, _, b']' | b'}') => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Serialises a document; the bytes are then signed, stored and carried as they are.
///
/// # Errors
/// Never for the types of this crate, which hold no maps and no failing serialisers.
pub fn to_vec<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, StrictError> {
    serde_json::to_vec(value).map_err(|e| StrictError::Json(e.to_string()))
}

/// `Vec<u8>` as standard base64 with padding, one spelling only.
pub(crate) mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        STANDARD.decode(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Small {
        #[expect(dead_code, reason = "only its parsing is of interest")]
        n: u64,
    }

    #[test]
    fn duplicate_unknown_float_too_large_bom_and_trailing_are_refused() {
        for bad in [
            &br#"{"n":1,"n":2}"#[..],
            br#"{"n":1,"m":2}"#,
            br#"{"n":1.0}"#,
            br#"{"n":18446744073709551616}"#,
            b"\xef\xbb\xbf{\"n\":1}",
            br#"{"n":1} x"#,
            br#"{"n":-1}"#,
        ] {
            assert!(from_slice::<Small>(bad, 100).is_err(), "{} was accepted", String::from_utf8_lossy(bad));
        }
        assert!(from_slice::<Small>(br#"{"n":1}"#, 100).is_ok());
        assert!(matches!(from_slice::<Small>(br#"{"n":1}"#, 3), Err(StrictError::TooLarge { .. })));
    }

    #[test]
    fn brackets_inside_texts_do_not_count_as_depth() {
        assert_eq!(depth(br#"{"a":"[[[[\"[[","b":[1]}"#), 2);
        let deep = "[".repeat(MAX_JSON_DEPTH + 1);
        assert_eq!(
            from_slice::<serde_json::Value>(deep.as_bytes(), 1000).map_err(|e| e.to_string()),
            Err(StrictError::TooDeep.to_string())
        );
    }
}
