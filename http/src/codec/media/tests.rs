//! The rules of content negotiation, row by row.

use super::*;

#[test]
fn content_type_is_compared_as_it_stands() {
    assert_eq!(request(Some("application/json")), Ok(MediaType::Json));
    assert_eq!(request(Some("application/x-protobuf")), Ok(MediaType::Protobuf));
    assert_eq!(request(None).unwrap_err().status(), 400);
    for other in
        ["application/JSON", "application/json; charset=utf-8", "application/json ", "text/plain", "", RECORDIO]
    {
        assert_eq!(request(Some(other)).unwrap_err().status(), 415, "{other}");
    }
}

#[test]
fn json_wins_whenever_it_is_allowed() {
    for (accept, wanted) in [
        (None, Some(MediaType::Json)),
        (Some("*/*"), Some(MediaType::Json)),
        (Some("application/*"), Some(MediaType::Json)),
        (Some("application/x-protobuf, application/json;q=0.1"), Some(MediaType::Json)),
        (Some("Application/JSON"), Some(MediaType::Json)),
        (Some("application/x-protobuf"), Some(MediaType::Protobuf)),
        (Some("application/json;q=0, */*"), Some(MediaType::Protobuf)),
        (Some("application/json; q=0.0 , application/x-protobuf; q=0.000"), None),
        (Some("application/*;q=0, */*"), None),
        (Some("application/json;q=zero"), Some(MediaType::Json)),
        (Some("text/html, text/*"), None),
        (Some(""), None),
        (Some(",;,;;q=0,"), None),
    ] {
        assert_eq!(response(accept).ok(), wanted, "{accept:?}");
    }
    assert_eq!(response(Some("text/html")).unwrap_err().status(), 406);
}

#[test]
fn the_agent_reads_records_for_one_call() {
    let json = Some("application/json");
    assert_eq!(agent_request(json, None), Ok(Body::Single(MediaType::Json)));
    assert_eq!(agent_request(json, json).unwrap_err().status(), 415);
    assert_eq!(agent_request(None, json).unwrap_err().status(), 400);
    assert_eq!(agent_request(Some("text/plain"), None).unwrap_err().status(), 415);
    let records = Some(RECORDIO);
    assert_eq!(agent_request(records, None).unwrap_err().status(), 400);
    assert_eq!(agent_request(records, records).unwrap_err().status(), 415);
    assert_eq!(agent_request(records, Some("application/x-protobuf")), Ok(Body::Records(MediaType::Protobuf)));

    let (single, stream) = (Body::Single(MediaType::Json), Body::Records(MediaType::Json));
    assert_eq!(agent_request_suits(single, false), Ok(()));
    assert_eq!(agent_request_suits(stream, true), Ok(()));
    assert_eq!(agent_request_suits(single, true).unwrap_err().status(), 415);
    assert_eq!(agent_request_suits(stream, false).unwrap_err().status(), 415);
}

#[test]
fn the_agent_answers_records_to_streaming_calls() {
    let protobuf = Some("application/x-protobuf");
    assert_eq!(agent_response(None, None), Ok(Body::Single(MediaType::Json)));
    assert_eq!(agent_response(protobuf, None), Ok(Body::Single(MediaType::Protobuf)));
    assert_eq!(agent_response(Some("*/*"), protobuf).unwrap_err().status(), 406);
    assert_eq!(agent_response(Some("text/html"), None).unwrap_err().status(), 406);
    let records = Some(RECORDIO);
    assert_eq!(agent_response(records, None), Ok(Body::Records(MediaType::Json)));
    assert_eq!(agent_response(records, protobuf), Ok(Body::Records(MediaType::Protobuf)));
    assert_eq!(agent_response(records, Some("text/html")).unwrap_err().status(), 406);

    let (single, stream) = (Body::Single(MediaType::Json), Body::Records(MediaType::Json));
    assert_eq!(agent_response_suits(single, false), Ok(()));
    assert_eq!(agent_response_suits(single, true), Ok(()));
    assert_eq!(agent_response_suits(stream, true), Ok(()));
    assert_eq!(agent_response_suits(stream, false).unwrap_err().status(), 406);
}
