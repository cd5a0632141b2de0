//! The exit codes of hosts: what ended them, and who has to act. Those above 1 are of sysexits.h.

/// `EX_SOFTWARE`: a standing actor fell more often than its policy allows. Whoever watches the process starts it again.
pub const ESCALATED: i32 = 70;

/// `EX_IOERR`: the journal takes nothing more or can't be read, or the machine can't tell what runs on it. Mesos aborts in
/// this place too; whoever watches the process starts it again, and it recovers.
pub const STORAGE: i32 = 74;

/// `EX_NOPERM`: the master refuses this agent. A person must act.
pub const REFUSED: i32 = 77;

/// `EX_CONFIG`: this agent was started with less than is reserved on it. A person must give it back, or give up what was
/// reserved.
pub const INCOMPATIBLE: i32 = 78;

/// The agent of this executor did not come back in time.
pub const ABANDONED: i32 = 1;
