//! HTTP/1.1 over a plain socket, as a client sees it: heads, bodies, chunks, RecordIO records. No code of the product: what
//! is sent is exactly what a row wrote, and what comes is judged as the strictest of the known clients judge it.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest head or chunk that is read, in bytes: the state of a large cluster is one record.
const PART_BYTES_MAX: usize = 256 << 20;

/// An answer, read to its end; of a stream the head only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

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
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" || !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.send_bytes(&[head.as_bytes(), body].concat()).await
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
        if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().context("a Content-Length that is no number")?;
            answer.body = self.rest(length).await?;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await? {
                answer.body.extend(chunk);
            }
        } else if !matches!(answer.status, 204 | 304) {
            while self.fill().await? {}
            answer.body = std::mem::take(&mut self.buffer);
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
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            ensure!(self.fill().await?, "the connection closed without an answer");
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status line: {line}"))?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Ok(Answer { status, headers, body: Vec::new() })
    }

    /// One chunk of a chunked body as it came; `None` after the last, or when the connection has closed. What has come in
    /// is kept when the wait is given up.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                break at;
            }
            if !self.fill().await? {
                return Ok(None);
            }
        };
        let line = std::str::from_utf8(&self.buffer[..end]).unwrap_or_default();
        let length = usize::from_str_radix(line, 16).with_context(|| format!("'{line}' is no chunk length"))?;
        ensure!(length <= PART_BYTES_MAX, "a chunk of {length} bytes");
        while self.buffer.len() < end + 2 + length + 2 {
            if !self.fill().await? {
                return Ok(None);
            }
        }
        let chunk = self.buffer[end + 2..end + 2 + length].to_vec();
        ensure!(&self.buffer[end + 2 + length..end + 4 + length] == b"\r\n", "a chunk does not end with its line");
        self.buffer.drain(..end + 4 + length);
        Ok((length > 0).then_some(chunk))
    }

    /// One record, which has to be one chunk; `None` at the end of the stream.
    pub(crate) async fn record(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(chunk) = self.chunk().await? else { return Ok(None) };
        let line = chunk.iter().position(|&byte| byte == b'\n').context("a record does not begin with its length")?;
        let length = std::str::from_utf8(&chunk[..line]).ok().and_then(|text| text.parse::<usize>().ok());
        let record = chunk[line + 1..].to_vec();
        if length != Some(record.len()) {
            bail!("a chunk is not one record: {} bytes after '{}'", record.len(), length.unwrap_or_default());
        }
        Ok(Some(record))
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

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
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
