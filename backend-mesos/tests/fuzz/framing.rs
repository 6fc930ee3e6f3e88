use convoke_mesos::v1::recordio::Decoder;

use crate::damage::{Random, damage};

const MOST: usize = 1 << 16;

pub(crate) fn case(random: &mut Random, streams: &[Vec<u8>]) {
    let mut stream = random.pick(streams).clone();
    stream.truncate(random.below(stream.len()) + 1);
    damage(&mut stream, random);
    let (records, sound) = plain(&stream);
    let mut decoder = Decoder::new(MOST);
    let (mut got, mut pushed, mut failed) = (Vec::new(), 0, false);
    let mut rest = &stream[..];
    while !rest.is_empty() {
        let cut = if random.one_in(4) { 1 } else { random.below(rest.len()) + 1 };
        decoder.push(&rest[..cut]);
        (pushed, rest) = (pushed + cut, &rest[cut..]);
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => got.push(record.to_vec()),
                Ok(None) => break,
                Err(_) => {
                    failed = true;
                    break;
                }
            }
        }
        assert!(decoder.buffered_bytes() <= pushed, "more is kept than came");
        if failed {
            decoder.push(b"1\nx");
            assert!(decoder.next_record().is_err(), "an error is final");
            break;
        }
    }
    assert_eq!(got, records);
    assert_eq!(!failed, sound, "{:?}", String::from_utf8_lossy(&stream));
}

/// The same over the whole stream at once, as plainly as it can be said: the records, and whether what is left may go on.
fn plain(mut stream: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut records = Vec::new();
    loop {
        let digits = stream.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match stream.get(digits) {
            None => return (records, digits <= 20),
            Some(b'\n') => {}
            Some(_) => return (records, false),
        }
        let length = std::str::from_utf8(&stream[..digits]).unwrap().parse::<u64>();
        let Some(length) = length.ok().filter(|it| (1..=MOST as u64).contains(it) && digits <= 20) else {
            return (records, false);
        };
        stream = &stream[digits + 1..];
        let length = length as usize;
        if stream.len() < length {
            return (records, true);
        }
        records.push(stream[..length].to_vec());
        stream = &stream[length..];
    }
}
