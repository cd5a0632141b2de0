//! Operators' orders for resources: RESERVE_RESOURCES, CREATE_VOLUMES and their kin (reference 7.1).
//!
//! ```text
//! judged --> offers that hold what is needed are taken back --> the allocator converts what is free --> ordered of the agent
//!    \__ refused           \__ not enough: a conflict                 \__ granted meanwhile: taken back, and again
//! ```
//! Mesos: `Master::Http::_operation`.

use super::config::{CONVERSION_TRIES_MAX, CONVERSIONS_MAX};
use super::{Master, MasterContext};
use kaon_kernel::actor::StreamId;
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::id::{AgentId, AgentIndex, OfferId};
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::operator::Answer;
use kaon_kernel::resource::Resources;
use kaon_kernel::resource::operation::{self, Author, Operation, Refusal};

/// An order that waits for the allocator.
#[derive(Debug)]
pub(super) struct Conversion {
    agent: AgentIndex,
    /// The report of the agent that it was judged by.
    reports: u32,
    operation: Box<Operation>,
    conversion: operation::Conversion,
    reply: StreamId,
    tries: u32,
}

fn conflict(reason: impl Into<String>) -> Answer {
    Answer::Conflict { reason: reason.into() }
}

impl Master {
    /// An operator turns resources of an agent into others.
    pub(super) fn on_convert(
        &mut self,
        agent_id: &AgentId,
        operation: Box<Operation>,
        reply: StreamId,
        context: &mut MasterContext<'_>,
    ) {
        match self.judge_order(agent_id, &operation) {
            Ok((agent, conversion)) => {
                let reports = self.state.agents[&agent].reports;
                let order = Conversion { agent, reports, operation, conversion, reply, tries: 0 };
                self.try_convert(order, context);
            }
            Err(answer) => {
                context.count("master/orders_refused", 1);
                Self::answer(reply, answer, context);
            }
        }
    }

    fn judge_order(
        &self,
        agent_id: &AgentId,
        operation: &Operation,
    ) -> Result<(AgentIndex, operation::Conversion), Answer> {
        let unavailable = |reason: &str| Answer::Unavailable { reason: reason.to_owned() };
        if self.leadership().is_none() {
            return Err(unavailable("this master does not lead (any more)"));
        }
        if !self.allocator.started || self.conversions.len() >= CONVERSIONS_MAX {
            return Err(unavailable("the allocator has too much to do"));
        }
        let index = self.state.agent_index(agent_id.as_str());
        let unknown = || Defect::new(Cause::AgentUnknown, "No agent found with specified ID");
        let index = index.ok_or_else(|| Answer::Refused(unknown()))?;
        // Nobody is authenticated yet: an operator may name any principal, or none.
        let author = Author { allocation: None, principal: None, shares: true };
        operation.check_author(&author).map_err(|refusal| Answer::Refused(refusal.into()))?;
        self.judge_on_agent(index, operation).map_err(Answer::Refused)?;
        let mut total = self.state.agents[&index].total().clone();
        let conversion = total.operate(operation).map_err(|refusal| match refusal {
            Refusal::Resources(error) => conflict(error.to_string()),
            other => Answer::Refused(other.into()),
        })?;
        if !self.state.agents[&index].connected {
            return Err(conflict("the agent is disconnected"));
        }
        Ok((index, conversion))
    }

    /// Takes back what is needed, and asks the allocator to convert it.
    fn try_convert(&mut self, order: Conversion, context: &mut MasterContext<'_>) {
        let agent = &self.state.agents[&order.agent];
        let wanted = &order.conversion.consumed;
        let unused = agent.total().minus(&agent.used.without_copies()).unwrap_or_default();
        if !unused.contains(wanted) {
            return Self::answer(order.reply, conflict(format!("{wanted} is not free")), context);
        }
        let free = unused.minus(&unused.common(&agent.offered.without_copies())).unwrap_or_default();
        let mut missing = wanted.minus(&wanted.common(&free)).unwrap_or_default();
        let mut offers: Vec<OfferId> = agent.offers.iter().copied().collect();
        offers.sort_unstable();
        let mut wanted_back = Vec::new();
        for id in offers {
            let useful = missing.common(&self.state.offers[&id].resources);
            if !useful.is_empty() {
                missing = missing.minus(&useful).unwrap_or_else(|_| Resources::new());
                wanted_back.push(id);
            }
        }
        let gone = wanted.shared();
        for id in wanted_back {
            self.rescind(id, context);
        }
        self.rescind_copies(order.agent, &gone, context);
        let number = self.pending.next_number();
        let operation::Conversion { consumed: from, converted: to } = order.conversion.clone();
        let convert = ToAllocator::ConvertFree { number, agent: order.agent, from, to };
        self.allocate(&convert, context);
        self.conversions.insert(number, order);
    }

    /// The allocator has converted what an operator wants, or it was not free.
    pub(super) fn on_converted(&mut self, number: u64, is_done: bool, context: &mut MasterContext<'_>) {
        let Some(order) = self.conversions.swap_remove(&number) else { return };
        let agent = self.state.agents.get(&order.agent);
        let Some(agent) = agent.filter(|agent| agent.connected && agent.reports == order.reports) else {
            if let Some(agent) = agent {
                // Whatever the allocator has done: this is how it is.
                let total = agent.total().clone();
                self.allocate(&ToAllocator::UpdateAgent { agent: order.agent, total }, context);
            }
            return Self::answer(order.reply, conflict("the agent has gone, or came back, in the meantime"), context);
        };
        if is_done && agent.total().contains(&order.conversion.consumed) {
            let Conversion { agent, operation, conversion, reply, .. } = order;
            self.order_operation(agent, None, None, *operation, &conversion, context);
            return Self::answer(reply, Answer::Accepted, context);
        }
        if is_done || order.tries >= CONVERSION_TRIES_MAX {
            return Self::answer(order.reply, conflict("what is needed was given away in the meantime"), context);
        }
        self.try_convert(Conversion { tries: order.tries + 1, ..order }, context);
    }

    /// The allocator has forgotten what it was asked, or nobody asks any more.
    pub(super) fn drop_conversions(&mut self, context: &mut MasterContext<'_>) {
        for (_, order) in core::mem::take(&mut self.conversions) {
            let reason = "the master or its allocator began afresh".to_owned();
            Self::answer(order.reply, Answer::Unavailable { reason }, context);
        }
    }
}
