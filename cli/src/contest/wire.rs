//! HTTP/1.1 over a plain socket, as a client sees it: the messages of `http1.rs`, sent and read.

pub(crate) use super::http1::Answer;
use super::http1::{self, Extent, PART_BYTES_MAX};
use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

impl Answer {
    /// The status and the beginning of the body, for people.
    pub(crate) fn shown(&self) -> String {
        format!("{} {}", self.status, self.text().chars().take(300).collect::<String>())
    }

    /// Requires a status.
    pub(crate) fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "expected {status}, the answer was {}", self.shown());
        Ok(self)
    }
}

/// A connection, kept alive between exchanges.
pub(crate) struct Connection {
    address: String,
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to `HOST:PORT`.
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let socket = TcpStream::connect(address).await.with_context(|| format!("can't reach http://{address}"))?;
        socket.set_nodelay(true)?;
        Ok(Self { address: address.to_owned(), socket, buffer: Vec::new() })
    }

    /// Sends a request with a `Content-Length` when it has a body or is a POST.
    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        self.send_bytes(&http1::request(method, &self.address, path, headers, body)).await
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.socket.write_all(bytes).await?)
    }

    /// Ends our half: nothing more will be sent.
    pub(crate) async fn half_close(&mut self) -> Result<()> {
        Ok(self.socket.shutdown().await?)
    }

    /// Reads an answer to its end.
    pub(crate) async fn answer(&mut self) -> Result<Answer> {
        let mut answer = self.head().await?;
        match answer.extent()? {
            Extent::Length(length) => answer.body = self.rest(length).await?,
            Extent::Chunks => {
                while let Some(chunk) = self.chunk().await? {
                    answer.body.extend(chunk);
                }
            }
            Extent::Connection => {
                while self.fill().await? {}
                answer.body = std::mem::take(&mut self.buffer);
            }
        }
        Ok(answer)
    }

    /// So many bytes of a body.
    pub(crate) async fn rest(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < length {
            ensure!(self.fill().await?, "the connection closed within a body");
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads the head of an answer and leaves its body.
    pub(crate) async fn head(&mut self) -> Result<Answer> {
        loop {
            if let Some(answer) = http1::take_head(&mut self.buffer)? {
                return Ok(answer);
            }
            ensure!(self.fill().await?, "the connection closed without an answer");
        }
    }

    /// One chunk of a chunked body as it came; `None` after the last, or when the connection has closed. What has come in
    /// is kept when the wait is given up.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(chunk) = http1::take_chunk(&mut self.buffer)? {
                return Ok((!chunk.is_empty()).then_some(chunk));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// One record, which has to be one chunk; `None` at the end of the stream.
    pub(crate) async fn record(&mut self) -> Result<Option<Vec<u8>>> {
        self.chunk().await?.map(|chunk| http1::record(&chunk)).transpose()
    }

    /// Reads what there is; `false` at the end of the connection.
    async fn fill(&mut self) -> Result<bool> {
        ensure!(self.buffer.len() <= PART_BYTES_MAX, "an answer without an end");
        match self.socket.read_buf(&mut self.buffer).await {
            Ok(0) => Ok(false),
            Ok(_) => Ok(true),
            // Whoever hangs up on us with unread bytes resets.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// One request on a connection of its own.
pub(crate) async fn exchange(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
    let mut connection = Connection::open(address).await?;
    connection.send(method, path, headers, body).await?;
    connection.answer().await
}

/// Bytes as they are on a connection of their own, and what comes back; `None` when the server hangs up without an answer.
pub(crate) async fn raw(address: &str, bytes: &[u8]) -> Result<Option<Answer>> {
    let mut connection = Connection::open(address).await?;
    // A server that has seen enough may have hung up already.
    if connection.send_bytes(bytes).await.is_err() {
        return Ok(connection.head().await.ok());
    }
    match connection.answer().await {
        Ok(answer) => Ok(Some(answer)),
        Err(_) => Ok(None),
    }
}
