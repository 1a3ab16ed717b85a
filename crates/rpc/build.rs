//! Generates the wire types from `proto/`; protox is a protobuf compiler in Rust, so no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["proto/control.proto", "proto/executor.proto"], ["proto"])?;
    // They hold secrets.
    let undebugged = ["mapreduce.v1.JoinRequest", "mapreduce.v1.JoinReply"];
    tonic_prost_build::configure().skip_debug(undebugged).compile_fds(files)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
