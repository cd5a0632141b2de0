//! The generated types by name. Together the types here hold every message type of the schema (`schema.rs` checks that).

use kaon_http::codec::{self, MediaType, Message};
use kaon_http::v1::{agent, executor, maintenance, master, mesos, quota, resource_provider, scheduler};
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage};

use super::random::{assert_same, with_defaults};

type ThroughType = fn(&DynamicMessage);

/// Name in the schema, and the test of a message of that type by way of its Rust type.
pub(crate) const ALL: &[(&str, ThroughType)] = &[
    ("mesos.v1.scheduler.Call", through::<scheduler::Call>),
    ("mesos.v1.scheduler.Event", through::<scheduler::Event>),
    ("mesos.v1.scheduler.APIResult", through::<scheduler::ApiResult>),
    ("mesos.v1.executor.Call", through::<executor::Call>),
    ("mesos.v1.executor.Event", through::<executor::Event>),
    ("mesos.v1.master.Call", through::<master::Call>),
    ("mesos.v1.master.Response", through::<master::Response>),
    ("mesos.v1.master.Event", through::<master::Event>),
    ("mesos.v1.agent.Call", through::<agent::Call>),
    ("mesos.v1.agent.Response", through::<agent::Response>),
    ("mesos.v1.agent.ProcessIO", through::<agent::ProcessIo>),
    ("mesos.v1.resource_provider.Call", through::<resource_provider::Call>),
    ("mesos.v1.resource_provider.Event", through::<resource_provider::Event>),
    ("mesos.v1.maintenance.Schedule", through::<maintenance::Schedule>),
    ("mesos.v1.quota.QuotaRequest", through::<quota::QuotaRequest>),
    ("mesos.v1.Value", through::<mesos::Value>),
    ("mesos.v1.MachineInfo", through::<mesos::MachineInfo>),
    ("mesos.v1.ResourceUsage", through::<mesos::ResourceUsage>),
    ("mesos.v1.Credentials", through::<mesos::Credentials>),
    ("mesos.v1.RateLimits", through::<mesos::RateLimits>),
    ("mesos.v1.DeviceWhitelist", through::<mesos::DeviceWhitelist>),
    ("mesos.v1.CSIPluginInfo", through::<mesos::CsiPluginInfo>),
];

fn through<T: Message + PartialEq>(message: &DynamicMessage) {
    let kind = message.descriptor();
    let wire = message.encode_to_vec();
    let typed: T = codec::decode(MediaType::Protobuf, &wire).expect("complete");
    let back = codec::encode(MediaType::Protobuf, &typed);
    assert_same(&DynamicMessage::decode(kind.clone(), &*back).expect("well formed"), message, kind.full_name());

    let json = codec::encode(MediaType::Json, &typed);
    let typed: T = codec::decode(MediaType::Json, &json).expect("complete");
    let back = codec::encode(MediaType::Protobuf, &typed);
    let back = DynamicMessage::decode(kind.clone(), &*back).expect("well formed");
    assert_same(&back, &with_defaults(message), kind.full_name());
}

/// Reads bytes that may be anything, in both encodings.
pub(crate) fn decode_any(name: &str, wire: &[u8], json: &[u8]) {
    fn both<T: Message>(wire: &[u8], json: &[u8]) {
        for (media, body) in [(MediaType::Protobuf, wire), (MediaType::Json, json)] {
            if let Ok(message) = codec::decode::<T>(media, body) {
                // What was let in can be written in both encodings and read again.
                for media in [MediaType::Protobuf, MediaType::Json] {
                    let written = codec::encode(media, &message);
                    if media == MediaType::Protobuf || has_finite_numbers(&written) {
                        codec::decode::<T>(media, &written).expect("our own words");
                    }
                }
            }
        }
    }
    match name {
        "mesos.v1.scheduler.Call" => both::<scheduler::Call>(wire, json),
        "mesos.v1.executor.Call" => both::<executor::Call>(wire, json),
        "mesos.v1.master.Call" => both::<master::Call>(wire, json),
        "mesos.v1.agent.Call" => both::<agent::Call>(wire, json),
        "mesos.v1.resource_provider.Call" => both::<resource_provider::Call>(wire, json),
        _ => both::<mesos::ResourceUsage>(wire, json),
    }
}

/// Infinity and NaN are written as bare words, which no JSON parser reads, ours included.
fn has_finite_numbers(json: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(json).is_ok()
}
