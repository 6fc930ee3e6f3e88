//! How arguments and values travel: postcard. Compact and fast; not self-describing, so `#[serde(flatten)]`, untagged and
//! internally tagged enums can't travel, and `skip_serializing_if` must not be used.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};

/// Appends the encoding of `value` to `into`.
///
/// # Errors
/// `InvalidRequest` where serde refuses the value; `into` is then as it was.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<()> {
    let start = into.len();
    let extended = postcard::to_extend(value, Tail(into));
    match extended {
        Ok(_) => Ok(()),
        Err(error) => {
            into.truncate(start);
            Err(Error::new(ErrorKind::InvalidRequest, "the value can't be encoded")
                .with("type", std::any::type_name::<T>())
                .source(error)
                .help(
                    "serde's flatten, untagged and internally tagged enums don't fit the encoding (postcard)",
                ))
        }
    }
}

/// The encoding of `value`.
///
/// # Errors
/// As [`encode_into`].
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode_into(value, &mut bytes)?;
    Ok(bytes)
}

/// The value that `bytes` encode: all of them.
///
/// # Errors
/// `Protocol` where they aren't one whole `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let broken = |what: &'static str| {
        Error::new(ErrorKind::Protocol, what)
            .with("type", std::any::type_name::<T>())
            .with("bytes", bytes.len())
            .help("`skip_serializing_if` breaks decoding; a type's Serialize and Deserialize must be each other's inverse")
    };
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(broken("the encoding is longer than the value").with("bytes_left", rest.len())),
        Err(error) => Err(broken("the bytes are no encoding of the type").source(error)),
    }
}

/// postcard wants to own what it extends.
struct Tail<'a>(&'a mut Vec<u8>);

impl Extend<u8> for Tail<'_> {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.0.extend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_travels_whole_or_not_at_all() {
        let value = (7_u64, "ä".to_owned(), vec![1.5_f64]);
        let mut bytes = encode(&value).unwrap();
        assert_eq!(decode::<(u64, String, Vec<f64>)>(&bytes).unwrap(), value);
        bytes.push(0);
        assert_eq!(decode::<(u64, String, Vec<f64>)>(&bytes).unwrap_err().kind(), ErrorKind::Protocol);
        assert!(decode::<String>(&[200]).is_err());
    }

    #[test]
    fn what_cant_be_encoded_leaves_nothing_behind() {
        struct Refusing;
        impl Serialize for Refusing {
            fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }
        let mut bytes = vec![1];
        assert!(encode_into(&(5_u8, Refusing), &mut bytes).is_err());
        assert_eq!(bytes, [1]);
    }
}
