//! Agents, in and back: one path for a first registration, a re-registration and the return after a failover.
//!
//! Mesos: `Master::registerSlave`, `Master::reregisterSlave`; reference 9.

use super::{Master, MasterContext, Pending, Timer, agent_of};
use kaon_kernel::actor::{Address, HostId};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::frame::copy;
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{AgentId, AgentIndex, ExecutorId, FrameworkId, FrameworkIndex, TaskId, Uuid};
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::agent_master::{RunningExecutor, ToAgent, ToMaster};
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::registrar::RegistryOperation;
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::operation::HeldOperation;
use kaon_kernel::resource::{Resources, ResourcesError};
use kaon_kernel::table::Set;
use kaon_kernel::task::{ExecutorKind, Reason, Source, Task};

use super::state::{Agent, HeldExecutor};

/// An agent on its way in.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub(super) address: Address,
    /// Its words; `id` is set.
    pub(super) info: AgentInfo,
    pub(super) identity: String,
    /// What it runs; empty for a first registration.
    pub(super) report: Report,
    /// Whether it was in the pool before.
    pub(super) returning: bool,
}

/// What a returning agent runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) frameworks: Vec<FrameworkInfo>,
    pub(super) executors: Vec<RunningExecutor>,
    pub(super) tasks: Vec<(FrameworkId, Task)>,
    /// What was reserved on it or made into volumes at run time.
    pub(super) checkpointed: Resources,
    /// Operations whose end is not acknowledged.
    pub(super) operations: Vec<HeldOperation>,
    /// Names the agent's wish.
    pub(super) episode: Option<Uuid>,
}

impl Report {
    /// Whether every bag in it is one that our own arithmetic makes. A frame is checked for its layout, not for its sense.
    fn is_canonical(&self) -> bool {
        self.tasks.iter().all(|(_, task)| task.info.resources.is_canonical())
            && self.executors.iter().all(|executor| executor.info.resources.is_canonical())
            && self.checkpointed.is_canonical()
    }

    /// What the reported tasks and executors hold together; an error when that can't be on one machine.
    fn held(&self) -> Result<Resources, ResourcesError> {
        let mut held = Resources::new();
        for (_, task) in self.tasks.iter().filter(|(_, task)| !task.state.is_terminal()) {
            held.add(&task.info.resources)?;
        }
        for executor in self.executors.iter().filter(|executor| executor.info.kind != ExecutorKind::Command) {
            held.add(&executor.info.resources)?;
        }
        Ok(held.without_copies())
    }
}

impl Master {
    /// Tells an agent's host that we lead, if we do and it is one.
    pub(super) fn announce(&self, host: HostId, context: &mut MasterContext<'_>) {
        if let (Some(leadership), Some((PeerRole::Agent, _))) = (self.leadership(), self.links.get(&host)) {
            let leading = ToAgent::Leading { master_id: leadership.master_id.clone(), term: leadership.term };
            context.send(agent_of(host), &AgentMessage::Master(leading));
        }
    }

    /// A machine without a name wants in. A repeated wish is answered when it is granted, or again.
    pub(super) fn on_register(
        &mut self,
        from: Address,
        mut info: AgentInfo,
        checkpointed: Resources,
        episode: Uuid,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_register_slave", 1);
        let Some(identity) = self.agent_identity(from.host, context) else { return };
        if self.is_turned_away(from, &info, context) {
            return;
        }
        if !info.resources.is_canonical() || !checkpointed.is_canonical() {
            return self.refuse(from, "the agent's resources are no proper sum", context);
        }
        if let Some(index) = self.state.agent_at(from.host) {
            if self.state.agents[&index].episode == Some(episode) {
                return self.welcome(index, context);
            }
            // It fell before it had its id on disk, and has lost what it was told in between.
            self.state.agents[&index].episode = Some(episode);
            let Ok(total) = self.state.agents[&index].info.resources.with_kept(&checkpointed) else {
                return self.refuse(from, "it has less than is reserved on it", context);
            };
            self.welcome(index, context);
            self.adopt(index, total, Vec::new(), &Set::default(), context);
            let total = self.state.agents[&index].total().clone();
            self.allocate(&ToAllocator::UpdateAgent { agent: index, total }, context);
            self.ask_for_unreported(index, &Set::default(), context);
            return;
        }
        if self.admitting.contains(&from.host) {
            return;
        }
        if let Err(error) = info.resources.with_kept(&checkpointed) {
            return self.refuse(from, &format!("it has less than is reserved on it: {error}"), context);
        }
        self.remove_forgotten(&info, &identity, context);
        let number = self.state.take_agent_number();
        let Some(leadership) = self.leadership() else { return };
        info.id = Some(AgentId::trusted(format!("{}-S{number}", leadership.master_id)));
        let report = Report { checkpointed, episode: Some(episode), ..Report::default() };
        let admission = Admission { address: from, info, identity, report, returning: false };
        self.admit(admission, context);
    }

