//! The events of the master, folded into the next snapshot.

use std::sync::Arc;

use kaon_kernel::id::{AgentId, FrameworkId, TaskId};
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::task::{Reason, Source, Task, TaskState, TaskStatus};
use kaon_kernel::time::WallTime;

use super::snapshot::{
    Completed, Framework, Held, InverseOffered, Leadership, Offered, Snapshot, UNREACHABLE_AGENTS_MAX,
};

impl Snapshot {
    /// Applies one event. What it speaks of and is not known is passed over: the master tells things in their order, so
    /// that happens only between two lives of a master.
    pub(super) fn apply(&mut self, event: ViewEvent) {
        match event {
            ViewEvent::Reset { master_id, term, elected } => {
                // Who completed is history, and stays.
                let (completed, history) = (Arc::clone(&self.completed), self.history);
                let leadership = Some(Leadership { master_id, term, elected });
                *self = Self { leadership, completed, history, ..Self::default() };
            }
            ViewEvent::Following => self.leadership = None,
            ViewEvent::Agent(view) => {
                let Some(id) = view.info.id.clone() else { return };
                if self.unreachable.contains(&id) {
                    Arc::make_mut(&mut self.unreachable).shift_remove(&id);
                }
                self.agents.insert(id, view);
            }
            ViewEvent::AgentRemoved { agent_id, unreachable } => self.agent_is_removed(agent_id, unreachable),
            ViewEvent::AgentConverted { agent_id, converted } => {
                if let Some(view) = self.agents.get_mut(&agent_id) {
                    view.converted = converted;
                }
            }
            ViewEvent::Operation { agent_id, operation } => {
                Arc::make_mut(&mut self.operations).insert((agent_id, operation.uuid), *operation);
            }
            ViewEvent::OperationRemoved { agent_id, uuid } => {
                Arc::make_mut(&mut self.operations).remove(&(agent_id, uuid));
            }
            ViewEvent::Framework(view) => {
                let Some(id) = view.info.id.clone() else { return };
                match self.frameworks.get_mut(&id) {
                    Some(framework) => {
                        framework.view = view;
                        framework.suppressed.clear();
                    }
                    None => self.frameworks.insert(id, Framework::of(view)),
                }
            }
            ViewEvent::FrameworkRemoved { framework_id, at } => self.framework_is_removed(&framework_id, at),
            ViewEvent::Executor { agent_id, executor } => {
                let Some(framework) = self.frameworks.get_mut(&executor.framework_id) else { return };
                let key = (agent_id, executor.info.executor_id.clone());
                Arc::make_mut(&mut framework.executors).insert(key, executor);
            }
            ViewEvent::ExecutorRemoved { agent_id, framework_id, executor_id } => {
                let Some(framework) = self.frameworks.get_mut(&framework_id) else { return };
                Arc::make_mut(&mut framework.executors).remove(&(agent_id, executor_id));
            }
            ViewEvent::Task { framework_id, role, task } => {
                let Some(framework) = self.frameworks.get_mut(&framework_id) else { return };
                framework.tasks.insert(task.info.task_id.clone(), Held { role, task });
            }
            ViewEvent::TaskUpdated { framework_id, status, latest, .. } => {
                self.task_is_updated(&framework_id, &status, latest);
            }
            ViewEvent::TaskRefused { state, reason } => self.task_ended(state, Source::Master, Some(reason)),
            ViewEvent::TaskCompleted { framework_id, task_id } => self.task_is_completed(&framework_id, &task_id),
            ViewEvent::Suppressed { framework_id, roles } => {
                if let Some(framework) = self.frameworks.get_mut(&framework_id) {
                    framework.suppressed = roles;
                }
            }
            ViewEvent::Offered { offer_id, framework_id, agent_id, role, resources } => {
                if let Some(framework) = self.frameworks.get_mut(&framework_id) {
                    framework.offers_made += 1;
                }
                self.offers.insert(offer_id, Offered { framework_id, agent_id, role, resources });
            }
            ViewEvent::Settings(settings) => self.settings = Arc::new(settings),
            ViewEvent::Maintenance(maintenance) => self.maintenance = Arc::new(maintenance),
            ViewEvent::InverseOffered { offer_id, framework_id, agent_id, unavailability } => {
                let offered = InverseOffered { framework_id, agent_id, unavailability };
                Arc::make_mut(&mut self.inverse_offers).insert(offer_id, offered);
            }
            ViewEvent::InverseOfferRemoved { offer_id, answer } => {
                let Some(offered) = Arc::make_mut(&mut self.inverse_offers).remove(&offer_id) else { return };
                if let Some(answer) = answer {
                    let all = Arc::make_mut(&mut self.answers);
                    all.entry(offered.agent_id).or_default().insert(offered.framework_id, answer);
                }
            }
            ViewEvent::InverseAnswersDropped { agent_id } => self.drop_answers(&agent_id),
            ViewEvent::OfferRemoved { offer_id, fate } => {
                let Some(offer) = self.offers.remove(&offer_id) else { return };
                if let Some(framework) = self.frameworks.get_mut(&offer.framework_id) {
                    framework.offers_over[fate as usize] += 1;
                }
            }
        }
    }

