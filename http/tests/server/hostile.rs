//! Strangers: malformed requests, slow ones, endless ones, too many of them. Whatever comes, the answer is an error or a
//! hang-up, no actor hears of it, and the server goes on.

use std::time::Duration;

use kaon_http::Limits;
use kaon_kernel::message::event::FrameworkEvent;
use serde_json::json;

use super::rig::{Client, Rig, within};

async fn is_well(rig: &Rig) {
    assert_eq!(rig.get("/health").await.status(), 200);
    assert_eq!(rig.actors.count(), 0);
}

#[tokio::test]
async fn malformed_requests_are_refused_and_change_nothing() {
    let rig = Rig::leading().await;
    let post = "POST /api/v1/scheduler HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n";
    let deep = format!("{post}Content-Length: 200000\r\n\r\n{}", "[".repeat(200_000));
    let header = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let flood = format!("GET /health HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(500));
    let requests: Vec<(&[u8], &[u16])> = vec![
        (b"\r\n\r\n\r\nnonsense\r\n\r\n", &[400]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", &[400]),
        (b"GET  HTTP/1.1\r\nHost: h\r\n\r\n", &[400]),
        (b"GET state HTTP/1.1\r\nHost: h\r\n\r\n", &[400]),
        (b"GET /% HTTP/1.1\r\nHost: h\r\n\r\n", &[400]),
        (b"GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", &[400]),
        (b"GET /a%2fb HTTP/1.1\r\nHost: h\r\n\r\n", &[400]),
        (b"GET /state?x=% HTTP/1.1\r\nHost: h\r\n\r\n", &[400]),
        (b"GET /no/such/path HTTP/1.1\r\nHost: h\r\n\r\n", &[404]),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", &[200]),
        (b"GET /state HTTP/9.9\r\nHost: h\r\n\r\n", &[400, 505]),
        (b"DELETE /state HTTP/1.1\r\nHost: h\r\n\r\n", &[405]),
        (b"CONNECT host:80 HTTP/1.1\r\nHost: h\r\n\r\n", &[405]),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", &[400, 405]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 505]),
        (header.as_bytes(), &[400, 431]),
        (flood.as_bytes(), &[400, 431]),
        (deep.as_bytes(), &[400]),
    ];
    for (request, expected) in requests {
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        let mut client = rig.client().await;
        // The server may hang up before it has read everything.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.socket, request).await;
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut client.socket).await;
        if let Some(head) = within(&shown, client.try_head()).await {
            assert!(expected.contains(&head.status), "{shown:?} answered {}", head.status);
        }
    }
    for (lines, body) in [
        ("Content-Length: -1\r\n", ""),
        ("Content-Length: 99999999999999999999999\r\n", ""),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", "{}"),
        ("Transfer-Encoding: chunked\r\n", "-5\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n{}"),
        ("Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n"),
        ("Transfer-Encoding: gzip\r\n", "{}"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "2\r\n{}\r\n0\r\nX: y\r\n\r\n"),
        ("Content-Encoding: gzip\r\nContent-Length: 2\r\n", "{}"),
    ] {
        let mut client = rig.client().await;
        client.send(format!("{post}{lines}\r\n{body}").as_bytes()).await;
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut client.socket).await;
        if let Some(head) = within(lines, client.try_head()).await {
            assert!((400..=501).contains(&head.status), "{lines:?} {body:?} answered {}", head.status);
        }
    }
    is_well(&rig).await;
}

