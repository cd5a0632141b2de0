//! Operations on resources: judged one after the other, done in the books, ordered of the agent; and what becomes of them
//! (reference 4, 8.4).
//!
//! The books follow at once, so that what comes behind an operation finds what it makes: later operations of the same
//! ACCEPT, and later offers. The agent gets operations and launches in one order. Should it not carry one out, its next
//! registration says what it really has, and that holds ([`Master::adopt`]); an agent that says so by a status is asked to
//! register again.
//!
//! Mesos: `Master::_accept`, `Master::updateOperationStatus`, `Master::reconcileOperations`, `src/master/validation.cpp`.
//! There GROW_VOLUME and SHRINK_VOLUME show in the books only when they are done; here too what they make is for later
//! offers only.

use super::accept::{Basket, clip};
use super::config::OPERATIONS_MAX;
use super::{Master, MasterContext, agent_of};
use kaon_kernel::actor::HostId;
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::framework::Capability;
use kaon_kernel::id::{
    self, AgentId, AgentIndex, FrameworkId, FrameworkIndex, OfferId, OperationId, RoleName, TaskId, Uuid,
};
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::message::allocator::{Grant, ToAllocator};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::operation::{HeldOperation, OperationState, OperationStatus};
use kaon_kernel::resource::operation::{Author, Conversion, Operation};
use kaon_kernel::resource::{Resource, Resources};
use kaon_kernel::table::Set;
use kaon_kernel::task::{Reason, TaskState};

impl Master {
    /// Carries out one operation of an ACCEPT, or tells the framework why not if it wants to hear.
    pub(super) fn operate(
        &mut self,
        basket: &mut Basket,
        operation_id: Option<OperationId>,
        allocation: Option<&str>,
        operation: Result<Box<Operation>, Defect>,
        context: &mut MasterContext<'_>,
    ) {
        let judged = operation.and_then(|operation| {
            let conversion = self.judge_operation(basket, operation_id.as_ref(), allocation, &operation)?;
            Ok((operation, conversion))
        });
        let (operation, conversion) = match judged {
            Ok(judged) => judged,
            Err(defect) => return self.refuse_operation(basket.framework, operation_id, defect, context),
        };
        if let Operation::Destroy { volumes } = operation.as_ref() {
            self.rescind_copies(basket.agent, volumes, context);
        }
        let is_for_later = matches!(*operation, Operation::Grow { .. } | Operation::Shrink { .. });
        basket.convert(&conversion, is_for_later);
        let Conversion { consumed, converted } = conversion.clone();
        let (framework, role, agent) = (basket.framework, basket.role.clone(), basket.agent);
        let from = Grant { framework, role: role.clone(), agent, resources: consumed };
        self.allocate(&ToAllocator::Convert { from, to: converted }, context);
        let author = Some((self.state.frameworks[&framework].id.clone(), role));
        self.order_operation(agent, author, operation_id, *operation, &conversion, context);
    }

    /// The rules of reference 4 in their order.
    fn judge_operation(
        &self,
        basket: &Basket,
        operation_id: Option<&OperationId>,
        allocation: Option<&str>,
        operation: &Operation,
    ) -> Result<Conversion, Defect> {
        let (framework, agent) = (&self.state.frameworks[&basket.framework], &self.state.agents[&basket.agent]);
        let refused = |cause, words: String| Err(Defect::new(cause, words));
        if let Some(operation_id) = operation_id {
            if let Err(error) = id::check(operation_id.as_str()) {
                let words = format!("Operation ID '{}' is invalid: {error}", clip(operation_id.as_str()));
                return refused(Cause::IdInvalid, words);
            }
            if framework.operations.contains_key(operation_id) {
                return refused(Cause::OperationIdInUse, format!("Operation ID '{operation_id}' is already in use"));
            }
        }
        if agent.operations.len() >= OPERATIONS_MAX {
            let words = format!("{OPERATIONS_MAX} operations on the agent wait for their acknowledgement already");
            return refused(Cause::TooManyOperations, words);
        }
        if let Some(role) = allocation.filter(|role| *role != basket.role.as_str()) {
            let (named, role) = (clip(role), &basket.role);
            let words = format!("Resources are allocated to role '{named}', the accepted offers to role '{role}'");
            return refused(Cause::RoleMismatch, words);
        }
        if let Operation::Reserve { source, .. } = operation {
            if source.is_some() {
                let words = "'source' is set: only operators move reservations";
                return refused(Cause::OperationInvalid, words.to_owned());
            }
            if !framework.info.roles.contains(&basket.role) {
                let words = format!("The framework is not subscribed to role '{}' any more", basket.role);
                return refused(Cause::RoleMismatch, words);
            }
        }
        let author = Author {
            allocation: Some(&basket.role),
            principal: framework.info.principal.as_deref(),
            shares: framework.info.has(Capability::SharedResources),
        };
        operation.check_author(&author)?;
        self.judge_on_agent(basket.agent, operation)?;
        let mut left = basket.left.clone();
        Ok(left.operate(operation)?)
    }

