//! The launcher as a switchboard: it hands what its program writes to whoever listens, and what they say to its program.
//!
//! It listens on a socket in the container's runtime directory, which only the agent's user can reach. A connection says in
//! one byte what it is: one that listens ([`LISTEN`]), of which there may be several, or the one that speaks ([`SPEAK`]).
//! From then on frames travel: kind, length (four bytes, little endian), bytes. Nobody who listens holds up another: what
//! waits for a slow one is bounded, and beyond the bound it is cut off.
//!
//! The container of a session is held by the first who listens: while that one is slow its program waits, as it would before a
//! slow terminal, and when it is gone the container ends. So neither a client that vanishes nor an agent that is killed
//! leaves a session behind.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::{read, write};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// The name of the socket in the runtime directory.
pub(crate) const SOCKET: &str = "io";

/// What a connection says first: that it listens.
pub(crate) const LISTEN: u8 = b'O';
/// That it speaks.
pub(crate) const SPEAK: u8 = b'I';

/// Kinds of frames to those who listen: what came from the standard output.
pub(crate) const OUT: u8 = 1;
/// What came from the standard error.
pub(crate) const ERR: u8 = 2;
/// The connection is taken: the first frame of every connection that is.
pub(crate) const TAKEN: u8 = 3;
/// It is not, and why.
pub(crate) const REFUSED: u8 = 4;
/// Kinds of frames from the one who speaks: for the standard input; empty for its end.
pub(crate) const IN: u8 = 5;
/// The terminal's window: rows and columns, two bytes each, little endian.
pub(crate) const WINDOW: u8 = 6;

/// The longest frame in bytes: what a pipe holds.
pub(crate) const FRAME_BYTES_MAX: usize = 64 * 1024;

/// The bytes before the bytes of a frame.
pub(crate) const HEAD_BYTES: usize = 5;

/// What may wait for one who listens, in bytes: some seconds of a fast program over a slow line.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// What may wait for the program, in bytes; beyond, nobody is listened to.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Connections at once.
const CONNECTIONS_MAX: usize = 16;

/// How long the container of a session waits for the one who will hold it: the agent connects as soon as it runs.
const HOLD_WITHIN: Duration = Duration::from_secs(30);

/// How long those who listen may take for what is left when the container has ended, as long as they take something.
const FAREWELL: Duration = Duration::from_secs(1);
/// The same for the one who holds a session.
const FAREWELL_OF_HOLDER: Duration = Duration::from_secs(60);

/// One frame.
pub(crate) fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&[kind], &length[..], bytes].concat()
}

/// The kind of a frame and how many bytes follow its head; nothing when it is longer than any may be.
pub(crate) fn head(bytes: [u8; HEAD_BYTES]) -> Option<(u8, usize)> {
    let [kind, length @ ..] = bytes;
    let length = u32::from_le_bytes(length) as usize;
    (length <= FRAME_BYTES_MAX).then_some((kind, length))
}

/// Who is connected.
enum Role {
    /// It has not said yet.
    Unknown,
    Listener {
        is_holder: bool,
    },
    Speaker,
    /// It is told something and then left.
    Leaving,
}

struct Connection {
    socket: UnixStream,
    role: Role,
    /// What waits for it.
    waiting: VecDeque<u8>,
    /// What came and is no whole frame yet.
    received: Vec<u8>,
}

/// What the program reads from.
enum Input {
    /// A pipe.
    Pipe(OwnedFd),
    /// The other end of its terminal.
    Terminal(OwnedFd),
    /// It has been closed.
    Closed,
}

pub(super) struct Switchboard {
    listener: UnixListener,
    connections: Vec<Connection>,
    input: Input,
    /// What waits for the program.
    pending: VecDeque<u8>,
    /// The end of the input comes after what waits.
    is_ending: bool,
    /// Of a session: since when it waits to be held, and whether it was.
    held: Option<Held>,
}

