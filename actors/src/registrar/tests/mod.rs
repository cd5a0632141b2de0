//! What the tests share: words of agents and frameworks, and a registrar on a bench.

mod apply;
mod crash;
mod group;
mod journal;
mod schedules;
mod single;
mod wire;
mod world;

use super::{Registrar, RegistrarConfig};
use crate::testing::{Rig, sent};
use kaon_kernel::actor::{ActorKind, Address, Effect, HostId, Term};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{AgentId, FrameworkId};
use kaon_kernel::message::registrar::{RegistryOperation, ToMaster, ToRegistrar};
use kaon_kernel::message::{MasterMessage, RegistrarMessage};
use kaon_kernel::resource::Resources;
use kaon_kernel::time::{Duration, WallTime};

fn agent(name: &str) -> AgentInfo {
    AgentInfo {
        id: Some(AgentId::trusted(name)),
        hostname: format!("{name}.example"),
        ip: "10.0.0.1".into(),
        port: 5051,
        resources: Resources::default(),
        version: "0.1.0".into(),
        ..AgentInfo::default()
    }
}

fn framework(name: &str) -> FrameworkInfo {
    FrameworkInfo {
        id: Some(FrameworkId::trusted(name)),
        user: "root".into(),
        name: name.into(),
        ..FrameworkInfo::default()
    }
}

fn admit_agent(name: &str, identity: &str) -> RegistryOperation {
    RegistryOperation::AdmitAgent { info: agent(name), identity: identity.into() }
}

fn admit_framework(name: &str) -> RegistryOperation {
    RegistryOperation::AdmitFramework { info: framework(name) }
}

fn mark_unreachable(name: &str, at: u64) -> RegistryOperation {
    RegistryOperation::MarkUnreachable { agent_id: AgentId::trusted(name), since: WallTime(at) }
}

fn remove_framework(name: &str, at: u64) -> RegistryOperation {
    RegistryOperation::RemoveFramework { framework_id: FrameworkId::trusted(name), since: WallTime(at) }
}

fn registrar_at(host: HostId) -> Address {
    Address::only(host, ActorKind::Registrar)
}

fn master_at(host: HostId) -> Address {
    Address::only(host, ActorKind::Master)
}

fn bench(config: RegistrarConfig, host: HostId) -> Rig<Registrar> {
    Rig::new(Registrar::new(config).expect("the setup is right"), registrar_at(host))
}

fn attach(rig: &mut Rig<Registrar>, host: HostId) -> Vec<Effect> {
    rig.message(master_at(host), &RegistrarMessage::Master(ToRegistrar::Attach))
}

fn apply(rig: &mut Rig<Registrar>, host: HostId, term: u64, number: u64, operation: RegistryOperation) -> Vec<Effect> {
    let message = RegistrarMessage::Master(ToRegistrar::Apply { number, operation });
    rig.message_in_term(master_at(host), Term(term), &message)
}

/// What the master was told.
fn told(effects: &[Effect]) -> Vec<ToMaster> {
    let words = sent::<MasterMessage>(effects).into_iter().map(|(_, message)| match message {
        MasterMessage::Registrar(word) => word,
        other => panic!("a registrar says {other:?}"),
    });
    words.collect()
}

fn applied(effects: &[Effect]) -> Vec<u64> {
    let words = told(effects).into_iter().filter_map(|word| match word {
        ToMaster::Applied { number } => Some(number),
        _ => None,
    });
    words.collect()
}

fn counted(effects: &[Effect], name: &str) -> u64 {
    let counts = effects.iter().map(|effect| match effect {
        Effect::Record(kaon_kernel::actor::Measure::Add(counted, more)) if *counted == name => *more,
        _ => 0,
    });
    counts.sum()
}
