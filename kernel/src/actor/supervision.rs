//! Who restarts whom, how often, and when to escalate: a policy is data, and both hosts ask it (law L4).

use crate::actor::ActorKind;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// Who is restarted together when one child falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The fallen child alone.
    OneForOne,
    /// The fallen child and those that the tree lists after it: they built on its state.
    RestForOne,
}

/// The rule of one supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Who else is restarted.
    pub strategy: Strategy,
    /// So many restarts are allowed in any `window`; the next one escalates.
    pub restarts_max: usize,
    /// The length of that window.
    pub window: Duration,
    /// A child that fell sooner than this after its start waits as long before the next.
    pub run_min: Duration,
}

impl Policy {
    /// Ten restarts a minute, and 100 ms between two of a child that falls at once.
    pub const DEFAULT: Self = Self {
        strategy: Strategy::RestForOne,
        restarts_max: 10,
        window: Duration::secs(60),
        run_min: Duration::millis(100),
    };
}

/// What to do about a child that fell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start it afresh after this wait.
    Restart {
        /// Zero for a child that had run a while.
        after: Duration,
    },
    /// Too often: the supervisor itself falls.
    Escalate,
}

/// The restarts that one supervisor has seen. Holds at most [`Policy::restarts_max`] time stamps.
#[derive(Clone, Debug, Default)]
pub struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// A child that had started at `started` fell at `now`.
    pub fn decide(&mut self, policy: &Policy, started: Instant, now: Instant) -> Decision {
        while self.0.front().is_some_and(|&first| now.since(first) >= policy.window) {
            self.0.pop_front();
        }
        if self.0.len() >= policy.restarts_max {
            return Decision::Escalate;
        }
        self.0.push_back(now);
        let ran = now.since(started);
        Decision::Restart { after: if ran < policy.run_min { policy.run_min - ran } else { Duration::ZERO } }
    }
}

/// The supervision tree of a host: its standing actors in order of start. What an actor spawns hangs below it and is
/// stopped with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The rule of the root.
    pub policy: Policy,
    /// The standing actors.
    pub actors: &'static [ActorKind],
}

/// A master's host. The allocator and the proxies build on the master's state, and the master on the registrar's, so
/// they fall in this order.
pub const MASTER_TREE: Tree =
    Tree { policy: Policy::DEFAULT, actors: &[ActorKind::Registrar, ActorKind::Master, ActorKind::Allocator] };

/// An agent's host.
pub const AGENT_TREE: Tree = Tree { policy: Policy::DEFAULT, actors: &[ActorKind::Agent] };

/// An executor's host.
pub const EXECUTOR_TREE: Tree = Tree { policy: Policy::DEFAULT, actors: &[ActorKind::Executor] };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_within_the_window_end_in_escalation_and_age_out() {
        let policy = Policy { restarts_max: 2, window: Duration::secs(10), ..Policy::DEFAULT };
        let mut restarts = Restarts::default();
        let at = |seconds| Instant(Duration::secs(seconds).0);
        assert_eq!(restarts.decide(&policy, at(0), at(5)), Decision::Restart { after: Duration::ZERO });
        assert_eq!(restarts.decide(&policy, at(6), at(6)), Decision::Restart { after: Duration::millis(100) });
        assert_eq!(restarts.decide(&policy, at(6), at(7)), Decision::Escalate);
        assert_eq!(restarts.decide(&policy, at(0), at(15)), Decision::Restart { after: Duration::ZERO });
    }
}
