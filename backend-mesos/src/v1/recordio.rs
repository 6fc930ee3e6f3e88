//! RecordIO, the framing of Mesos' streams: `<decimal length>\n<that many bytes>`, again and again.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

/// Splits a byte stream into records, wherever its pieces are cut.
///
/// A length is never trusted: more than `most_bytes` is an error before anything is reserved for it, and memory grows only
/// with what really came. An error is final: where the next record would begin can't be known.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// The length of the record that is being read, once its line is complete.
    length: Option<usize>,
    most_bytes: usize,
    failed: bool,
}

/// Why a stream is not RecordIO.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FramingError {
    /// A length line holds something else than decimal digits, or is empty.
    NotALength,
    /// A record of no bytes; Mesos sends none.
    Empty,
    /// A record is longer than this decoder takes.
    TooLong {
        /// The most that it takes.
        most_bytes: usize,
    },
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FramingError::NotALength => f.write_str("a record's length is not a decimal number"),
            FramingError::Empty => f.write_str("a record of no bytes"),
            FramingError::TooLong { most_bytes } => {
                write!(f, "a record is longer than the {most_bytes} bytes that are taken")
            }
        }
    }
}

impl std::error::Error for FramingError {}

/// Digits of the longest length that is looked at: `u64::MAX` has twenty.
const MOST_DIGITS: usize = 20;

impl Decoder {
    /// A decoder that takes records of up to `most_bytes`.
    #[must_use]
    pub fn new(most_bytes: usize) -> Decoder {
        Decoder { buffer: BytesMut::new(), length: None, most_bytes, failed: false }
    }

    /// Takes a piece of the stream.
    pub fn push(&mut self, piece: &[u8]) {
        if !self.failed {
            self.buffer.extend_from_slice(piece);
        }
    }

    /// The next whole record, or `None` until more has come.
    ///
    /// # Errors
    /// What isn't RecordIO, from then on at each call.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, FramingError> {
        let result = self.advance();
        if result.is_err() {
            self.failed = true;
            self.length = None;
        }
        result
    }

    /// How many bytes wait for the rest of their record.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    fn advance(&mut self) -> Result<Option<Bytes>, FramingError> {
        if self.failed {
            return Err(FramingError::NotALength);
        }
        let length = match self.length {
            Some(length) => length,
            None => match self.read_length()? {
                None => return Ok(None),
                Some(length) => *self.length.insert(length),
            },
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.length = None;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn read_length(&mut self) -> Result<Option<usize>, FramingError> {
        let line_end = self.buffer.iter().take(MOST_DIGITS + 1).position(|byte| *byte == b'\n');
        let digits = &self.buffer[..line_end.unwrap_or(self.buffer.len().min(MOST_DIGITS + 1))];
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(FramingError::NotALength);
        }
        let Some(line_end) = line_end else {
            return if digits.len() > MOST_DIGITS { Err(FramingError::NotALength) } else { Ok(None) };
        };
        // digits alone, so this is text
        let text = std::str::from_utf8(digits).map_err(|_| FramingError::NotALength)?;
        if text.is_empty() {
            return Err(FramingError::NotALength);
        }
        let too_long = FramingError::TooLong { most_bytes: self.most_bytes };
        let length: usize = text.parse().map_err(|_| too_long.clone())?;
        if length > self.most_bytes {
            return Err(too_long);
        }
        if length == 0 {
            return Err(FramingError::Empty);
        }
        self.buffer.advance(line_end + 1);
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(decoder: &mut Decoder) -> Vec<Bytes> {
        std::iter::from_fn(|| decoder.next_record().unwrap()).collect()
    }

    #[test]
    fn records_come_out_whole_wherever_the_stream_is_cut() {
        let stream = b"20\n{\"type\":\"HEARTBEAT\"}2\n\x08\x081\n\n";
        for cut in 0..=stream.len() {
            let mut decoder = Decoder::new(100);
            decoder.push(&stream[..cut]);
            let mut records = all(&mut decoder);
            decoder.push(&stream[cut..]);
            records.extend(all(&mut decoder));
            assert_eq!(records, [&b"{\"type\":\"HEARTBEAT\"}"[..], b"\x08\x08", b"\n"], "cut at {cut}");
            assert_eq!(decoder.buffered_bytes(), 0);
        }
    }

    #[test]
    fn a_length_is_never_trusted() {
        for (stream, error) in [
            (&b"101\n"[..], FramingError::TooLong { most_bytes: 100 }),
            (b"18446744073709551615\n", FramingError::TooLong { most_bytes: 100 }),
            (b"18446744073709551616\n", FramingError::TooLong { most_bytes: 100 }),
            (b"99999999999999999999", FramingError::NotALength),
            (b"0\n", FramingError::Empty),
            (b"\n", FramingError::NotALength),
            (b"-1\n", FramingError::NotALength),
            (b"+1\nx", FramingError::NotALength),
            (b" 1\nx", FramingError::NotALength),
            (b"1 \nx", FramingError::NotALength),
            (b"2\r\nxx", FramingError::NotALength),
            (b"HTTP/1.1 200", FramingError::NotALength),
        ] {
            let mut decoder = Decoder::new(100);
            decoder.push(stream);
            decoder.push(b"0"); // one digit more than any length has
            assert_eq!(decoder.next_record().unwrap_err(), error, "{:?}", String::from_utf8_lossy(stream));
            decoder.push(b"1\nx");
            assert!(decoder.next_record().is_err(), "an error is final");
        }
    }

    proptest! {
        #[test]
        fn any_records_in_any_pieces(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20), sizes in prop::collection::vec(1_usize..50, 1..50)) {
            let mut stream = Vec::new();
            for record in &records {
                stream.extend_from_slice(format!("{}\n", record.len()).as_bytes());
                stream.extend_from_slice(record);
            }
            let (mut decoder, mut seen, mut rest, mut sizes) = (Decoder::new(300), Vec::new(), &stream[..], sizes.iter().cycle());
            while !rest.is_empty() {
                let (piece, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                decoder.push(piece);
                seen.extend(all(&mut decoder).iter().map(|record| record.to_vec()));
                rest = later;
            }
            prop_assert_eq!(seen, records);
        }

        #[test]
        fn any_bytes_give_records_or_an_error_and_no_more_memory_than_came(pieces in prop::collection::vec(prop::collection::vec(prop_oneof![4 => b'0'..=b'9', 1 => Just(b'\n'), 1 => any::<u8>()], 0..40), 0..30)) {
            let (mut decoder, mut came) = (Decoder::new(64), 0);
            for piece in &pieces {
                decoder.push(piece);
                came += piece.len();
                while let Ok(Some(record)) = decoder.next_record() {
                    prop_assert!(!record.is_empty() && record.len() <= 64);
                }
                prop_assert!(decoder.buffered_bytes() <= came);
            }
        }
    }
}