#[tokio::test]
async fn a_request_may_be_chunked_as_it_likes() {
    let rig = Rig::leading().await;
    let mut client = rig.client().await;
    client
        .send(
            b"POST /api/v1 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await;
    for byte in br#"{"type":"GET_HEALTH"}"# {
        client.send(&[b"1\r\n", &[*byte][..], b"\r\n"].concat()).await;
    }
    client.send(b"0\r\n\r\n").await;
    assert_eq!(client.answer().await.json()["get_health"]["healthy"], true);
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_413_however_it_comes() {
    let rig = Rig::leading_with(Limits { body_bytes: 1000, ..Limits::default() }).await;
    let post = "POST /api/v1/scheduler HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n";
    let mut client = rig.client().await;
    client.send(format!("{post}Content-Length: 1001\r\n\r\n").as_bytes()).await;
    assert_eq!(client.answer().await.status(), 413, "before the first byte of it");
    let mut client = rig.client().await;
    client.send(format!("{post}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
    for _ in 0..11 {
        client.send(format!("64\r\n{}\r\n", "x".repeat(100)).as_bytes()).await;
    }
    assert_eq!(client.answer().await.status(), 413, "as soon as it is too much");
    within("the end of the connection", client.ended()).await;
    is_well(&rig).await;
}

#[tokio::test]
async fn bodies_of_all_connections_together_are_bounded() {
    let rig = Rig::leading_with(Limits { bodies_bytes: 1000, ..Limits::default() }).await;
    let post = "POST /api/v1 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n";
    let mut first = rig.client().await;
    first.send(format!("{post}{}", " ".repeat(800)).as_bytes()).await;
    // Whether the first has been read already is not known; so others follow until one is refused.
    within("a refusal", async {
        loop {
            let mut client = rig.client().await;
            client.send(format!("{post}{}", " ".repeat(900)).as_bytes()).await;
            if client.answer().await.status() == 503 {
                break;
            }
        }
    })
    .await;
    drop(first);
    let mut client = rig.client().await;
    client.post("/api/v1", &[], &json!({"type": "GET_HEALTH"})).await;
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test]
async fn slow_heads_and_bodies_are_given_up_and_idle_connections_are_not() {
    let (head_time, body_time) = (Duration::from_millis(150), Duration::from_millis(150));
    let rig = Rig::leading_with(Limits { head_time, body_time, ..Limits::default() }).await;
    let mut kept = rig.client().await;
    kept.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(kept.answer().await.status(), 200);

    let mut silent = rig.client().await;
    within("the end of a silent connection", silent.ended()).await;
    let mut dripping = rig.client().await;
    within("the end of a dripping one", async {
        let drip = async {
            for byte in b"GET /health HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
                if tokio::io::AsyncWriteExt::write_all(&mut dripping.socket, &[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        drip.await;
    })
    .await;
    let mut second = rig.client().await;
    second.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(second.answer().await.status(), 200);
    second.send(b"GET /hea").await;
    within("the end of one whose second head does not end", second.ended()).await;
    let mut unfinished = rig.client().await;
    let head = b"POST /api/v1 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    unfinished.send(head).await;
    assert_eq!(unfinished.answer().await.status(), 408);
    within("its end", unfinished.ended()).await;

    // All of this took several times the head's time; the idle connection is still good.
    kept.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(kept.answer().await.status(), 200);
    is_well(&rig).await;
}

#[tokio::test]
async fn at_the_bound_the_longest_idle_connection_makes_room() {
    let rig = Rig::leading_with(Limits { connections: 2, ..Limits::default() }).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut client = rig.client().await;
        client.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(client.answer().await.status(), 200);
        idle.push(client);
    }
    let mut newest = rig.client().await;
    newest.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(newest.answer().await.status(), 200);
    within("the end of the oldest", idle[0].ended()).await;
    idle[1].send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(idle[1].answer().await.status(), 200);
}

#[tokio::test]
async fn those_who_only_connect_keep_nobody_out() {
    let rig = Rig::leading_with(Limits { connections: 3, ..Limits::default() }).await;
    let mut standing = rig.subscribed(1, "f").await;
    let mut silent = rig.client().await;
    let mut begun = rig.client().await;
    begun.send(b"GET /hea").await;
    for _ in 0..10 {
        let mut newest = rig.client().await;
        newest.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(newest.answer().await.status(), 200);
    }
    within("the end of the silent one", silent.ended()).await;
    within("the end of the other", begun.ended()).await;
    rig.tell(1, standing.stream, &FrameworkEvent::Heartbeat);
    assert_eq!(standing.client.event().await.expect("it stands")["type"], "HEARTBEAT");
}

#[tokio::test]
async fn when_all_connections_are_busy_the_next_is_refused() {
    let rig = Rig::leading_with(Limits { connections: 2, ..Limits::default() }).await;
    let _streams = (rig.subscribed(1, "f").await, rig.subscribed(2, "g").await);
    let mut third = rig.client().await;
    within("the refusal", third.ended()).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let rig = Rig::leading().await;
    let mut client = rig.client().await;
    client.send(b"GET /version HTTP/1.1\r\nHost: h\r\n\r\nGET /nope HTTP/1.1\r\nHost: h\r\n\r\nGET /health HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.answer().await.status());
    }
    assert_eq!(statuses, [200, 404, 200]);
}

#[tokio::test]
async fn a_server_that_ends_lets_nobody_wait() {
    let limits = Limits { grace: Duration::from_millis(200), ..Limits::default() };
    let mut rig = Rig::leading_with(limits).await;
    let mut standing = rig.subscribed(1, "f").await;
    rig.server.stop();
    within("the end of the stream", standing.client.ended()).await;
    let ended = within("the end of the server", &mut rig.server.ended).await;
    assert!(ended.expect("no panic").is_ok());
    assert!(tokio::net::TcpStream::connect(rig.server.address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn random_bytes_do_no_harm() {
    let rig = Rig::leading().await;
    let mut state = 0x9e37_79b9_u64;
    for round in 0..200 {
        let mut bytes = Vec::new();
        for _ in 0..(round * 7 % 300) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.push((state >> 33) as u8);
        }
        let body = [
            b"POST /api/v1/scheduler HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-protobuf\r\nContent-Length: "
                .to_vec(),
            format!("{}\r\n\r\n", bytes.len()).into_bytes(),
            bytes.clone(),
        ]
        .concat();
        let mut client = Client::connect(rig.server.address).await;
        client.send(&body).await;
        assert!((400..=501).contains(&client.answer().await.status()));
        let mut client = Client::connect(rig.server.address).await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.socket, &bytes).await;
    }
    is_well(&rig).await;
}
