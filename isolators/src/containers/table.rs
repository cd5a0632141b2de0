//! The table of containers: the only state, changed by verbs that keep it whole.
//!
//! ```text
//! reserve ─► Launching ── started ─► Running ── ended ─► Ended ── forget ─► (gone)
//!               └── failed ─► (gone)
//! ```

use super::{CONTAINERS_MAX, Running, WAITERS_MAX};
use kaon_kernel::container::{ContainerOutcome, Exit, Usage};
use kaon_kernel::id::ContainerId;
use kaon_kernel::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The callback of a request.
pub(super) type Answer = Box<dyn FnOnce(ContainerOutcome) + Send>;

#[derive(Default)]
pub(super) struct Table(BTreeMap<ContainerId, Entry>);

struct Entry {
    phase: Phase,
    /// Who waits for the end; none once it has ended.
    waiters: Vec<Answer>,
}

/// Tells a launch that it is not wanted any more; gone when it was told.
type Stop = Option<oneshot::Sender<()>>;

enum Phase {
    /// On its way, and to be killed with this grace as soon as it runs.
    Launching(Option<Duration>, Stop),
    /// Its launcher runs.
    Running(Arc<Running>),
    /// Nothing of it is left.
    Ended(Exit),
}

/// An end of which nobody knows anything.
pub(super) const UNKNOWN: Exit = Exit {
    status: None,
    limitation: None,
    usage: Usage { user_time: Duration::ZERO, system_time: Duration::ZERO, memory_bytes: 0, processes: 0 },
};

impl Table {
    /// Takes a new container in. What it gives says when the launch is not wanted any more.
    pub(super) fn reserve(&mut self, container: &ContainerId) -> Result<oneshot::Receiver<()>, String> {
        if self.0.contains_key(container) {
            return Err(format!("container {container} exists already"));
        }
        if self.0.len() >= CONTAINERS_MAX {
            return Err(format!("the machine has {CONTAINERS_MAX} containers, more are not served"));
        }
        let (stop, stopped) = oneshot::channel();
        self.0.insert(container.clone(), Entry { phase: Phase::Launching(None, Some(stop)), waiters: Vec::new() });
        Ok(stopped)
    }

    /// A launch is done. Answers the grace of a kill that came meanwhile.
    pub(super) fn started(&mut self, container: &ContainerId, running: Arc<Running>) -> Option<Duration> {
        let entry = self.0.get_mut(container)?;
        match std::mem::replace(&mut entry.phase, Phase::Running(running)) {
            Phase::Launching(kill, _) => kill,
            Phase::Running(_) | Phase::Ended(_) => None,
        }
    }

    /// A launch has failed: the container was never there. Answers who waited for it.
    pub(super) fn failed(&mut self, container: &ContainerId) -> Vec<Answer> {
        self.0.remove(container).map_or_else(Vec::new, |entry| entry.waiters)
    }

    /// A container of before, still running.
    pub(super) fn recovered(&mut self, container: ContainerId, running: Arc<Running>) {
        self.0.insert(container, Entry { phase: Phase::Running(running), waiters: Vec::new() });
    }

    /// It has ended. Answers who waited for that. Makes an entry when there is none, as for one of before.
    pub(super) fn ended(&mut self, container: &ContainerId, exit: &Exit) -> Vec<Answer> {
        let phase = Phase::Ended(exit.clone());
        match self.0.get_mut(container) {
            Some(entry) => {
                entry.phase = phase;
                std::mem::take(&mut entry.waiters)
            }
            None => {
                self.0.insert(container.clone(), Entry { phase, waiters: Vec::new() });
                Vec::new()
            }
        }
    }

