//! Members of a cluster that lie about who they are, with real certificates over real QUIC (attacks 24, 26 and 27): what
//! a certificate does not vouch for is refused and counted, and nothing else changes.

use crate::client::get;
use crate::deadline::{SOON, wait_for};
use crate::fleet::Fleet;
use crate::framework::{Framework, info, task};
use crate::processes;
use kaon_kernel::actor::{ActorKind, Address, HostId, Link, LinkState, Term};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::frame::{Frame, Root, Route};
use kaon_kernel::id::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, Uuid};
use kaon_kernel::message::agent_master::{ToAgent, ToMaster};
use kaon_kernel::message::executor_agent::ToAgent as FromExecutor;
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{AgentMessage, ArchivedAgentMessage, MasterMessage};
use kaon_kernel::port::{Ingress, Network, Refused};
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{Source, TaskState, TaskStatus};
use kaon_kernel::time::WallTime;
use kaon_transport::{AuthorityCertificate, Credentials, Endpoint, EndpointConfig, Target, Trust};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A host without actors: it says what a test tells it to say, and remembers what it is told.
struct Impostor {
    host: HostId,
    endpoint: Arc<Endpoint>,
    heard: Arc<Heard>,
    runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Heard {
    links: Mutex<Vec<Link>>,
    frames: Mutex<Vec<Frame>>,
}

impl Ingress for Heard {
    fn deliver(&self, frame: Frame) -> Result<(), Refused> {
        self.frames.lock().expect("not poisoned").push(frame);
        Ok(())
    }

    fn link(&self, link: Link) {
        self.links.lock().expect("not poisoned").push(link);
    }
}

impl Impostor {
    /// A host with these credentials that looks for `target`.
    fn connect(host: u64, credentials: Credentials, trust: Trust, target: Target) -> Self {
        let (host, heard) = (HostId(host), Arc::<Heard>::default());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let bind = "127.0.0.1:0".parse().expect("an address");
        let config = EndpointConfig::new(host, credentials, vec![trust], bind);
        let entered = runtime.enter();
        let endpoint = Endpoint::bind(config, Arc::clone(&heard) as Arc<dyn Ingress>).expect("an endpoint");
        endpoint.connect(target).expect("room for a target");
        drop(entered);
        Self { host, endpoint, heard, runtime }
    }

    /// The host at the other end, once a session stands.
    fn peer(&self) -> HostId {
        let up = |links: &Vec<Link>| links.iter().find(|link| link.state == LinkState::Up).map(|link| link.host);
        wait_for("a session", SOON, || up(&self.heard.links.lock().expect("not poisoned")))
    }

    fn say<M: Root>(&self, from: ActorKind, to: ActorKind, message: &M) {
        let (to, from) = (Address::only(self.peer(), to), Address::only(self.host, from));
        let frame = Frame::encode(Route { to, from, sequence: 1, term: Term(0) }, message);
        self.endpoint.send(frame).expect("the session takes it");
    }

    /// Waits for a message to an agent that satisfies `is_wanted`.
    fn hears(&self, what: &str, is_wanted: impl Fn(&ToAgent) -> bool) {
        let is_heard = |frame: &Frame| match frame.body::<AgentMessage>() {
            Some(ArchivedAgentMessage::Master(message)) => is_wanted(&kaon_kernel::frame::copy(message)),
            _ => false,
        };
        wait_for(what, SOON, || self.heard.frames.lock().expect("not poisoned").iter().any(is_heard).then_some(()));
    }

    fn leave(self) {
        self.runtime.block_on(self.endpoint.close());
    }
}

/// A counter of a host's own metrics.
fn counter(api: &str, name: &str) -> f64 {
    get(api, "/metrics/snapshot").json()[name].as_f64().unwrap_or_default()
}

fn pem(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).expect("a PEM file")
}

