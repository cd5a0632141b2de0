//! HTTP/1.1 as bytes, without a socket: requests, answers, chunks, RecordIO records. No code of the product: what is sent is
//! what a client wrote, and what comes is judged as the strictest of the known clients judge it. The contest's connections
//! and those of the tests (`cli/tests/client.rs`) are made of these.

use anyhow::{Context, Result, ensure};

/// The largest head or chunk that is read, in bytes: the state of a large cluster is one record.
pub(crate) const PART_BYTES_MAX: usize = 256 << 20;

/// An answer: its head, and of a body what has been read of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// Where the body of an answer ends.
pub(crate) enum Extent {
    /// After so many bytes.
    Length(usize),
    /// After the chunk of no bytes.
    Chunks,
    /// With the connection.
    Connection,
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

    /// Where its body ends, as its head says.
    pub(crate) fn extent(&self) -> Result<Extent> {
        Ok(if let Some(length) = self.header("content-length") {
            Extent::Length(length.parse().context("a Content-Length that is no number")?)
        } else if self.header("transfer-encoding") == Some("chunked") {
            Extent::Chunks
        } else if matches!(self.status, 204 | 304) {
            Extent::Length(0)
        } else {
            Extent::Connection
        })
    }
}

/// A request, with a `Content-Length` when it has a body or is a POST.
pub(crate) fn request(method: &str, host: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if method == "POST" || !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// Takes the head of an answer from what has come in; none while it is not whole.
pub(crate) fn take_head(buffer: &mut Vec<u8>) -> Result<Option<Answer>> {
    let Some(end) = find(buffer, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("no status line: {line}"))?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Ok(Some(Answer { status, headers, body: Vec::new() }))
}

/// Takes one chunk of a chunked body; none while it is not whole. The last one is empty.
pub(crate) fn take_chunk(buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    let Some(end) = find(buffer, b"\r\n") else { return Ok(None) };
    let line = std::str::from_utf8(&buffer[..end]).unwrap_or_default();
    let length = usize::from_str_radix(line, 16).with_context(|| format!("'{line}' is no chunk length"))?;
    ensure!(length <= PART_BYTES_MAX, "a chunk of {length} bytes");
    let (from, to) = (end + 2, end + 2 + length);
    if buffer.len() < to + 2 {
        return Ok(None);
    }
    ensure!(&buffer[to..to + 2] == b"\r\n", "a chunk does not end with its line");
    let chunk = buffer[from..to].to_vec();
    buffer.drain(..to + 2);
    Ok(Some(chunk))
}

/// The record that a chunk is: exactly one, whose own first line tells its length.
pub(crate) fn record(chunk: &[u8]) -> Result<Vec<u8>> {
    let line = chunk.iter().position(|&byte| byte == b'\n').context("a record does not begin with its length")?;
    let length = std::str::from_utf8(&chunk[..line]).ok().and_then(|text| text.parse::<usize>().ok());
    let record = chunk[line + 1..].to_vec();
    ensure!(
        length == Some(record.len()),
        "a chunk is not one record: {} bytes after '{}'",
        record.len(),
        length.unwrap_or_default()
    );
    Ok(record)
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
