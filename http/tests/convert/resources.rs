//! Resources through the kernel's types and back, in the forms of v1, and as a flag says them.

use kaon_http::codec::{MediaType, decode};
use kaon_http::convert::Error;
use kaon_http::convert::resource::{self, Form};
use kaon_http::convert::resource_flag;
use kaon_http::v1::mesos as api;
use kaon_http::v1::mesos::resource::disk_info;
use kaon_http::v1::mesos::resource::{AllocationInfo, DiskInfo, ReservationInfo, reservation_info};
use kaon_kernel::framework::Label;
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{
    Device, Disk, DiskKind, DiskSource, Identity, Persistence, Ranges, Reservation, Resource, ResourceName, Resources,
    Value, Volume,
};
use proptest::prelude::*;

use super::{random, scalar};

/// Bags with up to so many layers of reservation, and disks, volumes and providers of every sort.
fn bags(layers_max: usize) -> impl Strategy<Value = Resources> {
    let value = prop_oneof![
        (1_u64..1_000_000).prop_map(|amount| (ResourceName::Mem, Value::Scalar(Quantity(amount)))),
        (0_u64..9, 10_u64..99)
            .prop_map(|range| (ResourceName::Ports, Value::Ranges(Ranges::new(vec![range]).expect("in order")))),
        prop::collection::btree_set("[a-z]{1,3}", 1..4)
            .prop_map(|items| (ResourceName::Other("tags".to_owned()), Value::Set(items))),
        (1_u64..1_000_000).prop_map(|amount| (ResourceName::Disk, Value::Scalar(Quantity(amount)))),
    ];
    let entry = (value, 0..=layers_max, any::<(bool, bool, bool, bool, bool)>(), 0..5_usize, "[a-c]?");
    prop::collection::vec(entry, 0..6).prop_map(|entries| {
        let mut bag = Resources::new();
        for ((name, value), layers, (first_is_static, revocable, volume, labelled, shared), source, word) in entries {
            let dynamic = |layer: usize| layer > 0 || !first_is_static;
            let said = Some(word).filter(|word| !word.is_empty());
            let label = |key: &str| Label { key: key.to_owned(), value: said.clone() };
            let reservations = (0..layers).map(|layer| Reservation {
                dynamic: dynamic(layer),
                role: RoleName::trusted(["a", "a/b", "a/b/c"][layer]),
                principal: said.clone().filter(|_| dynamic(layer)),
                labels: if labelled && dynamic(layer) { vec![label("k"), label("l")] } else { Vec::new() },
            });
            let is_disk = name == ResourceName::Disk;
            let is_volume = volume && layers > 0 && is_disk;
            let kinds = [DiskKind::Path, DiskKind::Mount, DiskKind::Block, DiskKind::Raw];
            let source = kinds.get(source).filter(|_| is_disk).map(|&kind| DiskSource {
                kind,
                root: said.clone().filter(|_| matches!(kind, DiskKind::Path | DiskKind::Mount)),
                id: said.clone().filter(|_| labelled),
                profile: said.clone().filter(|_| revocable),
                vendor: said.clone(),
                metadata: if labelled { vec![label("m")] } else { Vec::new() },
            });
            let persistence = is_volume.then(|| Persistence { id: "v".to_owned(), principal: said.clone() });
            let volume = is_volume.then(|| Volume {
                container_path: "data".to_owned(),
                host_path: said.clone().filter(|_| labelled),
                writable: !revocable,
            });
            let is_plain = source.is_none() && !is_volume;
            let disk = (!is_plain).then_some(Disk { persistence, volume, source });
            let (revocable, shared) = (revocable && !is_volume, shared && is_volume);
            let identity = Identity {
                reservations: reservations.collect(),
                disk,
                revocable,
                shared,
                provider_id: said.filter(|_| first_is_static),
            };
            let identity = (identity != Identity::default()).then(|| identity.into());
            // What would be there twice is left out.
            if let Ok(one) = Resources::collect([Resource { name, identity, value }]) {
                let _ = bag.add(&one);
            }
        }
        bag
    })
}

/// The spelling in which a resource comes back: labels sorted, and none where a list or message is empty.
fn spelled_out(mut resource: api::Resource) -> api::Resource {
    let labels = |labels: &mut Option<api::Labels>| {
        *labels = labels.take().filter(|labels| !labels.labels.is_empty());
        if let Some(labels) = labels {
            labels.labels.sort_by(|one, two| (&one.key, &one.value).cmp(&(&two.key, &two.value)));
        }
    };
    for reservation in resource.reservations.iter_mut().chain(&mut resource.reservation) {
        labels(&mut reservation.labels);
    }
    if let Some(source) = resource.disk.as_mut().and_then(|disk| disk.source.as_mut()) {
        labels(&mut source.metadata);
        source.path = source.path.take().filter(|path| path.root.is_some());
        source.mount = source.mount.take().filter(|mount| mount.root.is_some());
    }
    resource.allocation_info = resource.allocation_info.take().filter(|info| info.role.is_some());
    resource
}

