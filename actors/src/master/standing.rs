//! What operators say about single agents: deactivate, drain, reactivate, gone (reference 7.1, 9).
//!
//! ```text
//!            DEACTIVATE           DRAIN                       nothing is on it any more
//! offered ----------------> deactivated ----> draining -----------------------------------> drained
//!    ^                          |                |  \__ mark_gone __                           |
//!    \_______ REACTIVATE _______/________________|__________________\_________________________/
//!                                                                    \--> gone: shut down, never admitted again
//! ```
//! Each step is in the registry first, and holds for agents that are away or come back later as well. Mesos:
//! `Master::Http::_drainAgent`, `Master::checkAndTransitionDrainingAgent`, `Master::markGone`.

use super::state::Agent;
use super::{Master, MasterContext, Pending};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::id::{AgentId, AgentIndex};
use kaon_kernel::maintenance::{AgentOrders, Drain, DrainConfig, DrainState};
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::operator::Answer;
use kaon_kernel::message::registrar::{GONE_MAX, RegistryOperation};
use kaon_kernel::table::{Set, Table};
use kaon_kernel::time::WallTime;

/// What operators have said about agents, as the registry has it.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Of agents that are in the pool or out of reach.
    pub(super) orders: Table<AgentId, AgentOrders>,
    /// Gone, since when; at most [`GONE_MAX`].
    pub(super) gone: Table<AgentId, WallTime>,
    /// Registered agents that may have nothing left to end.
    draining: Set<AgentIndex>,
}

impl Standing {
    pub(super) fn new(orders: Vec<(AgentId, AgentOrders)>, gone: Vec<(AgentId, WallTime)>) -> Self {
        Self { orders: orders.into_iter().collect(), gone: gone.into_iter().collect(), draining: Set::default() }
    }

    pub(super) fn is_deactivated(&self, id: &AgentId) -> bool {
        self.orders.get(id).is_some_and(|orders| orders.deactivated)
    }

    /// How a draining agent is drained; `None` when it is not, or is done.
    fn draining(&self, id: &AgentId) -> Option<DrainConfig> {
        let drain = self.orders.get(id)?.drain.as_ref()?;
        (drain.state == DrainState::Draining).then_some(drain.config)
    }
}

impl Master {
    /// Whether offers of an agent are made.
    pub(super) fn may_offer(&self, index: AgentIndex) -> bool {
        self.state.agents.get(&index).is_some_and(|agent| self.is_offered(agent))
    }

    /// The same of an agent that is there: it is connected, and neither it nor its machine is put aside.
    pub(super) fn is_offered(&self, agent: &Agent) -> bool {
        agent.connected && !self.standing.is_deactivated(&agent.id) && !self.maintenance.is_down(&agent.info)
    }

    /// Tells the allocator to grant of an agent again, if that may be.
    pub(super) fn offer_again(&self, index: AgentIndex, context: &mut MasterContext<'_>) {
        if self.may_offer(index) {
            self.allocate(&ToAllocator::ActivateAgent { agent: index }, context);
        }
    }

    /// Mesos: recovered, registered or unreachable.
    fn knows_agent(&self, id: &AgentId) -> bool {
        self.state.agent_index(id.as_str()).is_some()
            || self.state.recovered_agents.contains_key(id)
            || self.state.unreachable_agents.contains_key(id)
    }

    fn check_known(&self, id: &AgentId) -> Result<(), Answer> {
        match self.knows_agent(id) {
            true => Ok(()),
            false => Err(Answer::Refused(Defect::new(Cause::AgentUnknown, "Unknown agent"))),
        }
    }

    /// Whether an agent can be drained.
    pub(super) fn judge_drain(
        &self,
        id: &AgentId,
        config: DrainConfig,
        since: WallTime,
    ) -> Result<RegistryOperation, Answer> {
        self.check_known(id)?;
        let agent = self.state.agent_index(id.as_str()).map(|index| &self.state.agents[&index].info);
        if agent.is_some_and(|info| self.maintenance.unavailability(info).is_some()) {
            let reason = format!("Agent {id} is part of a maintenance schedule");
            return Err(Answer::Refused(Defect::new(Cause::AgentStateInvalid, reason)));
        }
        match self.pending.is_going(id) {
            true => Err(Answer::Conflict { reason: "Agent is currently being marked gone".to_owned() }),
            false => Ok(RegistryOperation::DrainAgent { agent_id: id.clone(), config, since }),
        }
    }

    /// Whether an agent can be deactivated.
    pub(super) fn judge_deactivation(&self, id: &AgentId) -> Result<RegistryOperation, Answer> {
        self.check_known(id)?;
        Ok(RegistryOperation::DeactivateAgent { agent_id: id.clone() })
    }

    /// Whether an agent can be reactivated.
    pub(super) fn judge_reactivation(&self, id: &AgentId) -> Result<RegistryOperation, Answer> {
        let reason = match self.standing.is_deactivated(id) {
            false => "Agent is not deactivated",
            true if self.standing.draining(id).is_some() => "Agent is still in the DRAINING state",
            true => return Ok(RegistryOperation::ReactivateAgent { agent_id: id.clone() }),
        };
        Err(Answer::Refused(Defect::new(Cause::AgentStateInvalid, reason)))
    }

