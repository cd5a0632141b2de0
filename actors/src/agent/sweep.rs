//! What ended executors leave on the disk: when the machine is asked to remove it.
//!
//! Sandboxes stay for people to read, for a time that is the shorter the fuller the disk is. The machine knows which there
//! are, how old, and how full the disk is ([`SweepPolicy`](kaon_kernel::container::SweepPolicy) is the rule); the agent asks
//! it in intervals, from its start until none is left, and again from each end of an executor. Reference 9.

use crate::agent::state::Waiting;
use crate::agent::{Agent, Timer, metric};
use kaon_kernel::actor::Context;
use kaon_kernel::container::{ContainerOutcome, ContainerRequest};

impl Agent {
    /// There is a sandbox that nobody needs any more, or may be.
    pub(super) fn sweep_later(&mut self, context: &mut Context<'_, Self>) {
        if !core::mem::replace(&mut self.sweeps, true) {
            context.arm(Timer::Sweep, self.config.disk_watch_interval);
        }
    }

    pub(super) fn on_sweep_due(&mut self, context: &mut Context<'_, Self>) {
        let ticket = context.contain(ContainerRequest::Sweep(self.config.sweep));
        self.state.wait(ticket, Waiting::Swept);
    }

    pub(super) fn on_swept(&mut self, outcome: &ContainerOutcome, context: &mut Context<'_, Self>) {
        let ContainerOutcome::Swept { removed, failed, left } = *outcome else {
            panic!("a sweep is answered by {outcome:?}");
        };
        self.sweeps = false;
        context.count(metric::SWEPT, removed);
        context.count(metric::SWEEP_FAILURES, failed);
        context.gauge(metric::TO_SWEEP, left as f64);
        if left > 0 {
            self.sweep_later(context);
        }
    }
}
