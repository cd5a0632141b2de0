//! The bounds of a mailbox, as values. Both hosts keep them.
//!
//! A mailbox that is full refuses in a stated order, so that no flood from outside can push out what must not be lost.

/// How a full mailbox treats a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// A call from outside: refused with a reason once the open part is full.
    Outside = 0,
    /// Between actors; may use the open part. When that is full it is dropped and counted: its sender retries by timer.
    Ordinary = 1,
    /// Periodic: a newer one of the same sender and kind makes the older worthless, so it is dropped first, from half
    /// of the open part on.
    Periodic = 2,
    /// Statuses, acknowledgements, and what an actor needs to end a wait: may also use the reserved part.
    Guaranteed = 3,
}

impl Class {
    /// All of them, by their numbers.
    pub const ALL: [Self; 4] = [Self::Outside, Self::Ordinary, Self::Periodic, Self::Guaranteed];

    /// The class of a number in an envelope.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// The bounds of one mailbox, in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Room for every class.
    pub open: usize,
    /// Further room for [`Class::Guaranteed`] alone.
    pub reserved: usize,
}

/// Whether a mailbox takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is queued.
    Accepted,
    /// It is not, by the rule of its class.
    Refused,
}

impl Bounds {
    /// The bounds of a master-side or agent-side actor. At 10,000 agents one round of statuses still fits.
    pub const DEFAULT: Self = Self { open: 65_536, reserved: 65_536 };

    /// Whether an edge takes a call for an actor that hands it on to another one, for which `queued` messages wait. Half of
    /// the open part is kept for what was taken before and is still under way: it has been promised a hearing.
    pub fn admits_to_hand_on(self, queued: usize) -> bool {
        queued < self.open / 2
    }

    /// Decides for a message of `class` when `queued` messages wait.
    pub fn admit(self, class: Class, queued: usize) -> Admission {
        let room = match class {
            Class::Periodic => self.open / 2,
            Class::Outside | Class::Ordinary => self.open,
            Class::Guaranteed => self.open + self.reserved,
        };
        if queued < room { Admission::Accepted } else { Admission::Refused }
    }
}
