//! The physics of the simulated world: how long things take. Numbers with their units, drawn from seeded chance.

use kaon_kernel::actor::mailbox::Bounds;
use kaon_kernel::chance::Chance;
use kaon_kernel::time::Duration;

/// A law for one kind of delay: a floor, an even spread above it, and now and then a much longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delay {
    /// Never shorter.
    pub(crate) least: Duration,
    /// Evenly spread so far above the floor.
    pub(crate) spread: Duration,
    /// In so many of a million cases the spread counts [`TAIL`] times.
    pub(crate) tail_parts: u32,
}

/// How much longer the delays of the tail are.
const TAIL: u64 = 20;

impl Delay {
    /// Draws one.
    pub(crate) fn draw(&self, chance: &mut Chance) -> Duration {
        let spread = chance.duration_below(self.spread);
        match self.tail_parts {
            0 => self.least + spread,
            parts if chance.parts_per_million(parts) => self.least + spread.times(TAIL),
            _ => self.least + spread,
        }
    }
}

/// From an actor to its neighbour in one process. Measured on actix: 0.1 to 0.2 us in a warm arbiter.
pub(crate) const NEAR: Duration = Duration::micros(1);

/// A process starts: reading its configuration, opening its journal.
pub(crate) const BOOT: Delay = Delay { least: Duration::millis(2), spread: Duration::millis(8), tail_parts: 0 };

/// Init starts a process again that has ended with an error (systemd's `RestartSec` is 100 ms; we are kinder).
pub(crate) const RESTART_AFTER: Duration = Duration::secs(1);

/// The first wait of a process that could not reach a peer, and the longest.
pub(crate) const DIAL_FIRST: Duration = Duration::millis(100);
/// See [`DIAL_FIRST`].
pub(crate) const DIAL_LAST: Duration = Duration::secs(2);

/// How long a dead peer is unnoticed: the idle time-out of a QUIC session.
pub(crate) const DETECT: Delay = Delay { least: Duration::millis(500), spread: Duration::millis(2500), tail_parts: 0 };

/// The same on one machine, where the kernel tells at once that nobody listens.
pub(crate) const DETECT_NEARBY: Delay =
    Delay { least: Duration::micros(200), spread: Duration::millis(2), tail_parts: 0 };

/// From process to process on one machine, over the loopback device.
pub(crate) const LOOPBACK: Delay = Delay { least: Duration::micros(20), spread: Duration::micros(30), tail_parts: 0 };

/// From a request about a container to its answer, where nothing has to be started.
pub(crate) const CONTAINER_CALL: Delay =
    Delay { least: Duration::micros(50), spread: Duration::micros(150), tail_parts: 0 };

/// From a signal to the end of the process.
pub(crate) const SIGNAL: Delay = Delay { least: Duration::micros(100), spread: Duration::millis(1), tail_parts: 0 };

/// The physics of one run; a swarm seed changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Laws {
    /// From machine to machine. Its floor is the lookahead of parallel runs.
    pub(crate) network: Delay,
    /// From a write to the end of its flush.
    pub(crate) disk: Delay,
    /// From a launch to a running program.
    pub(crate) launch: Delay,
    /// How long an actor is busy with one message.
    pub(crate) handling: Duration,
    /// So many of a million frames between machines break their session, until calm.
    pub(crate) loss_parts: u32,
    /// So many of a million launches fail, until calm.
    pub(crate) launch_failure_parts: u32,
    /// Bounds of every mailbox.
    pub(crate) bounds: Bounds,
    /// So many of a million frames that may come twice do, until calm.
    pub(crate) twice_parts: u32,
    /// Bytes that leave a machine in a second; zero for no bound.
    pub(crate) bytes_per_second: u64,
}

impl Laws {
    /// A quiet data centre: a quarter to half a millisecond one way, flash disks, launches of a few milliseconds.
    pub(crate) const QUIET: Self = Self {
        network: Delay { least: Duration::micros(250), spread: Duration::micros(250), tail_parts: 0 },
        disk: Delay { least: Duration::micros(300), spread: Duration::micros(700), tail_parts: 0 },
        launch: Delay { least: Duration::millis(3), spread: Duration::millis(7), tail_parts: 0 },
        handling: Duration::ZERO,
        loss_parts: 0,
        launch_failure_parts: 0,
        bounds: Bounds::DEFAULT,
        twice_parts: 0,
        bytes_per_second: 0,
    };
}
