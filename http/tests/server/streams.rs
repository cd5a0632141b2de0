//! Streams: one record is one chunk, their ends are told, and a reader that does not read costs a bounded amount.

use kaon_http::Limits;
use kaon_kernel::actor::Term;
use kaon_kernel::cause::Cause;
use kaon_kernel::id::{AgentId, ExecutorId, MasterId};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::scheduler::{ToFramework, ToMaster};
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::time::WallTime;
use serde_json::json;

use super::rig::{Heard, Rig, subscribe_call, until, within};

fn message(bytes: usize) -> FrameworkEvent {
    FrameworkEvent::Message {
        agent_id: AgentId::trusted("a"),
        executor_id: ExecutorId::trusted("e\u{e9}"),
        data: vec![0xff; bytes],
    }
}

fn metric(answer: &serde_json::Value, name: &str) -> f64 {
    answer[name].as_f64().unwrap_or_else(|| panic!("{name} is not in {answer}"))
}

#[tokio::test]
async fn every_record_is_one_chunk_of_one_line() {
    let rig = Rig::leading().await;
    let mut standing = rig.subscribed(1, "f").await;
    for bytes in [0, 1, 100, 5_000, 300_000, 3_000_000] {
        rig.tell(1, standing.stream, &message(bytes));
        rig.tell(1, standing.stream, &FrameworkEvent::Heartbeat);
    }
    for bytes in [0_usize, 1, 100, 5_000, 300_000, 3_000_000] {
        let event = standing.client.event().await.expect("an event");
        let data = event["message"]["data"].as_str().expect("base64");
        assert_eq!(data.len(), bytes.div_ceil(3) * 4);
        assert_eq!(standing.client.event().await, Some(json!({"type": "HEARTBEAT"})));
    }
    let failure = FrameworkEvent::Failure { agent_id: AgentId::trusted("a"), executor_id: None, status: None };
    rig.tell(1, standing.stream, &failure);
    let event = standing.client.event().await;
    assert_eq!(event, Some(json!({"type": "FAILURE", "failure": {"agent_id": {"value": "a"}}})));
}

#[tokio::test]
async fn the_end_of_a_stream_is_told_to_whoever_has_it() {
    let rig = Rig::leading().await;
    let mut client = rig.client().await;
    client.post("/api/v1/scheduler", &[], &subscribe_call(None)).await;
    assert_eq!(client.head().await.status, 200);
    let Heard::Master(ToMaster::Subscribe { stream, .. }) = rig.actors.next().await else { panic!("no SUBSCRIBE") };
    drop(client);
    assert_eq!(rig.actors.next().await, Heard::Master(ToMaster::StreamClosed { stream }));

    // The proxy came too late: it is told with its first word.
    rig.welcome(5, stream, "f");
    assert_eq!(rig.actors.next().await, Heard::Proxy(5, ToFramework::StreamClosed { stream }));
    assert_eq!(rig.actors.next().await, Heard::Proxy(5, ToFramework::StreamClosed { stream }));

    let standing = rig.subscribed(6, "g").await;
    rig.show(&super::calls::view("g", Some(standing.stream)));
    drop(standing.client);
    let closed = ToFramework::StreamClosed { stream: standing.stream };
    assert_eq!(rig.actors.next().await, Heard::Proxy(6, closed));
    let revive = json!({"type": "REVIVE", "framework_id": {"value": "g"}});
    assert_eq!(rig.call(Some(&standing.uuid), &revive).await.status(), 403);
}

#[tokio::test]
async fn an_end_that_could_not_be_told_is_told_with_the_next_event() {
    let rig = Rig::leading().await;
    let standing = rig.subscribed(1, "f").await;
    rig.actors.refuse(true);
    drop(standing.client);
    let edge = std::sync::Arc::clone(&rig.edge);
    until("the end of the stream", || edge.open_streams() == 0).await;
    rig.actors.refuse(false);
    rig.tell(1, standing.stream, &FrameworkEvent::Heartbeat);
    let closed = ToFramework::StreamClosed { stream: standing.stream };
    assert_eq!(rig.actors.next().await, Heard::Proxy(1, closed));
}