    /// Whether an agent can be marked gone. One that is gone stays so.
    pub(super) fn judge_gone(&self, id: &AgentId, since: WallTime) -> Result<RegistryOperation, Answer> {
        if self.standing.gone.contains_key(id) {
            return Err(Answer::Done);
        }
        if !self.knows_agent(id) {
            return Err(Answer::NotFound { reason: "Agent is not found".to_owned() });
        }
        match self.pending.is_leaving(id) {
            true => {
                let reason = "Agent is on its way out already; try again later".to_owned();
                Err(Answer::Unavailable { reason })
            }
            false => Ok(RegistryOperation::MarkGone { agent_id: id.clone(), since }),
        }
    }

    /// The registry says that an agent is to be drained.
    pub(super) fn on_drain_ordered(
        &mut self,
        id: AgentId,
        config: DrainConfig,
        since: WallTime,
        context: &mut MasterContext<'_>,
    ) -> Answer {
        let drain = Some(Drain { state: DrainState::Draining, config, since });
        let index = self.state.agent_index(id.as_str());
        self.standing.orders.insert(id, AgentOrders { deactivated: true, drain });
        if let Some(index) = index {
            self.stop_offering(index, context);
            self.drain(index, context);
        }
        Answer::Done
    }

    /// The registry says that an agent is not to be offered.
    pub(super) fn on_deactivated(&mut self, id: AgentId, context: &mut MasterContext<'_>) -> Answer {
        let index = self.state.agent_index(id.as_str());
        self.standing.orders.entry(id).or_default().deactivated = true;
        if let Some(index) = index {
            self.stop_offering(index, context);
        }
        Answer::Done
    }

    /// Nothing of an agent is offered any more, what is out is taken back, and nobody is asked to leave it.
    pub(super) fn stop_offering(&mut self, index: AgentIndex, context: &mut MasterContext<'_>) {
        self.allocate(&ToAllocator::DeactivateAgent { agent: index }, context);
        self.rescind_agent(index, context);
        self.rescind_inverse(|asked| asked.agent == index, true, context);
        self.show_agent(index, context);
    }

    /// The registry says that an agent is to be offered again.
    pub(super) fn on_reactivated(&mut self, id: &AgentId, context: &mut MasterContext<'_>) -> Answer {
        self.standing.orders.swap_remove(id);
        match self.state.agent_index(id.as_str()) {
            Some(index) => {
                self.offer_again(index, context);
                self.show_agent(index, context);
                Answer::Done
            }
            None if self.knows_agent(id) => Answer::Done,
            None => Answer::Conflict { reason: "Agent removed while processing the call".to_owned() },
        }
    }

    /// Tells an agent to end everything, if it is to, and watches over it. Said again whenever it comes back.
    pub(super) fn drain(&mut self, index: AgentIndex, context: &mut MasterContext<'_>) {
        let agent = &self.state.agents[&index];
        if let Some(config) = self.standing.draining(&agent.id) {
            context.send(agent.address, &AgentMessage::Master(ToAgent::Drain { config }));
            self.standing.draining.insert(index);
        }
    }

    /// Looks at the agents that are being drained: those that have nothing left take the next step. Cost: their number,
    /// which is zero as a rule.
    pub(super) fn settle_drains(&mut self, context: &mut MasterContext<'_>) {
        if self.standing.draining.is_empty() || self.leadership().is_none() {
            return;
        }
        let is_done = |index: &AgentIndex| {
            self.state.agents.get(index).is_none_or(|agent| agent.tasks.is_empty() && agent.operations.is_empty())
        };
        let done: Vec<AgentIndex> = self.standing.draining.iter().filter(|index| is_done(index)).copied().collect();
        for index in done {
            let id = self.state.agents.get(&index).map(|agent| agent.id.clone());
            let Some((config, id)) = id.and_then(|id| Some((self.standing.draining(&id)?, id))) else {
                self.standing.draining.swap_remove(&index);
                continue;
            };
            if self.pending.is_leaving(&id) {
                continue;
            }
            let (agent_id, since) = (id.clone(), context.wall());
            self.standing.draining.swap_remove(&index);
            match config.mark_gone {
                true => self.register(RegistryOperation::MarkGone { agent_id, since }, Pending::Gone(id), context),
                false => self.register(RegistryOperation::MarkDrained { agent_id }, Pending::Drained(id), context),
            }
        }
    }

    /// The registry says that nothing is on an agent any more.
    pub(super) fn on_drained(&mut self, id: &AgentId, context: &mut MasterContext<'_>) {
        let drain = self.standing.orders.get_mut(id).and_then(|orders| orders.drain.as_mut());
        if let Some(drain) = drain {
            drain.state = DrainState::Drained;
        }
        if let Some(index) = self.state.agent_index(id.as_str()) {
            self.show_agent(index, context);
        }
    }

    /// The registry says that an agent is gone.
    pub(super) fn on_gone(&mut self, id: &AgentId, since: WallTime, context: &mut MasterContext<'_>) -> Answer {
        self.standing.gone.insert(id.clone(), since);
        if self.standing.gone.len() > GONE_MAX {
            self.standing.gone.shift_remove_index(0);
        }
        if let Some(index) = self.state.agent_index(id.as_str()) {
            self.shut_down_agent(self.state.agents[&index].address, GONE, context);
        }
        self.lose_gone(id, context);
        Answer::Done
    }
}

/// What a gone agent is told.
pub(super) const GONE: &str = "Agent has been marked gone";
