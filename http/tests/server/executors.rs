//! The executors' and the operator's API of an agent, with the agent played by the test.

use std::collections::BTreeMap;
use std::sync::Arc;

use kaon_http::agent::token::Tokens;
use kaon_http::v1::{executor as api, mesos as v1};
use kaon_http::{AgentConfig, AgentEdge, Limits, Verbosity};
use kaon_kernel::actor::{ActorKind, Address, StreamId, Term};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::frame::{Frame, Route};
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{AgentId, ContainerId, ExecutorId, FrameworkId, RoleName, TaskId, Uuid};
use kaon_kernel::message::agent_master::RunningExecutor;
use kaon_kernel::message::agent_outside::{AgentEvent, Call, CallRefusal, ExecutorStage, ToAgent};
use kaon_kernel::message::executor_agent::ToExecutor;
use kaon_kernel::port::{Ingress, Streams};
use kaon_kernel::resource::parse::resources;
use kaon_kernel::task::{ExecutorInfo, ExecutorKind, TaskState};
use prost::Message as _;
use serde_json::{Value, json};

use super::rig::{Actors, Answer, Client, HOST, Heard, Server};

const PATH: &str = "/slave(1)/api/v1/executor";

struct Stage {
    edge: Arc<AgentEdge>,
    actors: Arc<Actors>,
    server: Server,
    _work: tempfile::TempDir,
}

fn info() -> AgentInfo {
    AgentInfo {
        id: Some(AgentId::trusted("m-S0")),
        hostname: "a.test".to_owned(),
        ip: "10.0.0.2".to_owned(),
        port: 5051,
        resources: resources("cpus:2;mem:64").expect("valid"),
        version: "0.1.0".to_owned(),
        ..AgentInfo::default()
    }
}

fn framework() -> FrameworkInfo {
    FrameworkInfo {
        id: Some(FrameworkId::trusted("f")),
        user: "u".to_owned(),
        name: "n".to_owned(),
        roles: vec![RoleName::trusted("*")],
        checkpoint: true,
        ..FrameworkInfo::default()
    }
}

fn executor() -> ExecutorInfo {
    ExecutorInfo {
        executor_id: ExecutorId::trusted("e"),
        name: "own".to_owned(),
        kind: ExecutorKind::Custom,
        command: None,
        resources: resources("cpus:0.1").expect("valid"),
        shutdown_grace: None,
        data: Some(vec![0, 255]),
        labels: Vec::new(),
        container: None,
        rest: Vec::new(),
    }
}

impl Stage {
    async fn with(tokens: Option<Tokens>) -> Self {
        let work = tempfile::tempdir().expect("a directory");
        let config = AgentConfig {
            pruner: None,
            work_dir: work.path().to_owned(),
            info: info(),
            flags: BTreeMap::from([("work_dir".to_owned(), "w".to_owned())]),
            metrics: Arc::new(Vec::new),
            host: HOST,
            tokens,
            containers: Arc::new(Vec::new),
            verbosity: Verbosity::mute(),
            log: None,
            calls: None,
        };
        let edge = AgentEdge::new(config);
        let actors = Arc::new(Actors::default());
        edge.plug(Arc::clone(&actors) as Arc<dyn Ingress>);
        let server = Server::start(Arc::clone(&edge), Limits::default()).await;
        Self { edge, actors, server, _work: work }
    }

    fn emit(&self, stream: StreamId, event: &AgentEvent) {
        let from = Address::only(HOST, ActorKind::Agent);
        let route = Route { to: Address::outside(HOST), from, sequence: 1, term: Term(0) };
        self.edge.emit(stream, Frame::encode(route, event));
    }

    async fn next(&self) -> ToAgent {
        match self.actors.next().await {
            Heard::Agent(message) => message,
            other => panic!("{other:?} is not for the agent"),
        }
    }

