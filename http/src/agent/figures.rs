//! The numbers of an agent, under Mesos's names (reference 16).

use kaon_kernel::message::agent_outside::ExecutorStage;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::TaskState;

use super::AgentEdge;
use super::actors::Seen;
use crate::metric::Sample;
use crate::polled::metrics::{always, amounts};

/// The ends that have a counter, which is there before the first task has ended so.
const ENDS: [&str; 5] = ["finished", "failed", "killed", "lost", "gone"];

impl AgentEdge {
    /// All numbers: the host's, and of what the agent holds, as far as that is known. Cost: all tasks.
    pub(super) fn samples(&self, seen: Option<&Seen>) -> Vec<Sample> {
        let mut samples = (self.config.metrics)();
        samples.push(Sample::gauge("slave/uptime_secs", self.begun.elapsed().as_secs_f64()));
        for end in ENDS {
            let name = format!("slave/tasks_{end}");
            if !samples.iter().any(|sample| sample.name == name) {
                samples.push(Sample::counter(name, 0));
            }
        }
        always::of_agent(&mut samples);
        let nothing = Seen::default();
        let held = seen.unwrap_or(&nothing);
        let all = held.info.as_ref().map_or(&self.config.info.resources, |info| &info.resources);
        amounts("slave", core::iter::once(all), held.used(), &mut samples);
        if seen.is_none() {
            return samples;
        }
        let mut gauge = |name: &str, count: usize| samples.push(Sample::gauge(format!("slave/{name}"), count as f64));
        gauge("frameworks_active", held.frameworks.len());
        let stages = [
            ("executors_registering", ExecutorStage::Registering),
            ("executors_running", ExecutorStage::Running),
            ("executors_terminating", ExecutorStage::Terminating),
        ];
        for (name, stage) in stages {
            gauge(name, held.executors.iter().filter(|one| one.stage == stage).count());
        }
        let states = [
            ("tasks_staging", TaskState::Staging),
            ("tasks_starting", TaskState::Starting),
            ("tasks_running", TaskState::Running),
            ("tasks_killing", TaskState::Killing),
        ];
        for (name, state) in states {
            gauge(name, held.tasks.iter().filter(|one| one.task.state == state).count());
        }
        samples
    }
}

impl Seen {
    /// What executors and tasks take that have not ended.
    pub(super) fn used(&self) -> impl Iterator<Item = &Resources> {
        let tasks = self.tasks.iter().filter(|one| !one.task.state.is_terminal());
        let executors = self.executors.iter().map(|one| &one.running.info.resources);
        tasks.map(|one| &one.task.info.resources).chain(executors)
    }
}
