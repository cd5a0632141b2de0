//! The talk with a container that runs: its launcher is a switchboard (`launcher/switchboard.rs`), and this is the other end.

use super::ProcessContainers;
use super::join::Target;
use crate::launcher::switchboard::{self, ERR, HEAD_BYTES, IN, OUT, REFUSED, TAKEN, WINDOW};
use kaon_kernel::id::ContainerId;
use kaon_kernel::nested::{Piece, Said};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How long a launcher may take to take a connection. It answers at once; a stopped one never does.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// Why a container can't be talked with.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is none that runs under this name.
    #[error("container {0} cannot be found")]
    Unknown(ContainerId),
    /// It has neither a terminal nor a session.
    #[error("container {0} has no terminal and is no session: nobody can be attached to it")]
    Deaf(ContainerId),
    /// Somebody speaks to it already.
    #[error("{0}")]
    Busy(String),
    /// Its launcher can't be reached.
    #[error("the launcher of the container can't be reached")]
    Io(#[from] io::Error),
}

/// Hears what a container writes. A session ends with the first that listens.
#[derive(Debug)]
pub struct Listener(UnixStream);

/// Speaks to a container.
#[derive(Debug)]
pub struct Speaker(UnixStream);

impl Listener {
    /// The next piece; nothing when the container has ended, or this listener was too slow. Not to be dropped halfway.
    pub async fn next(&mut self) -> Option<Piece> {
        match read(&mut self.0).await.ok()? {
            (OUT, bytes) => Some(Piece::Out(bytes)),
            (ERR, bytes) => Some(Piece::Err(bytes)),
            _ => None,
        }
    }
}

impl Speaker {
    /// Says something; waits while the container does not read.
    ///
    /// # Errors
    /// When the container has ended.
    pub async fn say(&mut self, said: Said) -> io::Result<()> {
        match said {
            Said::Input(bytes) if bytes.is_empty() => self.0.write_all(&switchboard::frame(IN, b"")).await,
            Said::Input(bytes) => {
                for part in bytes.chunks(switchboard::FRAME_BYTES_MAX) {
                    self.0.write_all(&switchboard::frame(IN, part)).await?;
                }
                Ok(())
            }
            Said::Window(window) => {
                let ([r1, r2], [c1, c2]) = (window.rows.to_le_bytes(), window.columns.to_le_bytes());
                self.0.write_all(&switchboard::frame(WINDOW, &[r1, r2, c1, c2])).await
            }
        }
    }

    /// Waits until the container is gone.
    pub async fn ended(&mut self) {
        // Nothing is said on this side.
        let _ = read(&mut self.0).await;
    }
}

impl ProcessContainers {
    /// Listens to a container.
    ///
    /// # Errors
    /// When there is none, or nobody can be attached to it.
    pub async fn listen(&self, container: &ContainerId) -> Result<Listener, AttachError> {
        self.attach(container, switchboard::LISTEN).await.map(Listener)
    }

    /// Speaks to a container; one at a time does.
    ///
    /// # Errors
    /// As [`Self::listen`]; and when somebody does already.
    pub async fn speak(&self, container: &ContainerId) -> Result<Speaker, AttachError> {
        self.attach(container, switchboard::SPEAK).await.map(Speaker)
    }

    async fn attach(&self, container: &ContainerId, hello: u8) -> Result<UnixStream, AttachError> {
        let (inner, name) = (Arc::clone(&self.inner), container.clone());
        let target = self.inner.block(move || inner.target(&name)).await.map_err(io::Error::other)?;
        let target = target.ok_or_else(|| AttachError::Unknown(container.clone()))?;
        let connected = tokio::time::timeout(TAKEN_WITHIN, connect(&target, hello)).await;
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        match connected.map_err(|_| late())? {
            Err(error) if matches!(error.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::ECONNREFUSED)) => {
                Err(AttachError::Deaf(container.clone()))
            }
            Err(error) => Err(error.into()),
            Ok((socket, None)) => Ok(socket),
            Ok((_, Some(reason))) => Err(AttachError::Busy(reason)),
        }
    }
}

/// Connects, and hears whether the connection is taken or why it is not.
async fn connect(target: &Target, hello: u8) -> io::Result<(UnixStream, Option<String>)> {
    // A path of a socket is short (108 bytes); through the directory's descriptor every one is.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(&target.directory, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), switchboard::SOCKET);
    let mut socket = UnixStream::connect(path).await?;
    // The directory may be its user's: whatever listens there, only the launcher itself is spoken with.
    if socket.peer_cred()?.pid() != Some(target.launcher.pid) {
        return Err(io::Error::other("somebody else listens in its place"));
    }
    socket.write_all(&[hello]).await?;
    match read(&mut socket).await? {
        (TAKEN, _) => Ok((socket, None)),
        (REFUSED, reason) => Ok((socket, Some(String::from_utf8_lossy(&reason).into_owned()))),
        _ => Err(io::Error::other("the launcher speaks in riddles")),
    }
}

async fn read(socket: &mut UnixStream) -> io::Result<(u8, Vec<u8>)> {
    let mut bytes = [0; HEAD_BYTES];
    socket.read_exact(&mut bytes).await?;
    let (kind, length) = switchboard::head(bytes).ok_or_else(|| io::Error::other("a frame is too long"))?;
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok((kind, body))
}
