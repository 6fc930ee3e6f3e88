//! The same messages in JSON, for looking at them on the way: by the descriptors that they were generated from.

use std::sync::LazyLock;

use convoke_core::error::{Error, ErrorKind, Result};
use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};

static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| {
    DescriptorPool::decode(&include_bytes!(concat!(env!("OUT_DIR"), "/mesos.descriptors"))[..]).ok()
});

fn descriptor<M: Name>() -> Result<MessageDescriptor> {
    let pool = POOL.as_ref().ok_or_else(|| Error::internal("the messages' descriptors can't be read"))?;
    let name = M::full_name();
    let found = pool.get_message_by_name(&name);
    found.ok_or_else(|| Error::internal("a message without a descriptor").with("message", name))
}

/// A message as Mesos reads it: its own names of fields, whole numbers as numbers.
pub(super) fn write<M: Message + Name>(message: &M) -> Result<Vec<u8>> {
    let failed = || Error::internal("a message can't be written as JSON").with("message", M::full_name());
    let message = DynamicMessage::decode(descriptor::<M>()?, &message.encode_to_vec()[..])
        .map_err(|error| failed().source(error))?;
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    let mut json = Vec::new();
    message
        .serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options)
        .map_err(|error| failed().source(error))?;
    Ok(json)
}

/// Reads one; what isn't known is skipped.
///
/// # Errors
/// `Protocol`.
pub(super) fn read<M: Message + Name + Default>(json: &[u8]) -> Result<M> {
    let failed =
        || Error::new(ErrorKind::Protocol, "JSON of Mesos can't be read").with("message", M::full_name());
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let message = DynamicMessage::deserialize_with_options(descriptor::<M>()?, &mut reader, &options)
        .map_err(|error| failed().source(error))?;
    M::decode(&message.encode_to_vec()[..]).map_err(|error| failed().source(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::scheduler::{Call, Event, call, event};
    use crate::v1::{self, TaskState};

    #[test]
    fn a_call_is_written_in_mesos_own_words() {
        let call = Call {
            framework_id: Some(v1::FrameworkId { value: "f".into() }),
            r#type: Some(call::Type::Acknowledge as i32),
            acknowledge: Some(call::Acknowledge {
                agent_id: v1::AgentId { value: "a".into() },
                task_id: v1::TaskId { value: "t".into() },
                uuid: bytes::Bytes::from_static(&[1; 16]),
            }),
            ..Default::default()
        };
        let json = String::from_utf8(write(&call).unwrap()).unwrap();
        assert!(
            json.contains(r#""type":"ACKNOWLEDGE""#) && json.contains(r#""framework_id":{"value":"f"}"#),
            "{json}"
        );
        assert!(json.contains(r#""uuid":"AQEBAQEBAQEBAQEBAQEBAQ==""#), "{json}");
        assert_eq!(read::<Call>(json.as_bytes()).unwrap(), call);
    }

    #[test]
    fn an_event_is_read_and_what_is_new_in_it_skipped() {
        let json = br#"{"type":"UPDATE","later":{"x":[1]},"update":{"status":{"task_id":{"value":"t"},"state":"TASK_RUNNING",
            "agent_id":{"value":"a"},"uuid":"AQEBAQEBAQEBAQEBAQEBAQ==","timestamp":1.5}}}"#;
        let event: Event = read(json).unwrap();
        assert_eq!(event.r#type, Some(event::Type::Update as i32));
        let status = event.update.unwrap().status;
        assert_eq!((status.state, status.uuid.unwrap().len()), (TaskState::TaskRunning as i32, 16));
        assert!(read::<Event>(b"{").is_err());
    }
}