    async fn client(&self) -> Client {
        Client::connect(self.server.address).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Client {
        let mut client = self.client().await;
        client.post(path, headers, body).await;
        client
    }

    /// A call that the agent does not get to see.
    async fn refused(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        let answer = self.post(PATH, headers, body).await.answer().await;
        assert_eq!(self.actors.count(), 0, "{}", answer.text());
        answer
    }

    /// An executor that is subscribed.
    async fn subscribed(&self) -> (Client, StreamId) {
        let mut client = self.post(PATH, &[], &subscribe()).await;
        let ToAgent::Subscribe { stream, .. } = self.next().await else { panic!("no SUBSCRIBE") };
        self.emit(stream, &welcome());
        assert_eq!(client.head().await.status, 200);
        assert_eq!(client.event().await.expect("an event")["type"], "SUBSCRIBED");
        (client, stream)
    }
}

fn welcome() -> AgentEvent {
    AgentEvent::Subscribed {
        executor: Box::new(executor()),
        framework: Box::new(framework()),
        agent: Box::new(info()),
        container_id: ContainerId::trusted("c"),
    }
}

fn call(kind: &str, more: &Value) -> Value {
    let mut call = json!({"type": kind, "framework_id": {"value": "f"}, "executor_id": {"value": "e"}});
    for (name, value) in more.as_object().into_iter().flatten() {
        call[name] = value.clone();
    }
    call
}

fn subscribe() -> Value {
    call("SUBSCRIBE", &json!({"subscribe": {}}))
}

/// The uuid of sixteen zero bytes.
const ZEROES: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

fn update(more: &Value) -> Value {
    let mut status = json!({"task_id": {"value": "t"}, "state": "TASK_RUNNING", "uuid": ZEROES,
        "source": "SOURCE_EXECUTOR", "timestamp": 1_700_000_000.5});
    for (name, value) in more.as_object().into_iter().flatten() {
        status[name] = value.clone();
    }
    call("UPDATE", &json!({"update": {"status": status}}))
}

#[tokio::test]
async fn an_executor_subscribes_is_told_and_hangs_up() {
    let stage = Stage::with(None).await;
    let mut asking = subscribe();
    asking["subscribe"] = json!({
        "unacknowledged_tasks": [{"name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "m-S0"}}],
        "unacknowledged_updates": [update(&json!({}))["update"]],
    });
    let mut client = stage.post(PATH, &[], &asking).await;
    let ToAgent::Subscribe { caller, tasks, updates, stream } = stage.next().await else { panic!("no SUBSCRIBE") };
    assert_eq!((caller.framework_id.as_str(), caller.executor_id.as_str()), ("f", "e"));
    assert_eq!((tasks, updates.len(), caller.container_id), (vec![TaskId::trusted("t")], 1, None));
    stage.emit(stream, &welcome());
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
    assert_eq!((head.header("transfer-encoding"), head.header("mesos-stream-id")), (Some("chunked"), None));
    let first = client.event().await.expect("an event");
    let told = &first["subscribed"];
    assert_eq!(told["executor_info"]["executor_id"]["value"], "e");
    assert_eq!(told["executor_info"]["data"], "AP8=", "byte for byte");
    assert_eq!(
        (&told["framework_info"]["id"]["value"], &told["agent_info"]["id"]["value"]),
        (&"f".into(), &"m-S0".into())
    );
    assert_eq!(told["container_id"]["value"], "c");
    let told = |told| AgentEvent::Told(told);
    stage.emit(
        stream,
        &told(ToExecutor::Kill { task_id: TaskId::trusted("t"), grace: Some(kaon_kernel::time::Duration::secs(2)) }),
    );
    stage.emit(stream, &told(ToExecutor::Acknowledged { task_id: TaskId::trusted("t"), uuid: Uuid([0; 16]) }));
    stage.emit(stream, &told(ToExecutor::Message { data: vec![1] }));
    stage.emit(stream, &AgentEvent::Heartbeat);
    stage.emit(stream, &told(ToExecutor::Shutdown));
    let kill = json!({"task_id": {"value": "t"}, "kill_policy": {"grace_period": {"nanoseconds": 2_000_000_000_u64}}});
    assert_eq!(client.event().await, Some(json!({"type": "KILL", "kill": kill})));
    let acknowledged = json!({"task_id": {"value": "t"}, "uuid": ZEROES});
    assert_eq!(client.event().await, Some(json!({"type": "ACKNOWLEDGED", "acknowledged": acknowledged})));
    assert_eq!(client.event().await, Some(json!({"type": "MESSAGE", "message": {"data": "AQ=="}})));
    assert_eq!(client.event().await, Some(json!({"type": "HEARTBEAT"})));
    assert_eq!(client.event().await, Some(json!({"type": "SHUTDOWN", "shutdown": {}})));
    drop(client);
    assert_eq!(stage.next().await, ToAgent::StreamClosed { stream });
}

#[tokio::test]
async fn protobuf_is_spoken_as_well() {
    let stage = Stage::with(None).await;
    let call = api::Call {
        executor_id: v1::ExecutorId { value: "e".to_owned() },
        framework_id: v1::FrameworkId { value: "f".to_owned() },
        r#type: Some(api::call::Type::Subscribe as i32),
        subscribe: Some(api::call::Subscribe::default()),
        ..api::Call::default()
    };
    let mut client = stage.client().await;
    let headers = [("Content-Type", "application/x-protobuf"), ("Accept", "application/x-protobuf")];
    client.post_raw("/api/v1/executor", &headers, &call.encode_to_vec()).await;
    let ToAgent::Subscribe { stream, .. } = stage.next().await else { panic!("no SUBSCRIBE") };
    stage.emit(stream, &welcome());
    assert_eq!(client.head().await.header("content-type"), Some("application/x-protobuf"));
    let record = client.record().await.expect("a record");
    let event = api::Event::decode(record.as_slice()).expect("an event");
    assert_eq!(event.subscribed.expect("subscribed").executor_info.data, Some(vec![0, 255]));
    stage.emit(stream, &AgentEvent::Told(ToExecutor::Shutdown));
    let record = client.record().await.expect("a record");
    assert_eq!(api::Event::decode(record.as_slice()).expect("an event").r#type(), api::event::Type::Shutdown);
}

#[tokio::test]
async fn what_the_agent_refuses_has_the_status_of_its_reason() {
    let stage = Stage::with(None).await;
    for (refusal, status) in [
        (CallRefusal::Recovering, 503),
        (CallRefusal::UnknownFramework, 400),
        (CallRefusal::UnknownExecutor, 400),
        (CallRefusal::NotYours, 403),
        (CallRefusal::NotSubscribed, 403),
    ] {
        let mut client = stage.post(PATH, &[], &subscribe()).await;
        let ToAgent::Subscribe { stream, .. } = stage.next().await else { panic!("no SUBSCRIBE") };
        stage.emit(stream, &AgentEvent::Refused(refusal));
        assert_eq!(client.answer().await.status(), status, "{refusal}");
        let mut client = stage.post(PATH, &[], &update(&json!({}))).await;
        let ToAgent::Call { reply, call: Call::Update { status: told }, .. } = stage.next().await else {
            panic!("no UPDATE")
        };
        assert_eq!((told.state, told.uuid), (TaskState::Running, Some(Uuid([0; 16]))));
        stage.emit(reply, &AgentEvent::Refused(refusal));
        assert_eq!(client.answer().await.status(), status, "{refusal}");
    }
    let mut client = stage.post(PATH, &[], &call("MESSAGE", &json!({"message": {"data": "AQ=="}}))).await;
    let ToAgent::Call { reply, call: Call::Message { data }, .. } = stage.next().await else { panic!("no MESSAGE") };
    assert_eq!(data, [1]);
    stage.emit(reply, &AgentEvent::Accepted);
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.body.len(), answer.head.header("content-type")), (202, 0, None));
    stage.actors.refuse(true);
    assert_eq!(stage.refused(&[], &update(&json!({}))).await.status(), 503);
}

#[tokio::test]
async fn a_call_of_a_wrong_shape_reaches_nobody() {
    let stage = Stage::with(None).await;
    assert_eq!(stage.refused(&[], &call("HEARTBEAT", &json!({}))).await.status(), 202, "asked of nobody");
    for (bad, status) in [
        (json!({"type": "SUBSCRIBE"}), 400),
        (call("SUBSCRIBE", &json!({})), 400),
        (call("UPDATE", &json!({})), 400),
        (call("MESSAGE", &json!({})), 400),
        (call("NO_SUCH", &json!({})), 400),
        (call("UNKNOWN", &json!({})), 501),
        (update(&json!({"uuid": null})), 400),
        (update(&json!({"uuid": "AAAA"})), 400),
        (update(&json!({"source": null})), 400),
        (update(&json!({"source": "SOURCE_AGENT"})), 400),
        (update(&json!({"state": "TASK_STAGING"})), 400),
        (update(&json!({"executor_id": {"value": "other"}})), 400),
        (update(&json!({"check_status": {"type": "TCP"}})), 400),
        (
            json!({"type": "SUBSCRIBE", "subscribe": {}, "framework_id": {"value": "../f"}, "executor_id": {"value": "e"}}),
            400,
        ),
    ] {
        let answer = stage.refused(&[], &bad).await;
        assert_eq!(answer.status(), status, "{bad} {}", answer.text());
    }
    assert_eq!(stage.refused(&[("Accept", "text/html")], &subscribe()).await.status(), 406);
    let mut client = stage.client().await;
    client.post_raw(PATH, &[("Content-Type", "application/json; charset=utf-8")], b"{}").await;
    assert_eq!(client.answer().await.status(), 415);
    let mut client = stage.client().await;
    client.post_raw(PATH, &[], b"{}").await;
    assert_eq!(client.answer().await.status(), 400);
}

#[tokio::test]
async fn tokens_are_asked_for_and_must_be_the_callers_own() {
    let key = [7; 32];
    let stage = Stage::with(Some(Tokens::new(&key, true).expect("long enough"))).await;
    let tokens = Tokens::new(&key, true).expect("long enough");
    let token = |executor: &str| {
        let (framework, executor) = (FrameworkId::trusted("f"), ExecutorId::trusted(executor.to_owned()));
        format!("Bearer {}", tokens.issue(&framework, &executor, &ContainerId::trusted("c")))
    };
    let answer = stage.refused(&[], &subscribe()).await;
    assert_eq!((answer.status(), answer.head.header("www-authenticate").is_some()), (401, true));
    assert_eq!(stage.refused(&[("Authorization", "Bearer x.y.z")], &subscribe()).await.status(), 401);
    let (own, other) = (token("e"), token("other"));
    assert_eq!(stage.refused(&[("Authorization", &other)], &subscribe()).await.status(), 403);
    assert_eq!(stage.refused(&[("Authorization", &other)], &call("HEARTBEAT", &json!({}))).await.status(), 403);
    let _client = stage.post(PATH, &[("Authorization", &own)], &subscribe()).await;
    let ToAgent::Subscribe { caller, .. } = stage.next().await else { panic!("no SUBSCRIBE") };
    assert_eq!(caller.container_id, Some(ContainerId::trusted("c")), "the agent compares it with its own");
}

#[tokio::test]
async fn streams_of_an_agents_earlier_life_end_and_so_does_one_that_the_agent_closes() {
    let stage = Stage::with(None).await;
    let (mut one, _) = stage.subscribed().await;
    stage.emit(StreamId::VIEW, &AgentEvent::Began);
    assert_eq!(one.event().await, None, "it subscribes again");
    let (mut two, stream) = stage.subscribed().await;
    stage.emit(stream, &AgentEvent::Told(ToExecutor::Message { data: vec![1] }));
    stage.edge.close(stream);
    assert_eq!(two.event().await.expect("what was said before")["type"], "MESSAGE");
    assert_eq!(two.event().await, None);
    stage.emit(stream, &AgentEvent::Heartbeat);
    assert_eq!(stage.next().await, ToAgent::StreamClosed { stream }, "an end that was not heard is told again");
}

async fn operator(stage: &Stage, kind: &str) -> Client {
    stage.post("/api/v1", &[], &json!({"type": kind})).await
}

#[tokio::test]
async fn an_operator_sees_what_the_agent_holds() {
    let stage = Stage::with(None).await;
    for (kind, part) in [("GET_HEALTH", "get_health"), ("GET_FLAGS", "get_flags"), ("GET_VERSION", "get_version")] {
        let told = operator(&stage, kind).await.answer().await.json();
        assert!(told[part].is_object() && told["type"] == kind, "{told}");
    }
    let mut client = operator(&stage, "GET_STATE").await;
    let ToAgent::Look { reply } = stage.next().await else { panic!("nobody looks") };
    stage.emit(reply, &AgentEvent::Agent { info: Box::new(info()), drain: None });
    stage.emit(reply, &AgentEvent::Framework { info: Box::new(framework()) });
    let running =
        RunningExecutor { framework_id: FrameworkId::trusted("f"), role: RoleName::trusted("*"), info: executor() };
    let (executor, container_id) = (Box::new(running), ContainerId::trusted("c"));
    stage.emit(reply, &AgentEvent::Executor { executor, container_id, pid: Some(9), stage: ExecutorStage::Running });
    stage.emit(reply, &AgentEvent::End);
    let told = client.answer().await.json();
    let state = &told["get_state"];
    assert_eq!(state["get_frameworks"]["frameworks"][0]["framework_info"]["id"]["value"], "f");
    assert_eq!(state["get_executors"]["executors"][0]["executor_info"]["executor_id"]["value"], "e");
    // One who comes while it is asked shares what comes; one after that asks anew.
    let mut client = operator(&stage, "GET_CONTAINERS").await;
    let ToAgent::Look { reply } = stage.next().await else { panic!("nobody looks") };
    stage.emit(reply, &AgentEvent::Refused(CallRefusal::Recovering));
    assert_eq!(client.answer().await.status(), 503);
    let mut client = operator(&stage, "GET_AGENT").await;
    let ToAgent::Look { reply } = stage.next().await else { panic!("nobody looks") };
    stage.emit(reply, &AgentEvent::Agent { info: Box::new(info()), drain: None });
    stage.emit(reply, &AgentEvent::End);
    assert_eq!(client.answer().await.json()["get_agent"]["agent_info"]["id"]["value"], "m-S0");
    assert_eq!(operator(&stage, "PRUNE_IMAGES").await.answer().await.status(), 501);
    assert_eq!(operator(&stage, "READ_FILE").await.answer().await.status(), 400);
    let read = json!({"type": "READ_FILE", "read_file": {"path": "/etc/passwd", "offset": 0}});
    assert_eq!(stage.post("/api/v1", &[], &read).await.answer().await.status(), 404);
}