enum Held {
    Awaited(Instant),
    Yes,
    Lost,
}

impl Switchboard {
    /// Listens in a runtime directory.
    pub(super) fn new(directory: &Path, is_session: bool) -> io::Result<Self> {
        // A path of a socket is short (108 bytes); through the directory's descriptor every one is.
        let directory = File::open(directory)?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let held = is_session.then(|| Held::Awaited(Instant::now()));
        let (connections, pending) = (Vec::new(), VecDeque::new());
        Ok(Self { listener, connections, input: Input::Closed, pending, is_ending: false, held })
    }

    /// The program reads from this pipe.
    pub(super) fn feed_pipe(&mut self, pipe: OwnedFd) {
        self.input = Input::Pipe(pipe);
    }

    /// The program reads from the terminal with this other end.
    pub(super) fn feed_terminal(&mut self, terminal: OwnedFd) {
        self.input = Input::Terminal(terminal);
    }

    /// Whether nobody holds the session any more, or nobody ever came to.
    pub(super) fn is_let_go(&self) -> bool {
        match &self.held {
            None | Some(Held::Yes) => false,
            Some(Held::Awaited(since)) => since.elapsed() > HOLD_WITHIN,
            Some(Held::Lost) => true,
        }
    }

    /// How long until it has to be looked at, whatever else happens.
    pub(super) fn patience(&self) -> Option<Duration> {
        match &self.held {
            Some(Held::Awaited(since)) => Some(HOLD_WITHIN.saturating_sub(since.elapsed()) + Duration::from_millis(1)),
            _ => None,
        }
    }

    /// Whether what the program writes can be taken from it now.
    pub(super) fn has_room(&self) -> bool {
        match &self.held {
            None | Some(Held::Lost) => true,
            Some(Held::Awaited(_)) => false,
            Some(Held::Yes) => {
                let held = |one: &&Connection| matches!(one.role, Role::Listener { is_holder: true });
                self.connections.iter().find(held).is_none_or(|one| one.waiting.len() < WAITING_BYTES_MAX / 2)
            }
        }
    }

