//! The program that stands for a container of Docker: writes its output where the launcher wants it, hands TERM on, and ends
//! with its code. It holds nothing: killed, it leaves the engine's container to the isolator's cleanup.
//!
//! `kaon docker SOCKET run NAME` follows a container, `kaon docker SOCKET exec NAME COMMAND..` runs a command beside what runs in it.

use super::engine::{Engine, Error};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// The code of a program that could not be followed (Docker's own for what it could not run).
const CODE_FAILED: u8 = 125;

/// A piece of output begins with a head: the stream, three zeros, and its length.
const HEAD_BYTES: usize = 8;

/// The whole program. Its arguments begin after the word that chose it.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = runtime.block_on(async {
        match words.as_slice() {
            [socket, "run", name] => follow(&Engine::new(Path::new(socket)), name).await,
            [socket, "exec", name, command @ ..] if !command.is_empty() => {
                beside(&Engine::new(Path::new(socket)), name, command).await
            }
            _ => Err(Error::Answer("expected SOCKET run NAME, or SOCKET exec NAME COMMAND..".to_owned())),
        }
    });
    match done {
        Ok(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(CODE_FAILED)),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("Docker: {error}");
    ExitCode::from(CODE_FAILED)
}

async fn follow(engine: &Engine, name: &str) -> Result<i64, Error> {
    let io = |source| Error::Io { action: "hear signals", source };
    let mut asked = signal(SignalKind::terminate()).map_err(io)?;
    let path = format!("/containers/{name}/logs?follow=true&stdout=true&stderr=true");
    let logs = engine.ask(Method::GET, &path, None, None, None).await;
    let output = async {
        match logs {
            Ok(response) => copy(response.into_body()).await,
            // A driver of logs that can't be read: then there is no output, and an end all the same.
            Err(error) => {
                eprintln!("Docker: its output can't be read: {error}");
                Ok(())
            }
        }
    };
    let path = format!("/containers/{name}/wait");
    let end = async {
        let mut response = engine.ask(Method::POST, &path, None, None, None).await?;
        let bytes = response.body_mut().collect().await.map_err(|error| Error::Answer(error.to_string()))?.to_bytes();
        serde_json::from_slice::<Value>(&bytes).map_err(|error| Error::Answer(error.to_string()))
    };
    let hand_on = async {
        loop {
            if asked.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            let told = engine.order(Method::GET, &format!("/containers/{name}/json"), None).await;
            let told = told.ok().and_then(|told| told["Config"]["StopSignal"].as_str().map(str::to_owned));
            let stop = told.filter(|name| !name.is_empty()).unwrap_or_else(|| "SIGTERM".to_owned());
            // One that has ended meanwhile needs no signal.
            let _ = engine.order(Method::POST, &format!("/containers/{name}/kill?signal={stop}"), None).await;
        }
    };
    let ended = tokio::select! {
        both = async { tokio::join!(output, end) } => both,
        () = hand_on => return Err(Error::Late),
    };
    ended.0?;
    let told = ended.1?;
    told["StatusCode"].as_i64().ok_or_else(|| Error::Answer("it ended without a code".to_owned()))
}

async fn beside(engine: &Engine, name: &str, command: &[&str]) -> Result<i64, Error> {
    let body = json!({"Cmd": command, "AttachStdout": true, "AttachStderr": true});
    let made = engine.order(Method::POST, &format!("/containers/{name}/exec"), Some(&body)).await?;
    let id = made["Id"].as_str().ok_or_else(|| Error::Answer("a command without a name".to_owned()))?;
    let body = json!({"Detach": false, "Tty": false});
    let response = engine.ask(Method::POST, &format!("/exec/{id}/start"), Some(&body), None, None).await?;
    copy(response.into_body()).await?;
    let told = engine.order(Method::GET, &format!("/exec/{id}/json"), None).await?;
    told["ExitCode"].as_i64().ok_or_else(|| Error::Answer("it ended without a code".to_owned()))
}

/// Copies output to where it belongs, piece by piece.
async fn copy(mut body: Incoming) -> Result<(), Error> {
    let mut demultiplexer = Demultiplexer::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::Answer(error.to_string()))?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        let written = demultiplexer.take(data, |stream, piece| match stream {
            2 => io::stderr().write_all(piece),
            _ => {
                let mut out = io::stdout().lock();
                out.write_all(piece).and_then(|()| out.flush())
            }
        });
        written.map_err(|source| Error::Io { action: "write its output", source })?;
    }
    Ok(())
}

/// Takes output apart that carries two streams in one.
#[derive(Default)]
struct Demultiplexer {
    head: Vec<u8>,
    stream: u8,
    left: usize,
}

impl Demultiplexer {
    fn take(&mut self, mut data: &[u8], mut write: impl FnMut(u8, &[u8]) -> io::Result<()>) -> io::Result<()> {
        while !data.is_empty() {
            if self.left == 0 {
                let more = (HEAD_BYTES - self.head.len()).min(data.len());
                self.head.extend_from_slice(&data[..more]);
                data = &data[more..];
                if let [stream, _, _, _, length @ ..] = self.head.as_slice()
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    (self.stream, self.left) = (*stream, u32::from_be_bytes(length) as usize);
                    self.head.clear();
                }
                continue;
            }
            let piece = self.left.min(data.len());
            write(self.stream, &data[..piece])?;
            (self.left, data) = (self.left - piece, &data[piece..]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streams_come_apart_however_they_are_cut(
            pieces in proptest::collection::vec((1_u8..3, proptest::collection::vec(any::<u8>(), 0..20)), 0..8),
            cut in 1_usize..9,
        ) {
            let mut bytes = Vec::new();
            let mut wanted = [Vec::new(), Vec::new()];
            for (stream, piece) in &pieces {
                bytes.extend_from_slice(&[*stream, 0, 0, 0]);
                bytes.extend_from_slice(&u32::try_from(piece.len()).unwrap().to_be_bytes());
                bytes.extend_from_slice(piece);
                wanted[usize::from(*stream) - 1].extend_from_slice(piece);
            }
            let (mut demultiplexer, mut found) = (Demultiplexer::default(), [Vec::new(), Vec::new()]);
            for part in bytes.chunks(cut) {
                demultiplexer.take(part, |stream, piece| {
                    found[usize::from(stream) - 1].extend_from_slice(piece);
                    Ok(())
                }).unwrap();
            }
            prop_assert_eq!(found, wanted);
        }
    }
}
