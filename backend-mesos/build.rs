//! Compiles the trimmed Mesos messages without an installed `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(
        ["mesos/v1/scheduler/scheduler.proto", "mesos/v1/master/master.proto", "mesos/v1/agent/agent.proto"],
        ["proto"],
    )?;
    prost_build::Config::new().bytes(["."]).include_file("mesos.rs").compile_fds(files)?;
    Ok(())
}
