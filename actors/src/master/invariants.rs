//! What must hold between any two events of a master.

use super::state::State;
use super::{Master, Phase};
use kaon_kernel::resource::Resources;

impl State {
    /// Asserts the balance of the books (L6). Cost: one walk over agents, offers and tasks.
    pub(super) fn check(&self) {
        for (&index, agent) in &self.agents {
            let mut offered = Resources::new();
            for id in &agent.offers {
                let offer = &self.offers[id];
                assert_eq!(offer.agent, index, "offer {id:?} is listed on the wrong agent");
                offered.add(&offer.resources).unwrap_or_else(|error| panic!("offers on {}: {error}", agent.id));
            }
            assert_eq!(offered, agent.offered, "what is offered of {}", agent.id);
            let mut used = Resources::new();
            for (framework, task_id) in &agent.tasks {
                let held = &self.frameworks[framework].tasks[task_id];
                assert_eq!(held.agent, index, "task {task_id} is listed on the wrong agent");
                if !held.freed {
                    assert!(!held.task.state.is_terminal(), "task {task_id} has ended and holds resources");
                    used.add(&held.task.info.resources).unwrap_or_else(|error| panic!("{}: {error}", agent.id));
                }
            }
            for executor in agent.executors.values() {
                used.add(&executor.info.resources).unwrap_or_else(|error| panic!("{}: {error}", agent.id));
            }
            assert_eq!(used, agent.used, "what is used of {}", agent.id);
            let held = used.plus(&offered).unwrap_or_else(|error| panic!("{}: {error}", agent.id));
            let total = agent.total();
            assert!(total.contains(&held.without_copies()), "agent {}: {held} held of {total}", agent.id);
            for (uuid, held) in &agent.operations {
                let author = held.framework_id().and_then(|id| self.framework_index(id.as_str()));
                if let (Some(framework), Some(id)) = (author, &held.status.operation_id) {
                    let named = self.frameworks[&framework].operations.get(id);
                    assert_eq!(named, Some(&(index, *uuid)), "operation {id} is found by its name");
                }
            }
            assert_eq!(agent.connected, self.agent_at(agent.address.host) == Some(index), "{}", agent.id);
            assert!(agent.connected || agent.offers.is_empty(), "{} is away and offered", agent.id);
        }
        let listed: usize = self.agents.values().map(|agent| agent.offers.len()).sum();
        let owned: usize = self.frameworks.values().map(|framework| framework.offers.len()).sum();
        assert_eq!((listed, owned), (self.offers.len(), self.offers.len()), "an offer is in one place");
        for (&index, framework) in &self.frameworks {
            for id in &framework.offers {
                assert_eq!(self.offers[id].framework, index, "offer {id:?} is listed with the wrong framework");
            }
            for (task_id, held) in &framework.tasks {
                let key = (index, task_id.clone());
                assert!(self.agents[&held.agent].tasks.contains(&key), "task {task_id} is not on its agent");
            }
            assert!(framework.is_connected() || framework.offers.is_empty(), "{} is away with offers", framework.id);
        }
    }
}

/// Asserts that each subject waits for the registrar at most once, and nobody waits without a leader.
pub(super) fn check_pending(master: &Master) {
    assert!(master.phase != Phase::Waiting || master.pending.is_empty(), "changes wait, but nobody leads");
    master.pending.check();
}