    /// What an operation must fulfil on its agent, whoever asks for it.
    pub(super) fn judge_on_agent(&self, agent: AgentIndex, operation: &Operation) -> Result<(), Defect> {
        let agent = &self.state.agents[&agent];
        let refused = |cause, words: String| Err(Defect::new(cause, words));
        match operation {
            Operation::Reserve { resources, .. } => {
                let roles = resources.iter().filter_map(Resource::reservation_role);
                if let Some(role) = { roles }.find(|role| !self.may_use(role)) {
                    let words = format!("Role '{role}' is not present in the master's --roles");
                    return refused(Cause::RoleNotAllowed, words);
                }
            }
            Operation::Create { volumes } => {
                let is_same = |one: &Resource, other: &Resource| one.volume_directory() == other.volume_directory();
                let pending = agent.operations.values().filter(|held| !held.status.state.is_terminal());
                let mut doomed = pending.flat_map(|held| match &held.operation {
                    Operation::Destroy { volumes } => volumes.iter(),
                    _ => [].iter(),
                });
                if let Some(volume) = doomed.find(|gone| volumes.iter().any(|volume| is_same(gone, volume))) {
                    return refused(Cause::VolumeIdInUse, format!("{volume} is still being destroyed"));
                }
                let taken = |own: &&Resource| own.is_persistent_volume() && volumes.iter().any(|new| is_same(own, new));
                if let Some(own) = agent.total().iter().find(taken) {
                    let words = format!("Persistence ID of {own} is in use on the agent already");
                    return refused(Cause::VolumeIdInUse, words);
                }
            }
            Operation::Destroy { volumes } => {
                let used = volumes.iter().find(|volume| agent.used.iter().any(|used| used == *volume));
                if let Some(volume) = used {
                    return refused(Cause::VolumeInUse, format!("Persistent volume {volume} is in use"));
                }
                // Offers may hold several copies of a shared volume; under them is one.
                if !agent.total().contains(volumes) {
                    let words =
                        format!("Persistent volumes not found on the agent, or named more than once: {volumes}");
                    return refused(Cause::VolumeUnknown, words);
                }
            }
            Operation::Unreserve { .. } | Operation::Grow { .. } | Operation::Shrink { .. } => {}
        }
        Ok(())
    }

    /// Tells the framework that an operation was not taken.
    pub(super) fn refuse_operation(
        &self,
        framework: FrameworkIndex,
        operation_id: Option<OperationId>,
        defect: Defect,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/invalid_operations", 1);
        let Defect { cause, words } = defect;
        let status = OperationStatus::bare(operation_id, OperationState::Error, Some(words));
        let status = OperationStatus { cause: Some(cause), ..status };
        self.tell_operation(framework, status, context);
    }

