//! Calls that the master had no room for: heard as 503, and said again after a while, a few at a time.

use super::{Client, ClientContext, Session, Timer};
use kaon_kernel::message::scheduler::Call;
use kaon_kernel::time::{Duration, Instant};
use std::collections::VecDeque;

/// The first wait before calls are said again, and the longest. A random part of as much again is added.
const AGAIN_FIRST: Duration = Duration::millis(100);
/// See [`AGAIN_FIRST`].
const AGAIN_LAST: Duration = Duration::secs(5);
/// So many calls are said again at a time.
const AT_ONCE: usize = 100;
/// So many wait to be said again; questions beyond are dropped, what is silent is asked about anyway.
const UNSAID_MAX: usize = 10_000;

/// What a framework still has to say.
#[derive(Debug)]
pub(super) struct Unsaid {
    calls: VecDeque<Call>,
    /// Whether it is to be said that offers are wanted, or that they are not: the wish of then, not that of the call.
    wish: bool,
    wait: Duration,
    /// When a call came back last.
    refused: Instant,
    waits: bool,
}

impl Default for Unsaid {
    fn default() -> Self {
        Self { calls: VecDeque::new(), wish: false, wait: AGAIN_FIRST, refused: Instant(0), waits: false }
    }
}

impl Client {
    /// Calls are back.
    pub(super) fn turned_away(&mut self, context: &mut ClientContext<'_>) {
        let Session::In(mine, _) = self.session else {
            self.config.returned.take();
            return;
        };
        for (stream, call) in self.config.returned.take() {
            if stream != mine {
                continue;
            }
            self.tally.turned_away += 1;
            self.unsaid.refused = context.now();
            match call {
                Call::Revive { .. } | Call::Suppress { .. } => self.unsaid.wish = true,
                Call::Reconcile { .. } if self.unsaid.calls.len() >= UNSAID_MAX => {}
                Call::Reconcile { .. } => self.unsaid.calls.push_back(call),
                // Offers and tasks go before questions.
                call => self.unsaid.calls.push_front(call),
            }
        }
        self.say_later(context);
    }

    fn say_later(&mut self, context: &mut ClientContext<'_>) {
        let unsaid = &mut self.unsaid;
        if !unsaid.waits && (unsaid.wish || !unsaid.calls.is_empty()) {
            unsaid.waits = true;
            let wait = unsaid.wait + context.chance().duration_below(unsaid.wait);
            context.arm(Timer::Again, wait);
        }
    }

    /// It is time to say some of them again.
    pub(super) fn say_again(&mut self, context: &mut ClientContext<'_>) {
        let unsaid = &mut self.unsaid;
        unsaid.waits = false;
        let is_still_refused = context.now().since(unsaid.refused) <= unsaid.wait;
        unsaid.wait = if is_still_refused { unsaid.wait.doubled(AGAIN_LAST) } else { AGAIN_FIRST };
        let wish = core::mem::take(&mut unsaid.wish);
        let count = unsaid.calls.len().min(AT_ONCE);
        let calls: Vec<Call> = unsaid.calls.drain(..count).collect();
        if wish {
            let roles = Vec::new();
            self.call(if self.suppressed { Call::Suppress { roles } } else { Call::Revive { roles } }, context);
        }
        for call in calls {
            self.call(call, context);
        }
        self.say_later(context);
    }

    /// With its stream goes what it had to say on it: offers are void, and tasks are asked about on the next one.
    pub(super) fn forget_unsaid(&mut self, context: &mut ClientContext<'_>) {
        self.unsaid = Unsaid::default();
        context.disarm(Timer::Again);
    }
}
