//! Compiles the trimmed Mesos messages without an installed `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(
        ["mesos/v1/scheduler/scheduler.proto", "mesos/v1/master/master.proto", "mesos/v1/agent/agent.proto"],
        ["proto"],
    )?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("mesos.descriptors"), prost::Message::encode_to_vec(&files))?; // for JSON
    prost_build::Config::new()
        .bytes(["."])
        .enable_type_names()
        .include_file("mesos.rs")
        .compile_fds(files)?;
    Ok(())
}
