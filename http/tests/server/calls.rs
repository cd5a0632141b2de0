//! Reference 1.6: what a call is answered, and what reaches the actors.

use kaon_http::v1::scheduler;
use kaon_kernel::actor::StreamId;
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::operator::Answer as Told;
use kaon_kernel::message::scheduler::{Call, ToFramework, ToMaster};
use kaon_kernel::message::view::{FrameworkView, ViewEvent};
use kaon_kernel::time::WallTime;
use serde_json::{Value, json};

use super::rig::{Heard, Rig, subscribe_call};

fn call(kind: &str, framework: &str, part: Value) -> Value {
    let mut call = json!({"type": kind, "framework_id": {"value": framework}});
    call.as_object_mut().expect("an object").extend(part.as_object().expect("an object").clone());
    call
}

/// A framework that the master knows.
pub(super) fn view(framework: &str, stream: Option<StreamId>) -> ViewEvent {
    let (info, _) = kaon_http::convert::framework::from_v1(
        kaon_http::v1::mesos::FrameworkInfo {
            user: "u".to_owned(),
            name: "n".to_owned(),
            id: Some(kaon_http::v1::mesos::FrameworkId { value: framework.to_owned() }),
            ..Default::default()
        },
        &[],
    )
    .expect("valid");
    ViewEvent::Framework(FrameworkView {
        info,
        connected: stream.is_some(),
        active: stream.is_some(),
        recovered: false,
        stream,
        proxy: stream.map(|_| 1),
        registered_time: WallTime(1_000_000_000),
        reregistered_time: None,
    })
}

#[tokio::test]
async fn a_subscription_is_a_stream_with_an_id_and_exact_headers() {
    let rig = Rig::leading().await;
    let standing = rig.subscribed(1, "f").await;
    assert_eq!(standing.head.header("content-type"), Some("application/json"));
    assert_eq!(standing.head.header("transfer-encoding"), Some("chunked"));
    assert_eq!(standing.uuid.len(), 36);
    let other = rig.subscribed(2, "g").await;
    assert_ne!(other.uuid, standing.uuid);
    let mut client = rig.client().await;
    let headers = [("Content-Type", "application/json"), ("Accept", "application/x-protobuf")];
    client.post_raw("/master/api/v1/scheduler", &headers, subscribe_call(Some("h")).to_string().as_bytes()).await;
    let head = client.head().await;
    assert_eq!(head.header("content-type"), Some("application/x-protobuf"));
    let Heard::Master(ToMaster::Subscribe { stream, info, .. }) = rig.actors.next().await else {
        panic!("no SUBSCRIBE")
    };
    assert_eq!(info.id.as_ref().map(|id| id.as_str()), Some("h"));
    rig.welcome(3, stream, "h");
    let record = client.record().await.expect("an event");
    let event: scheduler::Event = prost_reflect::prost::Message::decode(&*record).expect("protobuf");
    let subscribed = event.subscribed.expect("SUBSCRIBED");
    assert_eq!((subscribed.framework_id.value.as_str(), subscribed.heartbeat_interval_seconds), ("h", Some(15.0)));
    let master = subscribed.master_info.expect("the master");
    assert_eq!((master.id.as_str(), master.pid.as_deref()), ("m", Some("master@10.0.0.1:5050")));
    assert_eq!(master.ip.to_le_bytes(), [10, 0, 0, 1]);
}

#[tokio::test]
async fn a_framework_that_breaks_a_rule_is_told_on_its_stream() {
    let rig = Rig::leading().await;
    let mut bad = subscribe_call(None);
    bad["subscribe"]["framework_info"]["roles"] = json!(["a"]);
    let mut client = rig.client().await;
    client.post("/api/v1/scheduler", &[], &bad).await;
    assert_eq!(client.head().await.status, 200);
    let event = client.event().await.expect("an event");
    assert_eq!(event["type"], "ERROR");
    assert!(event["error"]["message"].as_str().expect("a text").contains("MULTI_ROLE"), "{event}");
    assert_eq!(client.event().await, None, "the stream ends with a word");
    let mut differs = subscribe_call(Some("f"));
    differs["framework_id"] = json!({"value": "g"});
    assert_eq!(rig.call(None, &differs).await.status(), 400);
    assert_eq!(rig.call(Some("x"), &subscribe_call(None)).await.status(), 400, "SUBSCRIBE has no stream id");
    assert_eq!(rig.actors.count(), 0);
}

