//! Searching bytes for secrets.

use std::fmt;

use super::spelling::{Needle, Spelling, condensed, needles, readings};

/// A secret shorter than this is found by chance.
const SHORTEST: usize = 8;
/// What every P-256 private key in PKCS#8 has before its 32 secret bytes: version, algorithm, curve, and the key's frame.
const KEY_FRAME: &[u8] = &[
    0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20,
];

/// What to search for. Its debug output names the secrets and shows none.
#[derive(Clone, Default)]
pub struct Secrets {
    secrets: Vec<(String, Vec<Needle>)>,
}

/// Which secret was found, and how it is spelled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    /// The secret's name.
    pub secret: String,
    /// How it is spelled.
    pub spelling: Spelling,
}

impl Secrets {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Secrets {
        Secrets::default()
    }

    /// This secret, under a name that reports may show.
    ///
    /// # Panics
    /// Where it has fewer than eight bytes: such a one is found by chance.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Secrets {
        let bytes = bytes.as_ref();
        assert!(bytes.len() >= SHORTEST, "a secret of {} bytes is found by chance", bytes.len());
        self.secrets.push((name.into(), needles(bytes)));
        self
    }

    /// Private keys of executors and drivers, whosever they are: P-256 in PKCS#8, which a search knows by their frame, and
    /// anything in PEM that calls itself a private key.
    #[must_use]
    pub fn private_keys(mut self) -> Secrets {
        self = self.secret("a private key", KEY_FRAME);
        let pem = Needle { bytes: b"PRIVATEKEY-----".to_vec(), spelling: Spelling::Base64 };
        self.secrets.push(("a private key in PEM".to_owned(), vec![pem]));
        self
    }

    /// Whether there is nothing to search for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// What of it is in `text`; each secret and spelling once.
    #[must_use]
    pub fn in_bytes(&self, text: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        for reading in readings(text) {
            let mut lower = reading.to_ascii_lowercase();
            let dense = condensed(&reading);
            let dense_lower = dense.to_ascii_lowercase();
            lower.push(0); // keeps the two apart
            lower.extend_from_slice(&dense_lower);
            for (name, needles) in &self.secrets {
                for needle in needles {
                    let found = match needle.spelling {
                        Spelling::Raw => contains(&reading, &needle.bytes),
                        Spelling::Hex => contains(&lower, &needle.bytes),
                        Spelling::Numbers => has_numbers(&dense, &needle.bytes),
                        Spelling::Base64 | Spelling::Base64OfHex => contains(&dense, &needle.bytes),
                    };
                    if found {
                        hits.push(Hit { secret: name.clone(), spelling: needle.spelling });
                    }
                }
            }
        }
        hits.sort();
        hits.dedup();
        hits
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.secrets.iter().map(|(name, _)| name)).finish()
    }
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    position(text, needle).is_some()
}

fn position(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|byte| *byte == first) {
        from += at;
        if text[from..].starts_with(needle) {
            return Some(from);
        }
        from += 1;
    }
    None
}

