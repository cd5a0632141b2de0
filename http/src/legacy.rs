//! The old endpoints that change something (reference 2): forms and pieces of JSON, each of which stands for a call of the
//! v1 API and goes the same way.
//!
//! ```text
//! POST /reserve /unreserve     slaveId=..&resources=[..]     RESERVE_RESOURCES, UNRESERVE_RESOURCES
//! POST /create-volumes /destroy-volumes  slaveId=..&volumes=[..]  CREATE_VOLUMES, DESTROY_VOLUMES
//! POST /teardown               frameworkId=..                TEARDOWN
//! POST /quota                  a QuotaRequest in JSON        SET_QUOTA
//! DELETE /quota/ROLE                                         REMOVE_QUOTA
//! PUT /weights                 a list of WeightInfo in JSON  UPDATE_WEIGHTS
//! ```

use std::sync::Arc;

use hyper::Method;
use serde_json::{Value, json};

use crate::answer::{self, Answer};
use crate::codec::{self, MediaType};
use crate::edge::MasterEdge;
use crate::operator;
use crate::path;
use crate::server::Request;
use crate::v1::master::Call;

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Convert(&'static str, &'static str, &'static str),
    Teardown,
    SetQuota,
    RemoveQuota,
    SetWeights,
}

impl Endpoint {
    /// The endpoint of a path and a method; `None` when nothing is changed there.
    pub(crate) fn of(parts: &[&str], method: &Method) -> Option<Self> {
        Some(match parts {
            ["reserve"] => Self::Convert("RESERVE_RESOURCES", "reserve_resources", "resources"),
            ["unreserve"] => Self::Convert("UNRESERVE_RESOURCES", "unreserve_resources", "resources"),
            ["create-volumes"] => Self::Convert("CREATE_VOLUMES", "create_volumes", "volumes"),
            ["destroy-volumes"] => Self::Convert("DESTROY_VOLUMES", "destroy_volumes", "volumes"),
            ["teardown"] => Self::Teardown,
            ["quota"] if *method == Method::POST => Self::SetQuota,
            ["quota", _, ..] => Self::RemoveQuota,
            ["weights"] if *method == Method::PUT => Self::SetWeights,
            _ => return None,
        })
    }

    fn method(self) -> Method {
        match self {
            Self::RemoveQuota => Method::DELETE,
            Self::SetWeights => Method::PUT,
            _ => Method::POST,
        }
    }
}

/// The answer to a request.
pub(crate) async fn handle(edge: Arc<MasterEdge>, endpoint: Endpoint, parts: &[&str], mut request: Request) -> Answer {
    if let Some(elsewhere) = edge.unless_leading(&request) {
        return elsewhere;
    }
    if *request.method() != endpoint.method() {
        return answer::not_allowed(match endpoint {
            Endpoint::RemoveQuota => "DELETE",
            Endpoint::SetWeights => "GET, PUT",
            _ => "POST",
        });
    }
    let body = match request.read_body().await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let call = match endpoint {
        Endpoint::Convert(kind, part, list) => of_form(kind, part, list, &body),
        Endpoint::Teardown => teardown(&body),
        Endpoint::SetQuota => body_json(&body).and_then(|quota_request| {
            decoded(&json!({"type": "SET_QUOTA", "set_quota": {"quota_request": quota_request}}))
        }),
        Endpoint::RemoveQuota => {
            let role = parts.get(1..).unwrap_or_default().join("/");
            decoded(&json!({"type": "REMOVE_QUOTA", "remove_quota": {"role": role}}))
        }
        Endpoint::SetWeights => body_json(&body)
            .and_then(|infos| decoded(&json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": infos}}))),
    };
    match call {
        Ok(call) => operator::carry_out(&edge, call).await,
        Err(reason) => answer::bad(reason),
    }
}

fn body_json(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|error| format!("Failed to parse the body: {error}"))
}

fn decoded(call: &Value) -> Result<Call, String> {
    let call = codec::decode(MediaType::Json, call.to_string().as_bytes());
    call.map_err(|error| format!("Failed to parse the body: {error}"))
}

fn form(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    let body = core::str::from_utf8(body).map_err(|_| "Unable to decode query string: it is not UTF-8".to_owned())?;
    path::query(Some(body)).map_err(|error| format!("Unable to decode query string: {error}"))
}

fn field<'a>(form: &'a [(String, String)], name: &str) -> Result<&'a str, String> {
    path::value(form, name).ok_or_else(|| format!("Missing '{name}' query parameter in the request body"))
}

fn teardown(body: &[u8]) -> Result<Call, String> {
    let form = form(body)?;
    let id = field(&form, "frameworkId")?;
    decoded(&json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": id}}}))
}

fn of_form(kind: &str, part: &str, list: &str, body: &[u8]) -> Result<Call, String> {
    let form = form(body)?;
    let (agent, resources) = (field(&form, "slaveId")?, field(&form, list)?);
    let wrong = |error: &dyn core::fmt::Display| {
        format!("Error in parsing '{list}' query parameter in the request body: {error}")
    };
    let resources: Value = serde_json::from_str(resources).map_err(|error| wrong(&error))?;
    let mut named = serde_json::Map::new();
    named.insert("agent_id".to_owned(), json!({ "value": agent }));
    named.insert(list.to_owned(), resources);
    decoded(&json!({ "type": kind, part: named })).map_err(|error| wrong(&error))
}