    /// Takes back the offers that hold copies of volumes that go.
    pub(super) fn rescind_copies(&mut self, agent: AgentIndex, gone: &Resources, context: &mut MasterContext<'_>) {
        if !gone.iter().any(Resource::is_shared) {
            return;
        }
        let holds =
            |id: &&OfferId| self.state.offers[*id].resources.iter().any(|own| gone.iter().any(|one| one == own));
        let offers: Vec<OfferId> = self.state.agents[&agent].offers.iter().filter(holds).copied().collect();
        for id in offers {
            self.rescind(id, context);
        }
    }

    /// Does an operation in the books and orders it of the agent.
    pub(super) fn order_operation(
        &mut self,
        agent: AgentIndex,
        author: Option<(FrameworkId, RoleName)>,
        operation_id: Option<OperationId>,
        operation: Operation,
        conversion: &Conversion,
        context: &mut MasterContext<'_>,
    ) {
        let mut total = self.state.agents[&agent].total().clone();
        let converted = total.convert(conversion);
        converted.unwrap_or_else(|error| panic!("a judged operation does not fit its agent: {error}"));
        self.state.set_total(agent, total);
        self.show_converted(agent, context);
        let uuid = context.chance().uuid();
        let status = OperationStatus::bare(operation_id, OperationState::Pending, None);
        let held = HeldOperation { uuid, author, operation, status };
        let order = ToAgent::ApplyOperation { operation: Box::new(held.clone()) };
        context.send(self.state.agents[&agent].address, &AgentMessage::Master(order));
        context.count("master/operations_ordered", 1);
        self.state.put_operation(agent, held);
        self.show_operation(agent, uuid, context);
    }

    /// Tells a framework of an operation, if it wants to hear.
    fn tell_operation(&self, framework: FrameworkIndex, status: OperationStatus, context: &mut MasterContext<'_>) {
        if status.operation_id.is_some() && self.state.frameworks.contains_key(&framework) {
            let reservation_refinement = self.state.frameworks[&framework].info.has(Capability::ReservationRefinement);
            let status = Box::new(status);
            self.tell(framework, FrameworkEvent::OperationUpdated { reservation_refinement, status }, context);
        }
    }

    /// The framework that waits for the end of an operation.
    fn listener(&self, held: &HeldOperation) -> Option<FrameworkIndex> {
        held.status.operation_id.as_ref()?;
        self.state.framework_index(held.framework_id()?.as_str())
    }

    /// An operation has ended, says its agent. Whoever asked for it acknowledges; the master, when nobody wants to hear.
    pub(super) fn on_update_operation(&mut self, host: HostId, held: HeldOperation, context: &mut MasterContext<'_>) {
        context.count("master/messages_operation_status_update", 1);
        let Some(agent) = self.state.agent_at(host) else {
            context.count("master/invalid_operation_status_updates", 1);
            return self.announce(host, context);
        };
        let uuid = held.uuid;
        let before = self.state.agents[&agent].operations.get(&uuid).map(|known| known.status.state);
        let Some(before) = before else {
            // Done with already, or another agent's: this one speaks of its own alone.
            context.count("master/invalid_operation_status_updates", 1);
            if let Some(status) = held.status.uuid {
                self.acknowledge_operation(host, uuid, status, context);
            }
            return;
        };
        if before == OperationState::Pending && held.status.state != OperationState::Finished {
            // The books have it as done: the agent is to say what it has.
            context.count("master/operations_failed", 1);
            let ping = AgentMessage::Master(ToAgent::Ping { connected: false });
            context.send(self.state.agents[&agent].address, &ping);
        }
        let listener = self.listener(&held);
        match (listener, held.status.uuid) {
            (Some(framework), Some(_)) => {
                let status = held.status.clone();
                self.state.put_operation(agent, held);
                self.show_operation(agent, uuid, context);
                self.tell_operation(framework, status, context);
            }
            (listener, status) => {
                if let Some(framework) = listener {
                    self.tell_operation(framework, held.status, context);
                }
                if let Some(status) = status {
                    self.acknowledge_operation(host, uuid, status, context);
                }
                self.forget_operation(agent, uuid, context);
            }
        }
    }

