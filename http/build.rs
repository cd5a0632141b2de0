//! Compiles the `.proto` files: descriptors for the codec, Rust types for everybody. Pure Rust, no `protoc`.
//!
//! Two versions of the same descriptors leave this script. The codec reads the exact one. The types are made from a
//! version in which (a) nothing is deprecated, since the v1 API must go on reading fields such as `Resource.role` without
//! a warning at every use, and (b) a map is what it is on the wire, a list of entries with key and value present: prost
//! leaves out a map value equal to its default, and a reader that enforces proto2 `required` then refuses the message
//! (`limits {"cpus": {"value": 0.0}}` would become a `Value.Scalar` without its value).

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message as _;
use prost_reflect::prost_types::field_descriptor_proto::Label;
use prost_reflect::prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

const ROOT: &str = "proto";

/// In the order in which they build on each other.
const PACKAGES: [&str; 9] =
    ["mesos", "scheduler", "executor", "allocator", "maintenance", "quota", "master", "agent", "resource_provider"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    println!("cargo:rerun-if-changed=build.rs");
    let sources = PACKAGES.map(|package| match package {
        "mesos" => format!("{ROOT}/mesos/v1/mesos.proto"),
        inner => format!("{ROOT}/mesos/v1/{inner}/{inner}.proto"),
    });
    let mut compiler = protox::Compiler::new([ROOT])?;
    let exact = compiler.include_imports(true).include_source_info(false).open_files(sources)?.file_descriptor_set();
    let output = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(output.join("descriptors.bin"), exact.encode_to_vec())?;
    generate(&output, for_types(exact))
}

fn generate(output: &Path, descriptors: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    let mut config = prost_build::Config::new();
    config
        .out_dir(output)
        .include_file("v1.rs")
        .enable_type_names()
        .compile_well_known_types()
        .extern_path(".google.protobuf", "::prost_reflect::prost_types");
    config.compile_fds(descriptors)?;
    Ok(())
}

fn for_types(mut descriptors: FileDescriptorSet) -> FileDescriptorSet {
    for file in &mut descriptors.file {
        file.enum_type.iter_mut().for_each(plain_enum);
        file.message_type.iter_mut().for_each(plain_message);
    }
    descriptors
}

fn plain_message(message: &mut DescriptorProto) {
    let is_entry = message.options.as_ref().is_some_and(|options| options.map_entry());
    message.options = None;
    for field in &mut message.field {
        if let Some(options) = &mut field.options {
            options.deprecated = None;
        }
        if is_entry {
            field.set_label(Label::Required);
        }
    }
    message.enum_type.iter_mut().for_each(plain_enum);
    message.nested_type.iter_mut().for_each(plain_message);
}

fn plain_enum(descriptor: &mut EnumDescriptorProto) {
    descriptor.options = None;
    for value in &mut descriptor.value {
        value.options = None;
    }
}
