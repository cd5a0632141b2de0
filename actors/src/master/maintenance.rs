//! Maintenance: which machines go when, which are down, and what follows for their agents (reference 7.1, 11.3).
//!
//! ```text
//! up --UPDATE_MAINTENANCE_SCHEDULE--> draining --START_MAINTENANCE--> down --STOP_MAINTENANCE--> up
//!  ^------------- left out of it ------/
//! ```
//! The agents of a draining machine are offered with their unavailability, and those who hold something of them are asked
//! to leave ([`super::inverse`]). The agents of a machine that goes down are shut down and refused until it is up again.
//! The registry keeps the schedule. Mesos: `master/maintenance.cpp`, `Master::updateUnavailability`,
//! `Master::Http::_startMaintenance`.

use super::inverse::Asked;
use super::{Master, MasterContext, Pending};
use kaon_kernel::actor::Address;
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::id::AgentIndex;
use kaon_kernel::maintenance::{MACHINE_BYTES_MAX, MACHINES_MAX, MachineId, Unavailability, Window};
use kaon_kernel::message::AgentMessage;
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::operator::{Answer, Order};
use kaon_kernel::message::registrar::RegistryOperation;
use kaon_kernel::message::view::{MaintenanceView, ViewEvent};
use kaon_kernel::table::{Set, Table};

/// The schedule as the registry has it, by the keys of machines.
#[derive(Debug, Default)]
pub(super) struct Maintenance {
    windows: Vec<Window>,
    scheduled: Table<MachineId, Unavailability>,
    down: Table<MachineId, MachineId>,
    /// Inverse offers in the hands of frameworks.
    pub(super) asked: Asked,
}

impl Maintenance {
    pub(super) fn new(windows: Vec<Window>, down: Vec<MachineId>) -> Self {
        let down = down.into_iter().map(|machine| (machine.key(), machine)).collect();
        Self { scheduled: by_machine(&windows), windows, down, asked: Asked::default() }
    }

    /// When the machine of an agent will be away.
    pub(super) fn unavailability(&self, info: &AgentInfo) -> Option<Unavailability> {
        match self.scheduled.is_empty() {
            true => None,
            false => self.scheduled.get(&MachineId::of(info).key()).copied(),
        }
    }

    /// Whether the machine of an agent is down.
    pub(super) fn is_down(&self, info: &AgentInfo) -> bool {
        !self.down.is_empty() && self.down.contains_key(&MachineId::of(info).key())
    }

    fn view(&self) -> MaintenanceView {
        MaintenanceView { windows: self.windows.clone(), down: self.down.values().cloned().collect() }
    }
}

fn by_machine(windows: &[Window]) -> Table<MachineId, Unavailability> {
    let machines = windows.iter().flat_map(|window| window.machines.iter().map(|one| (one, window.unavailability)));
    machines.map(|(machine, unavailability)| (machine.key(), unavailability)).collect()
}

impl Master {
    /// Whether the schedule may become this one.
    pub(super) fn judge_schedule(&self, windows: &[Window]) -> Result<RegistryOperation, Answer> {
        self.check_schedule_is_free()?;
        if windows.iter().any(|window| window.machines.is_empty()) {
            return Err(refused("List of machines in the maintenance window is empty".to_owned()));
        }
        let machines = windows.iter().flat_map(|window| &window.machines);
        check_machines(machines.clone())?;
        let bytes: usize = machines.map(|machine| machine.hostname.len() + machine.ip.len()).sum();
        if bytes > MACHINE_BYTES_MAX {
            return Err(refused(format!("The names of the machines take more than {MACHINE_BYTES_MAX} bytes")));
        }
        let after = by_machine(windows);
        match self.maintenance.down.iter().find(|(key, _)| !after.contains_key(*key)) {
            Some((_, machine)) => {
                Err(refused(format!("Machine '{machine}' is deactivated and cannot be removed from the schedule")))
            }
            None => Ok(RegistryOperation::SetSchedule { windows: windows.to_vec() }),
        }
    }

    /// Whether machines may go down.
    pub(super) fn judge_start(&self, machines: &[MachineId]) -> Result<RegistryOperation, Answer> {
        self.check_named(machines)?;
        match machines.iter().find(|machine| self.maintenance.down.contains_key(&machine.key())) {
            Some(machine) => {
                Err(refused(format!("Machine '{machine}' is not in DRAINING mode and cannot be brought down")))
            }
            None => Ok(RegistryOperation::StartMaintenance { machines: machines.to_vec() }),
        }
    }

    /// Whether machines may be up again.
    pub(super) fn judge_stop(&self, machines: &[MachineId]) -> Result<RegistryOperation, Answer> {
        self.check_named(machines)?;
        match machines.iter().find(|machine| !self.maintenance.down.contains_key(&machine.key())) {
            Some(machine) => Err(refused(format!("Machine '{machine}' is not in DOWN mode and cannot be brought up"))),
            None => Ok(RegistryOperation::StopMaintenance { machines: machines.to_vec() }),
        }
    }

    fn check_named(&self, machines: &[MachineId]) -> Result<(), Answer> {
        self.check_schedule_is_free()?;
        if machines.is_empty() {
            return Err(refused("List of machines is empty".to_owned()));
        }
        check_machines(machines.iter())?;
        match machines.iter().find(|machine| !self.maintenance.scheduled.contains_key(&machine.key())) {
            Some(machine) => Err(refused(format!("Machine '{machine}' is not part of a maintenance schedule"))),
            None => Ok(()),
        }
    }