/// What an agent told the executor of a task, as root reads it from `/proc`: more than any task ever sees.
fn secrets(fleet: &Fleet, task: &str) -> BTreeMap<String, String> {
    let read = |pid: i32| -> BTreeMap<String, String> {
        let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split('\0').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    };
    let is_its = |variables: &BTreeMap<String, String>| {
        variables.get("MESOS_EXECUTOR_ID").is_some_and(|id| id == task) && variables.contains_key("KAON_EXECUTOR_KEY")
    };
    let found = || processes::of(&fleet.path("")).iter().map(|process| read(process.pid)).find(is_its);
    wait_for("the executor's environment", SOON, found)
}

fn impostor_of_executor(secrets: &BTreeMap<String, String>, host: u64, address: &str, agent: &str) -> Impostor {
    let credentials = Credentials::from_pem(&secrets["KAON_EXECUTOR_CERTIFICATE"], &secrets["KAON_EXECUTOR_KEY"]);
    let authority = AuthorityCertificate::from_pem(&secrets["KAON_EXECUTOR_AUTHORITY"]).expect("an authority");
    let target = Target {
        address: address.parse().expect("an address"),
        server_name: None,
        role: Some(PeerRole::Agent),
        name: Some(agent.to_owned()),
    };
    let trust = Trust { authority, roles: vec![PeerRole::Agent] };
    Impostor::connect(host, credentials.expect("credentials"), trust, target)
}

fn ended(task: &str) -> TaskStatus {
    let task_id = TaskId::parse(task).expect("an id");
    TaskStatus {
        uuid: Some(Uuid([7; 16])),
        ..TaskStatus::bare(task_id, TaskState::Finished, Source::Executor, WallTime(1))
    }
}

#[test]
fn an_executor_speaks_for_its_own_task_alone() {
    let mut fleet = Fleet::new();
    fleet.master(&[]);
    fleet.agent("agent-1", &[]);
    let (api, agent) = (fleet.api(), fleet.hosts[1].http.clone());
    let mut framework = Framework::subscribe(&api, info("owner"));
    framework.launch_until(vec![task("mine", "sleep 1000"), task("yours", "sleep 1000")], "TASK_RUNNING");
    let secrets = secrets(&fleet, "mine");
    let impostor = impostor_of_executor(&secrets, 0xbad, &secrets["KAON_AGENT_ADDRESS"], "agent-1");
    let (invalid, foreign) = ("slave/invalid_status_updates", "slave/refused_senders");
    let before = (counter(&agent, invalid), counter(&agent, foreign));

    // A status for the task of another container of the same framework.
    let update = FromExecutor::Update { status: Box::new(ended("yours")) };
    impostor.say(ActorKind::Executor, ActorKind::Agent, &AgentMessage::Executor(update));
    wait_for("the refused status", SOON, || (counter(&agent, invalid) > before.0).then_some(()));

    // Registration as the executor of another container.
    let container = secrets["MESOS_DIRECTORY"].rsplit('/').next().expect("a container").to_owned();
    for (executor, container) in [("yours", container.as_str()), ("mine", "00000000-0000-4000-8000-000000000000")] {
        let seen = counter(&agent, foreign);
        let register = FromExecutor::Register {
            framework_id: FrameworkId::parse(&framework.id).expect("an id"),
            executor_id: ExecutorId::parse(executor).expect("an id"),
            container_id: ContainerId::parse(container).expect("an id"),
            unacknowledged: vec![ended("yours")],
            tasks: Vec::new(),
        };
        impostor.say(ActorKind::Executor, ActorKind::Agent, &AgentMessage::Executor(register));
        wait_for("the refused registration", SOON, || (counter(&agent, foreign) > seen).then_some(()));
    }
    impostor.leave();
    for task in ["mine", "yours"] {
        assert_eq!(framework.latest(task), Some("TASK_RUNNING"), "{task}");
        framework.must("KILL", serde_json::json!({"task_id": {"value": task}}));
    }
    framework.until("both to be killed", |framework| {
        ["mine", "yours"].iter().all(|task| framework.latest(task) == Some("TASK_KILLED"))
    });
    framework.teardown();
}

