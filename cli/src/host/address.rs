//! Where an agent is found, life after life. Executors know only the addresses that they were started with: where the operator
//! leaves a port open, the agent takes that of the life before, as long as nobody else has it.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

/// An address that is kept in a file of the agent's directory.
pub(super) struct Kept {
    file: &'static str,
    is_free: fn(SocketAddr) -> bool,
}

/// Where executors of ours find it.
pub(super) const QUIC: Kept = Kept { file: "listen", is_free: |address| UdpSocket::bind(address).is_ok() };

/// Where executors of frameworks find it.
pub(super) const HTTP: Kept = Kept { file: "http", is_free: |address| TcpListener::bind(address).is_ok() };

impl Kept {
    /// The address to take: what is wanted, or where that leaves the port open, the one of the life before.
    pub(super) fn choose(&self, dir: &Path, wanted: SocketAddr) -> SocketAddr {
        let text = std::fs::read_to_string(dir.join(self.file)).ok();
        let before = text.and_then(|text| text.parse::<SocketAddr>().ok());
        let fits = |before: &SocketAddr| wanted.port() == 0 && before.ip() == wanted.ip() && (self.is_free)(*before);
        before.filter(fits).unwrap_or(wanted)
    }

    /// Keeps an address for the next life.
    pub(super) fn keep(&self, dir: &Path, address: SocketAddr) -> io::Result<()> {
        std::fs::write(dir.join(self.file), address.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_port_is_that_of_the_life_before_unless_somebody_has_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let wanted = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(HTTP.choose(dir.path(), wanted), wanted, "the first life");
        let listener = TcpListener::bind(wanted).expect("a port");
        let before = listener.local_addr().expect("bound");
        HTTP.keep(dir.path(), before).expect("written");
        assert_eq!(HTTP.choose(dir.path(), wanted), wanted, "it is taken");
        drop(listener);
        assert_eq!(HTTP.choose(dir.path(), wanted), before);
        assert_eq!(QUIC.choose(dir.path(), wanted), wanted, "each has its own");
        let other = SocketAddr::from(([127, 0, 0, 1], 5051));
        assert_eq!(HTTP.choose(dir.path(), other), other, "the operator's word");
    }
}