    fn acknowledge_operation(&self, host: HostId, operation: Uuid, status: Uuid, context: &mut MasterContext<'_>) {
        let acknowledge = ToAgent::AcknowledgeOperation { operation, status };
        context.send(agent_of(host), &AgentMessage::Master(acknowledge));
    }

    fn forget_operation(&mut self, agent: AgentIndex, uuid: Uuid, context: &mut MasterContext<'_>) {
        if self.state.remove_operation(agent, uuid).is_some() {
            self.show_operation_removed(agent, uuid, context);
        }
    }

    /// ACKNOWLEDGE_OPERATION_STATUS: passed on to the agent; the operation is done with.
    pub(super) fn on_acknowledge_operation(
        &mut self,
        framework: FrameworkIndex,
        operation_id: &OperationId,
        uuid: Uuid,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_operation_status_update_acknowledgement", 1);
        let named = self.state.frameworks[&framework].operations.get(operation_id).copied();
        let known = named.and_then(|(agent, operation)| {
            let held = self.state.agents[&agent].operations.get(&operation)?;
            let is_awaited = held.status.uuid == Some(uuid) && self.state.agents[&agent].connected;
            is_awaited.then_some((agent, operation))
        });
        let Some((agent, operation)) = known else {
            // While its agent is away the status will come again.
            return context.count("master/invalid_operation_status_update_acknowledgements", 1);
        };
        self.acknowledge_operation(self.state.agents[&agent].address.host, operation, uuid, context);
        self.forget_operation(agent, operation, context);
    }

    /// RECONCILE_OPERATIONS; an empty list asks for all. What is told carries no uuid: nobody acknowledges it.
    pub(super) fn on_reconcile_operations(
        &mut self,
        framework: FrameworkIndex,
        operations: Vec<(OperationId, Option<AgentId>)>,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_reconcile_operations", 1);
        let named = &self.state.frameworks[&framework].operations;
        let wanted = match operations.is_empty() {
            true => named.keys().map(|id| (id.clone(), None)).collect(),
            false => operations,
        };
        for (operation_id, agent_id) in wanted {
            let status = self.operation_status(framework, operation_id, agent_id);
            self.tell_operation(framework, status, context);
        }
    }

    /// The rows of reference 8.4 in their order. What a registered agent holds is all known here, so that what is not known
    /// never reached it.
    fn operation_status(
        &self,
        framework: FrameworkIndex,
        operation_id: OperationId,
        agent_id: Option<AgentId>,
    ) -> OperationStatus {
        if let Some((agent, uuid)) = self.state.frameworks[&framework].operations.get(&operation_id)
            && let Some(held) = self.state.agents[agent].operations.get(uuid)
        {
            let agent_id = Some(self.state.agents[agent].id.clone());
            return OperationStatus { uuid: None, agent_id, ..held.status.clone() };
        }
        let (state, message) = match &agent_id {
            Some(id) if self.state.recovered_agents.contains_key(id) => {
                (OperationState::Recovering, "Reconciliation: The agent has not registered again yet")
            }
            Some(id) if self.state.agent_index(id.as_str()).is_some_and(|index| self.is_away(index)) => {
                (OperationState::Recovering, "Reconciliation: The agent is away")
            }
            Some(id) if self.state.agent_index(id.as_str()).is_some() => {
                (OperationState::Dropped, "Reconciliation: Operation is unknown to the agent")
            }
            Some(id) if self.state.unreachable_agents.contains_key(id) => {
                (OperationState::Unreachable, "Reconciliation: The agent is unreachable")
            }
            None if !self.state.recovered_agents.is_empty() => {
                (OperationState::Recovering, "Reconciliation: Some agents have not registered again yet")
            }
            _ => (OperationState::Unknown, "Reconciliation: Operation is unknown"),
        };
        OperationStatus { agent_id, ..OperationStatus::bare(Some(operation_id), state, Some(message.to_owned())) }
    }

    /// Whether an agent may hold what we have forgotten: an acknowledgement of ours may not have come to it.
    fn is_away(&self, index: AgentIndex) -> bool {
        let agent = &self.state.agents[&index];
        !agent.connected || agent.pings_missed > 0
    }