/// A resource with every field that can be there filled at random, of a shape that is one.
fn shaped(seed: u64, thousandths: u64) -> api::Resource {
    let mut resource: api::Resource = random(seed);
    resource.name = "disk".to_owned();
    resource.r#type = api::value::Type::Scalar as i32;
    resource.scalar = Some(api::value::Scalar { value: Quantity(thousandths).as_scalar() });
    (resource.ranges, resource.set, resource.role, resource.reservation) = (None, None, None, None);
    resource.allocation_info = resource.allocation_info.map(|_| AllocationInfo { role: Some("web".to_owned()) });
    resource.reservations.truncate(3);
    for (layer, reservation) in resource.reservations.iter_mut().enumerate() {
        let kind = match seed.is_multiple_of(2) && layer == 0 {
            true => reservation_info::Type::Static,
            false => reservation_info::Type::Dynamic,
        };
        reservation.r#type = Some(kind as i32);
        reservation.role = Some(["a", "a/b", "a/b/c"][layer].to_owned());
    }
    if let Some(disk) = &mut resource.disk {
        if let Some(persistence) = &mut disk.persistence {
            persistence.id = format!("v{}", seed % 7);
        }
        if let Some(volume) = &mut disk.volume {
            (volume.image, volume.source, volume.mode) = (None, None, 1 + (seed % 2) as i32);
        }
        if let Some(source) = &mut disk.source {
            source.r#type = 1 + (seed % 4) as i32;
            source.path = source.path.take().filter(|_| source.r#type == disk_info::source::Type::Path as i32);
            source.mount = source.mount.take().filter(|_| source.r#type == disk_info::source::Type::Mount as i32);
        }
    }
    resource
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn they_come_back_in_every_form_that_can_say_them(bag in bags(1)) {
        for form in [Form::Plain, Form::Stack, Form::Endpoint] {
            let (back, role) = resource::from_v1(&resource::to_v1(&bag, form, Some("web"))).expect("our own");
            prop_assert_eq!(&back, &bag);
            prop_assert_eq!(role, (!bag.is_empty()).then(|| "web".to_owned()));
            let whole = resource::to_v1_whole(&bag, form, Some("web"));
            prop_assert_eq!(whole, Ok(resource::to_v1(&bag, form, Some("web"))));
        }
    }

    #[test]
    fn refined_reservations_need_the_stack(bag in bags(3)) {
        let (back, _) = resource::from_v1(&resource::to_v1(&bag, Form::Stack, None)).expect("our own");
        prop_assert_eq!(&back, &bag);
        let (plain, _) = resource::from_v1(&resource::to_v1(&bag, Form::Plain, None)).expect("our own");
        let sayable = |entry: &Resource| entry.identity.as_ref().is_none_or(|identity| identity.reservations.len() < 2);
        prop_assert_eq!(&plain, &bag.filter(sayable));
        prop_assert_eq!(resource::to_v1_whole(&bag, Form::Plain, None).is_ok(), plain == bag);
        prop_assert!(resource::to_v1_whole(&bag, Form::Stack, None).is_ok());
        let (both, _) = resource::from_v1(&resource::to_v1(&bag, Form::Endpoint, None)).expect("our own");
        prop_assert_eq!(both, bag);
    }

    /// The other way round: what a message says is there afterwards, field by field, or the message is refused.
    #[test]
    fn no_field_of_a_message_is_lost(seed: u64, thousandths in 1_u64..1_000_000_000) {
        let message = shaped(seed, thousandths);
        match resource::from_v1(std::slice::from_ref(&message)) {
            Ok((bag, role)) => {
                let back = resource::to_v1(&bag, Form::Stack, role.as_deref());
                prop_assert_eq!(back, vec![spelled_out(message)]);
            }
            Err(refusal) => prop_assert!(matches!(refusal, Error::Resource { .. }), "{}", refusal),
        }
    }
}

/// The generators above must not be refused all the time, or show nothing.
#[test]
fn enough_of_the_random_messages_are_resources() {
    let accepted = (0..400).filter(|&seed| resource::from_v1(&[shaped(seed, 1)]).is_ok()).count();
    assert!(accepted > 60, "{accepted} of 400");
}

#[test]
fn both_forms_of_reservations_are_read_and_contradictions_are_not() {
    let layer = |role: &str, kind: reservation_info::Type| ReservationInfo {
        r#type: Some(kind as i32),
        role: Some(role.to_owned()),
        ..ReservationInfo::default()
    };
    let (fixed, dynamic) = (reservation_info::Type::Static, reservation_info::Type::Dynamic);
    let mut old = scalar("cpus", 1.0);
    old.role = Some("a".to_owned());
    let mut new = scalar("cpus", 1.0);
    new.reservations = vec![layer("a", fixed)];
    let mut both = new.clone();
    both.role = Some("a".to_owned());
    let read = |resource: &api::Resource| resource::from_v1(std::slice::from_ref(resource));
    assert_eq!(read(&old), read(&new));
    assert_eq!(read(&both), read(&new));
    both.role = Some("b".to_owned());
    let mut bad = vec![both];
    for stack in [
        vec![layer("a", fixed), layer("b", dynamic)],
        vec![layer("a", dynamic), layer("a/b", fixed)],
        vec![layer("*", dynamic)],
        vec![layer("a//b", dynamic)],
        vec![ReservationInfo::default()],
    ] {
        bad.push(api::Resource { reservations: stack, ..scalar("cpus", 1.0) });
    }
    bad.push(api::Resource { reservation: Some(ReservationInfo::default()), ..scalar("cpus", 1.0) });
    for resource in bad {
        assert!(read(&resource).is_err(), "{resource:?}");
    }
}

/// What would be lost is refused.
#[test]
fn each_thing_that_has_no_place_is_refused() {
    let refused = |change: &dyn Fn(&mut api::Resource), words: &str| {
        let mut message = scalar("disk", 1.0);
        change(&mut message);
        let refusal = resource::from_v1(&[message]).expect_err(words).to_string();
        assert!(refusal.contains(words), "{refusal}");
    };
    refused(&|message| message.name = String::new(), "no name");
    refused(&|message| message.ranges = Some(api::value::Ranges::default()), "value of another type");
    refused(&|message| message.r#type = api::value::Type::Text as i32, "type is none");
    refused(&|message| *message = scalar("gpus", 0.5), "unsigned integer");
    refused(&|message| message.shared = Some(api::resource::SharedInfo {}), "only persistent volumes");
    let reserved = |info: ReservationInfo| {
        move |message: &mut api::Resource| {
            (message.role, message.reservation) = (Some("a".to_owned()), Some(info.clone()));
        }
    };
    refused(&reserved(ReservationInfo { role: Some("a".to_owned()), ..ReservationInfo::default() }), "type or role");
    refused(&reserved(ReservationInfo { r#type: Some(2), ..ReservationInfo::default() }), "type or role");
    let disk = |info: DiskInfo| move |message: &mut api::Resource| message.disk = Some(info.clone());
    refused(&disk(DiskInfo::default()), "set and empty");
    let source = |r#type: i32| disk_info::Source { r#type, ..disk_info::Source::default() };
    let mount = disk_info::Source { mount: Some(disk_info::source::Mount { root: None }), ..source(1) };
    refused(&disk(DiskInfo { source: Some(mount), ..DiskInfo::default() }), "of another type");
    refused(&disk(DiskInfo { source: Some(source(9)), ..DiskInfo::default() }), "no known type");
}

#[test]
fn devices_are_counted_whole_for_those_who_know_no_devices() {
    let device =
        |id: &str, share| Device { id: id.to_owned(), share, memory_bytes: 0, numa_node: None, link_group: None };
    let bag = |shares: &[u32]| {
        let devices = shares.iter().enumerate().map(|(number, share)| device(&number.to_string(), *share)).collect();
        let entry = Resource { name: ResourceName::Gpus, identity: None, value: Value::Devices(devices) };
        Resources::collect([entry]).expect("devices")
    };
    let shown = |shares: &[u32]| {
        let shown = resource::to_v1(&bag(shares), Form::Stack, None);
        shown.first().and_then(|gpus| gpus.scalar).map(|scalar| scalar.value)
    };
    assert_eq!(shown(&[1000, 1000, 500]), Some(2.0));
    assert_eq!(shown(&[500, 500]), None, "two halves are no whole one");
    let whole = resource::to_v1_whole(&bag(&[1000]), Form::Stack, None);
    assert!(matches!(whole, Err(Error::Unsayable { .. })), "their names would be lost");
}

#[test]
fn a_static_reservation_with_labels_needs_the_stack() {
    let labels = Some(api::Labels { labels: vec![api::Label { key: "k".to_owned(), value: None }] });
    let info = ReservationInfo { r#type: Some(1), role: Some("a".to_owned()), principal: None, labels };
    let message = api::Resource { reservations: vec![info], ..scalar("cpus", 1.0) };
    let (bag, _) = resource::from_v1(std::slice::from_ref(&message)).expect("valid");
    assert_eq!(resource::to_v1_whole(&bag, Form::Stack, None), Ok(vec![message]));
    assert!(resource::to_v1_whole(&bag, Form::Plain, None).is_err());
    let both = resource::to_v1_whole(&bag, Form::Endpoint, None).expect("the stack is there too");
    assert_eq!(resource::from_v1(&both), Ok((bag, None)));
}

#[test]
fn labels_in_another_order_are_the_same_reservation() {
    let read = |keys: [&str; 2]| {
        let labels = keys.map(|key| api::Label { key: key.to_owned(), value: None }).to_vec();
        let labels = Some(api::Labels { labels });
        let info = ReservationInfo { r#type: Some(2), role: Some("a".to_owned()), principal: None, labels };
        resource::from_v1(&[api::Resource { reservations: vec![info], ..scalar("cpus", 1.0) }])
    };
    assert_eq!(read(["a", "b"]), read(["b", "a"]));
    assert!(read(["a", "b"]).is_ok());
}

#[test]
fn copies_of_a_shared_volume_come_back() {
    let json = br#"{"name": "disk", "type": "SCALAR", "scalar": {"value": 64}, "shared": {},
        "reservations": [{"type": "DYNAMIC", "role": "a"}],
        "disk": {"persistence": {"id": "v"}, "volume": {"mode": "RW", "container_path": "data"}}}"#;
    let volume: api::Resource = decode(MediaType::Json, json).expect("a resource");
    let (bag, _) = resource::from_v1(&[volume.clone(), volume.clone()]).expect("two copies");
    assert_eq!(resource::to_v1_whole(&bag, Form::Stack, None), Ok(vec![volume.clone(), volume]));
    assert_eq!(bag.scalar(&ResourceName::Disk), Quantity::units(64));
}

#[test]
fn a_flag_is_a_text_or_an_array() {
    let array = r#" [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 4}},
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 2}, "role": "web"},
        {"name": "a]\"}b", "type": "SET", "set": {"item": ["[", "x,y"]}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 0}},
        {"name": "disk", "type": "SCALAR", "scalar": {"value": 100},
         "disk": {"source": {"type": "MOUNT", "mount": {"root": "/d1"}}}},
        {"name": "disk", "type": "SCALAR", "scalar": {"value": 100},
         "disk": {"source": {"type": "MOUNT", "mount": {"root": "/d2"}}}}
    ]"#;
    let said = resource_flag::said(array).expect("an array");
    assert_eq!(said.resources.to_string(), "cpus:4; cpus(web):2; disk:100; disk:100; a]\"}b:{[, x,y}");
    let names: Vec<&str> = said.names.iter().map(ResourceName::as_str).collect();
    assert_eq!(names, ["cpus", "mem", "disk", "a]\"}b"]);
    assert_eq!(resource_flag::said("cpus:4").expect("a text").resources.to_string(), "cpus:4");
    assert_eq!(resource_flag::said("[ ]").expect("nothing"), resource_flag::said("").expect("nothing"));
}

#[test]
fn an_error_in_an_array_points_at_its_place() {
    let cpus = r#"{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}"#;
    let with = |fields: &str| format!("[{cpus}, {fields}}}]");
    let cases = [
        ("[{]".to_owned(), 2, "key must be a string"),
        (format!("[{cpus}}}"), 58, "EOF while parsing a list"),
        (format!("[{cpus}}}, 5]"), 61, "expected a resource"),
        (format!("[{cpus}}},\n  {}]", r#"{"type": "SCALAR"}"#), 63, "missing required fields: name"),
        (with(r#""scalar": 5"#), 1, "scalar is given twice"),
        (r#"[{"name": "cpus", "type": "BOX"}]"#.to_owned(), 1, "does not know the name"),
        (r#"[{"name": "cpus", "type": "SCALAR"}]"#.to_owned(), 1, "a scalar without one"),
        (with(r#""reservations": [{"type": "DYNAMIC", "role": "a"}]"#), 1, "at run time"),
        (with(r#""role": "a", "reservation": {}"#), 1, "at run time"),
        (with(r#""revocable": {}"#), 1, "revocable"),
        (with(r#""provider_id": {"value": "p"}"#), 1, "provider"),
        (with(r#""allocation_info": {"role": "a"}"#), 1, "allocate"),
    ];
    for (text, at, words) in cases {
        let error = resource_flag::said(&text).expect_err(words);
        assert!(error.reason.contains(words), "{text}: {error}");
        assert_eq!(error.at, at, "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn no_array_is_too_strange(text in "\\[[\\[\\]{}\":,0-9a-c \\\\\n]{0,40}") {
        if let Err(error) = resource_flag::said(&text) {
            prop_assert!(text.is_char_boundary(error.at));
        }
    }
}