    /// What to wait for.
    pub(super) fn waited(&self) -> impl Iterator<Item = PollFd<'_>> {
        let reads = self.pending.len() < INPUT_BYTES_MAX;
        // Who may not speak now is not looked at: that it hung up would be told again and again.
        let is_heard = move |one: &&Connection| reads || !one.waiting.is_empty() || !matches!(one.role, Role::Speaker);
        let connections = self.connections.iter().filter(is_heard).map(|one| {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, !one.waiting.is_empty());
            PollFd::new(one.socket.as_fd(), flags)
        });
        let input = self.input_descriptor().filter(|_| !self.pending.is_empty());
        let input = input.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLOUT));
        std::iter::once(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)).chain(connections).chain(input)
    }

    fn input_descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.input {
            Input::Pipe(descriptor) | Input::Terminal(descriptor) => Some(descriptor.as_fd()),
            Input::Closed => None,
        }
    }

    /// Hands on what the program wrote.
    pub(super) fn tell(&mut self, kind: u8, piece: &[u8]) {
        for part in piece.chunks(FRAME_BYTES_MAX) {
            let whole = frame(kind, part);
            for one in self.connections.iter_mut().filter(|one| matches!(one.role, Role::Listener { .. })) {
                one.waiting.extend(&whole);
            }
        }
        // Who does not keep up is cut off, rather than that a piece is missing in the middle.
        let is_in_time = |one: &Connection| one.waiting.len() <= WAITING_BYTES_MAX;
        self.retain(is_in_time);
    }

    /// Does all that can be done without waiting.
    pub(super) fn serve(&mut self) {
        self.accept();
        self.receive();
        self.feed();
        self.send();
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            let mine = nix::unistd::geteuid().as_raw();
            let is_known = getsockopt(&socket, PeerCredentials).is_ok_and(|peer| [0, mine].contains(&peer.uid()));
            if !is_known || self.connections.len() >= CONNECTIONS_MAX || socket.set_nonblocking(true).is_err() {
                continue;
            }
            let (waiting, received) = (VecDeque::new(), Vec::new());
            self.connections.push(Connection { socket, role: Role::Unknown, waiting, received });
        }
    }

    fn receive(&mut self) {
        let mut gone = Vec::new();
        for at in 0..self.connections.len() {
            if matches!(self.connections[at].role, Role::Speaker) && self.pending.len() >= INPUT_BYTES_MAX {
                continue;
            }
            let mut piece = [0; 16 * 1024];
            match read(&self.connections[at].socket, &mut piece) {
                Ok(0) => gone.push(at),
                Ok(length) => {
                    self.connections[at].received.extend_from_slice(&piece[..length]);
                    if !self.understand(at) {
                        gone.push(at);
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) => gone.push(at),
            }
        }
        let mut at = 0;
        self.retain(|_| {
            at += 1;
            !gone.contains(&(at - 1))
        });
    }

    /// Keeps the connections that `is_kept` says, and notes when the holder goes.
    fn retain(&mut self, is_kept: impl FnMut(&Connection) -> bool) {
        let is_holder = |one: &Connection| matches!(one.role, Role::Listener { is_holder: true });
        let was_held = self.connections.iter().any(is_holder);
        self.connections.retain(is_kept);
        if was_held && !self.connections.iter().any(is_holder) {
            self.held = Some(Held::Lost);
        }
    }

    /// Takes the whole frames of a connection; whether it goes on.
    fn understand(&mut self, at: usize) -> bool {
        if let Role::Unknown = self.connections[at].role {
            let hello = self.connections[at].received.remove(0);
            let has_speaker = self.connections.iter().any(|one| matches!(one.role, Role::Speaker));
            let is_holder = matches!(self.held, Some(Held::Awaited(_)));
            let (role, answer) = match hello {
                LISTEN => (Role::Listener { is_holder }, frame(TAKEN, b"")),
                SPEAK if has_speaker => (Role::Leaving, frame(REFUSED, b"somebody speaks to it already")),
                SPEAK => (Role::Speaker, frame(TAKEN, b"")),
                _ => return false,
            };
            if is_holder && hello == LISTEN {
                self.held = Some(Held::Yes);
            }
            let one = &mut self.connections[at];
            one.role = role;
            one.waiting.extend(answer);
        }
        loop {
            let one = &mut self.connections[at];
            let Some(bytes) = one.received.first_chunk::<HEAD_BYTES>() else { return true };
            let Some((kind, length)) = head(*bytes) else { return false };
            if one.received.len() < HEAD_BYTES + length {
                return true;
            }
            if !matches!(one.role, Role::Speaker) {
                return false;
            }
            let bytes: Vec<u8> = one.received.drain(..HEAD_BYTES + length).skip(HEAD_BYTES).collect();
            match kind {
                IN if bytes.is_empty() => self.is_ending = true,
                IN => self.pending.extend(bytes),
                WINDOW => self.resize(&bytes),
                _ => return false,
            }
        }
    }

    fn resize(&self, bytes: &[u8]) {
        if let (Input::Terminal(terminal), &[r1, r2, c1, c2]) = (&self.input, bytes) {
            let (rows, columns) = (u16::from_le_bytes([r1, r2]), u16::from_le_bytes([c1, c2]));
            // A window of a size that the kernel does not take stays as it was.
            let _ = crate::syscall::resize_terminal(terminal.as_fd(), rows, columns);
        }
    }

    /// Gives the program what waits for it, as far as it takes it.
    fn feed(&mut self) {
        while let Some(descriptor) = self.input_descriptor() {
            let (piece, _) = self.pending.as_slices();
            if piece.is_empty() {
                break;
            }
            match write(descriptor, piece) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                // It reads no more.
                Err(_) => {
                    self.input = Input::Closed;
                    self.pending.clear();
                }
            }
        }
        if let Input::Closed = self.input {
            self.pending.clear();
        }
        if self.is_ending && self.pending.is_empty() {
            self.is_ending = false;
            match &self.input {
                Input::Terminal(terminal) => {
                    // The end of a terminal's input is a character, where the terminal makes lines.
                    let makes_lines =
                        tcgetattr(terminal).is_ok_and(|state| state.local_flags.contains(LocalFlags::ICANON));
                    if makes_lines {
                        let _ = write(terminal, &[4]);
                    }
                }
                Input::Pipe(_) | Input::Closed => self.input = Input::Closed,
            }
        }
    }

    fn send(&mut self) {
        let mut gone = Vec::new();
        for (at, one) in self.connections.iter_mut().enumerate() {
            while !one.waiting.is_empty() {
                let (piece, _) = one.waiting.as_slices();
                match write(&one.socket, piece) {
                    Ok(length) => drop(one.waiting.drain(..length)),
                    Err(Errno::EAGAIN | Errno::EINTR) => break,
                    Err(_) => {
                        gone.push(at);
                        break;
                    }
                }
            }
            if matches!(one.role, Role::Leaving) && one.waiting.is_empty() {
                gone.push(at);
            }
        }
        let mut at = 0;
        self.retain(|_| {
            at += 1;
            !gone.contains(&(at - 1))
        });
    }

    /// Whether somebody has not taken everything yet, or the one who will hold the session has not come, and how long that
    /// may go on.
    pub(super) fn farewell(&self) -> Option<Duration> {
        if let Some(Held::Awaited(since)) = self.held {
            return Some(HOLD_WITHIN.saturating_sub(since.elapsed()));
        }
        let late = self.connections.iter().filter(|one| !one.waiting.is_empty());
        let patience = late.map(|one| match one.role {
            Role::Listener { is_holder: true } => FAREWELL_OF_HOLDER,
            _ => FAREWELL,
        });
        patience.max()
    }

    /// What waits for all together, in bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.connections.iter().map(|one| one.waiting.len()).sum()
    }
}

