//! The agent's talk with one worker.

use super::order::Report;
use crate::containers::Executable;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

/// The longest that a worker may take: 64 GiB at three megabytes a second.
const WORK_TIME_MAX: Duration = Duration::from_hours(6);

/// The longest line of a worker in bytes: a reason quotes a URI and a path.
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// How much of a worker's last words is repeated, in bytes.
const WORDS_BYTES_MAX: u64 = 512;

/// The variable that says where certificates of authorities are (OpenSSL's).
const AUTHORITIES_FILE: &str = "SSL_CERT_FILE";

/// What a worker gets of the agent's environment when nothing else is said.
const AUTHORITIES: [&str; 2] = [AUTHORITIES_FILE, "SSL_CERT_DIR"];

/// A worker that is to be started.
pub(crate) struct Worker {
    command: Command,
    slots: Arc<Semaphore>,
}

/// How a worker's work ended, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    /// It was denied room in the cache.
    NoRoom,
}

impl Worker {
    pub(crate) fn new(
        executable: &Executable,
        argument: &str,
        authorities: Option<&Path>,
        environment: &[(String, String)],
        slots: Arc<Semaphore>,
    ) -> Self {
        let mut command = Command::new(executable.path());
        command.arg0("kaon").arg(argument).env_clear().current_dir("/").kill_on_drop(true);
        match authorities {
            Some(file) => command.env(AUTHORITIES_FILE, file),
            None => command.envs(AUTHORITIES.iter().filter_map(|name| Some((name, std::env::var_os(name)?)))),
        };
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, slots }
    }

    /// Carries out an order, as the worker reads it; `room` decides whether so many bytes more may be kept. Dropped before
    /// the end, it kills the worker.
    pub(crate) async fn run(
        self,
        order: std::io::Result<Vec<u8>>,
        room: impl FnMut(u64) -> bool,
    ) -> Result<Ended, String> {
        self.run_until(order, room, std::future::pending()).await
    }

    /// The same, or as long as `over` takes: then the worker is killed, and gone when this returns.
    pub(crate) async fn run_until(
        mut self,
        order: std::io::Result<Vec<u8>>,
        room: impl FnMut(u64) -> bool,
        over: impl Future<Output = ()>,
    ) -> Result<Ended, String> {
        let mut over = std::pin::pin!(over);
        let unwanted = || "nobody wants it any more".to_owned();
        // The semaphore is never closed.
        let slot = tokio::select! {
            slot = self.slots.acquire() => slot,
            () = &mut over => return Err(unwanted()),
        };
        let _slot = slot.map_err(|error| error.to_string())?;
        let order = order.map_err(|error| error.to_string())?;
        let mut child = self.command.spawn().map_err(|error| format!("can't start the fetcher: {error}"))?;
        let why = tokio::select! {
            ended = talk(&mut child, &order, room) => return ended,
            () = tokio::time::sleep(WORK_TIME_MAX) => format!("it takes longer than {} h", WORK_TIME_MAX.as_secs() / 3600),
            () = over => unwanted(),
        };
        // One that is gone already is no matter.
        let _ = child.kill().await;
        Err(why)
    }
}

async fn talk(child: &mut Child, order: &[u8], room: impl FnMut(u64) -> bool) -> Result<Ended, String> {
    let (Some(mut to), Some(from), Some(words)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
        unreachable!("all three were asked for")
    };
    // One that does not listen to the end says why, or falls.
    let _ = to.write_all(order).await;
    let (said, words) = tokio::join!(hear(BufReader::new(from), &mut to, room), last_words(words));
    let status = child.wait().await.map_err(|error| format!("the fetcher can't be waited for: {error}"))?;
    if let Some(said) = said {
        return said;
    }
    let how = match status.signal() {
        Some(signal) => format!("was ended by signal {signal}"),
        None => "fell without a word".to_owned(),
    };
    Err(format!("the fetcher {how}{}{words}", if words.is_empty() { "" } else { ": " }))
}

/// Its verdict, or none when it fell.
async fn hear(
    mut from: BufReader<impl AsyncRead + Unpin>,
    to: &mut (impl AsyncWriteExt + Unpin),
    mut room: impl FnMut(u64) -> bool,
) -> Option<Result<Ended, String>> {
    loop {
        let mut line = Vec::new();
        let read = (&mut from).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        if read.is_err() || !line.ends_with(b"\n") {
            return None;
        }
        match serde_json::from_slice(&line).ok()? {
            Report::Room { bytes } => to.write_all(&[u8::from(room(bytes))]).await.ok()?,
            Report::NoRoom => return Some(Ok(Ended::NoRoom)),
            Report::Done => return Some(Ok(Ended::Done)),
            Report::Failed { reason } => return Some(Err(reason)),
        }
    }
}

async fn last_words(from: impl AsyncRead + Unpin) -> String {
    let mut words = Vec::new();
    // What can't be read is not there.
    let _ = from.take(WORDS_BYTES_MAX).read_to_end(&mut words).await;
    String::from_utf8_lossy(&words).trim().to_owned()
}