    /// An agent says what it has, and which operations it holds: that is how it is. `reported` are its tasks.
    ///
    /// An operation that it does not name never reached it, nor did the launches behind it: what they hold may not be there.
    pub(super) fn adopt(
        &mut self,
        index: AgentIndex,
        total: Resources,
        operations: Vec<HeldOperation>,
        reported: &Set<(FrameworkIndex, TaskId)>,
        context: &mut MasterContext<'_>,
    ) {
        self.state.agents[&index].reports += 1;
        if *self.state.agents[&index].total() != total {
            self.rescind_agent(index, context);
            self.state.set_total(index, total);
            self.show_converted(index, context);
            self.end_uncovered(index, reported, context);
        }
        let named: Set<Uuid> = operations.iter().map(|held| held.uuid).collect();
        let unnamed = self.state.agents[&index].operations.keys().filter(|uuid| !named.contains(*uuid));
        let unnamed: Vec<Uuid> = unnamed.copied().collect();
        for uuid in unnamed {
            self.lose_operation(index, uuid, OperationState::Dropped, context);
        }
        for held in operations {
            let uuid = held.uuid;
            self.state.put_operation(index, held);
            self.show_operation(index, uuid, context);
        }
    }

    /// Ends tasks that never reached an agent, as far as they hold what it has not.
    fn end_uncovered(
        &mut self,
        index: AgentIndex,
        reported: &Set<(FrameworkIndex, TaskId)>,
        context: &mut MasterContext<'_>,
    ) {
        let tasks = self.state.agents[&index].tasks.iter().filter(|key| !reported.contains(*key));
        let tasks: Vec<(FrameworkIndex, TaskId)> = tasks.cloned().collect();
        for (framework, task_id) in tasks {
            if self.state.agents[&index].covers_its_use() {
                return;
            }
            let Some(held) = self.state.frameworks[&framework].tasks.get(&task_id) else { continue };
            if held.freed {
                continue;
            }
            let message = "The agent did not get what the task uses".to_owned();
            let info = held.task.info.clone();
            let told = self.as_told(framework, TaskState::Dropped);
            let status = self.refusal_status(&info, told, Reason::Reconciliation, message, context);
            self.free(framework, &task_id, context);
            self.state.remove_task(framework, &task_id);
            let framework_id = self.state.frameworks[&framework].id.clone();
            let agent_id = self.state.agents[&index].id.clone();
            let latest = TaskState::Dropped;
            let shown =
                ViewEvent::TaskUpdated { framework_id: framework_id.clone(), agent_id, status: status.clone(), latest };
            context.emit(Self::VIEW, &shown);
            context.emit(Self::VIEW, &ViewEvent::TaskCompleted { framework_id, task_id });
            self.tell_status(framework, status, context);
        }
    }

    /// All operations of an agent that is lost.
    pub(super) fn lose_operations(
        &mut self,
        index: AgentIndex,
        state: OperationState,
        context: &mut MasterContext<'_>,
    ) {
        let all: Vec<Uuid> = self.state.agents[&index].operations.keys().copied().collect();
        for uuid in all {
            self.lose_operation(index, uuid, state, context);
        }
    }

    /// An operation of which nothing more will be heard, or not before its agent is back. Its framework is told, unless it
    /// was told of the end before.
    fn lose_operation(
        &mut self,
        index: AgentIndex,
        uuid: Uuid,
        state: OperationState,
        context: &mut MasterContext<'_>,
    ) {
        let Some(held) = self.state.remove_operation(index, uuid) else { return };
        if let Some(framework) = self.listener(&held).filter(|_| !held.status.state.is_terminal()) {
            let agent_id = Some(self.state.agents[&index].id.clone());
            let message = Some("The operation did not reach its agent, or the agent is out of reach".to_owned());
            let status =
                OperationStatus { agent_id, ..OperationStatus::bare(held.status.operation_id, state, message) };
            self.tell_operation(framework, status, context);
        }
        self.show_operation_removed(index, uuid, context);
    }
}
