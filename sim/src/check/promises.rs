//! What an operator was told is done, held against what the master shows afterwards, in this life of it and in later ones.

use super::Violation;
use crate::world::cast::{hostname, machine_of};
use kaon_kernel::actor::StreamId;
use kaon_kernel::frame::copy;
use kaon_kernel::id::{AgentId, RoleName};
use kaon_kernel::maintenance::MachineId;
use kaon_kernel::message::operator::Order;
use kaon_kernel::message::view::{ArchivedViewEvent, SettingsView};
use kaon_kernel::quota::Quota;
use kaon_kernel::table::{Set, Table};

/// The claims of an operator:
/// nothing is offered of an agent that is deactivated or drained, until it is to be reactivated; an agent that is gone never
/// comes back; nothing is offered of a machine that is down; a quota that was set is there.
#[derive(Default)]
pub(crate) struct Promises {
    put_aside: Set<AgentId>,
    gone: Set<AgentId>,
    /// Numbers of machines.
    down: Set<u32>,
    quotas: Table<RoleName, Quota>,
    /// The last order that takes a promise back or replaces it, by what it is about: what was ordered before and is answered
    /// later promises nothing.
    later: Table<String, StreamId>,
}

/// What an order is about, in words that no two things share.
fn subjects(order: &Order) -> Vec<String> {
    let machines = |machines: &[MachineId]| machines.iter().map(|one| format!("machine {}", one.hostname)).collect();
    match order {
        Order::Drain { agent_id, .. }
        | Order::Deactivate { agent_id }
        | Order::Reactivate { agent_id }
        | Order::MarkGone { agent_id } => vec![format!("agent {agent_id}")],
        Order::StartMaintenance { machines: all } | Order::StopMaintenance { machines: all } => machines(all),
        Order::SetQuotas { quotas, .. } => quotas.iter().map(|(role, _)| format!("quota of {role}")).collect(),
        Order::SetWeights { .. } | Order::SetSchedule { .. } => Vec::new(),
    }
}

impl Promises {
    /// An order is on its way: what it may take back is no promise any more.
    pub(crate) fn ordered(&mut self, reply: StreamId, order: &Order) {
        match order {
            Order::Reactivate { agent_id } => {
                self.put_aside.swap_remove(agent_id);
            }
            Order::StopMaintenance { machines } => {
                self.down.retain(|down| machines.iter().all(|machine| machine_of(&machine.hostname) != *down));
            }
            Order::SetQuotas { quotas, .. } => {
                self.quotas.retain(|role, _| quotas.iter().all(|(set, _)| set != role));
            }
            _ => return,
        }
        self.later.extend(subjects(order).into_iter().map(|subject| (subject, reply)));
    }

    /// An order is done.
    pub(crate) fn kept_from(&mut self, reply: StreamId, order: &Order) {
        let is_taken_back = |subject: String| self.later.get(&subject).is_some_and(|later| later.0 > reply.0);
        if subjects(order).into_iter().any(is_taken_back) {
            return;
        }
        match order {
            Order::Drain { agent_id, .. } | Order::Deactivate { agent_id } => {
                self.put_aside.insert(agent_id.clone());
            }
            Order::MarkGone { agent_id } => {
                self.gone.insert(agent_id.clone());
            }
            Order::StartMaintenance { machines } => {
                self.down.extend(machines.iter().map(|machine| machine_of(&machine.hostname)));
            }
            Order::SetQuotas { quotas, .. } => {
                let set = quotas.iter().filter(|(_, quota)| !quota.is_default());
                self.quotas.extend(set.cloned());
            }
            Order::Reactivate { .. }
            | Order::StopMaintenance { .. }
            | Order::SetWeights { .. }
            | Order::SetSchedule { .. } => {}
        }
    }

    /// The master shows something. `machine` tells on which machine an agent is.
    pub(crate) fn observe(
        &mut self,
        event: &ArchivedViewEvent,
        machine: impl Fn(&str) -> Option<u32>,
    ) -> Result<(), Violation> {
        match event {
            ArchivedViewEvent::Offered { agent_id, .. } => {
                let id = agent_id.as_str();
                if self.put_aside.contains(id) {
                    return Err(Violation::new("nothing is offered of what is put aside", format!("agent {id}")));
                }
                match machine(id).filter(|machine| self.down.contains(machine)) {
                    Some(down) => Err(Violation::new("nothing is offered of what is down", hostname(down))),
                    None => Ok(()),
                }
            }
            ArchivedViewEvent::Agent(agent) => {
                let id = agent.info.id.as_ref().map_or("", |id| id.as_str());
                match self.gone.contains(id) {
                    true => Err(Violation::new("who is gone stays away", format!("agent {id} is there"))),
                    false => Ok(()),
                }
            }
            // Its machine went down, or it left by itself: what was said about it is forgotten with it, as in Mesos.
            ArchivedViewEvent::AgentRemoved { agent_id, unreachable: false } => {
                self.put_aside.swap_remove(agent_id.as_str());
                Ok(())
            }
            ArchivedViewEvent::Settings(settings) if !self.quotas.is_empty() => {
                let shown: SettingsView = copy(settings);
                let is_there = |role: &RoleName, quota: &Quota| shown.quotas.contains(&(role.clone(), quota.clone()));
                match self.quotas.iter().find(|(role, quota)| !is_there(role, quota)) {
                    Some((role, quota)) => Err(Violation::new("what is set stays", format!("{quota:?} of {role}"))),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> AgentId {
        AgentId::trusted("a")
    }

    #[test]
    fn what_is_taken_back_meanwhile_is_no_promise() {
        let (deactivate, reactivate) = (Order::Deactivate { agent_id: id() }, Order::Reactivate { agent_id: id() });
        let mut promises = Promises::default();
        promises.ordered(StreamId(1), &deactivate);
        promises.kept_from(StreamId(1), &deactivate);
        assert!(promises.put_aside.contains(&id()));
        promises.ordered(StreamId(2), &deactivate);
        promises.ordered(StreamId(3), &reactivate);
        assert!(promises.put_aside.is_empty());
        promises.kept_from(StreamId(2), &deactivate);
        assert!(promises.put_aside.is_empty(), "it was ordered before it was taken back");
        promises.ordered(StreamId(4), &deactivate);
        promises.kept_from(StreamId(4), &deactivate);
        assert!(promises.put_aside.contains(&id()));
    }
}
