use bytes::Bytes;
use convoke_mesos::v1::recordio::Decoder;
use convoke_mesos::v1::scheduler::{Call, Event};
use convoke_mesos::v1::{agent, master};
use prost::Message;

use crate::damage::{Random, damage};
use crate::scheduling;

pub(crate) fn case(random: &mut Random, streams: &[Vec<u8>]) {
    let mut record = if random.one_in(2) {
        scheduling::event(random).encode_to_vec()
    } else {
        let mut decoder = Decoder::new(1 << 20);
        let stream: &Vec<u8> = random.pick(streams);
        decoder.push(stream);
        let records: Vec<Bytes> = std::iter::from_fn(|| decoder.next_record().unwrap()).collect();
        random.pick(&records).to_vec()
    };
    damage(&mut record, random);
    read::<Event>(&record);
    read::<Call>(&record);
    read::<master::Response>(&record);
    read::<agent::Response>(&record);
}

fn read<A: Message + Default>(bytes: &[u8]) {
    if let Ok(message) = A::decode(bytes) {
        let written = message.encode_to_vec();
        assert!(written.len() <= bytes.len() * 12 + 64, "a message grows by being read");
        let again = A::decode(&written[..]).unwrap();
        // numbers that are none differ from themselves: the bytes are compared
        assert_eq!(again.encode_to_vec(), written);
    }
}