/// The two ends of a terminal of a size: the launcher's, which does not block, and the program's.
pub(super) fn terminal(rows: u16, columns: u16, owner: Option<u32>) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let ours = nix::pty::posix_openpt(flags)?;
    nix::pty::unlockpt(&ours)?;
    // Not by its name: what is mounted on `/dev/pts` is not looked at.
    let theirs = crate::syscall::other_end(ours.as_fd())?;
    crate::syscall::resize_terminal(ours.as_fd(), rows, columns)?;
    if let Some(owner) = owner {
        nix::unistd::fchown(&theirs, Some(owner.into()), None)?;
    }
    Ok((ours.as_fd().try_clone_to_owned()?, theirs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn connect(directory: &Path, hello: u8) -> UnixStream {
        let mut socket = UnixStream::connect(directory.join(SOCKET)).unwrap();
        socket.write_all(&[hello]).unwrap();
        socket
    }

    fn next(socket: &mut UnixStream) -> (u8, Vec<u8>) {
        let mut bytes = [0; HEAD_BYTES];
        socket.read_exact(&mut bytes).unwrap();
        let (kind, length) = head(bytes).unwrap();
        let mut body = vec![0; length];
        socket.read_exact(&mut body).unwrap();
        (kind, body)
    }

    #[test]
    fn those_who_listen_hear_all_and_only_one_speaks() {
        let directory = tempfile::tempdir().unwrap();
        let mut board = Switchboard::new(directory.path(), false).unwrap();
        let (reads, writes) = nix::unistd::pipe().unwrap();
        board.feed_pipe(writes);
        let mut listeners = [LISTEN, LISTEN].map(|hello| connect(directory.path(), hello));
        let (mut speaker, mut second) = (connect(directory.path(), SPEAK), connect(directory.path(), SPEAK));
        (0..3).for_each(|_| board.serve());
        assert_eq!(next(&mut second).0, REFUSED);
        board.tell(OUT, b"out");
        board.tell(ERR, b"err");
        board.serve();
        for listener in &mut listeners {
            assert_eq!(next(listener), (TAKEN, Vec::new()));
            assert_eq!((next(listener), next(listener)), ((OUT, b"out".to_vec()), (ERR, b"err".to_vec())));
        }
        // In pieces, as a socket may give them.
        for byte in [frame(IN, b"hello"), frame(IN, b"")].concat() {
            speaker.write_all(&[byte]).unwrap();
            board.serve();
        }
        let mut told = String::new();
        File::from(reads).read_to_string(&mut told).unwrap();
        assert_eq!(told, "hello");
        assert!(!board.is_let_go(), "nobody holds what is no session");
    }

    #[test]
    fn a_slow_listener_is_cut_off_and_others_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut board = Switchboard::new(directory.path(), false).unwrap();
        let slow = connect(directory.path(), LISTEN);
        let quick = connect(directory.path(), LISTEN);
        board.serve();
        board.serve();
        let reader = std::thread::spawn(move || {
            let mut quick = quick;
            let mut bytes = 0;
            let mut piece = vec![0; 1 << 16];
            while let Ok(length @ 1..) = quick.read(&mut piece) {
                bytes += length;
            }
            bytes
        });
        let piece = vec![7; FRAME_BYTES_MAX];
        let total = 8 * WAITING_BYTES_MAX / FRAME_BYTES_MAX;
        for _ in 0..total {
            board.tell(OUT, &piece);
            // The quick one is given its time; the slow one takes nothing ever.
            while board.connections.last().is_some_and(|one| one.waiting.len() > WAITING_BYTES_MAX / 2) {
                board.serve();
                std::thread::yield_now();
            }
            board.serve();
        }
        while board.waiting_bytes() > 0 {
            board.serve();
        }
        assert_eq!(board.connections.len(), 1, "the slow one is gone");
        drop(board);
        assert_eq!(reader.join().unwrap(), HEAD_BYTES + total * (FRAME_BYTES_MAX + HEAD_BYTES));
        drop(slow);
    }

    #[test]
    fn a_session_waits_for_its_holder_and_ends_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut board = Switchboard::new(directory.path(), true).unwrap();
        assert!(!board.has_room() && !board.is_let_go());
        let holder = connect(directory.path(), LISTEN);
        let other = connect(directory.path(), LISTEN);
        board.serve();
        board.serve();
        assert!(board.has_room());
        // It is never cut off: its program waits.
        let piece = vec![7; FRAME_BYTES_MAX];
        while board.has_room() {
            board.tell(OUT, &piece);
            board.serve();
        }
        assert!(!board.is_let_go());
        drop(other);
        board.serve();
        assert!(!board.is_let_go(), "somebody else went");
        drop(holder);
        board.serve();
        assert!(board.is_let_go() && board.has_room());
    }

    #[test]
    fn what_is_no_conversation_is_hung_up_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut board = Switchboard::new(directory.path(), false).unwrap();
        for bytes in [&b"X"[..], b"I\x05\xff\xff\xff\xff", b"I\x09\0\0\0\0", b"O\x05\0\0\0\0"] {
            let mut socket = UnixStream::connect(directory.path().join(SOCKET)).unwrap();
            socket.write_all(bytes).unwrap();
            (0..3).for_each(|_| board.serve());
            assert!(board.connections.is_empty(), "{bytes:?}");
        }
        let many: Vec<_> = (0..2 * CONNECTIONS_MAX).map(|_| connect(directory.path(), LISTEN)).collect();
        board.serve();
        assert_eq!(board.connections.len(), CONNECTIONS_MAX);
        drop(many);
    }
}