    /// Who registers without a name, with the certificate and at the address of one that is not connected, is the same
    /// machine and has lost its name: under that one nobody comes back (Mesos: `Master::_registerSlave` removes the old
    /// disconnected agent).
    fn remove_forgotten(&mut self, info: &AgentInfo, identity: &str, context: &mut MasterContext<'_>) {
        let is_forgotten = |agent: &&Agent| {
            !agent.connected && agent.identity == identity && (&agent.info.ip, agent.info.port) == (&info.ip, info.port)
        };
        let forgotten: Vec<AgentId> =
            self.state.agents.values().filter(is_forgotten).map(|agent| agent.id.clone()).collect();
        let counted = "master/slave_removals/reason_registered";
        forgotten.into_iter().for_each(|id| self.begin_removal(id, counted, context));
    }

    /// A machine with a name is back.
    pub(super) fn on_reregister(&mut self, from: Address, message: ToMaster, context: &mut MasterContext<'_>) {
        let ToMaster::Reregister { info, frameworks, executors, tasks, checkpointed, operations, episode } = message
        else {
            return;
        };
        context.count("master/messages_reregister_slave", 1);
        let info = *info;
        let Some(identity) = self.agent_identity(from.host, context) else { return };
        let Some(id) = info.id.clone() else {
            self.refuse(from, "a returning agent must name its id", context);
            return;
        };
        if self.is_turned_away(from, &info, context) {
            return;
        }
        if self.admitting.contains(&from.host) {
            return;
        }
        let index = self.state.agent_index(id.as_str());
        let known = match index {
            Some(index) => self.state.agents.get(&index).map(|agent| (&agent.info, &agent.identity)),
            None => self.state.recovered_agents.get(&id).map(|agent| (&agent.info, &agent.identity)),
        };
        if known.is_some_and(|(_, vouched)| *vouched != identity) {
            // Attack 24: the registry remembers whose certificate an id belongs to.
            context.count("master/slave_reregistrations_refused", 1);
            self.refuse(from, &format!("agent {id} belongs to another certificate than '{identity}'"), context);
            return;
        }
        if let Some(known) = index.filter(|index| self.state.agents[index].episode == Some(episode)) {
            // A repetition: what it may have missed is our answer.
            return self.welcome(known, context);
        }
        if self.state.agent_at(from.host).is_some_and(|other| index != Some(other)) {
            self.refuse(from, &format!("this host is registered under another id than {id}"), context);
            return;
        }
        let is_new = known.is_none_or(|(words, _)| *words != info);
        let report = Report { frameworks, executors, tasks, checkpointed, operations, episode: Some(episode) };
        if !info.resources.is_canonical() || !report.is_canonical() {
            return self.refuse(from, &format!("resources that agent {id} reports are no proper sum"), context);
        }
        let total = match info.resources.with_kept(&report.checkpointed) {
            Ok(total) => total,
            Err(error) => {
                let reason = format!("agent {id} has less than is reserved on it: {error}");
                return self.refuse(from, &reason, context);
            }
        };
        match report.held() {
            Ok(held) if total.contains(&held) => {}
            Ok(held) => {
                let reason = format!("agent {id} reports tasks that hold {held}, but has {total}");
                self.refuse(from, &reason, context);
                return;
            }
            Err(error) => {
                self.refuse(from, &format!("agent {id} reports impossible tasks: {error}"), context);
                return;
            }
        }
        let admission = Admission { address: from, info, identity, report, returning: true };
        if is_new { self.admit(admission, context) } else { self.on_admitted(admission, context) }
    }

