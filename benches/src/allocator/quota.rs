//! The cases of the peer with quota, and one agent with very many reservations. Parameters are those of the original.

use super::bed::{Bed, NewAgent, RUNS_WHILE_ADDING, agent, bag, framework, grant, role};
use super::labels::{fragments, reserved, with};
use super::table::Row;
use super::{median, timed};
use kaon_kernel::id::{AgentIndex, FrameworkIndex, RoleName};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::{Resource, ResourceName, Resources};

/// What the peer took in the sizes of [`super::peer::SIZES`]: set all quotas, add all frameworks, add all agents.
const METRICS: [[f64; 3]; 9] = [
    [1.2, 0.7, 115.0],
    [4.7, 0.3, 441.0],
    [44.3, 28.8, 2705.0],
    [1.3, 0.9, 598.0],
    [5.3, 2.9, 2375.0],
    [43.9, 22.2, 14_401.0],
    [1.2, f64::NAN, 1303.0],
    [5.5, 2.8, 4917.0],
    [44.3, 23.7, 29_768.0],
];

/// Agents, and what the peer took for the first cycle and the second, that offers nothing.
const LARGE_AND_SMALL: [(u32, [f64; 2]); 3] = [(30, [1.9, 0.6]), (300, [63.6, 45.5]), (3_000, [10_051.0, 7_894.0])];

/// Roles, whether they have quota, first cycle and second.
const WITH_AND_WITHOUT: [(u32, bool, [f64; 2]); 6] = [
    (10, false, [0.30, 0.07]),
    (10, true, [0.62, 0.10]),
    (100, false, [3.5, 0.77]),
    (100, true, [9.6, 0.6]),
    (1_000, false, [141.0, 93.7]),
    (1_000, true, [115.0, 38.0]),
];

/// Resource objects on one agent, and wall milliseconds for each RESERVE and UNRESERVE.
const UPDATE: [(u32, [f64; 2]); 3] = [(200, [2.2, 2.6]), (400, [5.0, 5.5]), (800, [13.9, 13.7])];

/// A guarantee that is the limit as well, as the peer's older call sets it.
fn quota(cpus: u64, mem: u64, disk: u64) -> Quota {
    let amounts = [(ResourceName::Cpus, cpus), (ResourceName::Mem, mem), (ResourceName::Disk, disk)];
    let amounts = amounts.map(|(name, units)| (name, Quantity::units(units))).to_vec();
    Quota { guarantees: amounts.clone(), limits: amounts }
}

fn set(bed: &mut Bed, quotas: &[(RoleName, Quota)]) -> f64 {
    timed(|| {
        for (name, quota) in quotas {
            bed.engine.set_quota(name, quota).expect("a quota that can be set");
        }
    })
    .0
}

fn whole(agents: u32, total: &Resources) -> Vec<NewAgent> {
    (0..agents).map(|index| agent(index, total.clone(), Vec::new())).collect()
}

/// A role with quota for each framework; agents come into that.
pub fn metrics(size: (u32, u32)) -> Vec<Row> {
    let (agents, frameworks) = size;
    let peer = super::peer::SIZES.iter().position(|other| *other == size).map(|at| METRICS[at]);
    let names = (0..frameworks).map(|at| role(&format!("role-{at:04}"))).collect::<Vec<_>>();
    let facts = names.iter().enumerate().map(|(at, name)| framework(at as u32, core::slice::from_ref(name)));
    let facts = facts.collect::<Vec<_>>();
    let quotas = names.iter().map(|name| (name.clone(), quota(1, 512, 256))).collect::<Vec<_>>();
    let made = whole(agents, &bag("cpus:16;mem:2048;disk:1024"));
    let mut bed = Bed::default();
    let setting = set(&mut bed, &quotas);
    let adding_frameworks = bed.frameworks(&facts);
    let adding_agents = bed.agents(made, RUNS_WHILE_ADDING);
    let offers = bed.grants.len();
    let row = |phase, ours, at: usize| {
        let peer = peer.map(|peer: [f64; 3]| peer[at]).filter(|figure| !figure.is_nan());
        Row::new("Metrics", format!("{agents} x {frameworks}"), phase, ours).beside(peer)
    };
    vec![
        row("set quotas", setting, 0),
        row("add frameworks", adding_frameworks, 1),
        row("add agents", adding_agents, 2).quadratic().offering(offers),
    ]
}

fn two_cycles(case: &'static str, shape: String, bed: &mut Bed, peer: [f64; 2]) -> Vec<Row> {
    let (first, offers) = bed.full_round();
    let (second, none) = bed.full_round();
    assert_eq!(none, 0, "the first cycle offered all that could be");
    let row = |phase, ours| Row::new(case, shape.clone(), phase, ours);
    vec![
        row("first cycle", first).beside(peer[0]).offering(offers),
        row("second cycle", second).beside(peer[1]).offering(none),
    ]
}

/// Five of six roles have a quota of half an agent, the others of two agents.
pub fn large_and_small() -> Vec<Row> {
    let rows = LARGE_AND_SMALL.iter().flat_map(|&(agents, peer)| {
        let (small, large) = (agents * 5 / 6, agents / 6);
        let small = (0..small).map(|at| (role(&format!("small-{at}")), quota(1, 1024, 1024)));
        let large = (0..large).map(|at| (role(&format!("large-{at}")), quota(4, 4096, 4096)));
        let quotas = small.chain(large).collect::<Vec<_>>();
        let mut bed = Bed::default();
        bed.agents(whole(agents, &bag("cpus:2;mem:2048;disk:2048")), 0);
        let facts = quotas.iter().enumerate();
        let facts = facts.map(|(at, (name, _))| framework(at as u32, core::slice::from_ref(name)));
        bed.frameworks(&facts.collect::<Vec<_>>());
        set(&mut bed, &quotas);
        let rows = two_cycles("LargeAndSmallQuota", format!("{agents} x {agents}"), &mut bed, peer);
        rows.into_iter().map(Row::quadratic).collect::<Vec<_>>()
    });
    rows.collect()
}

