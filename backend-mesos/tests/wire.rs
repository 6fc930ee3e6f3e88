//! The trimmed `.proto` files say what the real Mesos library says: every message, field, number, label, type, default
//! and enum value of ours is compared with the descriptors inside its binary.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::expect_used, reason = "all of it is test code; helpers too")]

use std::path::Path;
use std::process::Command;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto};
use serde_json::Value;

/// What the real library knows, as its own tool prints it.
fn oracle() -> Value {
    let tool = |script: &str, argument: &str| {
        let output = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real-mesos").join(script))
            .arg(argument)
            .output()
            .expect("python3 runs");
        assert!(output.status.success(), "{script} {argument}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    tool("real_mesos.py", "setup");
    serde_json::from_slice(&tool("wire.py", "dump")).expect("JSON")
}

#[derive(Default)]
struct Differences {
    found: Vec<String>,
    compared: usize,
}

impl Differences {
    fn compare(&mut self, what: String, ours: impl ToString, theirs: &Value) {
        self.compared += 1;
        let theirs = theirs.as_str().map_or_else(|| theirs.to_string(), str::to_owned);
        if ours.to_string() != theirs {
            self.found.push(format!("{what}: ours {}, theirs {theirs}", ours.to_string()));
        }
    }

    fn message(&mut self, scope: &str, message: &DescriptorProto, real: &Value) {
        let name = format!("{scope}.{}", message.name());
        let theirs = &real["messages"][&name];
        if !theirs.is_object() {
            self.found.push(format!("{name}: Mesos has no such message"));
            return;
        }
        for field in &message.field {
            let (name, theirs) = (format!("{name}.{}", field.name()), &theirs[field.name()]);
            self.compare(format!("{name} number"), field.number(), &theirs["number"]);
            let label = match field.label() {
                Label::Optional => "optional",
                Label::Required => "required",
                Label::Repeated => "repeated",
            };
            self.compare(format!("{name} label"), label, &theirs["label"]);
            let kind = match field.r#type() {
                Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
                other => other.as_str_name().trim_start_matches("TYPE_").to_ascii_lowercase(),
            };
            self.compare(format!("{name} type"), kind, &theirs["type"]);
            match &field.default_value {
                // 0.0 and 0 are one number
                Some(ours) if ours.parse::<f64>().is_ok() => {
                    let theirs = theirs["default"].as_str().and_then(|text| text.parse::<f64>().ok());
                    self.compare(
                        format!("{name} default"),
                        format!("{:?}", ours.parse::<f64>().ok()),
                        &format!("{theirs:?}").into(),
                    );
                }
                ours => self.compare(
                    format!("{name} default"),
                    ours.clone().unwrap_or("null".to_owned()),
                    &theirs["default"],
                ),
            }
        }
        for nested in &message.nested_type {
            self.message(&name, nested, real);
        }
        for nested in &message.enum_type {
            self.enumeration(&name, nested, real);
        }
    }

    fn enumeration(&mut self, scope: &str, ours: &EnumDescriptorProto, real: &Value) {
        let name = format!("{scope}.{}", ours.name());
        for value in &ours.value {
            self.compare(
                format!("{name}.{}", value.name()),
                value.number(),
                &real["enums"][&name][value.name()],
            );
        }
    }
}

#[test]
fn our_messages_are_those_of_the_real_library() {
    let real = oracle();
    let files = protox::compile(
        ["mesos/v1/scheduler/scheduler.proto", "mesos/v1/master/master.proto", "mesos/v1/agent/agent.proto"],
        [Path::new(env!("CARGO_MANIFEST_DIR")).join("proto")],
    )
    .expect("our files compile");
    let mut differences = Differences::default();
    for file in &files.file {
        for message in &file.message_type {
            differences.message(file.package(), message, &real);
        }
        for enumeration in &file.enum_type {
            differences.enumeration(file.package(), enumeration, &real);
        }
    }
    assert!(differences.found.is_empty(), "{}", differences.found.join("\n"));
    assert!(differences.compared > 500, "only {} facts were compared", differences.compared);
}
