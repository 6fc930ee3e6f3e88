//! Mesos' event stream, RecordIO and protobuf: what an offer costs among few and among many, which must be nearly the same.
//! `cargo bench -p convoke-mesos`

use std::time::Instant;

use bytes::{BufMut as _, Bytes, BytesMut};
use convoke_mesos::v1::recordio::Decoder;
use convoke_mesos::v1::scheduler::{Event, event};
use convoke_mesos::v1::{AgentId, Offer, OfferId, Resource, value};
use prost::Message as _;

/// Offers of an event; a stream is cut into pieces as the kernel gives them.
const AN_EVENT: u64 = 10;
const PIECE_BYTES: usize = 16 << 10;

fn stream(offers: u64) -> Bytes {
    let scalar = |name: &str, value| Resource {
        name: name.into(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value }),
        ..Default::default()
    };
    let offer = |number: u64| Offer {
        id: OfferId { value: format!("0a0b-O{number}") },
        agent_id: AgentId { value: format!("0a0b-S{number}") },
        hostname: format!("agent-{number}.example"),
        resources: vec![scalar("cpus", 8.0), scalar("mem", 32_768.0), scalar("disk", 1e6)],
        ..Default::default()
    };
    let mut stream = BytesMut::new();
    for first in (0..offers).step_by(AN_EVENT as usize) {
        let event = Event {
            r#type: Some(event::Type::Offers as i32),
            offers: Some(event::Offers { offers: (first..first + AN_EVENT).map(offer).collect() }),
            ..Default::default()
        };
        let record = event.encode_to_vec();
        stream.put_slice(format!("{}\n", record.len()).as_bytes());
        stream.put_slice(&record);
    }
    stream.freeze()
}

fn records(stream: &Bytes, mut each: impl FnMut(Bytes)) {
    let mut decoder = Decoder::new(1 << 20);
    for piece in stream.chunks(PIECE_BYTES) {
        decoder.push(piece);
        while let Some(record) = decoder.next_record().expect("RecordIO") {
            each(record);
        }
    }
}

fn recordio(stream: &Bytes) -> u64 {
    let mut count = 0;
    records(stream, |_| count += AN_EVENT);
    count
}

fn recordio_and_protobuf(stream: &Bytes) -> u64 {
    let mut count = 0;
    records(stream, |record| {
        let event = Event::decode(record).expect("an event");
        count += event.offers.map_or(0, |offers| offers.offers.len() as u64);
    });
    count
}

#[expect(clippy::disallowed_methods, reason = "a benchmark")]
fn nanoseconds_each(stream: &Bytes, offers: u64, decode: fn(&Bytes) -> u64) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(decode(stream), offers);
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / offers as f64);
    }
    best
}

fn main() {
    println!("{:<22} {:>10} {:>12} {:>8}", "decoding", "offers", "ns each", "× least");
    for (name, decode) in
        [("recordio", recordio as fn(&Bytes) -> u64), ("recordio + protobuf", recordio_and_protobuf)]
    {
        let mut least = None;
        for offers in [1_000, 10_000, 100_000] {
            let each = nanoseconds_each(&stream(offers), offers, decode);
            let first = *least.get_or_insert(each);
            println!("{name:<22} {offers:>10} {each:>12.1} {:>8.2}", each / first);
        }
    }
}
