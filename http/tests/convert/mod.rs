//! The v1 messages through the kernel's types and back: nothing is lost, and what breaks a rule is told by its rule.

use kaon_http::convert::call::{self, Error as CallError};
use kaon_http::convert::resource::{self, Form};
use kaon_http::convert::{command, executor, framework, offer, status, task};
use kaon_http::v1;
use kaon_http::v1::mesos as api;
use kaon_http::v1::mesos::resource::AllocationInfo;
use kaon_kernel::id::{AgentId, OfferId, RoleName, Uuid};
use kaon_kernel::message::scheduler::{Call, ClientOffer};
use kaon_kernel::offer::{Offer, OfferOperation, Refusal};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::time::Duration;
use proptest::prelude::*;
use prost_reflect::prost::Message as _;

use crate::codec::random::Random;

mod checks;
mod resources;
mod secrets;

const FRAMEWORK: &str = "m-0000";

/// A random message by its Rust type.
fn random<M: prost::Message + prost::Name + Default>(seed: u64) -> M {
    let kind = v1::descriptor_pool().get_message_by_name(&M::full_name()).expect("in the schema");
    M::decode(&*Random::new(seed).message(&kind).encode_to_vec()).expect("written from the same schema")
}

fn scalar(name: &str, value: f64) -> api::Resource {
    api::Resource {
        name: name.to_owned(),
        r#type: api::value::Type::Scalar as i32,
        scalar: Some(api::value::Scalar { value }),
        ..api::Resource::default()
    }
}

fn ranges(name: &str, pairs: &[(u64, u64)]) -> api::Resource {
    let range = pairs.iter().map(|&(begin, end)| api::value::Range { begin, end }).collect();
    api::Resource {
        name: name.to_owned(),
        r#type: api::value::Type::Ranges as i32,
        ranges: Some(api::value::Ranges { range }),
        ..api::Resource::default()
    }
}

/// In the form in which they come back.
fn allocated(mut resource: api::Resource) -> api::Resource {
    resource.role = Some("*".to_owned());
    resource.allocation_info = Some(AllocationInfo { role: Some("web".to_owned()) });
    resource
}

fn some_resources() -> Vec<api::Resource> {
    vec![allocated(scalar("cpus", 0.5)), allocated(scalar("mem", 32.0)), allocated(ranges("ports", &[(1, 2), (9, 9)]))]
}

/// A command as it comes back: what has a default says it.
fn spelled_out(mut info: api::CommandInfo) -> api::CommandInfo {
    info.shell = Some(info.shell.unwrap_or(true));
    for uri in &mut info.uris {
        uri.extract = Some(uri.extract.unwrap_or(true));
        uri.executable = uri.executable.filter(|is| *is);
        uri.cache = uri.cache.filter(|is| *is);
    }
    // Secrets come back without what they say, and other tests are about them.
    if let Some(environment) = &mut info.environment {
        environment.variables.iter_mut().for_each(|variable| variable.secret = None);
    }
    let is_good = command::from_v1(info.clone()).0.rest.is_empty() || !has_variables_left(&info);
    if is_good && let Some(environment) = &mut info.environment {
        for variable in &mut environment.variables {
            variable.r#type = Some(api::environment::variable::Type::Value as i32);
        }
    }
    info
}

/// Whether the environment is one that stays as it was written, since it breaks a rule.
fn has_variables_left(info: &api::CommandInfo) -> bool {
    let rest = api::CommandInfo::decode(&*command::from_v1(info.clone()).0.rest).expect("ours");
    rest.environment.is_some_and(|environment| !environment.variables.is_empty())
}

fn spell_out_executor(executor: &mut api::ExecutorInfo, resources: Vec<api::Resource>) {
    executor.framework_id = Some(api::FrameworkId { value: FRAMEWORK.to_owned() });
    executor.resources = resources;
    executor.name = executor.name.take().filter(|name| !name.is_empty());
    executor.command = executor.command.take().map(spelled_out);
    executor.shutdown_grace_period = executor.shutdown_grace_period.take().map(positive);
    secrets::conceal(&mut executor.container);
}

