//! `/registrar(1)/registry`: what outlives the master, in the form of Mesos's `Registry` message as JSON (reference 2, 9).
//!
//! Made of what the master shows, not of the log: agents that are gone for good are in the log alone, and not here.

use serde_json::{Map, Value, json};

use super::json::v1_json;
use crate::convert::{agent, maintenance, quota};
use crate::edge::MasterEdge;
use crate::v1::mesos as v1;
use crate::view::Snapshot;

/// The registry. Cost: all agents.
pub(super) fn registry(edge: &MasterEdge, snapshot: &Snapshot) -> Value {
    let mut info = edge.master_info().clone();
    if let Some(leadership) = &snapshot.leadership {
        info.id = leadership.master_id.to_string();
    }
    let agents = snapshot.agents.values().map(|view| {
        let mut out = Map::new();
        out.insert("info".into(), v1_json(&agent::to_v1(&view.info)));
        if let Some(orders) = view.orders.as_deref() {
            if let Some((drain, _)) = maintenance::drain_to_v1(orders) {
                out.insert("drain_info".into(), v1_json(&drain));
            }
            out.insert("deactivated".into(), orders.deactivated.into());
        }
        Value::Object(out)
    });
    let unreachable = snapshot.unreachable.iter().map(|id| json!({"id": {"value": id.as_str()}}));
    let down = snapshot.maintenance.down.iter().map(|machine| {
        let info = v1::MachineInfo {
            id: maintenance::machine_to_v1(machine),
            mode: Some(v1::machine_info::Mode::Down as i32),
            ..v1::MachineInfo::default()
        };
        json!({"info": v1_json(&info)})
    });
    let settings = &snapshot.settings;
    let mut out = json!({
        "master": {"info": v1_json(&info)},
        "slaves": {"slaves": agents.collect::<Value>()},
        "unreachable": {"slaves": unreachable.collect::<Value>()},
        "gone": {"slaves": []},
        "machines": {"machines": down.collect::<Value>()},
        "weights": settings.weights.iter()
            .map(|(role, weight)| json!({"info": v1_json(&quota::weight_to_v1(role, *weight))})).collect::<Value>(),
        "quota_configs": settings.quotas.iter()
            .map(|(role, own)| v1_json(&quota::quota_to_v1(role, own))).collect::<Value>(),
    });
    if !snapshot.maintenance.windows.is_empty() {
        out["schedules"] = json!([v1_json(&maintenance::schedule_to_v1(&snapshot.maintenance.windows))]);
    }
    out
}