    /// Whether an agent is not taken: its domain does not fit and it is ignored, as in Mesos; or it is gone, or its machine
    /// is down, and it is told to go.
    fn is_turned_away(&self, from: Address, info: &AgentInfo, context: &mut MasterContext<'_>) -> bool {
        let is_foreign = info.domain.is_some() && self.config.domain.is_none();
        if is_foreign || (info.domain.is_none() && self.config.require_agent_domain) {
            // Not sent away: its operator may set it right, and its tasks live on meanwhile (reference 9).
            context.count("master/registrations_ignored", 1);
            return true;
        }
        let reason = match &info.id {
            Some(id) if self.standing.gone.contains_key(id) => super::standing::GONE,
            _ if self.maintenance.is_down(info) => "Machine is `DOWN`",
            _ => return false,
        };
        context.count("master/registrations_turned_away", 1);
        self.shut_down_agent(from, reason, context);
        true
    }

    fn admit(&mut self, admission: Admission, context: &mut MasterContext<'_>) {
        let operation =
            RegistryOperation::AdmitAgent { info: admission.info.clone(), identity: admission.identity.clone() };
        let host = admission.address.host;
        if self.register_wish(operation, Pending::Admit(Box::new(admission)), context) {
            self.admitting.insert(host);
        }
    }

    /// The registry does not take the agent: a person must act.
    pub(super) fn on_admission_refused(
        &mut self,
        admission: &Admission,
        reason: &str,
        context: &mut MasterContext<'_>,
    ) {
        self.admitting.swap_remove(&admission.address.host);
        if !self.is_turned_away(admission.address, &admission.info, context) {
            self.refuse(admission.address, reason, context);
        }
    }

    fn agent_identity(&self, host: HostId, context: &mut MasterContext<'_>) -> Option<String> {
        match self.links.get(&host) {
            Some((PeerRole::Agent, identity)) => Some(identity.clone()),
            _ => {
                context.count("master/invalid_registrations", 1);
                None
            }
        }
    }

    fn refuse(&self, to: Address, reason: &str, context: &mut MasterContext<'_>) {
        context.send(to, &AgentMessage::Master(ToAgent::Refused { reason: reason.to_owned() }));
    }

    fn welcome(&self, index: AgentIndex, context: &mut MasterContext<'_>) {
        let agent = &self.state.agents[&index];
        let ping_timeout = self.config.agents_patience();
        let Some(episode) = agent.episode else { return };
        let registered = ToAgent::Registered { agent_id: agent.id.clone(), ping_timeout, episode };
        context.send(agent.address, &AgentMessage::Master(registered));
    }

    /// The registry has the agent: it is in the pool, with all that it runs.
    pub(super) fn on_admitted(&mut self, admission: Admission, context: &mut MasterContext<'_>) {
        let Admission { address, info, identity, report, returning } = admission;
        self.admitting.swap_remove(&address.host);
        let Some(id) = info.id.clone() else { return };
        if self.is_turned_away(address, &info, context) {
            return;
        }
        self.state.recovered_agents.swap_remove(&id);
        self.state.unreachable_agents.shift_remove(&id);
        let known = self.state.agent_index(id.as_str());
        let (mut has_moved, mut says_other) = (false, false);
        let index = match known {
            Some(index) => {
                self.state.connect_agent(index, address);
                let total = self.state.agents[&index].total().clone();
                // A machine under another name may be scheduled for another time.
                has_moved = self.maintenance.unavailability(&self.state.agents[&index].info)
                    != self.maintenance.unavailability(&info);
                let before = core::mem::replace(&mut self.state.agents[&index].info, info);
                let now = &self.state.agents[&index].info;
                says_other = (&before.hostname, &before.attributes, &before.domain)
                    != (&now.hostname, &now.attributes, &now.domain);
                // As before, until its report says otherwise.
                self.state.set_total(index, total);
                self.state.agents[&index].identity = identity;
                context.disarm(Timer::AgentReturn(index));
                index
            }
            None => self.state.add_agent(info, identity, address, context.wall()),
        };
        if returning {
            self.state.agents[&index].reregistered_time = Some(context.wall());
        }
        self.state.agents[&index].episode = report.episode;
        context.count(if returning { "master/slave_reregistrations" } else { "master/slave_registrations" }, 1);
        self.welcome(index, context);
        self.show_agent(index, context);
        let returned = self.take_report(index, known.is_some(), report, context);
        match known {
            Some(_) => {
                if says_other {
                    let AgentInfo { hostname, attributes, domain, .. } = self.state.agents[&index].info.clone();
                    let describe = ToAllocator::DescribeAgent { agent: index, hostname, attributes, domain };
                    self.allocate(&describe, context);
                }
                let total = self.state.agents[&index].total().clone();
                self.allocate(&ToAllocator::UpdateAgent { agent: index, total }, context);
                self.offer_again(index, context);
                if has_moved {
                    let unavailability = self.maintenance.unavailability(&self.state.agents[&index].info);
                    self.allocate(&ToAllocator::SetUnavailability { agent: index, unavailability }, context);
                }
            }
            None => self.allocate_agent(index, context),
        }
        for (framework, task_id) in returned {
            self.tell_state(framework, &task_id, Source::Master, Reason::AgentReregistered, context);
        }
        self.send_kills(index, context);
        self.drain(index, context);
        context.arm(Timer::Ping(index), self.config.look_interval());
        if !self.links.contains_key(&address.host) {
            // Its session broke while the registry wrote.
            self.on_agent_disconnected(address.host, context);
        }
    }

