//! A client of the v1 APIs over a plain socket. It shares no code with what it asks and is strict where the strictest of the
//! known clients are: one chunk is one record, JSON is ASCII on one line, a call is answered 202 with nothing.

#[path = "../src/contest/http1.rs"]
mod http1;

pub(crate) use self::http1::Answer;
use self::http1::Extent;
use serde_json::Value;
use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }
}

/// What is part of HTTP; the test fails when something else came.
fn legal<T>(read: anyhow::Result<T>) -> T {
    read.unwrap_or_else(|error| panic!("{error:#}"))
}

/// GET.
pub(crate) fn get(api: &str, path: &str) -> Answer {
    exchange(api, "GET", path, &[], b"").expect("the server answers")
}

/// POST of JSON that wants JSON.
pub(crate) fn post(api: &str, path: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    exchange(api, "POST", path, &headers, body.to_string().as_bytes()).expect("the server answers")
}

/// One request on a connection of its own.
pub(crate) fn exchange(
    api: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut connection = Connection::open(api)?;
    connection.send(method, path, headers, body)?;
    connection.answer()
}

/// A connection, kept alive between exchanges.
pub(crate) struct Connection {
    api: String,
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(api: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(api)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { api: api.to_owned(), socket, buffer: Vec::new() })
    }

    /// Sends a request with a `Content-Length` when it has a body or is a POST.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
        self.send_bytes(&http1::request(method, &self.api, path, headers, body))
    }

    /// Sends bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Reads an answer to its end.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let limit = Instant::now() + ANSWER_WITHIN;
        let mut answer = self.head(limit)?;
        match legal(answer.extent()) {
            Extent::Length(length) => answer.body = self.exactly(length, limit)?,
            Extent::Chunks => {
                while let Some(chunk) = self.chunk(limit)? {
                    answer.body.extend(chunk);
                }
            }
            Extent::Connection => {
                while self.fill(limit)? {}
                answer.body = std::mem::take(&mut self.buffer);
            }
        }
        Ok(answer)
    }

    /// Reads the head of an answer and leaves its body.
    fn head(&mut self, limit: Instant) -> io::Result<Answer> {
        loop {
            if let Some(answer) = legal(http1::take_head(&mut self.buffer)) {
                return Ok(answer);
            }
            if !self.fill(limit)? {
                return Err(Error::new(ErrorKind::UnexpectedEof, "closed without an answer"));
            }
        }
    }

    /// One chunk of a chunked body as it came; `None` for the last. An attempt that runs out of time loses nothing.
    fn chunk(&mut self, limit: Instant) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(chunk) = legal(http1::take_chunk(&mut self.buffer)) {
                return Ok((!chunk.is_empty()).then_some(chunk));
            }
            if !self.fill(limit)? {
                return Ok(None);
            }
        }
    }

    fn exactly(&mut self, length: usize, limit: Instant) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.fill(limit)? {
                return Err(Error::new(ErrorKind::UnexpectedEof, "closed within a body"));
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads what there is; `false` at the end of the connection.
    fn fill(&mut self, limit: Instant) -> io::Result<bool> {
        let left = limit.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left))?;
        let mut bytes = [0; 16384];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.buffer.extend_from_slice(&bytes[..count]);
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What came from a stream.
#[derive(Debug)]
pub(crate) enum Next {
    /// An event.
    Event(Value),
    /// The server ended the stream, or the connection broke.
    Ended,
    /// Nothing in the given time.
    Silence,
}

/// A subscription.
pub(crate) struct Stream {
    connection: Connection,
    /// What later calls carry.
    pub(crate) id: String,
}

impl Stream {
    /// SUBSCRIBE in JSON; the answer as it is when no stream was opened.
    pub(crate) fn open(api: &str, call: &Value) -> io::Result<Result<Self, Answer>> {
        let mut connection = Connection::open(api)?;
        let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
        connection.send("POST", "/api/v1/scheduler", &headers, call.to_string().as_bytes())?;
        Self::opened(connection, "application/json")
    }

    /// SUBSCRIBE with bytes of another encoding.
    pub(crate) fn open_bytes(api: &str, media: &str, call: &[u8]) -> io::Result<Result<Self, Answer>> {
        let mut connection = Connection::open(api)?;
        connection.send("POST", "/api/v1/scheduler", &[("Content-Type", media), ("Accept", media)], call)?;
        Self::opened(connection, media)
    }

    fn opened(mut connection: Connection, media: &str) -> io::Result<Result<Self, Answer>> {
        let limit = Instant::now() + ANSWER_WITHIN;
        let mut head = connection.head(limit)?;
        if head.status != 200 {
            if let Some(length) = head.header("content-length") {
                head.body = connection.exactly(length.parse().expect("a length"), limit)?;
            }
            return Ok(Err(head));
        }
        assert_eq!(head.header("transfer-encoding"), Some("chunked"), "a stream is chunked");
        assert_eq!(head.header("content-length"), None, "a stream has no length");
        assert_eq!(head.header("content-type"), Some(media), "a stream has the type of its messages");
        let id = head.header("mesos-stream-id").expect("a stream has an id").to_owned();
        assert!((1..=128).contains(&id.len()), "a stream id of at most 128 bytes: {id}");
        Ok(Ok(Self { connection, id }))
    }

    /// Breaks the connection without a word.
    pub(crate) fn hang_up(&self) {
        // The server may have been faster.
        let _ = self.connection.socket.shutdown(std::net::Shutdown::Both);
    }

    /// The next record's bytes: exactly one chunk, whose own length line tells its size.
    pub(crate) fn next_record(&mut self, wait: Duration) -> io::Result<Option<Vec<u8>>> {
        let chunk = self.connection.chunk(Instant::now() + wait)?;
        Ok(chunk.map(|chunk| legal(http1::record(&chunk))))
    }

    /// The next event.
    pub(crate) fn next(&mut self, wait: Duration) -> Next {
        match self.next_record(wait) {
            Ok(Some(record)) => {
                let plain = record.iter().all(|byte| (0x20..0x7f).contains(byte));
                assert!(plain, "ASCII on one line: {}", String::from_utf8_lossy(&record));
                let event: Value = serde_json::from_slice(&record).expect("an event is JSON");
                let kind = event["type"].as_str().expect("an event has a type").to_ascii_lowercase();
                assert!(kind == "heartbeat" || event[&kind].is_object(), "an event carries its object: {event}");
                Next::Event(event)
            }
            Ok(None) => Next::Ended,
            Err(error) if error.kind() == ErrorKind::TimedOut => Next::Silence,
            Err(_) => Next::Ended,
        }
    }
}
