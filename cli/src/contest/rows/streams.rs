//! Reference 1.3, 1.5: RecordIO, the first events, heartbeats, stream ids.

use crate::contest::arena::{Arena, MASTER_CALL, OPERATOR};
use crate::contest::framework::{Framework, Next, SOON, Stream};
use crate::contest::plain_call;
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The interval of heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The operator's stream of events.
pub(super) async fn watch(arena: &Arena) -> Result<Stream> {
    let messages = (MASTER_CALL, "mesos.v1.master.Event");
    match Stream::open(arena, (arena.master(), OPERATOR), messages, &plain_call("SUBSCRIBE")).await? {
        Ok(stream) => Ok(stream),
        Err(answer) => bail!("SUBSCRIBE was answered {}", answer.shown()),
    }
}

/// A heartbeat comes between one and two intervals after the last.
async fn beats(stream: &mut Stream) -> Result<()> {
    let begin = Instant::now();
    loop {
        match stream.next(HEARTBEAT + SOON).await? {
            Next::Event(event) if event["type"] == "HEARTBEAT" => break,
            Next::Event(_) => {}
            other => bail!("no heartbeat but {other:?}"),
        }
    }
    let took = begin.elapsed();
    ensure!(took > HEARTBEAT.mul_f64(0.8) && took < HEARTBEAT.mul_f64(1.4), "the heartbeat came after {took:?}");
    Ok(())
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = openings();
    rows.extend(ids());
    rows
}

fn openings() -> Vec<Row> {
    let first = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let subscribed = &framework.others[0]["subscribed"];
        ensure!(subscribed["heartbeat_interval_seconds"] == json!(15.0), "{subscribed}");
        Ok(())
    };
    let second = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        let begin = Instant::now();
        let event = framework.stream.event().await?;
        ensure!(event["type"] == "HEARTBEAT", "the second event is {event}");
        ensure!(begin.elapsed() < HEARTBEAT / 3, "the first heartbeat came after {:?}", begin.elapsed());
        ensure!(event.as_object().is_some_and(|event| event.len() == 1), "a heartbeat has no body: {event}");
        Ok(())
    };
    let later = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        framework.stream.event().await?;
        beats(&mut framework.stream).await
    };
    let master = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let info = &framework.others[0]["subscribed"]["master_info"];
        ensure!(info["id"].as_str().is_some_and(|id| !id.is_empty()), "{info}");
        ensure!(info["port"].as_u64().is_some_and(|port| port > 0), "{info}");
        let said = framework.id.rsplit_once('-').context("an id of two parts")?.0;
        ensure!(info["id"] == said, "the framework id does not begin with the master's: {info}");
        let asked = arena.read("GET_MASTER").await?;
        ensure!(asked["master_info"]["id"] == info["id"], "GET_MASTER says {asked}");
        Ok(())
    };
    let records = |arena: Arena| async move {
        // The reader of every row refuses a chunk that is not one record; here several come at once.
        let framework = Framework::quiet(&arena).await?;
        let mut watching = watch(&arena).await?;
        for _ in 0..3 {
            watching.event().await?;
            Framework::quiet(&arena).await?.teardown().await?;
        }
        framework.teardown().await
    };
    let operator = |arena: Arena| async move {
        let mut stream = watch(&arena).await?;
        ensure!(stream.id().is_none(), "an operator's stream has an id");
        let first = stream.event().await?;
        ensure!(first["type"] == "SUBSCRIBED", "{first}");
        ensure!(first["subscribed"]["heartbeat_interval_seconds"] == json!(15.0), "{first}");
        ensure!(first["subscribed"]["get_state"].is_object(), "{first}");
        let second = stream.event().await?;
        ensure!(second["type"] == "HEARTBEAT", "the second event is {second}");
        Ok(())
    };
    let operator_later = |arena: Arena| async move {
        let mut stream = watch(&arena).await?;
        stream.event().await?;
        stream.event().await?;
        beats(&mut stream).await
    };
    let closes = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        framework.must("TEARDOWN", Value::Null).await?;
        let before = framework.stream.until_end().await?;
        ensure!(before.iter().all(|event| event["type"] != "ERROR"), "{before:?}");
        Ok(())
    };
    vec![
        row("1.5", "SUBSCRIBE", "a new framework", "SUBSCRIBED first, heartbeats every 15.0 s", first),
        row("1.5", "SUBSCRIBE", "a new framework", "a HEARTBEAT at once after SUBSCRIBED", second),
        row("1.5", "SUBSCRIBE", "15 s", "another HEARTBEAT", later).within(60),
        row("3.4", "SUBSCRIBE", "a new framework", "SUBSCRIBED names the master", master),
        row("1.3", "SUBSCRIBE", "several events", "each record is one chunk, its length in digits before it", records),
        row("1.5", "SUBSCRIBE of operators", "a new stream", "SUBSCRIBED, HEARTBEAT, no Mesos-Stream-Id", operator),
        row("1.5", "SUBSCRIBE of operators", "15 s", "another HEARTBEAT", operator_later).within(60),
        row("3.3", "TEARDOWN", "a framework", "202, and the stream ends", closes),
    ]
}

fn ids() -> Vec<Row> {
    let present = |arena: Arena| async move {
        let (one, two) = (Framework::quiet(&arena).await?, Framework::quiet(&arena).await?);
        let id = |framework: &Framework| framework.stream.id().map(str::to_owned).context("no Mesos-Stream-Id");
        let (one, two) = (id(&one)?, id(&two)?);
        ensure!(one.len() == 36 && one.matches('-').count() == 4, "no UUID: {one}");
        ensure!(one != two, "two streams have one id");
        Ok(())
    };
    let forbidden = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let call = Framework::subscribe_call(&arena.info());
        framework.send(&call, framework.stream.id()).await?.expect(400).map(drop)
    };
    let missing = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        framework.send(&framework.call_of("REVIVE", Value::Null), None).await?.expect(400).map(drop)
    };
    let wrong = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let id = "01234567-89ab-cdef-0123-456789abcdef";
        framework.send(&framework.call_of("REVIVE", Value::Null), Some(id)).await?.expect(400).map(drop)
    };
    let foreign = |arena: Arena| async move {
        let (one, two) = (Framework::quiet(&arena).await?, Framework::quiet(&arena).await?);
        one.send(&one.call_of("REVIVE", Value::Null), two.stream.id()).await?.expect(400).map(drop)
    };
    let old = |arena: Arena| async move {
        let mut framework = Framework::quiet_with(&arena, json!({"failover_timeout": 60.0})).await?;
        let before = framework.come_back().await?;
        framework.send(&framework.call_of("REVIVE", Value::Null), before.id()).await?.expect(400)?;
        framework.teardown().await
    };
    let elsewhere = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        for _ in 0..3 {
            // Each call goes over a connection of its own.
            framework.must("SUPPRESS", Value::Null).await?;
        }
        framework.teardown().await
    };
    vec![
        row("1.5", "SUBSCRIBE", "two frameworks", "a UUID each as Mesos-Stream-Id", present),
        row("1.5", "SUBSCRIBE", "with a Mesos-Stream-Id", "400", forbidden),
        row("1.6", "REVIVE", "no Mesos-Stream-Id", "400", missing),
        row("1.6", "REVIVE", "a Mesos-Stream-Id of nobody", "400", wrong),
        row("1.6", "REVIVE", "another framework's Mesos-Stream-Id", "400", foreign),
        row("1.6", "REVIVE", "the id of the stream before a failover", "400", old),
        row("3.1", "SUPPRESS", "on other connections than SUBSCRIBE", "202", elsewhere),
    ]
}
