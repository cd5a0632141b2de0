//! Orders to end more than one task: an executor, a framework, the whole agent. Executors get a grace to end by
//! themselves; after it their containers are destroyed.

use crate::agent::checkpoint;
use crate::agent::container::Stage;
use crate::agent::state::Waiting;
use crate::agent::{Agent, Timer, metric};
use kaon_kernel::actor::{Batch, Context};
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{ExecutorId, FrameworkId};
use kaon_kernel::message::MasterMessage;
use kaon_kernel::message::agent_master::ToMaster;
use kaon_kernel::message::executor_agent::ToExecutor;

impl Agent {
    /// Ends everything of a framework. Its statuses interest nobody any more: they go with its containers.
    pub(super) fn on_shutdown_framework(&mut self, framework_id: &FrameworkId, context: &mut Context<'_, Self>) {
        if self.state.framework(framework_id).is_none() {
            return context.count(metric::IGNORED, 1);
        }
        self.state.end_framework(framework_id);
        let mut batch = Batch::default();
        for task in self.state.tasks_of_framework(framework_id) {
            if self.state.task(task).is_some_and(|entry| entry.container.is_none()) {
                self.drop_task(task, &mut batch, context);
            }
        }
        if !batch.is_empty() {
            let ticket = context.persist(batch);
            self.state.wait(ticket, Waiting::Noted);
        }
        for container in self.containers_of(Some(framework_id)) {
            self.shut_down(container, context);
        }
        self.forget_idle_framework(framework_id, context);
    }

    /// Ends one executor. Its tasks end as it says, or fail with it.
    pub(super) fn on_shutdown_executor(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        context: &mut Context<'_, Self>,
    ) {
        match self.state.container_of(framework_id, executor_id) {
            Some(container) => self.shut_down(container, context),
            None => context.count(metric::IGNORED, 1),
        }
    }

    /// Ends everything, forgets everything, and goes: the next start is that of a new machine.
    pub(super) fn on_shutdown(&mut self, context: &mut Context<'_, Self>) {
        self.state.leave();
        for container in self.containers_of(None) {
            self.shut_down(container, context);
        }
        self.leave_when_empty(context);
    }

    /// Leaves for good by the wish of whoever looks after the machine: the master hears of it first, so that nothing is
    /// launched here meanwhile and the tasks are not waited for (SIGUSR1 to an agent of Mesos).
    pub(super) fn on_leave(&mut self, context: &mut Context<'_, Self>) {
        let leader = self.state.leader().filter(|_| self.is_registered());
        if let (Some(leader), Some(agent_id)) = (leader, self.state.agent_id().cloned()) {
            context.send(leader.address, &MasterMessage::Agent(ToMaster::Unregister { agent_id }));
        }
        self.on_shutdown(context);
    }

    /// A framework says something else of itself.
    pub(super) fn on_update_framework(&mut self, framework: FrameworkInfo, context: &mut Context<'_, Self>) {
        let id = framework.id.clone().filter(|id| self.state.framework(id).is_some());
        let Some(id) = id else { return context.count(metric::IGNORED, 1) };
        let mut batch = Batch::default();
        batch.put(checkpoint::framework_key(&id), checkpoint::write(&framework));
        self.state.put_framework(id, framework);
        let ticket = context.persist(batch);
        self.state.wait(ticket, Waiting::Noted);
    }

    fn containers_of(&self, framework_id: Option<&FrameworkId>) -> Vec<u64> {
        let all = self.state.containers();
        let chosen = all.filter(|(_, container)| framework_id.is_none_or(|id| container.framework_id() == id));
        chosen.map(|(number, _)| number).collect()
    }

    /// Asks an executor to end, and sees to it that it does.
    pub(super) fn shut_down(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let Some(container) = self.state.container_mut(number) else { return };
        match container.stage() {
            Stage::Running => {
                let grace = container.info().shutdown_grace.unwrap_or(self.config.executor_shutdown_grace);
                container.enter(Stage::Terminating);
                self.tell_executor(number, ToExecutor::Shutdown, context);
                context.arm(Timer::Grace(number), grace);
            }
            Stage::Terminating | Stage::Ended => {}
            _ => self.destroy(number, None, context),
        }
    }

    /// An executor had its grace.
    pub(super) fn on_grace_over(&mut self, number: u64, context: &mut Context<'_, Self>) {
        if self.state.container(number).is_some_and(|container| container.stage() == Stage::Terminating) {
            self.destroy(number, None, context);
        }
    }

    /// The last step of leaving: nothing runs any more, so nothing needs to be remembered.
    pub(super) fn leave_when_empty(&mut self, context: &mut Context<'_, Self>) {
        if !self.state.is_leaving() || self.state.containers().next().is_some() {
            return;
        }
        let mut batch = Batch::default();
        let tasks: Vec<u64> = self.state.tasks().map(|(number, _)| number).collect();
        for task in tasks {
            self.drop_task(task, &mut batch, context);
        }
        for framework in self.state.frameworks() {
            if let Some(id) = &framework.info.id {
                batch.delete(checkpoint::framework_key(id));
            }
        }
        // What is reserved and the volumes stay with the machine, and so does what is still to be done with them.
        let done = self.state.operations().filter(|(_, entry)| entry.held.status.state.is_terminal());
        for (_, entry) in done {
            batch.delete(checkpoint::operation_key(entry.held.uuid));
        }
        batch.delete(checkpoint::AGENT_KEY);
        let ticket = context.persist(batch);
        self.state.wait(ticket, Waiting::Wiped);
    }
}
