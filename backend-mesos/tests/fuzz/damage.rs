//! Where cases come from: real streams, and what is done to them.

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn pick<'a, A>(&mut self, all: &'a [A]) -> &'a A {
        &all[self.below(all.len())]
    }
}

/// The streams that a real master sent, without HTTP's chunks.
pub(crate) fn real_streams() -> Vec<Vec<u8>> {
    [
        &include_bytes!("../real-mesos/captures/subscribe.protobuf.response")[..],
        &include_bytes!("../real-mesos/captures/eventful.protobuf.response")[..],
    ]
    .map(unchunked)
    .into()
}

fn unchunked(response: &[u8]) -> Vec<u8> {
    let head = response.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let (mut rest, mut body) = (&response[head + 4..], Vec::new());
    while let Some(line) = rest.windows(2).position(|it| it == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            break;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 2 + length + 2..];
    }
    assert!(body.len() > 1000, "a capture is empty");
    body
}

/// Records in their frames.
pub(crate) fn framed<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut stream = Vec::new();
    for record in records {
        stream.extend_from_slice(format!("{}\n", record.len()).as_bytes());
        stream.extend_from_slice(record);
    }
    stream
}

/// Does up to six kinds of harm.
pub(crate) fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(6) {
        let (length, at) = (bytes.len(), random.below(bytes.len().max(1)));
        if length == 0 {
            bytes.push(random.next() as u8);
            continue;
        }
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = *random.pick(b"0123456789\n\x00\xff\x80 -+"),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..(at + random.below(16)).min(length))),
            4 => bytes.insert(at, random.next() as u8),
            // a length that lies
            5 => {
                let lie = random.pick(&[
                    "0",
                    "18446744073709551615",
                    "99999999999999999999999",
                    "67108864",
                    "00007",
                    "4294967296",
                ]);
                bytes.splice(at..at, format!("{lie}\n").into_bytes());
            }
            // a piece twice
            6 => {
                let piece = bytes[at..(at + random.below(64)).min(length)].to_vec();
                bytes.splice(at..at, piece);
            }
            // a varint that doesn't end
            _ => drop(bytes.splice(at..at, std::iter::repeat_n(0xff, random.below(12)))),
        }
    }
}
