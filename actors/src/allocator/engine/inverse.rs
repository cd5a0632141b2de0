//! Inverse offers: whom to ask to leave an agent before it goes (reference 11.3).

use super::{Engine, Error};
use kaon_kernel::id::{AgentIndex, FrameworkIndex};
use kaon_kernel::maintenance::Unavailability;
use kaon_kernel::offer::Refusal;
use kaon_kernel::table::Table;
use kaon_kernel::time::{Duration, Instant};

/// A framework that holds something of an agent is to be asked to leave before the agent goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InverseOffer {
    /// Whom to ask.
    pub framework: FrameworkIndex,
    /// Of which agent.
    pub agent: AgentIndex,
    /// When it goes.
    pub unavailability: Unavailability,
}

/// How it stands with one framework on one agent.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    is_outstanding: bool,
    filtered_until: Option<Instant>,
}

/// Agents that will not be there for a while.
#[derive(Debug, Default)]
pub(super) struct Maintenance {
    agents: Table<AgentIndex, (Unavailability, Table<FrameworkIndex, Asked>)>,
}

impl Maintenance {
    pub(super) fn forget_agent(&mut self, agent: AgentIndex) {
        self.agents.swap_remove(&agent);
    }

    pub(super) fn forget_framework(&mut self, framework: FrameworkIndex) {
        for (_, asked) in self.agents.values_mut() {
            asked.swap_remove(&framework);
        }
    }

    pub(super) fn lift_filters(&mut self, framework: FrameworkIndex) {
        for (_, asked) in self.agents.values_mut() {
            if let Some(asked) = asked.get_mut(&framework) {
                asked.filtered_until = None;
            }
        }
    }
}

impl Engine {
    /// Says when an agent will not be there; `None` when it will. Every framework that holds something of it is asked
    /// anew. Offers of it go on.
    pub fn set_unavailability(&mut self, agent: AgentIndex, when: Option<Unavailability>) -> Result<(), Error> {
        if !self.agents.contains_key(&agent) {
            return Err(Error::UnknownAgent(agent));
        }
        match when {
            Some(when) => {
                self.maintenance.agents.insert(agent, (when, Table::default()));
            }
            None => self.maintenance.forget_agent(agent),
        }
        self.touch(agent);
        Ok(())
    }

    /// When an agent will not be there.
    pub fn unavailability(&self, agent: AgentIndex) -> Option<Unavailability> {
        self.maintenance.agents.get(&agent).map(|(when, _)| *when)
    }

    /// Whom to ask to leave which agent, at `now`: each connected framework that holds something of an active agent with
    /// an unavailability, was not asked yet or answered, and whose filter is over. Offered resources count as held. Cost: the
    /// agents with an unavailability times who holds something of them.
    pub fn inverse_offers(&mut self, now: Instant, offers: &mut Vec<InverseOffer>) {
        if !self.is_granting() {
            return;
        }
        let Self { maintenance, agents, frameworks, .. } = self;
        for (&agent, (unavailability, asked)) in &mut maintenance.agents {
            let Some(found) = agents.get(&agent).filter(|found| found.active) else { continue };
            let mut last = None;
            for framework in found.holdings.iter().map(|(client, _)| client.framework) {
                let is_there = frameworks.get(&framework).is_some_and(|known| known.is_known && known.active);
                if !is_there || last.replace(framework) == Some(framework) {
                    continue;
                }
                let asked = asked.entry(framework).or_default();
                if !asked.is_outstanding && asked.filtered_until.is_none_or(|until| until <= now) {
                    (asked.is_outstanding, asked.filtered_until) = (true, None);
                    offers.push(InverseOffer { framework, agent, unavailability: *unavailability });
                }
            }
        }
    }

    /// A framework answered an inverse offer, whatever it said, or it was taken back (`None`). It is asked again when its
    /// filter is over: a refusal lasts as one of an offer does ([`Engine::recover`]).
    pub fn answer_inverse(
        &mut self,
        now: Instant,
        framework: FrameworkIndex,
        agent: AgentIndex,
        refusal: Option<Refusal>,
    ) -> Result<(), Error> {
        let (next, interval) = (self.next_round(now), self.rules.interval);
        let (_, asked) = self.maintenance.agents.get_mut(&agent).ok_or(Error::UnknownAgent(agent))?;
        let asked = asked.get_mut(&framework).ok_or(Error::UnknownFramework(framework))?;
        asked.is_outstanding = false;
        asked.filtered_until = refusal.map(|Refusal(length)| match length {
            Duration::ZERO => next,
            length => now + length.max(interval),
        });
        Ok(())
    }
}
