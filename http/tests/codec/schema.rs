//! The schema as a whole.

use std::collections::BTreeSet;

use kaon_http::codec::MESSAGE_DEPTH_MAX;
use kaon_http::v1;
use prost_reflect::{Kind, MessageDescriptor};

use super::typed;

fn ours() -> impl Iterator<Item = MessageDescriptor> {
    v1::descriptor_pool().all_messages().filter(|kind| !kind.is_map_entry() && kind.full_name().starts_with("mesos."))
}

/// The numbers of Mesos 1.12's nine files, counted there. Ours are numbered beyond what Mesos ever uses.
#[test]
fn nothing_is_missing_and_little_is_ours() {
    const OURS_FROM: u32 = 1000;
    let enums: Vec<_> =
        v1::descriptor_pool().all_enums().filter(|known| known.full_name().starts_with("mesos.")).collect();
    assert_eq!(ours().count(), 351);
    assert_eq!(enums.len(), 53);
    let (own, fields): (Vec<_>, Vec<_>) =
        ours().flat_map(|kind| kind.fields().collect::<Vec<_>>()).partition(|field| field.number() >= OURS_FROM);
    let own: BTreeSet<&str> = own.iter().map(|field| field.full_name()).collect();
    let wanted = BTreeSet::from(["mesos.v1.OperationStatus.cause", "mesos.v1.scheduler.Event.Error.cause"]);
    assert_eq!(own, wanted);
    let values: usize = enums.iter().map(|known| known.values().len()).sum();
    assert_eq!(fields.len() + values, 1648);
}

fn inner(kind: &MessageDescriptor) -> impl Iterator<Item = MessageDescriptor> {
    kind.fields().filter_map(|field| match field.kind() {
        Kind::Message(entry) if field.is_map() => match entry.map_entry_value_field().kind() {
            Kind::Message(value) => Some(value),
            _ => None,
        },
        Kind::Message(inner) => Some(inner),
        _ => None,
    })
}

#[test]
fn the_typed_tests_reach_every_type() {
    fn reach(kind: MessageDescriptor, reached: &mut BTreeSet<String>) {
        if reached.insert(kind.full_name().to_owned()) {
            inner(&kind).for_each(|inner| reach(inner, reached));
        }
    }
    let mut reached = BTreeSet::new();
    for (name, _) in typed::ALL {
        reach(v1::descriptor_pool().get_message_by_name(name).expect("in the schema"), &mut reached);
    }
    let missed: Vec<_> = ours()
        .filter(|kind| !reached.contains(kind.full_name()))
        // Scopes without fields, which nothing refers to.
        .filter(|kind| kind.fields().len() > 0)
        .map(|kind| kind.full_name().to_owned())
        .collect();
    assert_eq!(missed, Vec::<String>::new());
}

#[test]
fn the_depth_bound_leaves_room() {
    fn deepest(kind: &MessageDescriptor, way: &mut Vec<String>) -> usize {
        if way.iter().any(|name| name == kind.full_name()) {
            return 0;
        }
        way.push(kind.full_name().to_owned());
        let below = inner(kind).map(|inner| deepest(&inner, way)).max().unwrap_or(0);
        way.pop();
        1 + below
    }
    let longest = ours().map(|kind| deepest(&kind, &mut Vec::new())).max();
    assert!(longest.is_some_and(|longest| longest * 3 < MESSAGE_DEPTH_MAX), "{longest:?}");
}