#[tokio::test]
async fn a_call_belongs_to_the_stream_that_stands() {
    let rig = Rig::leading().await;
    let revive = call("REVIVE", "f", json!({}));
    let answer = rig.call(Some("x"), &revive).await;
    assert_eq!((answer.status(), answer.text().as_str()), (400, "Framework cannot be found\n"));
    rig.show(&view("f", None));
    assert_eq!(rig.call(Some("x"), &revive).await.status(), 403, "known, not connected");
    let standing = rig.subscribed(4, "f").await;
    assert_eq!(rig.call(None, &revive).await.status(), 400, "no stream id");
    assert_eq!(rig.call(Some("x"), &revive).await.status(), 400, "another stream id");
    assert_eq!(rig.actors.count(), 0);
    let answer = rig.call(Some(&standing.uuid), &revive).await;
    assert_eq!((answer.status(), answer.body.len(), answer.head.header("content-type")), (202, 0, None));
    let expected = ToFramework::Call { stream: standing.stream, call: Call::Revive { roles: Vec::new() } };
    assert_eq!(rig.actors.next().await, Heard::Proxy(4, expected));
    let acknowledge = |uuid: &str| {
        call(
            "ACKNOWLEDGE",
            "f",
            json!({"acknowledge":
            {"agent_id": {"value": "a"}, "task_id": {"value": "t"}, "uuid": uuid}}),
        )
    };
    assert_eq!(rig.call(Some(&standing.uuid), &acknowledge("AAAA")).await.status(), 400);
    assert_eq!(rig.call(Some(&standing.uuid), &acknowledge("AAAAAAAAAAAAAAAAAAAAAA==")).await.status(), 202);
    let Heard::Proxy(4, ToFramework::Call { call: Call::Acknowledge { uuid, .. }, .. }) = rig.actors.next().await
    else {
        panic!("no ACKNOWLEDGE")
    };
    assert_eq!(uuid.0, [0; 16]);
}

#[tokio::test]
async fn every_call_of_the_scheduler_reaches_the_proxy() {
    let rig = Rig::leading().await;
    let standing = rig.subscribed(1, "f").await;
    let (agent, task, executor) = (json!({"value": "a"}), json!({"value": "t"}), json!({"value": "e"}));
    for (kind, part) in [
        ("TEARDOWN", json!({})),
        ("ACCEPT", json!({"accept": {"offer_ids": [{"value": "m-O1"}], "operations": []}})),
        ("DECLINE", json!({"decline": {"offer_ids": [{"value": "m-O1"}]}})),
        ("SUPPRESS", json!({"suppress": {"roles": ["r"]}})),
        ("KILL", json!({"kill": {"task_id": task}})),
        ("SHUTDOWN", json!({"shutdown": {"agent_id": agent, "executor_id": executor}})),
        ("RECONCILE", json!({"reconcile": {"tasks": [{"task_id": task}]}})),
        ("MESSAGE", json!({"message": {"agent_id": agent, "executor_id": executor, "data": "AQI="}})),
        ("REQUEST", json!({"request": {"requests": []}})),
        ("ACCEPT_INVERSE_OFFERS", json!({"accept_inverse_offers": {"inverse_offer_ids": [{"value": "m-O1"}]}})),
        ("DECLINE_INVERSE_OFFERS", json!({"decline_inverse_offers": {"inverse_offer_ids": [{"value": "m-O1"}]}})),
    ] {
        let answer = rig.call(Some(&standing.uuid), &call(kind, "f", part)).await;
        assert_eq!(answer.status(), 202, "{kind}: {}", answer.text());
        let Heard::Proxy(1, ToFramework::Call { stream, call }) = rig.actors.next().await else { panic!("no {kind}") };
        assert_eq!(stream, standing.stream);
        let name = format!("{call:?}").to_ascii_uppercase();
        let expected = if kind.ends_with("INVERSE_OFFERS") { "ANSWERINVERSE" } else { kind };
        assert!(name.starts_with(expected), "{kind} became {name}");
    }
}

#[tokio::test]
async fn a_full_mailbox_is_503_with_the_reason() {
    let rig = Rig::leading().await;
    let standing = rig.subscribed(1, "f").await;
    rig.actors.refuse(true);
    let answer = rig.call(Some(&standing.uuid), &call("REVIVE", "f", json!({}))).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("overloaded"), "{}", answer.text());
    assert_eq!(rig.call(None, &subscribe_call(None)).await.status(), 503);
    rig.actors.refuse(false);
    assert_eq!(rig.call(Some(&standing.uuid), &call("REVIVE", "f", json!({}))).await.status(), 202);
}

