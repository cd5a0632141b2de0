//! A small client of the HTTP APIs: what the command line needs and no more.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::stream::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kaon_http::recordio::Decoder;
use serde_json::Value;
use tokio::net::TcpStream;

/// The largest answer that is read whole, in bytes: the state of a cluster with a million tasks.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// A server's answer that is no success.
#[derive(Debug, thiserror::Error)]
#[error("{address} answered {status}: {text}")]
pub(crate) struct Refused {
    address: String,
    /// Its status.
    pub(crate) status: StatusCode,
    text: String,
}

/// A server to talk to, `HOST:PORT`.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: String,
}

impl Client {
    /// A client of `address`; a leading `http://` is taken off.
    pub(crate) fn new(address: &str) -> Self {
        let address = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
        Self { address: address.to_owned() }
    }

    /// GET of a path; the body when the answer is 200.
    pub(crate) async fn get(&self, path: &str) -> Result<Bytes> {
        let answer = self.send(Method::GET, path, &[], Bytes::new()).await?;
        self.whole(answer).await
    }

    /// A call of the operator API.
    pub(crate) async fn operator(&self, call: Value) -> Result<Value> {
        let headers = [("content-type", "application/json"), ("accept", "application/json")];
        let answer = self.send(Method::POST, "/api/v1", &headers, call.to_string().into()).await?;
        Ok(serde_json::from_slice(&self.whole(answer).await?)?)
    }

    /// A call of the operator API that changes something: its answer says only that it did.
    pub(crate) async fn order(&self, call: Value) -> Result<()> {
        let headers = [("content-type", "application/json"), ("accept", "application/json")];
        let answer = self.send(Method::POST, "/api/v1", &headers, call.to_string().into()).await?;
        self.whole(answer).await.map(drop)
    }

    /// GET of a path, as JSON.
    pub(crate) async fn json(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.get(path).await?)?)
    }

    /// SUBSCRIBE of the scheduler API: the stream of events, and the id that later calls carry.
    pub(crate) async fn subscribe(&self, call: Value) -> Result<(Events, String)> {
        let headers = [("content-type", "application/json"), ("accept", "application/json")];
        let answer = self.send(Method::POST, "/api/v1/scheduler", &headers, call.to_string().into()).await?;
        let stream_id = answer.headers().get("mesos-stream-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        if answer.status() != StatusCode::OK {
            self.whole(answer).await?;
            bail!("{} did not open a stream", self.address);
        }
        let stream_id = stream_id.context("the master sent no Mesos-Stream-Id")?;
        Ok((Events { body: answer.into_body(), decoder: Decoder::new(ANSWER_BYTES_MAX) }, stream_id))
    }

    /// A call of the scheduler API after SUBSCRIBE.
    pub(crate) async fn call(&self, stream_id: &str, call: Value) -> Result<()> {
        let headers = [("content-type", "application/json"), ("mesos-stream-id", stream_id)];
        let answer = self.send(Method::POST, "/api/v1/scheduler", &headers, call.to_string().into()).await?;
        match answer.status() {
            StatusCode::ACCEPTED => Ok(()),
            _ => self.whole(answer).await.map(drop),
        }
    }

    /// A call of an agent's operator API whose answer is a stream of records; the refusal when there is none.
    pub(crate) async fn stream(&self, call: Value) -> Result<Events> {
        let headers = [("content-type", "application/json"), ("accept", "application/json")];
        let answer = self.send(Method::POST, "/api/v1", &headers, call.to_string().into()).await?;
        if answer.status() != StatusCode::OK {
            self.whole(answer).await?;
            bail!("{} did not open a stream", self.address);
        }
        Ok(Events { body: answer.into_body(), decoder: Decoder::new(ANSWER_BYTES_MAX) })
    }

    /// A call whose body is a stream of records; answers when it is over.
    pub(crate) async fn speak(&self, records: impl Stream<Item = Bytes> + Send + 'static) -> Result<()> {
        let headers = [("content-type", "application/recordio"), ("message-content-type", "application/json")];
        let body = StreamBody::new(records.map(|record| Ok::<_, std::convert::Infallible>(Frame::data(record))));
        let answer = self.send_body(Method::POST, "/api/v1", &headers, body.boxed_unsync()).await?;
        self.whole(answer).await.map(drop)
    }

    /// GET of a file from an offset on: what tells it from another file of the same name, and the bytes.
    pub(crate) async fn file(&self, path: &str, offset: u64) -> Result<Option<(String, Bytes)>> {
        let target = format!("/files/download?path={}&offset={offset}", encode(path));
        let answer = self.send(Method::GET, &target, &[], Bytes::new()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
        Ok(Some((tag, self.whole(answer).await?)))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        self.send_body(method, path, headers, Full::new(body).boxed_unsync()).await
    }

    async fn send_body(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: UnsyncBoxBody<Bytes, std::convert::Infallible>,
    ) -> Result<Response<Incoming>> {
        let advice = || match self.address.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => {
                format!("can't reach http://{}; is the cluster up? `kaon up` starts one", self.address)
            }
            _ => format!("`{}` is no address: it is HOST:PORT, such as 127.0.0.1:5050", self.address),
        };
        let socket = TcpStream::connect(&self.address).await.with_context(advice)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        // The connection ends with its answer; what it ends with is told by the answer's body.
        tokio::spawn(async move { drop(connection.await) });
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(sender.send_request(request.body(body)?).await?)
    }

    async fn whole(&self, answer: Response<Incoming>) -> Result<Bytes> {
        let status = answer.status();
        let body = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{}: the answer broke off: {error}", self.address))?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        Err(Refused { address: self.address.clone(), status, text }.into())
    }
}

/// Percent-encodes a path for a query.
pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The events of a subscription.
pub(crate) struct Events {
    body: Incoming,
    decoder: Decoder,
}

impl Events {
    /// The next event; `None` when the master has ended the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some(record) = self.decoder.next_record()? {
                return Ok(Some(serde_json::from_slice(&record)?));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.decoder.push(&data);
                    }
                }
            }
        }
    }
}
