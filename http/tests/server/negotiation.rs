//! Reference 1.2: the checks in their order, on the scheduler's and the operator's endpoint.

use kaon_http::{Leader, Limits};
use serde_json::json;

use super::rig::{Answer, Rig, subscribe_call};

const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn post(rig: &Rig, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut client = rig.client().await;
    client.post_raw(path, headers, body).await;
    client.answer().await
}

#[tokio::test]
async fn a_master_that_does_not_lead_says_so_before_all_else() {
    let rig = Rig::following(None, Limits::default()).await;
    for path in ["/api/v1/scheduler", "/master/api/v1", "/state", "/tasks?limit=1", "/redirect"] {
        assert_eq!(rig.get(path).await.status(), 503, "{path}");
    }
    assert_eq!(post(&rig, "/api/v1/scheduler", &[], b"{").await.status(), 503);
    for path in ["/health", "/version", "/metrics/snapshot", "/metrics", "/flags"] {
        assert_eq!(rig.get(path).await.status(), 200, "{path}");
    }
    let leader = Leader { hostname: "other.test".to_owned(), port: 5051 };
    let rig = Rig::following(Some(leader), Limits::default()).await;
    for (path, to) in [
        ("/api/v1/scheduler", "//other.test:5051/api/v1/scheduler"),
        ("/master/state?x=y%20z", "//other.test:5051/master/state?x=y%20z"),
        ("/redirect", "//other.test:5051"),
    ] {
        let answer = rig.get(path).await;
        assert_eq!((answer.status(), answer.head.header("location")), (307, Some(to)), "{path}");
    }
    assert_eq!(post(&rig, "/api/v1", &[], b"").await.status(), 307);
    assert_eq!(rig.get("/redirect/x").await.status(), 404);
    assert_eq!(rig.actors.count(), 0);
}

#[tokio::test]
async fn who_reconciles_operations_says_what_he_reads() {
    let rig = Rig::leading().await;
    let standing = rig.subscribed(1, "f").await;
    let call = json!({"type": "RECONCILE_OPERATIONS", "framework_id": {"value": "f"}, "reconcile_operations": {}});
    for (accept, status) in [("text/html", 406), ("application/json", 202)] {
        let headers = [JSON, ("Accept", accept), ("Mesos-Stream-Id", standing.uuid.as_str())];
        let answer = post(&rig, "/api/v1/scheduler", &headers, call.to_string().as_bytes()).await;
        assert_eq!(answer.status(), status, "{accept}");
    }
}

#[tokio::test]
async fn each_check_has_its_status_and_comes_in_its_turn() {
    let rig = Rig::leading().await;
    for path in ["/api/v1/scheduler", "/master/api/v1/scheduler", "/api/v1", "/master/api/v1", "/api/v1/operator"] {
        let answer = rig.get(path).await;
        assert_eq!((answer.status(), answer.head.header("allow")), (405, Some("POST")), "{path}");
        assert_eq!(post(&rig, path, &[], b"{").await.status(), 400, "no type goes before no JSON");
        for kind in ["application/json; charset=utf-8", "Application/Json", "text/plain", "application/recordio"] {
            let answer = post(&rig, path, &[("Content-Type", kind)], b"{").await;
            assert_eq!(answer.status(), 415, "{path} {kind}");
            assert_eq!(answer.head.header("content-type"), Some("text/plain"));
        }
        for body in ["", "{", "[]", "null", "{\"type\":\"NO_SUCH_CALL\"}", "{\"framework_id\":\"x\"}", "{}"] {
            let answer = post(&rig, path, &[JSON, ("Accept", "text/html")], body.as_bytes()).await;
            assert_eq!(answer.status(), 400, "{path} {body}: {}", answer.text());
        }
        let protobuf = ("Content-Type", "application/x-protobuf");
        assert_eq!(post(&rig, path, &[protobuf], &[0xff; 9]).await.status(), 400);
    }
    for missing in [json!({"type": "SUBSCRIBE"}), json!({"type": "ACCEPT", "framework_id": {"value": "f"}})] {
        assert_eq!(rig.call(None, &missing).await.status(), 400, "{missing}");
    }
    let body = subscribe_call(None).to_string();
    let refused = post(&rig, "/api/v1/scheduler", &[JSON, ("Accept", "text/html")], body.as_bytes()).await;
    assert_eq!(refused.status(), 406);
    for (accept, status) in [("text/html, application/json;q=0", 406), ("application/*", 501)] {
        let answer = post(&rig, "/api/v1", &[JSON, ("Accept", accept)], b"{\"type\":\"UNKNOWN\"}").await;
        assert_eq!(answer.status(), status, "{accept}");
    }
    assert_eq!(rig.actors.count(), 0, "a refused call reaches nobody");
}

#[tokio::test]
async fn what_is_not_there_yet_is_refused_by_its_name_before_any_effect() {
    let rig = Rig::leading().await;
    let standing = rig.subscribed(1, "f").await;
    let framework = json!({"value": "f"});
    for (kind, part) in [("UNKNOWN", json!({}))] {
        let mut call = json!({"type": kind, "framework_id": framework});
        call.as_object_mut().expect("an object").extend(part.as_object().expect("an object").clone());
        let answer = rig.call(Some(&standing.uuid), &call).await;
        assert_eq!(answer.status(), 501, "{kind}: {}", answer.text());
        assert!(answer.text().contains(kind), "{kind}: {}", answer.text());
    }
    assert_eq!(rig.actors.count(), 0);
}

/// A text in gzip, in one stored block.
fn stored(text: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

#[tokio::test]
async fn bodies_come_in_gzip_and_go_in_gzip_when_they_are_large() {
    let rig = Rig::leading().await;
    let packed = [JSON, ("Content-Encoding", "gzip")];
    let call = stored(b"{\"type\":\"GET_VERSION\"}");
    let answer = post(&rig, "/api/v1", &packed, &call).await;
    assert_eq!(answer.json()["get_version"]["version_info"]["version"], "1.11.0");
    assert_eq!(post(&rig, "/api/v1", &packed, b"{\"type\":\"GET_VERSION\"}").await.status(), 400);
    assert_eq!(post(&rig, "/api/v1", &packed, &call[..call.len() / 2]).await.status(), 400);
    let bomb = stored(&vec![b' '; Limits::default().body_bytes + 1]);
    assert!(bomb.len() < 100_000);
    assert_eq!(post(&rig, "/api/v1", &packed, &bomb).await.status(), 413);
    assert_eq!(post(&rig, "/api/v1", &[JSON, ("Content-Encoding", "br")], &call).await.status(), 415);

    let metrics = b"{\"type\":\"GET_METRICS\",\"get_metrics\":{}}";
    let (plain, accepts) = (post(&rig, "/api/v1", &[JSON], metrics).await, ("Accept-Encoding", "gzip"));
    assert_eq!(plain.head.header("content-encoding"), None);
    let answer = post(&rig, "/api/v1", &[JSON, accepts], metrics).await;
    assert_eq!(answer.head.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(answer.body.as_slice()), &mut text).expect("gzip");
    assert!(text.starts_with("{\"type\":\"GET_METRICS\""), "{text}");
    let small = post(&rig, "/api/v1", &[JSON, accepts], b"{\"type\":\"GET_VERSION\"}").await;
    assert_eq!(small.head.header("content-encoding"), None, "not worth it");
    // A stream is written as it comes: nobody waits for a block to fill.
    let mut client = rig.client().await;
    client.post("/api/v1/scheduler", &[JSON, accepts], &subscribe_call(None)).await;
    assert_eq!(client.head().await.header("content-encoding"), None);
}
