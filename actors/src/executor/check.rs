//! The checks of tasks that run (reference 6.6). A *health check* judges: its first success, each failure and each
//! recovery is told, and enough failures in a row end the task. A *generic check* tells its result whenever that changed.
//!
//! A try is due some time after the start, and again some time after each result; there is never more than one of a check
//! under way. After a panic of the executor checks begin anew, with what they had found kept.

use crate::executor::run::{Cause, Run};
use crate::executor::{Executor, Timer, Waiting};
use kaon_kernel::actor::Context;
use kaon_kernel::check::{Check, CheckStatus, CheckTarget, HTTP_WELL};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, ExitStatus, Probe, ProbeResult};
use kaon_kernel::id::ContainerId;
use kaon_kernel::task::{Reason, TaskState};
use kaon_kernel::time::{Duration, Instant};

/// The shortest time between a result and the next try: a task that asks for none must not keep its machine busy.
const INTERVAL_MIN: Duration = Duration::millis(10);

/// Which of a task's checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckKind {
    /// The one that judges.
    Health,
    /// The one that tells.
    Plain,
}

/// The checks of a task while they are carried out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Live {
    /// Since when the task runs.
    began: Instant,
    /// Whether the health check has never succeeded.
    is_initial: bool,
    /// Its failures in a row.
    failures: u32,
    /// What runs for a try that is under way.
    health: Option<ContainerId>,
    /// As above, of the generic check.
    plain: Option<ContainerId>,
}

impl Live {
    fn under_way(&mut self, kind: CheckKind) -> &mut Option<ContainerId> {
        match kind {
            CheckKind::Health => &mut self.health,
            CheckKind::Plain => &mut self.plain,
        }
    }
}

impl Run {
    fn check(&self, kind: CheckKind) -> Option<&Check> {
        let checks = self.task.checks.as_deref()?;
        match kind {
            CheckKind::Health => checks.health.as_ref().map(|health| &health.check),
            CheckKind::Plain => checks.check.as_ref(),
        }
    }
}

fn timer(number: u32, kind: CheckKind) -> Timer {
    match kind {
        CheckKind::Health => Timer::Health(number),
        CheckKind::Plain => Timer::Check(number),
    }
}

impl Executor {
    /// A task runs: its checks begin.
    pub(super) fn begin_checks(&mut self, number: u32, context: &mut Context<'_, Self>) {
        let Some(run) = self.run_mut(number).filter(|run| run.task.checks.is_some()) else { return };
        let is_initial = run.found.as_ref().is_none_or(|found| found.healthy != Some(true));
        run.live = Some(Box::new(Live { began: context.now(), is_initial, failures: 0, health: None, plain: None }));
        for kind in [CheckKind::Health, CheckKind::Plain] {
            if let Some(check) = run.check(kind) {
                context.arm(timer(number, kind), check.delay);
            }
        }
    }

    /// A task is being ended: nothing about it is tried any more, and results under way count for nothing.
    pub(super) fn end_checks(&mut self, number: u32, context: &mut Context<'_, Self>) {
        let Some(live) = self.run_mut(number).and_then(|run| run.live.take()) else { return };
        context.disarm(Timer::Health(number));
        context.disarm(Timer::Check(number));
        for container in [live.health, live.plain].into_iter().flatten() {
            let ticket = context.contain(ContainerRequest::Kill { container, grace: Duration::ZERO });
            self.wait(ticket, Waiting::Nothing);
        }
    }

    /// It is time to try.
    pub(super) fn on_check_due(&mut self, number: u32, kind: CheckKind, context: &mut Context<'_, Self>) {
        let Some(run) = self.run(number).filter(|run| run.live.is_some()) else { return };
        let Some(check) = run.check(kind) else { return };
        let probe = match &check.target {
            CheckTarget::Command(command) => {
                // The edge takes no check without a value.
                let Some(program) = command.program() else { return };
                Probe::Command(self.spec(run, program, Some(command)))
            }
            CheckTarget::Http(target) => Probe::Http(target.clone()),
            CheckTarget::Tcp(target) => Probe::Tcp(*target),
        };
        let container = ContainerId::trusted(context.chance().uuid().to_string());
        let (of, timeout, probe) = (run.container.clone(), check.timeout, Box::new(probe));
        let ticket = context.contain(ContainerRequest::Probe { container: container.clone(), of, probe, timeout });
        self.wait(ticket, Waiting::Probed(number, kind));
        if let Some(live) = self.run_mut(number).and_then(|run| run.live.as_mut()) {
            *live.under_way(kind) = Some(container);
        }
    }

