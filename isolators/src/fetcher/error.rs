//! Why something is not fetched.

use nix::errno::Errno;
use std::io;
use std::net::IpAddr;

/// Why something is not fetched. Never quotes what may be secret: credentials and queries of URIs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("scheme '{0}' is not served: http, https, file and absolute paths are")]
    Scheme(String),
    #[error("the URI is malformed: {0}")]
    Uri(&'static str),
    #[error("a relative path needs the agent's --frameworks-home")]
    Relative,
    #[error("the path '{path}' is refused: {reason}")]
    Path { path: String, reason: &'static str },
    #[error("'{0}' is no plain file")]
    NotAPlainFile(String),
    #[error("address {address} is refused: {reason}")]
    Address { address: IpAddr, reason: &'static str },
    #[error("{0} redirects were not enough")]
    Redirects(usize),
    #[error("redirect refused: {0}")]
    Redirect(&'static str),
    #[error("the server answered {0}")]
    Status(String),
    #[error("nothing came for {0} s")]
    Stalled(u64),
    #[error("can't talk to the server: {0}")]
    Connection(String),
    #[error("more than {most} {what} are not fetched")]
    TooMany { what: &'static str, most: u64 },
    #[error("it grows to more than {ratio} times its size: it is taken for a bomb")]
    Bomb { ratio: u64 },
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    #[error("the archive holds '{path}', {what}")]
    Entry { path: String, what: &'static str },
    #[error("the cache has no room")]
    NoRoom,
    #[error("can't {action}: {source}")]
    Io { action: String, source: io::Error },
}

impl Error {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    pub(crate) fn errno(action: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let action = action.into();
        move |errno| Self::Io { action, source: errno.into() }
    }
}