    /// Brings the tables in line with what an agent runs. The tasks that come back from out of reach.
    fn take_report(
        &mut self,
        index: AgentIndex,
        known: bool,
        report: Report,
        context: &mut MasterContext<'_>,
    ) -> Vec<(FrameworkIndex, TaskId)> {
        for info in report.frameworks {
            self.meet_framework(index, info, context);
        }
        let named = report.tasks.iter().filter_map(|(framework_id, task)| {
            Some((self.state.framework_index(framework_id.as_str())?, task.info.task_id.clone()))
        });
        let named: Set<(FrameworkIndex, TaskId)> = named.collect();
        // Judged before it was admitted.
        if let Ok(total) = self.state.agents[&index].info.resources.with_kept(&report.checkpointed) {
            self.adopt(index, total, report.operations, &named, context);
        }
        let mut executors: Set<(FrameworkIndex, ExecutorId)> = Set::default();
        for running in report.executors {
            let Some(framework) = self.state.framework_index(running.framework_id.as_str()) else { continue };
            let key = (framework, running.info.executor_id.clone());
            if running.info.kind != ExecutorKind::Command && executors.insert(key.clone()) {
                let agent_id = self.state.agents[&index].id.clone();
                if !self.state.agents[&index].executors.contains_key(&key) {
                    let held = HeldExecutor { info: running.info.clone(), role: running.role.clone() };
                    self.state.add_executor(framework, index, held);
                }
                context.emit(Self::VIEW, &ViewEvent::Executor { agent_id, executor: running });
            }
        }
        let mut reported: Set<(FrameworkIndex, TaskId)> = Set::default();
        let mut returned = Vec::new();
        for (framework_id, task) in report.tasks {
            let Some(framework) = self.state.framework_index(framework_id.as_str()) else { continue };
            let task_id = task.info.task_id.clone();
            if !reported.insert((framework, task_id.clone())) {
                continue;
            }
            if self.state.frameworks[&framework].tasks.contains_key(&task_id) {
                self.resync(framework, index, &task_id, task, context);
                continue;
            }
            if is_done_with(&task) {
                continue;
            }
            let was_away = self.state.frameworks[&framework].unreachable_tasks.shift_remove(&task_id).is_some();
            let role = task.info.role.clone();
            let shown = ViewEvent::Task { framework_id, role: role.clone(), task: task.clone() };
            context.emit(Self::VIEW, &shown);
            self.state.add_task(framework, index, role, task);
            if was_away {
                returned.push((framework, task_id));
            }
        }
        if known {
            self.drop_unreported(index, &executors, &reported, context);
        }
        returned
    }

    /// A framework that an agent runs something for: known, new to this term, or removed.
    fn meet_framework(&mut self, agent: AgentIndex, info: FrameworkInfo, context: &mut MasterContext<'_>) {
        let Some(id) = info.id.clone() else { return };
        if self.state.removed_frameworks.contains(&id) {
            let shutdown = ToAgent::ShutdownFramework { framework_id: id };
            context.send(self.state.agents[&agent].address, &AgentMessage::Master(shutdown));
            return;
        }
        match self.state.framework_index(id.as_str()) {
            None => self.recover_framework(info, context),
            Some(index) if self.state.frameworks[&index].info != info => {
                // It changed its words while the agent was away.
                let framework = Box::new(self.state.frameworks[&index].info.clone());
                let update = ToAgent::UpdateFramework { framework };
                context.send(self.state.agents[&agent].address, &AgentMessage::Master(update));
            }
            Some(_) => {}
        }
    }

