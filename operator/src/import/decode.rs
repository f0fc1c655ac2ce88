//! Text of files made by spreadsheets: UTF-8 with or without a byte order mark, or Windows-1252.

/// Windows-1252 from 0x80 to 0x9f; the five bytes that it leaves undefined are refused.
const HIGH: [Option<char>; 32] = [
    Some('€'),
    None,
    Some('‚'),
    Some('ƒ'),
    Some('„'),
    Some('…'),
    Some('†'),
    Some('‡'),
    Some('ˆ'),
    Some('‰'),
    Some('Š'),
    Some('‹'),
    Some('Œ'),
    None,
    Some('Ž'),
    None,
    None,
    Some('‘'),
    Some('’'),
    Some('“'),
    Some('”'),
    Some('•'),
    Some('–'),
    Some('—'),
    Some('˜'),
    Some('™'),
    Some('š'),
    Some('›'),
    Some('œ'),
    None,
    Some('ž'),
    Some('Ÿ'),
];

/// The text of a file.
pub(super) fn text(bytes: &[u8]) -> Result<String, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("the file is UTF-16; save it as UTF-8 CSV".to_owned());
    }
    if bytes.contains(&0) {
        return Err("the file holds NUL bytes: it is no CSV".to_owned());
    }
    let body = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    match std::str::from_utf8(body) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => body.iter().map(|byte| windows(*byte)).collect(),
    }
}

fn windows(byte: u8) -> Result<char, String> {
    match byte {
        0x80..=0x9f => HIGH
            .get(usize::from(byte - 0x80))
            .copied()
            .flatten()
            .ok_or_else(|| format!("byte 0x{byte:02x} is neither UTF-8 nor Windows-1252")),
        other => Ok(char::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_with_a_mark_and_windows_1252_read_the_same() {
        assert_eq!(text(b"\xef\xbb\xbfcriticit\xc3\xa9"), Ok("criticité".to_owned()));
        assert_eq!(text(b"criticit\xe9 \x80 \x9c"), Ok("criticité € œ".to_owned()));
        assert!(text(b"\xff\xfea\0").is_err());
        assert!(text(b"caf\xe9 \x81").is_err());
    }
}