/// A master, an agent, and a framework whose task runs on it.
fn owned() -> (Fleet, Framework) {
    let mut fleet = Fleet::new();
    fleet.master(&[]);
    fleet.agent("agent-1", &[]);
    let mut framework = Framework::subscribe(&fleet.api(), info("owner"));
    framework.launch_until(vec![task("mine", "sleep 1000")], "TASK_RUNNING");
    (fleet, framework)
}

#[test]
fn an_executor_of_one_agent_is_a_stranger_to_another() {
    let (mut fleet, framework) = owned();
    let secrets = secrets(&fleet, "mine");
    fleet.agent("agent-2", &["--log", "debug"]);
    let listen = fleet.hosts[2].listen.clone();
    let impostor = impostor_of_executor(&secrets, 0xbad, &listen, "agent-2");
    // Each agent vouches for its own executors alone: there is no session.
    let is_refused = || fleet.log("agent-2").contains("no handshake").then_some(());
    wait_for("the refusal in the agent's log", SOON, is_refused);
    assert!(impostor.heard.frames.lock().expect("not poisoned").is_empty());
    impostor.leave();
    assert_eq!(framework.latest("mine"), Some("TASK_RUNNING"));
    framework.teardown();
}

#[test]
fn an_agent_does_not_come_back_as_another_agent() {
    let (fleet, mut framework) = owned();
    let victim = framework.launched["mine"]["value"].as_str().expect("an agent id").to_owned();

    fleet.issue("agent", "agent-2");
    let home = fleet.path("agent-2");
    let credentials = Credentials::from_pem(&pem(&home.join("agent-2.pem")), &pem(&home.join("agent-2.key")));
    let authority = AuthorityCertificate::from_pem(&pem(&fleet.path("ca/authority.pem"))).expect("an authority");
    let address = fleet.hosts[0].listen.parse().expect("an address");
    let target = Target { address, server_name: None, role: Some(PeerRole::Master), name: None };
    let trust = Trust { authority, roles: vec![PeerRole::Master] };
    let impostor = Impostor::connect(0xbad, credentials.expect("credentials"), trust, target);
    let info = AgentInfo {
        id: Some(AgentId::parse(&victim).expect("an id")),
        hostname: "evil".to_owned(),
        ip: "127.0.0.1".to_owned(),
        port: 5051,
        version: "0".to_owned(),
        ..AgentInfo::default()
    };
    let lie = ToMaster::Reregister {
        info: Box::new(info),
        frameworks: Vec::new(),
        executors: Vec::new(),
        tasks: Vec::new(),
        checkpointed: Resources::new(),
        operations: Vec::new(),
        episode: Uuid([7; 16]),
    };
    impostor.say(ActorKind::Agent, ActorKind::Master, &MasterMessage::Agent(lie));
    impostor.hears("a refusal that names the certificate", |message| {
        matches!(message, ToAgent::Refused { reason } if reason.contains("another certificate than 'agent-2'"))
    });
    // Nor does it speak for the victim's tasks.
    let framework_id = FrameworkId::parse(&framework.id).expect("an id");
    let update = ToMaster::Update { framework_id, status: Box::new(ended("mine")), latest: TaskState::Finished };
    impostor.say(ActorKind::Agent, ActorKind::Master, &MasterMessage::Agent(update));
    impostor.leave();
    let state = get(&fleet.api(), "/state").json();
    let agents = state["slaves"].as_array().expect("agents");
    assert!(agents.len() == 1 && agents[0]["id"] == victim.as_str() && agents[0]["hostname"] != "evil", "{agents:?}");
    assert!(counter(&fleet.api(), "master/slave_reregistrations_refused") >= 1.0);
    framework.reconcile();
    framework.launch_until(vec![task("more", "true")], "TASK_FINISHED");
    assert_eq!(framework.latest("mine"), Some("TASK_RUNNING"));
    framework.teardown();
}
