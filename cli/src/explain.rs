//! `kaon explain`: the allocator's own reasons, as text or JSON.

use crate::arguments::Explain;
use crate::client::Client;
use crate::table::say;
use anyhow::Result;
use core::fmt::Write as _;
use kaon_kernel::resource::parse;
use serde_json::Value;

/// Asks and prints.
pub(crate) async fn explain(options: Explain) -> Result<()> {
    // Read here as well, so that the mistake is shown with its place.
    parse::resources(&options.wants)?;
    let path = format!(
        "/explain/{}/{}?wants={}&placement={}",
        options.subject,
        escaped(&options.id, "/"),
        escaped(&options.wants, ""),
        escaped(&options.placement, "")
    );
    let answer = Client::new(&options.api.api).json(&path).await?;
    let text = if options.json { serde_json::to_string_pretty(&answer)? } else { text(&answer) };
    Ok(say(text.trim_end())?)
}

/// Percent-encodes all but unreserved characters (RFC 3986) and those in `kept`.
fn escaped(text: &str, kept: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.as_bytes().contains(&byte);
        // Writing to a text can't fail.
        let _ = if is_plain { write!(out, "{}", byte as char) } else { write!(out, "%{byte:02X}") };
        out
    })
}

fn text(answer: &Value) -> String {
    let mut lines = Vec::new();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    if let Some(task) = answer.get("task") {
        let (state, agent) = (word(&task["state"]), word(&task["agent_id"]));
        lines.push(format!("task {} ({}): {state} on {agent}", word(&task["id"]), word(&task["resources"])));
        for key in ["reason", "message"] {
            if let Some(said) = task[key].as_str() {
                lines.push(format!("  {key}: {said}"));
            }
        }
    }
    for client in items(&answer["clients"]) {
        lines.push(format!(
            "framework {} as {}: share of the role {:.3}, {} allocations",
            word(&client["framework_id"]),
            word(&client["role"]),
            client["role_share"].as_f64().unwrap_or_default(),
            client["allocations"]
        ));
        for standing in items(&client["standing"]) {
            lines.push(format!(
                "  nothing is offered at all: {} ({})",
                word(&standing["text"]),
                word(&standing["change"])
            ));
        }
        lines.push(format!("  agents on which nothing speaks against an offer: {}", client["agents_open"]));
        for group in items(&client["groups"]) {
            let (text, example) = (word(&group["obstacle"]["text"]), word(&group["example"]));
            lines.push(format!("  {} agents: {text} (on {example})", group["agents"]));
        }
        if let Some(never) = client["never"].as_object() {
            lines.push(format!("  it fits nowhere: {} ({})", word(&never["text"]), word(&never["change"])));
        }
        if let Some(nearest) = client["nearest"].as_object() {
            let change = word(&nearest["obstacle"]["change"]);
            lines.push(format!("  nearest is {}: {change}", word(&nearest["agent_id"])));
        }
    }
    if let Some(more) = answer["clients_left_out"].as_u64().filter(|more| *more > 0) {
        lines.push(format!("{more} more clients are left out"));
    }
    for (name, amounts) in answer["capacity"].as_object().into_iter().flatten() {
        lines.push(format!("{name}: {} of {} held", amounts["held"], amounts["total"]));
    }
    for holder in items(&answer["holders"]) {
        let held = holder["held"].as_object().into_iter().flatten();
        let held = held.map(|(name, amount)| format!("{name}:{amount}")).collect::<Vec<_>>().join("; ");
        lines.push(format!("  {held} held by {} as {}", word(&holder["framework_id"]), word(&holder["role"])));
    }
    lines.join("\n")
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