    fn agent_is_removed(&mut self, agent_id: AgentId, unreachable: bool) {
        self.agents.remove(&agent_id);
        if self.operations.keys().any(|(on, _)| *on == agent_id) {
            Arc::make_mut(&mut self.operations).retain(|(on, _), _| *on != agent_id);
        }
        self.drop_answers(&agent_id);
        if unreachable {
            let all = Arc::make_mut(&mut self.unreachable);
            all.insert(agent_id);
            if all.len() > UNREACHABLE_AGENTS_MAX {
                all.shift_remove_index(0);
            }
        } else if self.unreachable.contains(&agent_id) {
            Arc::make_mut(&mut self.unreachable).shift_remove(&agent_id);
        }
    }

    fn framework_is_removed(&mut self, framework_id: &FrameworkId, at: WallTime) {
        let Some(framework) = self.frameworks.remove(framework_id) else { return };
        let mut framework = Arc::unwrap_or_clone(framework);
        framework.view.connected = false;
        framework.view.active = false;
        let all = Arc::make_mut(&mut self.completed);
        all.push_back(Arc::new(Completed { framework, at }));
        if all.len() > self.history.frameworks {
            all.pop_front();
        }
    }

    fn task_is_updated(&mut self, framework_id: &FrameworkId, status: &TaskStatus, latest: TaskState) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let Some(Held { task, .. }) = framework.tasks.get_mut(&status.task_id) else { return };
        let has_ended = latest.is_terminal() && !task.state.is_terminal();
        task.remember(status);
        task.unacknowledged = status.uuid.map(|uuid| (status.state, uuid));
        task.state = latest;
        if has_ended {
            framework.ended[latest as usize] += 1;
            self.task_ended(latest, status.source, status.reason);
        }
    }

    fn task_is_completed(&mut self, framework_id: &FrameworkId, task_id: &TaskId) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let Some(held) = framework.tasks.remove(task_id) else { return };
        let held = Arc::unwrap_or_clone(held);
        let task = Task { unacknowledged: None, ..held.task };
        let all = Arc::make_mut(&mut framework.completed);
        all.push_back(Arc::new(Held { task, ..held }));
        if all.len() > self.history.tasks {
            all.pop_front();
        }
    }

    /// Counts an end.
    fn task_ended(&mut self, state: TaskState, source: Source, reason: Option<Reason>) {
        self.ended[state as usize] += 1;
        if let Some(reason) = reason {
            let key = (state as u8, source as u8, reason as u8);
            *Arc::make_mut(&mut self.reasons).entry(key).or_default() += 1;
        }
    }

    fn drop_answers(&mut self, agent_id: &AgentId) {
        if self.answers.contains_key(agent_id) {
            Arc::make_mut(&mut self.answers).remove(agent_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaon_kernel::agent::AgentInfo;
    use kaon_kernel::message::view::AgentView;

    fn name(number: usize) -> AgentId {
        AgentId::trusted(format!("S{number}"))
    }

    fn lost(snapshot: &mut Snapshot, number: usize) {
        snapshot.apply(ViewEvent::AgentRemoved { agent_id: name(number), unreachable: true });
    }

    /// As the master and the registry do.
    #[test]
    fn beyond_the_bound_the_agent_that_was_lost_first_is_forgotten() {
        let mut snapshot = Snapshot::default();
        (0..UNREACHABLE_AGENTS_MAX).for_each(|number| lost(&mut snapshot, number));
        // The first one is found again and lost again, and then one more is, whose name comes before all others.
        snapshot.apply(ViewEvent::Agent(AgentView {
            info: AgentInfo { id: Some(name(0)), ..AgentInfo::default() },
            converted: None,
            registered: true,
            connected: true,
            active: true,
            registered_time: WallTime(0),
            reregistered_time: None,
            orders: None,
        }));
        assert_eq!((snapshot.agents.len(), snapshot.unreachable.len()), (1, UNREACHABLE_AGENTS_MAX - 1));
        lost(&mut snapshot, 0);
        snapshot.apply(ViewEvent::AgentRemoved { agent_id: AgentId::trusted("A"), unreachable: true });
        assert_eq!((snapshot.agents.len(), snapshot.unreachable.len()), (0, UNREACHABLE_AGENTS_MAX));
        let is_known = [0, 1, 2, UNREACHABLE_AGENTS_MAX - 1].map(|number| snapshot.unreachable.contains(&name(number)));
        assert_eq!(is_known, [true, false, true, true]);
        assert!(snapshot.unreachable.contains(&AgentId::trusted("A")));
    }
}
