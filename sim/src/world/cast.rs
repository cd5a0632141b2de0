//! Who plays: the real actors of the cluster, made for the place where they live, and the simulated frameworks.

use crate::client::volumes::AGENT_DISK;
use crate::client::{Client, ClientConfig, ClientFaults};
use crate::explore::plant::Plant;
use crate::faults::Plan;
use crate::machine::busy::Returned;
use crate::machine::legacy::Legacy;
use crate::machine::place::Place;
use crate::machine::process::{AnyCell, Birth, Cast};
use crate::options::Options;
use crate::sharing::{ROLES, Sharing};
use crate::stage::Behaviour;
use crate::workload;
use crate::world::laws::DETECT;
use kaon_actors::agent::{Agent, AgentConfig};
use kaon_actors::allocator::Allocator;
use kaon_actors::executor::{Executor, ExecutorConfig};
use kaon_actors::framework::{FrameworkConfig, FrameworkProxy};
use kaon_actors::master::{Master, MasterConfig};
use kaon_actors::registrar::{Registrar, RegistrarConfig};
use kaon_kernel::actor::{Actor, ActorCell, ActorKind, ChildSpec};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::chance::Chance;
use kaon_kernel::id::RoleName;
use kaon_kernel::placement::Machine;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Resource, ResourceName, Resources};
use kaon_kernel::time::Duration;
use kaon_kernel::topology::Uniform;

/// Sets the chance of the workload apart from that of everything else.
const WORKLOAD: u64 = 0x5707_2a11_c4a5_0002;
/// The plant drops each of so many statuses.
const DROPPED_EACH: u64 = 13;

/// The cast of a run.
pub(crate) fn cast(options: &Options, plan: &Plan) -> Cast {
    let options = options.clone();
    let (ping_interval, agent_return) = (plan.ping_interval, plan.agent_return);
    let swarm = plan.clients;
    let plant_forget_standing = options.plant == Some(Plant::ForgottenStanding);
    let dropped = (options.plant == Some(Plant::DropStatus)).then_some(DROPPED_EACH);
    let master = MasterConfig {
        ping_interval,
        session_silence: DETECT.least + DETECT.spread,
        agent_return,
        plant_drop_status: dropped,
        plant_forget_standing,
        ..MasterConfig::default()
    };
    Box::new(move |birth: &Birth<'_>| {
        let machine = Place::of(birth.address.host).machine;
        Ok(match birth.address.kind {
            ActorKind::Registrar => {
                let registrar = Registrar::new(RegistrarConfig::single());
                cell(registrar.map_err(|error| error.to_string())?, birth)
            }
            ActorKind::Master => cell(Master::new(master.clone()), birth),
            ActorKind::Allocator => cell(Allocator::new(Sharing::allocator(&options)), birth),
            ActorKind::Framework => {
                let Some(ChildSpec::Framework { framework_id, stream }) = birth.spec else {
                    return Err("a proxy without a framework".to_owned());
                };
                let heartbeat_interval = master.heartbeat_interval;
                let config =
                    FrameworkConfig { framework_id: framework_id.clone(), stream: *stream, heartbeat_interval };
                cell(FrameworkProxy::new(config), birth)
            }
            ActorKind::Agent => cell(Agent::new(agent(&options, machine)), birth),
            ActorKind::Executor => {
                let environment = birth.environment.cloned().ok_or("an executor without an environment")?;
                let config = ExecutorConfig::from_environment(environment);
                cell(Executor::new(config.map_err(|error| error.to_string())?), birth)
            }
            ActorKind::Client => {
                let returned = birth.returned.cloned().unwrap_or_default();
                let legacy = birth.legacy.cloned().unwrap_or_default();
                cell(Client::new(ClientConfig { returned, legacy, ..client(&options, machine, swarm) }), birth)
            }
            ActorKind::Outside => return Err("the outside is no actor".to_owned()),
        })
    })
}

fn cell<A: Actor + Send>(actor: A, birth: &Birth<'_>) -> AnyCell {
    Box::new(ActorCell::new(actor, birth.address, birth.seed))
}

/// The name of a simulated machine.
pub(crate) fn hostname(machine: u32) -> String {
    format!("agent-{machine}")
}