    /// Changes of the schedule are judged by what the one before them made of it, so they come one by one.
    fn check_schedule_is_free(&self) -> Result<(), Answer> {
        let is_change = |order: &Order| {
            matches!(order, Order::SetSchedule { .. } | Order::StartMaintenance { .. } | Order::StopMaintenance { .. })
        };
        match self.pending.orders().any(is_change) {
            true => {
                let reason = "another change of the schedule waits for the registry; give this one again".to_owned();
                Err(Answer::Unavailable { reason })
            }
            false => Ok(()),
        }
    }

    /// The registry has a schedule.
    pub(super) fn on_scheduled(&mut self, windows: Vec<Window>, context: &mut MasterContext<'_>) -> Answer {
        self.change_schedule(windows, context);
        Answer::Done
    }

    /// Puts a schedule in the place of the one before. Agents whose machine will be away at another time than before are
    /// offered anew, and those who hold something of them are asked anew.
    fn change_schedule(&mut self, windows: Vec<Window>, context: &mut MasterContext<'_>) {
        let scheduled = by_machine(&windows);
        let before = core::mem::replace(&mut self.maintenance.scheduled, scheduled);
        self.maintenance.windows = windows;
        let now = &self.maintenance.scheduled;
        let changed = self.state.agents.iter().filter(|(_, agent)| {
            let key = MachineId::of(&agent.info).key();
            before.get(&key) != now.get(&key)
        });
        let changed: Vec<AgentIndex> = changed.map(|(index, _)| *index).collect();
        for index in changed {
            self.rescind_agent(index, context);
            self.rescind_inverse(|asked| asked.agent == index, true, context);
            let agent = &self.state.agents[&index];
            let dropped = ViewEvent::InverseAnswersDropped { agent_id: agent.id.clone() };
            context.emit(Self::VIEW, &dropped);
            let unavailability = self.maintenance.unavailability(&agent.info);
            self.allocate(&ToAllocator::SetUnavailability { agent: index, unavailability }, context);
        }
        self.show_maintenance(context);
    }

    /// The registry says that machines are down: their agents go.
    pub(super) fn on_maintenance_started(
        &mut self,
        machines: Vec<MachineId>,
        context: &mut MasterContext<'_>,
    ) -> Answer {
        let keys: Set<MachineId> = machines.iter().map(MachineId::key).collect();
        self.maintenance.down.extend(machines.into_iter().map(|machine| (machine.key(), machine)));
        let there = self.state.agents.iter().filter(|(_, agent)| keys.contains(&MachineId::of(&agent.info).key()));
        let there: Vec<_> = there.map(|(index, agent)| (*index, agent.id.clone())).collect();
        for (index, id) in there {
            self.stop_offering(index, context);
            if !self.pending.is_leaving(&id) {
                // Not left to the agent: its tasks are to be known for lost, even if it never hears of it.
                self.register(RegistryOperation::RemoveAgent { agent_id: id.clone() }, Pending::Leave(id), context);
            }
        }
        self.show_maintenance(context);
        Answer::Done
    }

    /// The registry says that machines are up: their agents may come back.
    pub(super) fn on_maintenance_stopped(&mut self, machines: &[MachineId], context: &mut MasterContext<'_>) -> Answer {
        let back: Set<MachineId> = machines.iter().map(MachineId::key).collect();
        self.maintenance.down.retain(|key, _| !back.contains(key));
        let mut windows = self.maintenance.windows.clone();
        for window in &mut windows {
            window.machines.retain(|machine| !back.contains(&machine.key()));
        }
        windows.retain(|window| !window.machines.is_empty());
        self.change_schedule(windows, context);
        Answer::Done
    }

    /// Tells an agent to end everything and leave.
    pub(super) fn shut_down_agent(&self, address: Address, reason: &str, context: &mut MasterContext<'_>) {
        context.send(address, &AgentMessage::Master(ToAgent::Shutdown { reason: reason.to_owned() }));
    }

    /// Tells the allocator when an agent that is new to it will be away.
    pub(super) fn allocate_unavailability(&self, index: AgentIndex, context: &mut MasterContext<'_>) {
        if let Some(unavailability) = self.maintenance.unavailability(&self.state.agents[&index].info) {
            let unavailability = Some(unavailability);
            self.allocate(&ToAllocator::SetUnavailability { agent: index, unavailability }, context);
        }
    }

    pub(super) fn show_maintenance(&self, context: &mut MasterContext<'_>) {
        context.emit(Self::VIEW, &ViewEvent::Maintenance(self.maintenance.view()));
    }
}

/// Each machine is named by something, and once. Whether an address is one the edge has judged.
fn check_machines<'a>(machines: impl Iterator<Item = &'a MachineId>) -> Result<(), Answer> {
    let mut seen: Set<MachineId> = Set::default();
    for machine in machines {
        if machine.hostname.is_empty() && machine.ip.is_empty() {
            return Err(refused("Both 'hostname' and 'ip' for a machine are empty".to_owned()));
        }
        if !seen.insert(machine.key()) {
            return Err(refused(format!("Machine '{machine}' appears more than once in the schedule")));
        }
    }
    match seen.len() > MACHINES_MAX {
        true => Err(refused(format!("At most {MACHINES_MAX} machines can be scheduled"))),
        false => Ok(()),
    }
}

fn refused(reason: String) -> Answer {
    Answer::Refused(Defect::new(Cause::MaintenanceInvalid, reason))
}