    /// A try has a result, or there will be none.
    pub(super) fn on_probed(
        &mut self,
        number: u32,
        kind: CheckKind,
        outcome: ContainerOutcome,
        context: &mut Context<'_, Self>,
    ) {
        let result = match outcome {
            ContainerOutcome::Probed(result) => result,
            ContainerOutcome::Failed { reason } => Err(reason),
            other => panic!("a probe came back as {other:?}"),
        };
        let Some(run) = self.run_mut(number) else { return };
        let Some(live) = run.live.as_mut() else { return };
        *live.under_way(kind) = None;
        let Some(check) = run.check(kind) else { return };
        context.arm(timer(number, kind), check.interval.max(INTERVAL_MIN));
        match kind {
            CheckKind::Health => match judge(&result) {
                Ok(()) => self.on_healthy(number, context),
                Err(why) => self.on_unhealthy(number, why, context),
            },
            CheckKind::Plain => {
                let status = status(&check.target, &result);
                self.on_check_result(number, status, context);
            }
        }
    }

    fn on_healthy(&mut self, number: u32, context: &mut Context<'_, Self>) {
        let Some(live) = self.run_mut(number).and_then(|run| run.live.as_mut()) else { return };
        let is_news = live.is_initial || live.failures > 0;
        live.is_initial = false;
        live.failures = 0;
        if is_news {
            self.tell_health(number, true, None, context);
        }
    }

    fn on_unhealthy(&mut self, number: u32, why: String, context: &mut Context<'_, Self>) {
        let now = context.now();
        let Some(run) = self.run_mut(number) else { return };
        let health = run.task.checks.as_ref().and_then(|checks| checks.health.as_ref());
        let (Some(live), Some(health)) = (run.live.as_mut(), health) else { return };
        if live.is_initial && now.since(live.began) <= health.grace && health.grace > Duration::ZERO {
            return;
        }
        live.failures = live.failures.saturating_add(1);
        let is_enough = live.failures >= health.failures_max;
        self.tell_health(number, false, Some(format!("Health check failed: {why}")), context);
        if is_enough {
            let grace = self.run(number).and_then(Run::own_grace).unwrap_or(self.config.kill_grace);
            self.stop_run(number, Cause::Killed, grace, context);
        }
    }

    fn tell_health(&mut self, number: u32, is_healthy: bool, why: Option<String>, context: &mut Context<'_, Self>) {
        if let Some(found) = self.run_mut(number).and_then(|run| run.found.as_mut()) {
            found.healthy = Some(is_healthy);
        }
        self.make_status(number, TaskState::Running, Some(Reason::TaskHealthCheckStatusUpdated), why, context);
        self.note(number, context);
    }

    fn on_check_result(&mut self, number: u32, status: CheckStatus, context: &mut Context<'_, Self>) {
        let found = self.run_mut(number).and_then(|run| run.found.as_mut());
        let Some(found) = found.filter(|found| found.check != Some(status)) else { return };
        found.check = Some(status);
        self.make_status(number, TaskState::Running, Some(Reason::TaskCheckStatusUpdated), None, context);
        self.note(number, context);
    }
}

/// Whether a result is well, and why not.
fn judge(result: &Result<ProbeResult, String>) -> Result<(), String> {
    match result {
        Ok(ProbeResult::Exited(ExitStatus::Code(0)) | ProbeResult::Connected(true)) => Ok(()),
        Ok(ProbeResult::Exited(status)) => Err(format!("Command {}", super::kill::describe(Some(*status)))),
        Ok(ProbeResult::Answered(code)) if HTTP_WELL.contains(code) => Ok(()),
        Ok(ProbeResult::Answered(code)) => Err(format!("Unexpected HTTP response code: {code}")),
        Ok(ProbeResult::Connected(false)) => Err("The connection was refused".to_owned()),
        Err(reason) => Err(reason.clone()),
    }
}

/// What a generic check tells of a result.
fn status(target: &CheckTarget, result: &Result<ProbeResult, String>) -> CheckStatus {
    match result {
        Ok(ProbeResult::Exited(ExitStatus::Code(code))) => CheckStatus::Command(Some(*code)),
        Ok(ProbeResult::Answered(code)) => CheckStatus::Http(Some(*code)),
        Ok(ProbeResult::Connected(accepted)) => CheckStatus::Tcp(Some(*accepted)),
        // A command that a signal ended has no code to tell.
        Ok(ProbeResult::Exited(ExitStatus::Signal(_))) | Err(_) => target.without_result(),
    }
}
