//! Fingerprints for comparing by voice: eight hexadecimal digits and four pronounceable words.
//!
//! The words are proquints (Wilkerson 2009): sixteen bits as consonant, vowel, consonant, vowel,
//! consonant. Digits and words cover different bytes of the digest, so both must be read out.

use crate::id::Digest;

const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWELS: &[u8; 4] = b"aiou";

/// The proquint of sixteen bits.
fn proquint(bits: u16) -> String {
    let consonant = |shift: u32| CONSONANTS.get(usize::from(bits >> shift) & 0xf);
    let vowel = |shift: u32| VOWELS.get(usize::from(bits >> shift) & 0x3);
    let letters = [consonant(12), vowel(10), consonant(6), vowel(4), consonant(0)];
    letters.into_iter().flatten().copied().map(char::from).collect()
}

/// `1a2b3c4d lusab babad gutih tugad`: the first four bytes in hexadecimal, the next eight as words.
pub fn fingerprint_words(digest: &Digest) -> String {
    let bytes = digest.as_bytes();
    let words = bytes.iter().skip(4).take(8).copied().collect::<Vec<u8>>();
    let words = words.chunks_exact(2).map(|pair| match pair {
        [high, low] => proquint(u16::from_be_bytes([*high, *low])),
        _ => String::new(),
    });
    std::iter::once(digest.short()).chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_published_examples() {
        // 127.0.0.1, 63.84.220.193 and 140.98.193.141 in the proquint paper.
        let words: Vec<String> =
            [0x7f00, 0x0001, 0x3f54, 0xdcc1, 0x8c62, 0xc18d].into_iter().map(proquint).collect();
        assert_eq!(words, ["lusab", "babad", "gutih", "tugad", "mudof", "sakat"]);
    }

    #[test]
    fn a_change_in_any_of_the_first_twelve_bytes_shows() {
        let text = |bytes: [u8; 32]| fingerprint_words(&Digest::from_bytes(bytes));
        let zero = text([0; 32]);
        assert_eq!(zero, "00000000 babab babab babab babab");
        for at in 0..12 {
            let mut bytes = [0; 32];
            bytes[at] = 1;
            assert_ne!(text(bytes), zero, "byte {at} does not show");
        }
    }
}
