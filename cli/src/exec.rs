//! `kaon exec` and `kaon attach`: a command within a task, and the terminal of a task. Both speak the agent's operator API as
//! any client of it may (reference 7.2).

use crate::arguments::{Attach, Exec};
use crate::client::{Client, Events};
use crate::locate::{Located, locate, text};
use crate::terminal::{Raw, window};
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream;
use kaon_http::recordio;
use serde_json::{Value, json};
use std::io::{IsTerminal, Read, Write};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// How much of our input is read at once, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// Records that wait for the agent: what is read beyond waits in our own input.
const RECORDS_WAITING_MAX: usize = 16;

/// The keys that leave a task alone: Ctrl-P, Ctrl-Q.
const LEAVE: [u8; 2] = [0x10, 0x11];

/// The code of one who left.
const EXIT_LEFT: i32 = 0;

/// Runs a command within a task; its exit code.
pub(crate) async fn exec(options: Exec) -> Result<i32> {
    let located = locate(&options.which).await?;
    let mut variables = Vec::new();
    for pair in &options.environment {
        let (name, value) = pair.split_once('=').with_context(|| format!("--env {pair}: expected NAME=VALUE"))?;
        variables.push(json!({"name": name, "value": value}));
    }
    let name = format!("exec-{:016x}", crate::host::random());
    let container = json!({"value": name, "parent": located.container});
    let mut command = json!({"shell": false, "value": options.command[0], "arguments": options.command,
        "environment": {"variables": variables}});
    if let Some(user) = &options.user {
        command["user"] = json!(user);
    }
    let mut session = json!({"container_id": container, "command": command});
    if options.tty {
        let (rows, columns) = window().unwrap_or((24, 80));
        let size = json!({"window_size": {"rows": rows, "columns": columns}});
        session["container"] = json!({"type": "MESOS", "tty_info": size});
    }
    let call = json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": session});
    let output = located.agent.stream(call).await?;
    let raw = if options.tty && options.interactive { Raw::enter() } else { Raw::none() };
    let input = Input { is_given: options.interactive, has_terminal: options.tty, may_leave: false };
    let shown = talk(&located.agent, &container, output, Some(input)).await;
    drop(raw);
    shown?;
    let asked = json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": container}});
    let ended = located.agent.operator(asked).await;
    let asked = json!({"type": "REMOVE_NESTED_CONTAINER", "remove_nested_container": {"container_id": container}});
    // What is left of it goes with the task at the latest.
    let _ = located.agent.order(asked).await;
    let status = ended?["wait_nested_container"]["exit_status"].as_i64();
    Ok(status.map_or(1, exit_code))
}

/// The code of a raw wait status, as a shell tells it.
fn exit_code(raw: i64) -> i32 {
    let raw = i32::try_from(raw).unwrap_or(1 << 8);
    match raw & 0x7f {
        0 => raw >> 8 & 0xff,
        signal => 128 + signal,
    }
}

