//! Maintenance and the draining of agents: schedules, machines, inverse offers (`maintenance.proto`, `DrainConfig`).

use std::net::IpAddr;

use kaon_kernel::cause::Cause;
use kaon_kernel::maintenance::{AgentOrders, DrainConfig, InverseAnswer, MachineId, Unavailability, Window};
use kaon_kernel::message::scheduler::Call;
use kaon_kernel::offer::InverseOffer;
use kaon_kernel::time::{Duration, WallTime};

use super::offer::agent_url;
use super::{Error, duration_info, time_info};
use crate::v1::maintenance as api;
use crate::v1::mesos as v1;

/// A schedule as an operator set it.
///
/// # Errors
/// When an address is none, or a time is negative.
pub fn schedule_from_v1(schedule: api::Schedule) -> Result<Vec<Window>, Error> {
    let window = |window: api::Window| {
        let machines = machines_from_v1(window.machine_ids)?;
        Ok(Window { machines, unavailability: unavailability_from_v1(&window.unavailability)? })
    };
    schedule.windows.into_iter().map(window).collect()
}

/// A schedule as operators read it.
pub fn schedule_to_v1(windows: &[Window]) -> api::Schedule {
    let window = |window: &Window| api::Window {
        machine_ids: window.machines.iter().map(machine_to_v1).collect(),
        unavailability: unavailability_to_v1(&window.unavailability),
    };
    api::Schedule { windows: windows.iter().map(window).collect() }
}

/// Machines as an operator names them.
///
/// # Errors
/// When an address is none.
pub fn machines_from_v1(machines: Vec<v1::MachineId>) -> Result<Vec<MachineId>, Error> {
    let machine = |machine: v1::MachineId| {
        let (hostname, ip) = (machine.hostname.unwrap_or_default(), machine.ip.unwrap_or_default());
        match ip.is_empty() || ip.parse::<IpAddr>().is_ok() {
            true => Ok(MachineId { hostname, ip }),
            false => Err(Error::Rule(
                Cause::MaintenanceInvalid,
                format!("Failed to parse the address '{ip}' of machine '{hostname}'"),
            )),
        }
    };
    machines.into_iter().map(machine).collect()
}

/// A machine as operators read it.
pub fn machine_to_v1(machine: &MachineId) -> v1::MachineId {
    let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    v1::MachineId { hostname: said(&machine.hostname), ip: said(&machine.ip) }
}

fn unavailability_from_v1(value: &v1::Unavailability) -> Result<Unavailability, Error> {
    let start = u64::try_from(value.start.nanoseconds).map(WallTime).map_err(|_| Error::Time("'start'"))?;
    let duration = value.duration.as_ref().map(|length| u64::try_from(length.nanoseconds).map(Duration::nanos));
    let duration = duration.transpose();
    let negative = |_| Error::Rule(Cause::MaintenanceInvalid, "Unavailability 'duration' is negative".to_owned());
    Ok(Unavailability { start, duration: duration.map_err(negative)? })
}

/// The v1 form of an unavailability.
pub fn unavailability_to_v1(value: &Unavailability) -> v1::Unavailability {
    v1::Unavailability { start: time_info(value.start), duration: value.duration.map(duration_info) }
}

/// An inverse offer as its framework reads it.
pub fn inverse_offer_to_v1(offer: &InverseOffer, master_id: &str, framework_id: &str) -> v1::InverseOffer {
    v1::InverseOffer {
        id: v1::OfferId { value: offer.id.text(master_id) },
        url: Some(agent_url(&offer.hostname, &offer.ip, offer.port)),
        framework_id: v1::FrameworkId { value: framework_id.to_owned() },
        agent_id: Some(v1::AgentId { value: offer.agent_id.to_string() }),
        unavailability: unavailability_to_v1(&offer.unavailability),
        resources: Vec::new(),
    }
}

/// ACCEPT_INVERSE_OFFERS or DECLINE_INVERSE_OFFERS. `master_id` tells offers of this life of the master.
pub(super) fn answer_from_v1(
    ids: &[v1::OfferId],
    filters: Option<&v1::Filters>,
    answer: InverseAnswer,
    master_id: &str,
) -> Call {
    Call::AnswerInverse { offers: super::call::offers(ids, master_id), answer, refusal: super::call::refusal(filters) }
}

/// How an agent is to be drained. A length of time that is negative or too long is refused.
///
/// # Errors
/// As told.
pub fn drain_from_v1(
    grace: Option<prost_reflect::prost_types::Duration>,
    mark_gone: Option<bool>,
) -> Result<DrainConfig, Error> {
    let nanos = |grace: prost_reflect::prost_types::Duration| {
        let seconds = u64::try_from(grace.seconds).ok().and_then(|seconds| seconds.checked_mul(1_000_000_000));
        let nanos = u64::try_from(grace.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
        let sum = seconds.zip(nanos).and_then(|(seconds, nanos)| seconds.checked_add(nanos));
        sum.filter(|sum| i64::try_from(*sum).is_ok()).map(Duration::nanos).ok_or(Error::Time("'max_grace_period'"))
    };
    Ok(DrainConfig { grace_max: grace.map(nanos).transpose()?, mark_gone: mark_gone.unwrap_or(false) })
}

/// How an agent is drained, as operators read it.
pub fn drain_config_to_v1(config: DrainConfig) -> v1::DrainConfig {
    v1::DrainConfig { max_grace_period: config.grace_max.map(duration_info), mark_gone: Some(config.mark_gone) }
}

/// How far the draining of an agent has come, and since when it goes on.
pub fn drain_to_v1(orders: &AgentOrders) -> Option<(v1::DrainInfo, v1::TimeInfo)> {
    let drain = orders.drain.as_ref()?;
    let config = drain_config_to_v1(drain.config);
    Some((v1::DrainInfo { state: drain.state as i32, config }, time_info(drain.since)))
}