    /// A task that both sides know: the agent's word on its state holds.
    fn resync(
        &mut self,
        framework: FrameworkIndex,
        agent: AgentIndex,
        task_id: &TaskId,
        reported: Task,
        context: &mut MasterContext<'_>,
    ) {
        let held = &mut self.state.frameworks[&framework].tasks[task_id];
        if held.agent != agent {
            context.count("master/tasks_on_two_agents", 1);
            return;
        }
        held.task.unacknowledged = reported.unacknowledged;
        if is_done_with(&reported) {
            // The acknowledgement of its end reached the agent, but we did not see it pass.
            self.free(framework, task_id, context);
            self.state.remove_task(framework, task_id);
            let (framework_id, task_id) = (self.state.frameworks[&framework].id.clone(), task_id.clone());
            return context.emit(Self::VIEW, &ViewEvent::TaskCompleted { framework_id, task_id });
        }
        if held.task.state == reported.state || !held.task.state.may_become(reported.state) {
            return;
        }
        held.task.state = reported.state;
        let (role, task) = (held.role.clone(), held.task.clone());
        let framework_id = self.state.frameworks[&framework].id.clone();
        context.emit(Self::VIEW, &ViewEvent::Task { framework_id, role, task });
        if reported.state.is_terminal() {
            self.free(framework, task_id, context);
        }
    }

    /// What the master holds for an agent and the agent did not report: executors are gone; for tasks the agent is asked,
    /// since a launch may be under way to it.
    fn drop_unreported(
        &mut self,
        index: AgentIndex,
        executors: &Set<(FrameworkIndex, ExecutorId)>,
        reported: &Set<(FrameworkIndex, TaskId)>,
        context: &mut MasterContext<'_>,
    ) {
        let gone = self.state.agents[&index].executors.keys().filter(|key| !executors.contains(*key));
        let gone: Vec<_> = gone.cloned().collect();
        for (framework, executor_id) in gone {
            self.drop_executor(framework, index, &executor_id, context);
        }
        self.ask_for_unreported(index, reported, context);
    }

    /// Asks an agent for the tasks that we hold for it and that it did not report.
    fn ask_for_unreported(
        &self,
        index: AgentIndex,
        reported: &Set<(FrameworkIndex, TaskId)>,
        context: &mut MasterContext<'_>,
    ) {
        let agent = &self.state.agents[&index];
        let missing = agent.tasks.iter().filter(|key| !reported.contains(*key));
        let missing = missing.filter(|(framework, task_id)| {
            self.state.task_state(*framework, task_id).is_some_and(|state| !state.is_terminal())
        });
        let missing =
            missing.map(|(framework, task_id)| (self.state.frameworks[framework].id.clone(), task_id.clone()));
        let tasks: Vec<_> = missing.collect();
        if !tasks.is_empty() {
            context.send(agent.address, &AgentMessage::Master(ToAgent::Reconcile { tasks }));
        }
    }

    fn send_kills(&mut self, index: AgentIndex, context: &mut MasterContext<'_>) {
        let agent = &mut self.state.agents[&index];
        let (address, waiting) = (agent.address, core::mem::take(&mut agent.kills_waiting));
        for ((framework_id, task_id), grace) in waiting {
            context.send(address, &AgentMessage::Master(ToAgent::KillTask { framework_id, task_id, grace }));
        }
    }

    /// An executor's last word through its agent.
    pub(super) fn on_executor_message(
        &mut self,
        host: HostId,
        framework_id: &str,
        executor_id: ExecutorId,
        data: &rkyv::vec::ArchivedVec<u8>,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_executor_to_framework", 1);
        let (Some(agent), Some(framework)) = (self.state.agent_at(host), self.state.framework_index(framework_id))
        else {
            context.count("master/invalid_executor_to_framework_messages", 1);
            context.count("master/dropped_messages", 1);
            return;
        };
        let agent_id = self.state.agents[&agent].id.clone();
        let event = FrameworkEvent::Message { agent_id, executor_id, data: copy(data) };
        self.tell(framework, event, context);
    }
}

/// Whether a reported task has ended and its last status is acknowledged: an agent keeps such a one for a while.
fn is_done_with(task: &Task) -> bool {
    task.state.is_terminal() && task.unacknowledged.is_none()
}