/// Shows the terminal of a task and gives it our input.
pub(crate) async fn attach(options: Attach) -> Result<i32> {
    let Located { agent, container, .. } = locate(&options.which).await?;
    let asked = json!({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": container}});
    let advice = || format!("can't attach to {0}; `kaon logs -f {0}` follows what it writes", options.which.task);
    let output = agent.stream(asked).await.with_context(advice)?;
    let input = Input { is_given: true, has_terminal: true, may_leave: true };
    let input = (!options.no_input).then_some(input);
    let raw = if input.is_some() { Raw::enter() } else { Raw::none() };
    let shown = talk(&agent, &container, output, input).await;
    drop(raw);
    shown.map(|_| EXIT_LEFT)
}

/// What is done with our input.
struct Input {
    /// Whether it is given to the container; else that reads nothing.
    is_given: bool,
    /// Whether the container has a terminal, whose size is ours.
    has_terminal: bool,
    /// Whether two keys leave.
    may_leave: bool,
}

/// Shows what a container writes until it ends, or we leave, and says what we type.
async fn talk(agent: &Client, container: &Value, mut output: Events, input: Option<Input>) -> Result<()> {
    let (left, mut is_left) = mpsc::channel(1);
    let speaking = input.map(|input| {
        let (said, heard) = mpsc::channel::<Value>(RECORDS_WAITING_MAX);
        let first = json!({"type": "CONTAINER_ID", "container_id": container});
        let body = stream::unfold((Some(first), heard), |(first, mut heard)| async move {
            let next = match first {
                Some(first) => first,
                None => heard.recv().await?,
            };
            let call = json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": next});
            Some((recordio::encode(call.to_string().as_bytes()), (None, heard)))
        });
        let agent = agent.clone();
        let has_terminal = input.has_terminal;
        let typed = said.clone();
        // A thread of its own: a read of our input can't be taken back, and may never return.
        std::thread::spawn(move || read_input(&input, &typed, &left));
        tokio::spawn(async move {
            let sizes = tokio::spawn(tell_sizes(said, has_terminal));
            let spoken = agent.speak(body).await;
            sizes.abort();
            if let Err(error) = spoken {
                tracing::debug!(%error, "the input is not heard any more");
            }
        })
    });
    let shown = loop {
        tokio::select! {
            // Who leaves drops the other end; who may not never says a word.
            Some(()) = is_left.recv() => break Ok(()),
            record = output.next() => match record {
                Ok(Some(record)) => show(&record)?,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            },
        }
    };
    if let Some(speaking) = speaking {
        speaking.abort();
    }
    shown
}

/// Writes what a record holds to where it belongs.
fn show(record: &Value) -> Result<()> {
    if record["type"] != "DATA" {
        return Ok(());
    }
    let data = STANDARD.decode(text(&record["data"]["data"])).context("the agent sent something that is no data")?;
    match record["data"]["type"].as_str() {
        Some("STDERR") => {
            std::io::stderr().write_all(&data)?;
            std::io::stderr().flush()?;
        }
        _ => {
            std::io::stdout().write_all(&data)?;
            std::io::stdout().flush()?;
        }
    }
    Ok(())
}

fn typed(bytes: &[u8]) -> Value {
    json!({"type": "PROCESS_IO", "process_io":
        {"type": "DATA", "data": {"type": "STDIN", "data": STANDARD.encode(bytes)}}})
}

/// Hands our input on, and its end. Ends when nobody takes it any more.
fn read_input(input: &Input, said: &mpsc::Sender<Value>, left: &mpsc::Sender<()>) {
    let mut from = std::io::stdin();
    let mut piece = [0; READ_BYTES];
    let mut was_first_key = false;
    if !input.is_given {
        return end_input(said);
    }
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        let bytes = &piece[..length];
        let both = was_first_key && bytes.first() == Some(&LEAVE[1]);
        if input.may_leave && from.is_terminal() && (both || bytes.windows(2).any(|keys| keys == LEAVE)) {
            let _ = left.blocking_send(());
            return;
        }
        was_first_key = bytes.last() == Some(&LEAVE[0]);
        if said.blocking_send(typed(bytes)).is_err() {
            return;
        }
    }
    end_input(said);
}

/// Says that no more comes.
fn end_input(said: &mpsc::Sender<Value>) {
    let _ = said.blocking_send(typed(b""));
    // While this end is open the talk goes on: the container may have more to say than we.
    while !said.is_closed() {
        std::thread::park_timeout(std::time::Duration::from_millis(200));
    }
}

/// Tells the size of our window, and each that it gets.
async fn tell_sizes(said: mpsc::Sender<Value>, has_terminal: bool) -> Result<()> {
    if !has_terminal {
        return Ok(());
    }
    let mut changed = signal(SignalKind::window_change())?;
    while let Some((rows, columns)) = window() {
        let size = json!({"window_size": {"rows": rows, "columns": columns}});
        let io = json!({"type": "CONTROL", "control": {"type": "TTY_INFO", "tty_info": size}});
        if said.send(json!({"type": "PROCESS_IO", "process_io": io})).await.is_err() {
            bail!("nobody listens");
        }
        changed.recv().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_a_shell() {
        assert_eq!([exit_code(0), exit_code(7 << 8), exit_code(9), exit_code(255 << 8)], [0, 7, 137, 255]);
        let record = recordio::encode(typed(b"x").to_string().as_bytes());
        assert!(record.ends_with(b"}"));
    }
}