#[tokio::test]
async fn a_call_that_no_frame_can_hold_is_413() {
    let rig = Rig::leading().await;
    let standing = rig.subscribed(1, "f").await;
    let task = json!({"name": "n".repeat(1400), "task_id": {"value": "t"}, "agent_id": {"value": "a"}});
    let operations = json!([{"type": "LAUNCH", "launch": {"task_infos": vec![task; 10_000]}}]);
    let answer =
        rig.call(Some(&standing.uuid), &call("ACCEPT", "f", json!({"accept": {"operations": operations}}))).await;
    assert_eq!(answer.status(), 413, "{}", answer.text());
    // A framework's own words are sent along with its tasks.
    let mut wordy = subscribe_call(None);
    wordy["subscribe"]["framework_info"]["name"] = json!("n".repeat(2 << 20));
    let mut client = rig.client().await;
    client.post("/api/v1/scheduler", &[], &wordy).await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.event().await.expect("an event")["type"], "ERROR");
    assert_eq!(client.event().await, None);
    assert_eq!((rig.actors.count(), rig.edge.open_streams()), (0, 1));
}

#[tokio::test]
async fn the_newest_stream_of_a_framework_is_the_one_that_counts() {
    let rig = Rig::leading().await;
    let mut old = rig.subscribed(1, "f").await;
    let new = rig.subscribed(1, "f").await;
    let error = FrameworkEvent::Error { message: "Framework failed over".to_owned(), cause: Cause::FrameworkReplaced };
    rig.tell(1, old.stream, &error);
    kaon_kernel::port::Streams::close(&*rig.edge, old.stream);
    assert_eq!(old.client.event().await.expect("an event")["error"]["message"], "Framework failed over");
    assert_eq!(old.client.event().await, None);
    let revive = call("REVIVE", "f", json!({}));
    assert_eq!(rig.call(Some(&old.uuid), &revive).await.status(), 400);
    assert_eq!(rig.call(Some(&new.uuid), &revive).await.status(), 202);
    let Heard::Proxy(1, ToFramework::Call { stream, .. }) = rig.actors.next().await else { panic!("no call") };
    assert_eq!(stream, new.stream);
    assert_eq!(rig.actors.count(), 0, "the proxy ended the old stream itself");
}

#[tokio::test]
async fn an_update_of_a_framework_is_answered_with_what_became_of_it() {
    let rig = Rig::leading().await;
    let standing = rig.subscribed(1, "f").await;
    let update = |info: Value| call("UPDATE_FRAMEWORK", "f", json!({"update_framework": {"framework_info": info}}));
    let words = json!({"user": "u", "name": "n", "id": {"value": "f"}});
    for wrong in [
        json!({"user": "u", "name": "n"}),
        json!({"user": "u", "name": "n", "id": {"value": "g"}}),
        json!({"user": "u", "name": "n", "id": {"value": "f"}, "roles": ["a"]}),
    ] {
        assert_eq!(rig.call(Some(&standing.uuid), &update(wrong)).await.status(), 400);
    }
    assert_eq!(rig.actors.count(), 0);
    let refused = Told::Refused(Defect::new(Cause::UserChanged, "no"));
    let conflict = Told::Conflict { reason: "gone".to_owned() };
    for (told, status) in [(Told::Done, 200), (refused, 400), (conflict, 409)] {
        let call = update(words.clone());
        let answer = rig.call(Some(&standing.uuid), &call);
        let actors = async {
            let Heard::Proxy(1, ToFramework::Call { stream, call: Call::UpdateFramework(update) }) =
                rig.actors.next().await
            else {
                panic!("no UPDATE_FRAMEWORK")
            };
            assert_eq!((stream, update.info.name.as_str()), (standing.stream, "n"));
            rig.answer(update.reply, &told);
        };
        let (answer, ()) = tokio::join!(answer, actors);
        assert_eq!(answer.status(), status);
    }
}

/// Orders that may be under way at once (`http/src/order.rs`).
const ORDERS_MAX: usize = 1_000;

#[tokio::test]
async fn an_order_whose_client_hangs_up_takes_no_place() {
    let rig = Rig::leading().await;
    let order = json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": [{"role": "web", "weight": 2.0}]}});
    for number in 0..ORDERS_MAX {
        let mut client = rig.client().await;
        client.post("/api/v1", &[], &order).await;
        assert!(matches!(rig.actors.next().await, Heard::Master(ToMaster::Order { .. })), "order {number}");
    }
    let mut client = rig.client().await;
    client.post("/api/v1", &[], &order).await;
    let Heard::Master(ToMaster::Order { reply, .. }) = rig.actors.next().await else { panic!("no order") };
    rig.answer(reply, &Told::Done);
    assert_eq!(client.answer().await.status(), 200);
}