    /// Waits for the end. Answers the callback again, with its outcome, when that is known at once.
    pub(super) fn wait(&mut self, container: &ContainerId, done: Answer) -> Option<(Answer, ContainerOutcome)> {
        match self.0.get_mut(container) {
            None => Some((done, ContainerOutcome::Exited(UNKNOWN))),
            Some(Entry { phase: Phase::Ended(exit), .. }) => Some((done, ContainerOutcome::Exited(exit.clone()))),
            Some(entry) if entry.waiters.len() >= WAITERS_MAX => {
                let reason = format!("{WAITERS_MAX} requests wait for container {container} already");
                Some((done, ContainerOutcome::Failed { reason }))
            }
            Some(entry) => {
                entry.waiters.push(done);
                None
            }
        }
    }

    /// Asks for the end. Answers the launcher to tell; one that is on its way is remembered.
    pub(super) fn kill(&mut self, container: &ContainerId, grace: Duration) -> Option<Arc<Running>> {
        match &mut self.0.get_mut(container)?.phase {
            Phase::Launching(kill, stop) => {
                if let Some(stop) = stop.take() {
                    // A launch that is past the point where it can be given up does not listen.
                    let _ = stop.send(());
                }
                *kill = Some(kill.map_or(grace, |before| before.min(grace)));
                None
            }
            Phase::Running(running) => Some(Arc::clone(running)),
            Phase::Ended(_) => None,
        }
    }

    /// The launcher of a container that runs.
    pub(super) fn running(&self, container: &ContainerId) -> Option<Arc<Running>> {
        match &self.0.get(container)?.phase {
            Phase::Running(running) => Some(Arc::clone(running)),
            Phase::Launching(..) | Phase::Ended(_) => None,
        }
    }

    /// Forgets a container that has ended, or was never there.
    pub(super) fn forget(&mut self, container: &ContainerId) -> Result<(), String> {
        match self.0.get(container) {
            Some(Entry { phase: Phase::Launching(..) | Phase::Running(_), .. }) => {
                Err(format!("container {container} has not ended"))
            }
            Some(_) => {
                self.0.remove(container);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether it is in the table.
    pub(super) fn contains(&self, container: &ContainerId) -> bool {
        self.0.contains_key(container)
    }

    /// All in it, in order.
    pub(super) fn all(&self) -> Vec<ContainerId> {
        self.0.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn name(number: usize) -> ContainerId {
        ContainerId::trusted(number.to_string())
    }

    #[test]
    fn the_table_and_its_waiters_are_bounded() {
        let mut table = Table::default();
        for number in 0..CONTAINERS_MAX {
            table.reserve(&name(number)).unwrap();
        }
        assert!(table.reserve(&name(CONTAINERS_MAX)).unwrap_err().contains("more are not served"));
        assert!(table.reserve(&name(0)).unwrap_err().contains("exists already"));
        let (sender, receiver) = mpsc::channel();
        let answer = || -> Answer {
            let sender = sender.clone();
            Box::new(move |outcome| sender.send(outcome).unwrap())
        };
        for _ in 0..WAITERS_MAX {
            assert!(table.wait(&name(0), answer()).is_none());
        }
        let (_, refusal) = table.wait(&name(0), answer()).expect("one too many");
        assert!(matches!(refusal, ContainerOutcome::Failed { .. }));
        assert_eq!(table.ended(&name(0), &UNKNOWN).len(), WAITERS_MAX);
        assert!(receiver.try_recv().is_err(), "the table itself answers nobody");
        assert!(table.wait(&name(0), answer()).is_some(), "its end is known");
        table.forget(&name(0)).unwrap();
        table.reserve(&name(0)).unwrap();
    }

    #[test]
    fn of_several_kills_before_the_start_the_shortest_counts() {
        let mut table = Table::default();
        table.reserve(&name(0)).unwrap();
        for grace in [5, 3, 9] {
            assert!(table.kill(&name(0), Duration::secs(grace)).is_none());
        }
        assert!(matches!(table.0[&name(0)].phase, Phase::Launching(Some(grace), None) if grace == Duration::secs(3)));
        assert!(table.forget(&name(0)).is_err());
        assert!(table.failed(&name(0)).is_empty() && !table.contains(&name(0)));
    }
}