/// The number of the simulated machine of a name; zero, which is the master's, of any other.
pub(crate) fn machine_of(hostname: &str) -> u32 {
    hostname.strip_prefix("agent-").and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The address of a simulated machine.
pub(crate) fn address(machine: u32) -> String {
    let [_, b, c, d] = machine.to_be_bytes();
    format!("10.{b}.{c}.{d}")
}

fn agent(options: &Options, machine: u32) -> AgentConfig {
    let size = options.stage.as_ref().and_then(|stage| stage.sizes.get(machine as usize - 1).copied());
    let size = size.unwrap_or((options.agent_cpus, options.agent_mem));
    let ip = address(machine);
    let info = AgentInfo {
        hostname: hostname(machine),
        ip: ip.clone(),
        port: 5051,
        resources: resources(options, size),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..AgentInfo::default()
    };
    let machine = options.placed.then(|| hardware(options, &info.resources));
    AgentConfig { machine, ..AgentConfig::new(info, format!("{ip}:5051"), "/var/lib/kaon") }
}

fn resources(options: &Options, (cpus, mem): (Quantity, Quantity)) -> Resources {
    let own = Resources::cpus_and_mem(cpus, mem);
    match options.volumes {
        false => own,
        true => {
            let disk = Resource::scalar(ResourceName::Disk, AGENT_DISK);
            own.plus(&Resources::collect([disk]).expect("one entry")).expect("names of their own")
        }
    }
}

/// What a simulated machine is made of when tasks ask for places: a package with a core for each processor that it shares
/// out, and memory for all of it.
fn hardware(options: &Options, resources: &Resources) -> Machine {
    let cores = u32::try_from(options.agent_cpus.0.div_ceil(1000)).unwrap_or(u32::MAX);
    let node_memory_bytes = options.agent_mem.0.div_ceil(1000).saturating_mul(1 << 20);
    let topology = Uniform { cores, node_memory_bytes, ..Uniform::default() }.build();
    let topology = topology.expect("the options were checked: a machine has at most as many units as a topology");
    Machine::new(&topology, resources).expect("processors and memory are there")
}

/// A framework's share of the tasks; the first ones take what does not divide.
fn client(options: &Options, machine: u32, swarm: ClientFaults) -> ClientConfig {
    let number = machine - options.agents - 1;
    let mut chance = Chance::new(options.seed ^ WORKLOAD ^ u64::from(number) << 32);
    let size = (options.task_cpus, options.task_mem);
    let own = ClientConfig {
        number,
        machine,
        name: format!("batch-{number}"),
        role: RoleName::trusted(format!("role-{}", number % ROLES)),
        behaviour: Behaviour::Batch,
        wait: Duration::ZERO,
        copies: Vec::new(),
        partition_aware: number.is_multiple_of(2),
        cpus: options.task_cpus,
        mem: options.task_mem,
        tasks: Vec::new(),
        placed: options.placed,
        volumes: options.volumes,
        // Executors of groups take some disk, which agents have where there are volumes.
        grouped: options.volumes && number % 2 == 1,
        teardown: options.teardown,
        courses: options.courses,
        swarm,
        returned: Returned::default(),
        legacy: Legacy::default(),
    };
    let stage = options.stage.as_ref();
    if let Some((stage, (group, index))) = stage.and_then(|stage| Some((stage, stage.group(number)?))) {
        let tasks = workload::plan_group(group, index, &mut chance);
        let replicas = group.replicas.min(options.agents);
        let mut copies = Vec::new();
        for _ in 0..tasks.len() * usize::from(replicas > 0) {
            let mut held = Vec::with_capacity(replicas as usize);
            while held.len() < replicas as usize {
                let agent = 1 + chance.below(u64::from(options.agents)) as u32;
                if !held.contains(&agent) {
                    held.push(agent);
                }
            }
            copies.push(held.into_boxed_slice());
        }
        return ClientConfig {
            name: format!("{}-{index}", group.name),
            role: group.role(),
            behaviour: group.behaviour,
            wait: stage.wait.unwrap_or(group.wait),
            copies,
            tasks,
            ..own
        };
    }
    let share = options.tasks / options.frameworks + u32::from(number < options.tasks % options.frameworks);
    let tasks = workload::plan(share as usize, size, options.lengths, options.varied, &mut chance);
    ClientConfig { tasks, ..own }
}