fn positive(duration: api::DurationInfo) -> api::DurationInfo {
    api::DurationInfo { nanoseconds: duration.nanoseconds & i64::MAX }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_task_comes_back_whole(seed: u64) {
        let mut info: api::TaskInfo = random(seed);
        info.resources = some_resources();
        info.max_completion_time = info.max_completion_time.map(positive);
        if let Some(policy) = &mut info.kill_policy {
            policy.grace_period = policy.grace_period.take().map(positive);
        }
        if let Some(executor) = &mut info.executor {
            spell_out_executor(executor, some_resources());
        }
        info.command = info.command.take().map(spelled_out);
        let typed = task::from_v1(info.clone(), FRAMEWORK);
        secrets::conceal(&mut info.container);
        prop_assert_eq!(typed.role.as_str(), "web");
        prop_assert_eq!(task::to_v1(&typed, FRAMEWORK, Form::Plain), info);
    }

    #[test]
    fn an_executor_comes_back_whole(seed: u64) {
        let mut info: api::ExecutorInfo = random(seed);
        spell_out_executor(&mut info, some_resources());
        let (typed, _) = executor::from_v1(info.clone(), FRAMEWORK);
        prop_assert_eq!(executor::to_v1(&typed, FRAMEWORK, Form::Plain, Some("web")), info);
    }

    #[test]
    fn a_command_comes_back_whole(seed: u64) {
        let info = spelled_out(random(seed));
        prop_assert_eq!(command::to_v1(&command::from_v1(info.clone()).0), info);
    }

    #[test]
    fn a_status_comes_back_whole(seed: u64) {
        let mut info: api::TaskStatus = random(seed);
        info.uuid = info.uuid.map(|_| vec![7; 16]);
        info.source = Some(info.source.unwrap_or(api::task_status::Source::Executor as i32));
        info.timestamp = Some(info.timestamp.unwrap_or(0.0));
        info.unreachable_time =
            info.unreachable_time.map(|time| api::TimeInfo { nanoseconds: time.nanoseconds & i64::MAX });
        let typed = status::from_v1(info.clone()).expect("valid");
        prop_assert_eq!(status::to_v1(&typed), info);
    }

    #[test]
    fn a_framework_comes_back_whole(seed: u64, multi_role: bool, timeout in 0.0..1e9) {
        let mut info: api::FrameworkInfo = random(seed);
        let kind = |kind: i32| api::framework_info::Capability { r#type: Some(kind) };
        info.capabilities = if multi_role { vec![kind(3), kind(6)] } else { vec![kind(5)] };
        info.role = (!multi_role).then(|| "eng/web".to_owned());
        info.roles = if multi_role { vec!["b".to_owned(), "a/c".to_owned()] } else { Vec::new() };
        info.id = info.id.map(|_| api::FrameworkId { value: FRAMEWORK.to_owned() });
        info.failover_timeout = Some(timeout);
        info.checkpoint = Some(info.checkpoint.unwrap_or(false));
        info.hostname = info.hostname.filter(|hostname| !hostname.is_empty());
        info.offer_filters.retain(|entry| entry.value.min_allocatable_resources.is_none());
        let (typed, suppressed) = framework::from_v1(info.clone(), &[]).expect("valid");
        prop_assert!(suppressed.is_empty());
        prop_assert_eq!(framework::to_v1(&typed), info);
    }

    #[test]
    fn no_number_is_too_strange(bits: u64, begin: u64, end: u64) {
        let value = f64::from_bits(bits);
        let taken = resource::from_v1(&[scalar("cpus", value)]);
        prop_assert_eq!(taken.is_ok(), (0.0..=1e12).contains(&value), "{}", value);
        prop_assert_eq!(resource::from_v1(&[ranges("ports", &[(begin, end)])]).is_ok(), begin <= end);
    }
}

fn defect(change: impl FnOnce(&mut api::TaskInfo)) -> Option<String> {
    changed(change).defect.map(|defect| defect.words)
}

fn changed(change: impl FnOnce(&mut api::TaskInfo)) -> kaon_kernel::task::TaskInfo {
    let mut info = api::TaskInfo {
        name: "t".to_owned(),
        task_id: api::TaskId { value: "t".to_owned() },
        agent_id: api::AgentId { value: "m-S1".to_owned() },
        resources: vec![scalar("cpus", 1.0), scalar("gpus", 0.0)],
        command: Some(api::CommandInfo { value: Some("true".to_owned()), ..api::CommandInfo::default() }),
        ..api::TaskInfo::default()
    };
    change(&mut info);
    task::from_v1(info, FRAMEWORK)
}

#[test]
fn labels_that_ask_for_a_place_become_its_request_or_the_defect_of_the_task() {
    let label = |key: &str, value: &str| api::Label { key: key.to_owned(), value: Some(value.to_owned()) };
    let with = |labels: Vec<api::Label>| changed(|task| task.labels = Some(api::Labels { labels }));
    let plain = with(vec![label("color", "red")]);
    assert_eq!((plain.placement, plain.defect), (None, None));
    let placed = with(vec![label("kaon.placement/policy", "numa"), label("color", "red")]);
    assert_eq!(placed.placement.expect("a request").policy, kaon_kernel::placement::Policy::OneNode);
    assert_eq!(placed.labels.len(), 2, "labels stay for all to read");
    let defect = with(vec![label("kaon.placement/polcy", "numa")]).defect.expect("a defect").words;
    assert!(defect.contains("did you mean 'kaon.placement/policy'?"), "{defect}");
}

#[test]
fn limits_and_containers_are_read_and_their_rules_kept() {
    use kaon_kernel::container_info::{Capabilities, IpcMode, Limit, Limits, Propagation, VolumeSource};
    let limit = |key: &str, value: f64| api::task_info::LimitsEntry {
        key: key.to_owned(),
        value: api::value::Scalar { value },
    };
    let bursting = changed(|task| task.limits = vec![limit("cpus", f64::INFINITY), limit("mem", 64.0)]);
    assert_eq!(bursting.defect, None);
    let wanted = Limits { cpus: Some(Limit::Unlimited), mem: Some(Limit::Amount(Quantity::units(64))) };
    assert_eq!(bursting.limits.as_deref(), Some(&wanted));
    assert_eq!(task::to_v1(&bursting, FRAMEWORK, Form::Stack).limits.len(), 2, "the rest says them again");
    for (bad, words) in [
        (limit("cpus", 0.5), "less than what the task takes"),
        (limit("cpus", f64::NAN), "not a number"),
        (limit("disk", 1.0), "'disk' in the task resource limits is not supported"),
    ] {
        let defect = defect(|task| task.limits = vec![bad]).expect("a defect");
        assert!(defect.contains(words), "{defect}");
    }

    let mesos = api::ContainerInfo { r#type: 2, ..api::ContainerInfo::default() };
    let with = |container: api::ContainerInfo| changed(|task| task.container = Some(container));
    assert_eq!((with(mesos.clone()).container, with(mesos.clone()).defect), (None, None), "it asks for nothing");
    let linux_info = api::LinuxInfo {
        effective_capabilities: Some(api::CapabilityInfo { capabilities: vec![1000, 1013] }),
        ipc_mode: Some(1),
        shm_size: Some(8),
        ..api::LinuxInfo::default()
    };
    let rlimit = api::r_limit_info::RLimit { r#type: Some(10), hard: Some(64), soft: Some(32) };
    let volume = api::Volume {
        mode: 2,
        container_path: "v".to_owned(),
        host_path: Some("/srv".to_owned()),
        ..Default::default()
    };
    let asked = api::ContainerInfo {
        hostname: Some("h".to_owned()),
        linux_info: Some(linux_info),
        rlimit_info: Some(api::RLimitInfo { rlimits: vec![rlimit] }),
        volumes: vec![volume],
        ..mesos.clone()
    };
    let typed = with(asked).container.expect("typed");
    assert_eq!(typed.hostname.as_deref(), Some("h"));
    assert_eq!(typed.rlimits, [("RLMT_NOFILE".to_owned(), Some(32), Some(64))]);
    assert_eq!((typed.linux.effective, typed.linux.ipc), (Some(Capabilities(1 | 1 << 13)), Some(IpcMode::Private)));
    let host = VolumeSource::Host { path: "/srv".to_owned(), propagation: Propagation::Private };
    assert!(typed.volumes[0].is_read_only && typed.volumes[0].source == host);
    let one = api::r_limit_info::RLimit { r#type: Some(10), hard: Some(64), soft: None };
    let half = api::ContainerInfo { rlimit_info: Some(api::RLimitInfo { rlimits: vec![one] }), ..mesos.clone() };
    assert!(with(half).defect.expect("a defect").words.contains("set both limits or none"));
    let linux_info = api::LinuxInfo { shm_size: Some(8), ..api::LinuxInfo::default() };
    let shared = api::ContainerInfo { linux_info: Some(linux_info), ..mesos };
    assert!(with(shared).defect.expect("a defect").words.contains("Only set 'shm_size'"));
}

#[test]
fn images_and_docker_containers_are_typed_or_named() {
    use kaon_kernel::container_info::{DockerNetwork, PortMapping};
    let with = |container: api::ContainerInfo| changed(|task| task.container = Some(container));
    let docker = |name: &str| api::image::Docker { name: name.to_owned(), ..Default::default() };
    let image = |name: &str| api::Image { r#type: 2, docker: Some(docker(name)), ..Default::default() };
    let mesos = |image| api::ContainerInfo {
        r#type: 2,
        mesos: Some(api::container_info::MesosInfo { image: Some(image) }),
        ..Default::default()
    };
    let typed = with(mesos(image("team/app:2"))).container.expect("typed");
    let typed = typed.image.expect("an image");
    assert_eq!((typed.name.as_str(), typed.is_cached, typed.credentials), ("team/app:2", true, None));
    for (bad, words) in [
        (api::Image { r#type: 1, ..image("a") }, "type APPC is not supported"),
        (api::Image { docker: None, ..image("a") }, "'docker' is not set for an image"),
        (image(""), "The name of an image"),
        (image("a b"), "The name of an image"),
    ] {
        let defect = with(mesos(bad)).defect.expect("a defect").words;
        assert!(defect.contains(words), "{defect}");
    }
    let asked = |change: &dyn Fn(&mut api::container_info::DockerInfo)| {
        let mut info = api::container_info::DockerInfo { image: "app".to_owned(), ..Default::default() };
        change(&mut info);
        with(api::ContainerInfo { r#type: 1, docker: Some(info), ..Default::default() })
    };
    let port = |host_port, container_port, protocol: &str| api::container_info::docker_info::PortMapping {
        host_port,
        container_port,
        protocol: Some(protocol.to_owned()),
    };
    let plain = asked(&|_| {}).container.expect("typed").docker.expect("of Docker");
    assert_eq!((plain.network, plain.is_privileged, plain.pulls), (DockerNetwork::Host, false, false));
    let bridged = asked(&|info| {
        info.network = Some(2);
        info.port_mappings = vec![port(31_000, 80, "udp")];
    });
    let bridged = bridged.container.expect("typed").docker.expect("of Docker");
    assert_eq!(bridged.ports, [PortMapping { host: 31_000, container: 80, is_udp: true }]);
    for (network, ports, words) in [
        (1, vec![port(1, 1, "tcp")], "only supported for bridge"),
        (2, vec![port(1, 0, "tcp")], "a port that is none"),
        (2, vec![port(65_536, 1, "tcp")], "a port that is none"),
        (2, vec![port(1, 1, "sctp")], "neither tcp nor udp"),
        (4, Vec::new(), "needs a name in 'network_infos'"),
        (9, Vec::new(), "Unknown Docker network"),
    ] {
        let defect = asked(&|info| {
            info.network = Some(network);
            info.port_mappings.clone_from(&ports);
        });
        let defect = defect.defect.expect("a defect").words;
        assert!(defect.contains(words), "{defect}");
    }
}

#[test]
fn what_breaks_a_rule_becomes_the_defect_of_its_task() {
    assert_eq!(defect(|_| {}), None);
    let assert_told = |defect: Option<String>, words: &str| {
        assert!(defect.as_ref().is_some_and(|text| text.contains(words)), "{defect:?} has no {words:?}");
    };
    for bad in [-1.0, f64::NAN, f64::INFINITY, 1e18] {
        assert_told(defect(|task| task.resources.push(scalar("mem", bad))), "scalar resource 'mem'");
    }
    assert_told(defect(|task| task.resources.push(ranges("ports", &[(5, 3)]))), "ends before it begins");
    assert_told(defect(|task| task.resources.push(ranges("ports", &[(1, 5), (3, 9)]))), "overlap");
    let twice =
        |task: &mut api::TaskInfo| task.resources.extend([ranges("ports", &[(1, 5)]), ranges("ports", &[(5, 9)])]);
    assert_told(defect(twice), "counted twice");
    let negative = Some(api::DurationInfo { nanoseconds: -1 });
    let policy = Some(api::KillPolicy { grace_period: negative });
    assert_told(defect(|task| task.kill_policy = policy), "kill_policy.grace_period");
    assert_told(defect(|task| task.max_completion_time = negative), "max_completion_time");
    assert_told(defect(|task| task.check = Some(api::CheckInfo::default())), "must specify 'type'");
    let tcp =
        api::CheckInfo { r#type: Some(3), tcp: Some(api::check_info::Tcp { port: 1 }), ..api::CheckInfo::default() };
    let far = api::CheckInfo { tcp: Some(api::check_info::Tcp { port: 1 << 16 }), ..tcp.clone() };
    assert_told(defect(|task| task.check = Some(far)), "port of a check");
    assert_eq!(defect(|task| task.check = Some(tcp)), None);
    let late = api::HealthCheck {
        r#type: Some(3),
        tcp: Some(api::health_check::TcpCheckInfo { protocol: None, port: 1 }),
        delay_seconds: Some(-1.0),
        ..api::HealthCheck::default()
    };
    assert_told(defect(|task| task.health_check = Some(late)), "'delay_seconds'");
    let variable = |kind: i32, value: Option<&str>| {
        let variable = api::environment::Variable {
            name: "X".to_owned(),
            r#type: Some(kind),
            value: value.map(str::to_owned),
            secret: None,
        };
        defect(|task| {
            let command = task.command.get_or_insert_default();
            command.environment = Some(api::Environment { variables: vec![variable] });
        })
    };
    assert_eq!(variable(1, Some("y")), None);
    assert_told(variable(1, None), "must have a value set");
    assert_told(variable(2, None), "must have a secret set");
    assert_told(variable(0, Some("y")), "'UNKNOWN' is not allowed");
    assert_told(variable(1, Some("\0")), "null byte");
    let container = |container: api::ContainerInfo| defect(|task| task.container = Some(container));
    let mesos = api::ContainerInfo { r#type: 2, ..api::ContainerInfo::default() };
    assert_eq!(container(mesos.clone()), None);
    assert_told(container(api::ContainerInfo { r#type: 1, ..mesos.clone() }), "'docker' is not set");
    let two_ways = api::Volume {
        mode: 1,
        host_path: Some("/".to_owned()),
        source: Some(api::volume::Source::default()),
        ..api::Volume::default()
    };
    assert_told(container(api::ContainerInfo { volumes: vec![two_ways], ..mesos.clone() }), "Only one of them");
    let mapping = |host_port, protocol: &str| {
        let mapping =
            api::network_info::PortMapping { host_port, container_port: 80, protocol: Some(protocol.to_owned()) };
        let network = api::NetworkInfo { port_mappings: vec![mapping], ..api::NetworkInfo::default() };
        container(api::ContainerInfo { network_infos: vec![network], ..mesos.clone() })
    };
    assert_eq!(mapping(31_000, "UDP"), None);
    assert_told(mapping(1 << 16, "tcp"), "a port that is none");
    assert_told(mapping(0, "tcp"), "a port that is none");
    assert_told(mapping(31_000, "sctp"), "neither tcp nor udp");
    let secret = |value: Option<&[u8]>| {
        let value = value.map(|data| api::secret::Value { data: data.to_vec() });
        let variable = api::environment::Variable {
            name: "X".to_owned(),
            r#type: Some(2),
            value: None,
            secret: Some(api::Secret { r#type: Some(2), reference: None, value }),
        };
        defect(|task| {
            let command = task.command.get_or_insert_default();
            command.environment = Some(api::Environment { variables: vec![variable] });
        })
    };
    assert_eq!(secret(Some(b"s")), None);
    assert_told(secret(Some(b"\0")), "null bytes");
    assert_told(secret(Some(&[0xff])), "is no text");
    assert_told(secret(None), "must have the 'value' field set");
    let stranger = api::ExecutorInfo {
        framework_id: Some(api::FrameworkId { value: "other".to_owned() }),
        ..api::ExecutorInfo::default()
    };
    assert_told(defect(|task| task.executor = Some(stranger)), "invalid FrameworkID");
    let mixed = |task: &mut api::TaskInfo| {
        let mut one = scalar("mem", 1.0);
        one.allocation_info = Some(AllocationInfo { role: Some("a".to_owned()) });
        let mut two = one.clone();
        two.allocation_info = Some(AllocationInfo { role: Some("b".to_owned()) });
        task.resources.extend([one, two]);
    };
    assert_told(defect(mixed), "different roles");
}

#[test]
fn frameworks_are_judged_by_the_rules_of_their_capabilities() {
    let multi = api::framework_info::Capability { r#type: Some(6) };
    let good = api::FrameworkInfo { user: "u".to_owned(), name: "n".to_owned(), ..api::FrameworkInfo::default() };
    let judge = |info: &api::FrameworkInfo, suppressed: &[&str]| {
        let suppressed: Vec<String> = suppressed.iter().map(|role| (*role).to_owned()).collect();
        framework::from_v1(info.clone(), &suppressed)
    };
    assert_eq!(judge(&good, &[]).expect("valid").0.roles, [RoleName::trusted("*")]);
    let several = api::FrameworkInfo { capabilities: vec![multi], ..good.clone() };
    assert!(judge(&several, &[]).expect("valid").0.roles.is_empty());
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    for bad in [
        api::FrameworkInfo { role: Some("a".to_owned()), ..several.clone() },
        api::FrameworkInfo { roles: strings(&["a"]), ..good.clone() },
        api::FrameworkInfo { roles: strings(&["a", "a"]), ..several.clone() },
        api::FrameworkInfo { roles: strings(&["a/../b"]), ..several.clone() },
        api::FrameworkInfo { failover_timeout: Some(-1e10), ..good.clone() },
        api::FrameworkInfo { failover_timeout: Some(1e300), ..good.clone() },
        api::FrameworkInfo { id: Some(api::FrameworkId { value: "a/b".to_owned() }), ..good.clone() },
    ] {
        assert!(judge(&bad, &[]).is_err(), "{bad:?}");
    }
    // Less than nothing is nothing, and is shown as it was said.
    let (typed, _) = judge(&api::FrameworkInfo { failover_timeout: Some(-1.0), ..good.clone() }, &[]).expect("valid");
    assert_eq!(typed.failover_timeout, Duration::ZERO);
    assert_eq!(framework::to_v1(&typed).failover_timeout, Some(-1.0));
    let two = api::FrameworkInfo { roles: strings(&["a", "b"]), ..several };
    assert_eq!(judge(&two, &["b"]).expect("valid").1, [RoleName::trusted("b")]);
    assert!(judge(&two, &["c"]).is_err());
    let empty = api::FrameworkInfo { id: Some(api::FrameworkId::default()), ..good };
    assert_eq!(judge(&empty, &[]).expect("an empty id is none").0.id, None);
}

#[test]
fn an_offer_has_the_shape_of_its_reader() {
    let bag = kaon_kernel::resource::parse::resources("cpus:2;mem(web):64;ephemeral_ports:[1-9]").expect("valid");
    let given = Offer {
        id: OfferId(7),
        agent_id: AgentId::trusted("m-S1"),
        hostname: "h".to_owned(),
        ip: "10.0.0.1".to_owned(),
        port: 5051,
        role: RoleName::trusted("web"),
        resources: bag,
        attributes: Vec::new(),
        executors: Vec::new(),
        domain: None,
        unavailability: None,
    };
    let reader = |multi_role, reservation_refinement| offer::Reader {
        master_id: "m",
        framework_id: FRAMEWORK,
        multi_role,
        reservation_refinement,
    };
    let old = offer::to_v1(&given, reader(false, false));
    assert_eq!(old.id.value, "m-O7");
    let url = old.url.expect("a url");
    assert_eq!((url.scheme.as_str(), url.path.as_deref()), ("http", Some("/slave(1)")));
    assert_eq!((url.address.ip.as_deref(), url.address.port), (Some("10.0.0.1"), 5051));
    assert_eq!(old.allocation_info, None);
    let roles: Vec<_> = old.resources.iter().map(|one| (one.name.as_str(), one.role.as_deref())).collect();
    assert_eq!(roles, [("cpus", Some("*")), ("mem", Some("web"))]);
    assert!(old.resources.iter().all(|one| one.allocation_info.is_none() && one.reservations.is_empty()));
    let new = offer::to_v1(&given, reader(true, true));
    assert_eq!(new.allocation_info.as_ref().and_then(|info| info.role.as_deref()), Some("web"));
    assert!(new.resources.iter().all(|one| one.role.is_none() && one.reservation.is_none()));
    assert!(new.resources.iter().all(|one| one.allocation_info == new.allocation_info));
    assert_eq!(new.resources[1].reservations.len(), 1);
}

#[test]
fn calls_become_the_kernels_own() {
    let read = |json: serde_json::Value| {
        let call: v1::scheduler::Call =
            kaon_http::codec::decode(kaon_http::codec::MediaType::Json, json.to_string().as_bytes()).expect("a call");
        let kind = call::kind(&call)?;
        call::validate(&call, kind)?;
        call::from_v1(call, kind, "m")
    };
    let accept = read(serde_json::json!({
        "framework_id": {"value": "f"}, "type": "ACCEPT",
        "accept": {
            "offer_ids": [{"value": "m-O3"}, {"value": "other-O3"}, {"value": "m-O03"}],
            "operations": [{"type": "LAUNCH", "id": {"value": "x"}, "launch": {"task_infos": [{
                "name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "a"}}]}}, {"type": "UNKNOWN"}],
            "filters": {"refuse_seconds": 4294967295.0},
        },
    }));
    let Ok(Call::Accept { offers, operations, refusal }) = accept else { panic!("{accept:?}") };
    let foreign = |text: &str| ClientOffer::Foreign(text.to_owned());
    assert_eq!(offers, [ClientOffer::Known(OfferId(3)), foreign("other-O3"), foreign("m-O03")]);
    assert_eq!(refusal, Refusal::MAX);
    let [OfferOperation::Launch { tasks }] = operations.as_slice() else { panic!("{operations:?}") };
    assert!(tasks[0].defect.as_ref().is_some_and(|defect| defect.words.contains("'id'")));
    let operation = |kind: &str| {
        read(serde_json::json!({"framework_id": {"value": "f"}, "type": "ACCEPT",
            "accept": {"operations": [{"type": "LAUNCH"}, {"type": kind}]}}))
    };
    // A missing part is the master's to tell, to those who named their operation.
    let Ok(Call::Accept { operations, .. }) = operation("RESERVE") else { panic!("it is taken") };
    let [_, OfferOperation::Convert { operation: Err(reason), .. }] = operations.as_slice() else {
        panic!("{operations:?}")
    };
    assert!(reason.words.contains("'reserve'"), "{reason}");
    let kill = |nanoseconds: i64| {
        read(serde_json::json!({"framework_id": {"value": "f"}, "type": "KILL",
            "kill": {"task_id": {"value": "t"}, "kill_policy": {"grace_period": {"nanoseconds": nanoseconds}}}}))
    };
    assert!(matches!(kill(5), Ok(Call::Kill { grace: Some(_), agent_id: None, .. })));
    assert!(matches!(kill(-5), Err(CallError::Rule(..))));
    assert!(matches!(
        read(serde_json::json!({"framework_id": {"value": "f/g"}, "type": "REVIVE"})),
        Err(CallError::Id { .. })
    ));
}

#[test]
fn operations_are_shown_as_they_were_asked_for() {
    use kaon_http::codec::{MediaType, decode};
    use kaon_http::convert::operation::{from_v1, held_to_v1};
    use kaon_http::v1::mesos::offer::operation::Type;
    use kaon_kernel::operation::{HeldOperation, OperationState, OperationStatus};
    let disk = |value: f64| {
        serde_json::json!({"name": "disk", "type": "SCALAR", "scalar": {"value": value}, "reservations": [
            {"type": "DYNAMIC", "role": "web", "principal": "p", "labels": {"labels": [{"key": "k"}]}},
            {"type": "DYNAMIC", "role": "web/a"}]})
    };
    let volume = |value: f64| {
        let mut volume = disk(value);
        volume["disk"] =
            serde_json::json!({"persistence": {"id": "v"}, "volume": {"container_path": "x", "mode": "RW"}});
        volume
    };
    for (kind, body) in [
        ("RESERVE", serde_json::json!({"resources": [disk(1.5)], "source": [disk(1.5)]})),
        ("UNRESERVE", serde_json::json!({"resources": [disk(1.0)]})),
        ("CREATE", serde_json::json!({"volumes": [volume(1.0)]})),
        ("DESTROY", serde_json::json!({"volumes": [volume(1.0)]})),
        ("GROW_VOLUME", serde_json::json!({"volume": volume(1.0), "addition": disk(0.0)})),
        ("SHRINK_VOLUME", serde_json::json!({"volume": volume(3.0), "subtract": {"value": 1.25}})),
    ] {
        let mut asked = serde_json::json!({"type": kind, "id": {"value": "o"}});
        asked[kind.to_ascii_lowercase()] = body;
        let asked: api::offer::Operation = decode(MediaType::Json, asked.to_string().as_bytes()).expect("an operation");
        let number = asked.r#type.expect("a type");
        let read = |asked: api::offer::Operation| match from_v1(asked, Type::try_from(number).expect("a type")) {
            OfferOperation::Convert { operation_id, operation: Ok(operation), .. } => (operation_id, *operation),
            other => panic!("{other:?}"),
        };
        let (operation_id, operation) = read(asked);
        let status = OperationStatus::bare(operation_id, OperationState::Pending, None);
        let held = HeldOperation { uuid: Uuid([3; 16]), author: None, operation, status };
        let shown = held_to_v1(&held, &AgentId::trusted("a"));
        assert_eq!(read(shown.info), (held.status.operation_id, held.operation), "{kind}");
        assert_eq!(shown.uuid.value, [3; 16]);
    }
}
