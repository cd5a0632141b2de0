//! The Engine API over its socket: one request a connection, answers bounded. Paths carry no version: the engine answers in its own.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The largest answer in bytes: a list of ten thousand containers.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How long the engine may take to begin an answer; to make and start a container it takes tenths of a second.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);

/// How long an image may bring nothing.
const STALL_TIMEOUT: Duration = Duration::from_secs(300);

/// How much of the engine's words is repeated, in characters.
const WORDS_MAX: usize = 500;

/// Why the engine did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the engine can't be reached at '{socket}': {reason}")]
    Connection { socket: PathBuf, reason: String },
    #[error("{words}")]
    Refused { status: u16, words: String },
    #[error("the engine does not answer")]
    Late,
    #[error("the engine's answer can't be read: {0}")]
    Answer(String),
    #[error("{0}")]
    Credentials(String),
    #[error("can't {action}: {source}")]
    Io { action: &'static str, source: io::Error },
}

impl Error {
    /// The status of a refusal.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// An engine. A name only: nothing is open.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    socket: PathBuf,
}

impl Engine {
    pub(super) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks, and gives the answer before its body is read. A refusal is an error.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        authority: Option<&str>,
        deadline: Option<Duration>,
    ) -> Result<Response<Incoming>, Error> {
        let failed = |reason: String| Error::Connection { socket: self.socket.clone(), reason };
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| failed(error.to_string()))?;
        let connected = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connected.map_err(|error| failed(error.to_string()))?;
        tokio::spawn(async move {
            // What goes wrong with it is told to who reads the answer.
            let _ = connection.await;
        });
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(path).header(HOST, "docker");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(authority) = authority {
            request = request.header("X-Registry-Auth", authority);
        }
        let request = request.body(Full::new(Bytes::from(text))).map_err(|error| Error::Answer(error.to_string()))?;
        let asked = sender.send_request(request);
        let response = match deadline {
            Some(deadline) => timeout(deadline, asked).await.map_err(|_| Error::Late)?,
            None => asked.await,
        };
        let response = response.map_err(|error| failed(error.to_string()))?;
        let status = response.status().as_u16();
        if status < 400 {
            return Ok(response);
        }
        let bytes = read(response).await?;
        let told = serde_json::from_slice::<Value>(&bytes).ok();
        let told = told.as_ref().and_then(|told| told["message"].as_str());
        let words = told.map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), str::to_owned);
        Err(Error::Refused { status, words: words.trim().chars().take(WORDS_MAX).collect() })
    }

    /// Asks, and reads the whole answer; null where there is none.
    pub(super) async fn order(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let response = self.ask(method, path, body, None, Some(ANSWER_DEADLINE)).await?;
        let bytes = timeout(ANSWER_DEADLINE, read(response)).await.map_err(|_| Error::Late)??;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| Error::Answer(error.to_string()))
    }

    /// Has an image fetched: the engine tells of its progress in lines, and of a failure in one of them.
    pub(super) async fn pull(&self, path: &str, authority: Option<&str>) -> Result<(), Error> {
        let mut body = self.ask(Method::POST, path, None, authority, Some(STALL_TIMEOUT)).await?.into_body();
        let mut line: Vec<u8> = Vec::new();
        while let Some(frame) = timeout(STALL_TIMEOUT, body.frame()).await.map_err(|_| Error::Late)? {
            let frame = frame.map_err(|error| Error::Answer(error.to_string()))?;
            for &byte in frame.data_ref().into_iter().flat_map(|data| data.iter()) {
                if byte != b'\n' {
                    line.push(byte);
                    if line.len() > ANSWER_BYTES_MAX {
                        return Err(Error::Answer("a line without end".to_owned()));
                    }
                    continue;
                }
                let told: Value = serde_json::from_slice(&line).unwrap_or_default();
                if let Some(words) = told["error"].as_str() {
                    return Err(Error::Refused { status: 500, words: words.chars().take(WORDS_MAX).collect() });
                }
                line.clear();
            }
        }
        Ok(())
    }

    /// Asks from a thread that may block.
    pub(super) fn block<T>(work: impl Future<Output = T>) -> io::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(work))
    }
}

async fn read(response: Response<Incoming>) -> Result<Vec<u8>, Error> {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::Answer(error.to_string()))?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(Error::Answer(format!("more than {ANSWER_BYTES_MAX} bytes")));
        }
    }
    Ok(bytes)
}