#[tokio::test]
async fn a_subscriber_that_never_reads_is_cut_off_and_its_memory_freed() {
    let rig = Rig::leading().await;
    let mut client = rig.client().await;
    client.post("/api/v1/scheduler", &[], &subscribe_call(None)).await;
    let Heard::Master(ToMaster::Subscribe { stream, .. }) = rig.actors.next().await else { panic!("no SUBSCRIBE") };
    rig.welcome(1, stream, "f");
    let event = message(1 << 20);
    // First so much that the connection has to wait for its reader, before the queue is full.
    let mut sent = 24;
    (0..sent).for_each(|_| rig.tell(1, stream, &event));
    within("the connection's wait for its reader", async {
        let mut before = 0.0;
        loop {
            let queued = metric(&rig.get("/metrics/snapshot").await.json(), "http/streams_queued_bytes");
            if queued > 0.0 && queued == before {
                break;
            }
            before = queued;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    while rig.actors.count() == 0 {
        assert!(sent < 300, "300 MiB wait for a reader that does not read");
        rig.tell(1, stream, &event);
        sent += 1;
    }
    assert!(sent >= 60, "cut off after {sent} MiB already");
    assert_eq!(rig.actors.next().await, Heard::Proxy(1, ToFramework::StreamClosed { stream }));
    // Without reading, the end of the connection shows in that nothing more can be written.
    within("the end of the connection", async {
        while tokio::io::AsyncWriteExt::write_all(&mut client.socket, b"x").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    })
    .await;
    let numbers = rig.get("/metrics/snapshot").await.json();
    assert_eq!(metric(&numbers, "http/streams_cut"), 1.0);
    assert_eq!(metric(&numbers, "http/streams_queued_bytes"), 0.0);
    assert_eq!(metric(&numbers, "http/streams"), 0.0);
    assert_eq!(rig.actors.count(), 0, "told once");
}

#[tokio::test]
async fn a_reader_that_stalls_is_hung_up_on() {
    let stall_time = std::time::Duration::from_millis(300);
    let rig = Rig::leading_with(Limits { stall_time, ..Limits::default() }).await;
    let standing = rig.subscribed(1, "f").await;
    for _ in 0..24 {
        rig.tell(1, standing.stream, &message(1 << 20));
    }
    assert_eq!(rig.actors.next().await, Heard::Proxy(1, ToFramework::StreamClosed { stream: standing.stream }));
}

#[tokio::test]
async fn the_master_turns_a_subscriber_away_with_a_word() {
    let rig = Rig::leading().await;
    let mut client = rig.client().await;
    client.post("/api/v1/scheduler", &[], &subscribe_call(Some("gone"))).await;
    let Heard::Master(ToMaster::Subscribe { stream, .. }) = rig.actors.next().await else { panic!("no SUBSCRIBE") };
    rig.tell_as_master(
        stream,
        &FrameworkEvent::Error { message: "Framework has been removed".to_owned(), cause: Cause::FrameworkRemoved },
    );
    kaon_kernel::port::Streams::close(&*rig.edge, stream);
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.event().await.expect("an event")["error"]["message"], "Framework has been removed");
    assert_eq!(client.event().await, None);
    // The connection is kept: only the stream has ended.
    client.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(rig.actors.count(), 0);
}

#[tokio::test]
async fn a_master_that_begins_afresh_ends_the_streams_of_its_former_life() {
    let rig = Rig::leading().await;
    let mut standing = rig.subscribed(1, "f").await;
    rig.show(&ViewEvent::Following);
    assert_eq!(standing.client.event().await, None);
    let revive = json!({"type": "REVIVE", "framework_id": {"value": "f"}});
    assert_eq!(rig.call(Some(&standing.uuid), &revive).await.status(), 503);
    rig.show(&ViewEvent::Reset { master_id: MasterId::trusted("m2"), term: Term(2), elected: WallTime(1) });
    assert_eq!(rig.call(Some(&standing.uuid), &revive).await.status(), 400);
    // One that falls and leads again never says that it follows.
    rig.show(&super::calls::view("known", None));
    let mut standing = rig.subscribed(1, "f").await;
    rig.show(&ViewEvent::Reset { master_id: MasterId::trusted("m3"), term: Term(3), elected: WallTime(2) });
    assert_eq!(standing.client.event().await, None);
    let of_known = json!({"type": "REVIVE", "framework_id": {"value": "known"}});
    assert_eq!(rig.call(Some("x"), &of_known).await.status(), 400, "what is known is told anew");
    assert_eq!(rig.edge.open_streams(), 0);
}
