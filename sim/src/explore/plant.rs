//! Mistakes that are planted into a run, so that the checkers can show that they see them.
//!
//! Four of them are in the actors, behind a switch of their configuration ([`crate::world::cast`]); the others break a promise of
//! the host beneath the actors: a disk that lies, a timer that never comes. What is hit is chosen by what it is, never by
//! the chance of the run, so that a plant changes nothing but what it breaks.

use crate::machine::Machine;
use crate::machine::place::At;
use crate::world::lane::Lane;
use kaon_kernel::frame::Frame;
use kaon_kernel::message::agent_master::{ArchivedToAgent, ArchivedToMaster};
use kaon_kernel::message::allocator::ArchivedToAllocator;
use kaon_kernel::message::{
    AgentMessage, AllocatorMessage, ArchivedAgentMessage, ArchivedAllocatorMessage, ArchivedMasterMessage,
    MasterMessage,
};
use kaon_kernel::time::Duration;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

/// A mistake that is planted into the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plant {
    /// The allocator gives some resources twice.
    DoubleGrant,
    /// The master tells nobody of some statuses.
    DropStatus,
    /// Disks say that they have written before they have.
    HastyDisk,
    /// What a crash left of a write is read as if it were whole, its last record cut.
    TornBatch,
    /// The allocator never hears of some resources that come back.
    ForgottenRecover,
    /// An order to run a task comes to its agent a second time, long after.
    SecondLaunch,
    /// Of some tasks no status comes from the agent to the master.
    SilentTask,
    /// The end of some containers is told to nobody.
    DeafWait,
    /// What an actor asked for before it fell comes to its next incarnation.
    StrayOutcome,
    /// Some timers never fire.
    LostTimer,
    /// Some outcomes of requests about containers come twice.
    DoubleOutcome,
    /// Some frames are lost, and their session stands.
    LostFrame,
    /// Frames of one conversation overtake each other.
    Overtaking,
    /// The allocator does not hear the limits of quotas.
    ForgottenLimit,
    /// A master that begins forgets which agents operators have put aside.
    ForgottenStanding,
}

/// A repeated launch comes so much later.
const SECOND_LAUNCH_AFTER: Duration = Duration::secs(30);
/// How much longer a hasty disk takes in truth.
pub(crate) const HASTE: u64 = 50;

/// Whether number `which` is one of each `parts`, evenly by a hash.
fn is_hit(which: u64, parts: u64) -> bool {
    xxh3_64(&which.to_le_bytes()).is_multiple_of(parts)
}

impl Plant {
    /// Every plant.
    pub const ALL: [Self; 15] = [
        Self::DoubleGrant,
        Self::DropStatus,
        Self::HastyDisk,
        Self::TornBatch,
        Self::ForgottenRecover,
        Self::SecondLaunch,
        Self::SilentTask,
        Self::DeafWait,
        Self::StrayOutcome,
        Self::LostTimer,
        Self::DoubleOutcome,
        Self::LostFrame,
        Self::Overtaking,
        Self::ForgottenLimit,
        Self::ForgottenStanding,
    ];

    /// Its word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::DoubleGrant => "double-grant",
            Self::DropStatus => "drop-status",
            Self::HastyDisk => "hasty-disk",
            Self::TornBatch => "torn-batch",
            Self::ForgottenRecover => "forgotten-recover",
            Self::SecondLaunch => "second-launch",
            Self::SilentTask => "silent-task",
            Self::DeafWait => "deaf-wait",
            Self::StrayOutcome => "stray-outcome",
            Self::LostTimer => "lost-timer",
            Self::DoubleOutcome => "double-outcome",
            Self::LostFrame => "lost-frame",
            Self::Overtaking => "overtaking",
            Self::ForgottenLimit => "forgotten-limit",
            Self::ForgottenStanding => "forgotten-standing",
        }
    }

    /// Whether a frame never comes to its actor.
    fn swallows(self, frame: &Frame) -> bool {
        let sequence = frame.envelope().sequence;
        match self {
            Self::ForgottenRecover => {
                let recover = frame.body::<AllocatorMessage>().is_some_and(|message| {
                    matches!(message, ArchivedAllocatorMessage::Master(ArchivedToAllocator::Recover { .. }))
                });
                recover && is_hit(sequence, 16)
            }
            Self::SilentTask => match frame.body::<MasterMessage>() {
                Some(ArchivedMasterMessage::Agent(ArchivedToMaster::Update { status, .. })) => {
                    is_hit(xxh3_64(status.task_id.as_str().as_bytes()), 64)
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether a timer never fires.
    pub(crate) fn stops_timer(self, at: At, timer: u64, now: u64) -> bool {
        self == Self::LostTimer && is_hit(timer ^ now.rotate_left(20) ^ u64::from(at.slot), 64)
    }

    /// Whether nobody is told of the end of a container.
    pub(crate) fn hides_end(self, container: u32, generation: u32) -> bool {
        self == Self::DeafWait && is_hit(u64::from(container) << 32 | u64::from(generation), 16)
    }

    /// Whether an outcome comes twice.
    pub(crate) fn doubles(self, now: u64) -> bool {
        self == Self::DoubleOutcome && is_hit(now, 64)
    }

    /// Whether a frame that is sent now is lost.
    pub(crate) fn loses(self, now: u64) -> bool {
        self == Self::LostFrame && is_hit(now, 256)
    }
}

impl Machine {
    /// A frame is about to come to an actor; whether the plant keeps it.
    pub(crate) fn intercept(&mut self, plant: Plant, frame: &Frame, lane: &mut Lane) -> bool {
        if plant == Plant::SecondLaunch
            && let Some(ArchivedAgentMessage::Master(ArchivedToAgent::RunTask { .. })) = frame.body::<AgentMessage>()
            && is_hit(frame.envelope().sequence, 16)
        {
            let again = crate::machine::happening::Happening::Frame { frame: frame.clone(), session: 0 };
            lane.push(&mut self.stamp, self.index, lane.now() + SECOND_LAUNCH_AFTER, again);
        }
        plant.swallows(frame)
    }
}