/// Two agents and two frameworks for each role, without quota and with one of its two agents.
pub fn with_and_without() -> Vec<Row> {
    let rows = WITH_AND_WITHOUT.iter().flat_map(|&(roles, has_quota, peer)| {
        let names = (0..roles).map(|at| role(&format!("role-{at}"))).collect::<Vec<_>>();
        let mut bed = Bed::default();
        bed.agents(whole(2 * roles, &bag("cpus:2;mem:2048;disk:2048")), 0);
        let facts = (0..2 * roles).map(|at| framework(at, core::slice::from_ref(&names[(at / 2) as usize])));
        bed.frameworks(&facts.collect::<Vec<_>>());
        if has_quota {
            set(&mut bed, &names.iter().map(|name| (name.clone(), quota(4, 4096, 4096))).collect::<Vec<_>>());
        }
        let case = if has_quota { "NonQuotaVsQuota, quota" } else { "NonQuotaVsQuota, none" };
        two_cycles(case, format!("{} x {}", 2 * roles, 2 * roles), &mut bed, peer)
    });
    rows.collect()
}

/// UNRESERVE and RESERVE by one of very many frameworks, each of which holds the four labelled reservations of its role on
/// one agent.
pub fn update_allocation() -> Vec<Row> {
    const CALLS: usize = 100;
    /// Processors, memory, disk and ports.
    const OF_A_ROLE: u32 = 4;
    let rows = UPDATE.iter().flat_map(|&(objects, peer)| {
        let names = (0..objects / OF_A_ROLE).map(|at| role(&format!("role-{at:036}"))).collect::<Vec<_>>();
        let held = |at: usize| {
            let name = &names[at];
            let plain = [scalar(ResourceName::Cpus), scalar(ResourceName::Mem), scalar(ResourceName::Disk), one_port()];
            let entries = plain.map(|plain| Resource { identity: reserved(name, 1, 1, at as u64).identity, ..plain });
            with(&Resources::new(), entries)
        };
        let total =
            with(&Resources::new(), (0..names.len()).flat_map(|at| held(at).iter().cloned().collect::<Vec<_>>()));
        let used = names.iter().enumerate().map(|(at, name)| grant(at as u32, name, 0, held(at))).collect();
        let mut bed = Bed::default();
        let facts = names.iter().enumerate();
        bed.frameworks(&facts.map(|(at, name)| framework(at as u32, core::slice::from_ref(name))).collect::<Vec<_>>());
        bed.agents(vec![agent(0, total, used)], 1);
        let labelled = held(0);
        let plain = with(&Resources::new(), labelled.iter().cloned().map(Resource::unreserved));
        let (mut there, mut back) = (Vec::new(), Vec::new());
        for _ in 0..CALLS {
            let mut convert = |from: &Resources, to: &Resources| {
                let converted = || bed.engine.convert(FrameworkIndex(0), &names[0], AgentIndex(0), from, to);
                let (spent, done) = timed(converted);
                done.expect("it holds what is converted");
                spent
            };
            back.push(convert(&labelled, &plain));
            there.push(convert(&plain, &labelled));
        }
        let row =
            |phase, ours, peer| Row::new("UpdateAllocation", format!("{objects} objects"), phase, ours).beside(peer);
        [row("RESERVE", median(&mut there), peer[0]), row("UNRESERVE", median(&mut back), peer[1])]
    });
    rows.collect()
}

fn scalar(name: ResourceName) -> Resource {
    Resource::scalar(name, Quantity::units(100))
}

fn one_port() -> Resource {
    Resource { name: ResourceName::Ports, ..fragments(2, 2, 1) }
}

/// Gives every role a limit of what its part of the agents is, less half an agent, so that its last offer is cut and the
/// other half of that agent stays free; half of its part is guaranteed.
///
/// # Panics
/// When there are fewer agents than roles.
pub fn limit_near(bed: &mut Bed, names: &[RoleName], agents: u32) {
    let part = u64::from(agents) / names.len() as u64;
    assert!(part > 0, "each role has a part");
    let limits = [
        (ResourceName::Cpus, Quantity::units(24 * part - 12)),
        (ResourceName::Mem, Quantity::units(4096 * part - 2048)),
    ];
    for name in tops(names) {
        let roles = names.iter().filter(|other| top(other) == name.as_str()).count() as u64;
        let limits = limits.iter().map(|(name, limit)| (name.clone(), Quantity(limit.0 * roles))).collect();
        let guarantees = vec![(ResourceName::Cpus, Quantity::units(12 * part * roles))];
        bed.engine.set_quota(&name, &Quota { guarantees, limits }).expect("a quota that can be set");
    }
}

fn top(name: &RoleName) -> &str {
    name.as_str().split('/').next().unwrap_or_default()
}

fn tops(names: &[RoleName]) -> Vec<RoleName> {
    let mut tops = names.iter().map(|name| role(top(name))).collect::<Vec<_>>();
    tops.sort();
    tops.dedup();
    tops
}