/// The same, where neither end goes on with a digit: `1,2` isn't in `11,23`.
fn has_numbers(text: &[u8], needle: &[u8]) -> bool {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| position(rest, needle)) {
        let (start, end) = (from + at, from + at + needle.len());
        if !digit(start.checked_sub(1).and_then(|before| text.get(before))) && !digit(text.get(end)) {
            return true;
        }
        from = start + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::spelling::base64;
    use super::*;
    use convoke_core::secret::to_hex;

    const SECRET: [u8; 32] = [
        0xfb, 0xef, 0xbe, 0xff, 0x00, 0x0a, 0x25, 0x5c, 0x22, 0x80, 0x7f, 0x41, 0x61, 0x20, 0x3a, 0x2c, 0x10,
        0x9d, 0xe3, 0x55, 0xc4, 0x01, 0x66, 0x78, 0x99, 0xab, 0xcd, 0xef, 0x12, 0x34, 0x56, 0x7e,
    ];

    fn spelled(text: &[u8]) -> Vec<Spelling> {
        let secrets = Secrets::new().secret("it", SECRET).private_keys();
        let hits = secrets.in_bytes(text);
        assert!(hits.iter().all(|hit| hit.secret == "it"));
        hits.into_iter().map(|hit| hit.spelling).collect()
    }

    fn around(middle: impl AsRef<[u8]>) -> Vec<u8> {
        [b"before=", middle.as_ref(), b" after"].concat()
    }

    fn percent(upper: bool, all: bool) -> Vec<u8> {
        let mut text = Vec::new();
        for byte in SECRET {
            if !all && byte.is_ascii_alphanumeric() {
                text.push(byte);
            } else if upper {
                text.extend(format!("%{byte:02X}").bytes());
            } else {
                text.extend(format!("%{byte:02x}").bytes());
            }
        }
        text
    }

    #[test]
    fn each_spelling_is_found_and_told_apart() {
        let hex = to_hex(&SECRET);
        assert_eq!(spelled(&around(SECRET)), [Spelling::Raw]);
        assert_eq!(spelled(&around(&hex)), [Spelling::Hex]);
        assert_eq!(spelled(&around(hex.to_ascii_uppercase())), [Spelling::Hex]);
        let colons: Vec<_> = SECRET.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(spelled(&around(colons.join(":"))), [Spelling::Hex]);
        assert_eq!(spelled(&around(format!("{SECRET:?}"))), [Spelling::Numbers]);
        assert_eq!(spelled(&around(serde_json::to_string(&SECRET).unwrap())), [Spelling::Numbers]);
        assert_eq!(spelled(&around(base64(hex.as_bytes()))), [Spelling::Base64OfHex]);
        for (upper, all) in [(true, true), (false, true), (true, false), (false, false)] {
            assert_eq!(spelled(&around(percent(upper, all))), [Spelling::Raw], "{upper} {all}");
        }
        let debug = format!("{:?}", bytes::Bytes::copy_from_slice(&SECRET));
        assert_eq!(spelled(&around(debug)), [Spelling::Raw]);
    }

    #[test]
    fn base64_is_found_at_every_offset_in_both_alphabets_and_over_lines() {
        for before in 0..6 {
            for after in 0..3 {
                let text = [vec![7; before], SECRET.to_vec(), vec![9; after]].concat();
                let letters = base64(&text);
                assert_eq!(spelled(&around(&letters)), [Spelling::Base64], "{before} {after}");
                let safe: Vec<u8> = letters
                    .iter()
                    .map(|letter| match letter {
                        b'+' => b'-',
                        b'/' => b'_',
                        other => *other,
                    })
                    .collect();
                assert_eq!(spelled(&around(&safe)), [Spelling::Base64]);
                let lines: Vec<_> = letters.chunks(11).collect();
                assert_eq!(spelled(&around(lines.join(&b"\r\n"[..]))), [Spelling::Base64]);
                let quoted: Vec<u8> = letters
                    .iter()
                    .flat_map(|letter| match letter {
                        b'+' => b"%2B".to_vec(),
                        b'/' => b"%2f".to_vec(),
                        other => vec![*other],
                    })
                    .collect();
                assert_eq!(spelled(&around(quoted)), [Spelling::Base64]);
            }
        }
    }

    #[test]
    fn what_only_looks_like_it_is_no_hit() {
        let mut other = SECRET;
        other[16] ^= 1;
        for text in [
            other.to_vec(),
            to_hex(&other).into_bytes(),
            base64(&other),
            format!("{other:?}").into_bytes(),
            SECRET[..31].to_vec(),
            format!("{SECRET:?}").replace("[251", "[1251").into_bytes(),
            Vec::new(),
        ] {
            assert_eq!(spelled(&text), []);
        }
    }

    #[test]
    fn a_private_key_of_ours_is_known_by_its_frame() {
        let (key, request) = convoke_core::rpc::authority::request().unwrap();
        let secrets = Secrets::new().private_keys();
        let found =
            |text: &[u8]| secrets.in_bytes(text).into_iter().map(|hit| hit.spelling).collect::<Vec<_>>();
        assert_eq!(found(key.expose()), [Spelling::Raw]);
        assert_eq!(found(to_hex(key.expose()).as_bytes()), [Spelling::Hex]);
        assert_eq!(found(&base64(key.expose())), [Spelling::Base64]);
        assert_eq!(found(&serde_json::to_vec(key.expose()).unwrap()), [Spelling::Numbers]);
        assert_eq!(found(b"-----BEGIN EC PRIVATE KEY-----\n"), [Spelling::Base64]);
        assert_eq!(found(&request), [], "a request is public");
    }

    #[test]
    #[should_panic(expected = "found by chance")]
    fn a_short_secret_is_refused() {
        let _ = Secrets::new().secret("short", b"secret");
    }

    #[test]
    fn nothing_that_it_prints_shows_a_secret() {
        let secrets = Secrets::new().secret("it", b"hunter2hunter2");
        assert_eq!(format!("{secrets:?}"), r#"["it"]"#);
    }
}
