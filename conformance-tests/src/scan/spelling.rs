//! How a secret may be spelled, and what a text reads like when it is decoded.

use std::borrow::Cow;
use std::fmt;

use convoke_core::secret::to_hex;

/// How a secret is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Spelling {
    /// Its bytes.
    Raw,
    /// Two hexadecimal digits a byte, upper or lower case.
    Hex,
    /// Base64 of either alphabet, at any offset in a longer text.
    Base64,
    /// Base64 of its hexadecimal digits.
    Base64OfHex,
    /// `1,2,3`, as JSON and debug output print bytes.
    Numbers,
}

impl fmt::Display for Spelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Spelling::Raw => "raw",
            Spelling::Hex => "in hex",
            Spelling::Base64 => "in base64",
            Spelling::Base64OfHex => "in base64 of its hex digits",
            Spelling::Numbers => "as numbers",
        })
    }
}

/// What to look for, and in which readings of a text.
#[derive(Debug, Clone)]
pub(super) struct Needle {
    pub(super) bytes: Vec<u8>,
    pub(super) spelling: Spelling,
}

/// All spellings of `secret`.
pub(super) fn needles(secret: &[u8]) -> Vec<Needle> {
    let hex = to_hex(secret);
    let mut needles = vec![
        Needle { bytes: secret.to_vec(), spelling: Spelling::Raw },
        Needle { bytes: hex.clone().into_bytes(), spelling: Spelling::Hex },
        Needle { bytes: numbers(secret).into_bytes(), spelling: Spelling::Numbers },
    ];
    let mut add = |bytes: &[u8], spelling| {
        for needle in base64_anywhere(bytes) {
            let safe: Vec<u8> = needle.iter().map(|letter| url_letter(*letter)).collect();
            if safe != needle {
                needles.push(Needle { bytes: safe, spelling });
            }
            needles.push(Needle { bytes: needle, spelling });
        }
    };
    add(secret, Spelling::Base64);
    add(hex.as_bytes(), Spelling::Base64OfHex);
    add(hex.to_ascii_uppercase().as_bytes(), Spelling::Base64OfHex);
    needles
}

fn numbers(bytes: &[u8]) -> String {
    bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

/// The letters that stand for `secret` in base64, wherever it begins in what is encoded: of a first or last letter that
/// neighbouring bytes share in, nothing is known.
fn base64_anywhere(secret: &[u8]) -> Vec<Vec<u8>> {
    (0..3_usize)
        .map(|before| {
            let padded: Vec<u8> = std::iter::repeat_n(0, before).chain(secret.iter().copied()).collect();
            let letters = base64(&padded);
            let bits = padded.len() * 8;
            letters[(before * 8).div_ceil(6)..bits / 6].to_vec()
        })
        .collect()
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The standard alphabet, without padding.
pub(super) fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut letters = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let value = chunk.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
        let value = value << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            letters.push(LETTERS[(value >> (18 - 6 * place)) as usize & 63]);
        }
    }
    letters
}

fn url_letter(letter: u8) -> u8 {
    match letter {
        b'+' => b'-',
        b'/' => b'_',
        other => other,
    }
}

/// The readings of `text` that a spelling may be found in.
pub(super) fn readings(text: &[u8]) -> Vec<Cow<'_, [u8]>> {
    let mut readings = vec![Cow::Borrowed(text)];
    for decoded in [percent_decoded(text), escapes_decoded(text)] {
        readings.extend(decoded.map(Cow::Owned));
    }
    readings
}

/// Without what breaks lines and lists: white space, and the colons of `ab:cd`.
pub(super) fn condensed(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| !byte.is_ascii_whitespace() && *byte != b':').collect()
}

/// `%41` → `A`; `None` where there is nothing to decode.
fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    decoded(text, b'%', |rest| hex_byte(rest).map(|byte| (byte, 2)))
}

/// `\x41`, `\n`, `\"` → the byte, as debug output and JSON write them.
fn escapes_decoded(text: &[u8]) -> Option<Vec<u8>> {
    decoded(text, b'\\', |rest| {
        let simple = |byte| Some((byte, 1));
        match rest.first()? {
            b'x' => hex_byte(&rest[1..]).map(|byte| (byte, 3)),
            b'u' if rest.get(1..3) == Some(b"00") => hex_byte(&rest[3..]).map(|byte| (byte, 5)),
            b'n' => simple(b'\n'),
            b'r' => simple(b'\r'),
            b't' => simple(b'\t'),
            b'0' => simple(0),
            byte @ (b'\\' | b'"' | b'\'') => simple(*byte),
            _ => None,
        }
    })
}

fn decoded(text: &[u8], mark: u8, escape: impl Fn(&[u8]) -> Option<(u8, usize)>) -> Option<Vec<u8>> {
    let first = text.iter().position(|byte| *byte == mark)?;
    let mut decoded = text[..first].to_vec();
    let mut at = first;
    while let Some(byte) = text.get(at) {
        at += 1;
        match (*byte == mark).then(|| escape(&text[at..])).flatten() {
            Some((byte, length)) => {
                decoded.push(byte);
                at += length;
            }
            None => decoded.push(*byte),
        }
    }
    Some(decoded)
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits.get(..2)?).ok()?, 16).ok()
}
