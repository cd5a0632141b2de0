//! What operators have said about machines and agents: maintenance, draining, deactivation, and that one is gone.
//!
//! Mesos: `master/maintenance.cpp` and `master/registry_operations.cpp` (DrainAgent, MarkAgentDrained, DeactivateAgent,
//! ReactivateAgent, MarkAgentGone). There a machine keeps its mode beside the schedule; here what is not scheduled is up,
//! what is scheduled is draining unless it is down.

use super::apply::{Book, Ignored, archive_bytes, schedule_bytes, setting_bytes};
use kaon_kernel::id::AgentId;
use kaon_kernel::maintenance::{AgentOrders, Drain, DrainConfig, DrainState, MachineId, Window};
use kaon_kernel::time::WallTime;
use std::collections::BTreeSet;

fn keys<'a>(machines: impl IntoIterator<Item = &'a MachineId>) -> BTreeSet<MachineId> {
    machines.into_iter().map(MachineId::key).collect()
}

impl Book {
    pub(super) fn set_schedule(&mut self, windows: Vec<Window>) -> Result<(), Ignored> {
        let scheduled = keys(windows.iter().flat_map(|window| &window.machines));
        let mut down = self.down.clone();
        down.retain(|machine| scheduled.contains(&machine.key()));
        self.enter_schedule(windows, down)
    }

    pub(super) fn start_maintenance(&mut self, machines: Vec<MachineId>) -> Result<(), Ignored> {
        let scheduled = keys(self.schedule.iter().flat_map(|window| &window.machines));
        if !machines.iter().all(|machine| scheduled.contains(&machine.key())) {
            return Err(Ignored::Unscheduled);
        }
        let mut known = keys(&self.down);
        let mut down = self.down.clone();
        down.extend(machines.into_iter().filter(|machine| known.insert(machine.key())));
        self.enter_schedule(self.schedule.clone(), down)
    }

    pub(super) fn stop_maintenance(&mut self, machines: &[MachineId]) {
        let back = keys(machines);
        self.down.retain(|machine| !back.contains(&machine.key()));
        for window in &mut self.schedule {
            window.machines.retain(|machine| !back.contains(&machine.key()));
        }
        self.schedule.retain(|window| !window.machines.is_empty());
        self.schedule_bytes = schedule_bytes(&self.schedule, &self.down);
    }

    fn enter_schedule(&mut self, schedule: Vec<Window>, down: Vec<MachineId>) -> Result<(), Ignored> {
        let bytes = schedule_bytes(&schedule, &down);
        self.check_room(bytes, self.schedule_bytes)?;
        (self.schedule, self.down, self.schedule_bytes) = (schedule, down, bytes);
        Ok(())
    }

    pub(super) fn drain_agent(&mut self, id: AgentId, config: DrainConfig, since: WallTime) -> Result<(), Ignored> {
        let drain = Some(Drain { state: DrainState::Draining, config, since });
        self.order(id, AgentOrders { deactivated: true, drain })
    }

    pub(super) fn mark_drained(&mut self, id: AgentId) {
        let Some(mut orders) = self.orders.find(id.as_str()).cloned() else { return };
        if let Some(drain) = &mut orders.drain {
            drain.state = DrainState::Drained;
        }
        let bytes = setting_bytes(&id, &orders);
        self.orders.put(id, bytes, orders);
    }

    pub(super) fn deactivate_agent(&mut self, id: AgentId) -> Result<(), Ignored> {
        let before = self.orders.find(id.as_str()).cloned().unwrap_or_default();
        self.order(id, AgentOrders { deactivated: true, ..before })
    }

    fn order(&mut self, id: AgentId, orders: AgentOrders) -> Result<(), Ignored> {
        if !self.agents.has(id.as_str()) && !self.unreachable.has(id.as_str()) {
            return Err(Ignored::UnknownAgent);
        }
        let bytes = setting_bytes(&id, &orders);
        self.check_room(bytes, self.orders.bytes_of(id.as_str()))?;
        self.orders.put(id, bytes, orders);
        Ok(())
    }

    pub(super) fn mark_gone(&mut self, id: AgentId, since: WallTime) {
        self.agents.remove(id.as_str());
        self.unreachable.remove(id.as_str());
        self.orders.remove(id.as_str());
        if !self.gone.has(id.as_str()) {
            let bytes = archive_bytes(&id);
            self.gone.put(id, bytes, since);
        }
    }
}
