//! The cases of the peer's own benchmark of its allocator, without quota: AddAndUpdate, Decline, all filtered, Suppress,
//! ExtremeSuppress, Labels, Backlog. Parameters are those of the original (Mesos commit `c1b42f79d`); its figures were
//! measured on a machine of the same kind: processor milliseconds, medians.

use super::bed::{Bed, FOREVER, NewAgent, RUNS_WHILE_ADDING, agent, bag, framework, grant, role};
use super::labels::{fragments, reserved, revocable, with};
use super::median;
use super::table::Row;
use kaon_actors::allocator::engine::tables::FrameworkFacts;
use kaon_kernel::id::{FrameworkIndex, RoleName};
use kaon_kernel::time::Duration;

/// Sizes that the peer was measured at, agents by frameworks.
pub const SIZES: [(u32, u32); 9] = [
    (1_000, 50),
    (1_000, 200),
    (1_000, 1_000),
    (5_000, 50),
    (5_000, 200),
    (5_000, 1_000),
    (10_000, 50),
    (10_000, 200),
    (10_000, 1_000),
];

/// As many rounds of declines as the peer was measured with.
const ROUNDS: usize = 10;

/// What the peer took, in the order of [`SIZES`]: add all frameworks, add all agents, update all agents.
const ADD_AND_UPDATE: [[f64; 3]; 9] = [
    [0.6, 45.5, 29.5],
    [1.6, 47.4, 30.8],
    [11.8, 57.8, 44.6],
    [0.5, 275.0, 209.0],
    [1.6, 285.0, 213.0],
    [13.0, 339.0, 274.0],
    [0.7, 582.0, 479.0],
    [1.7, 630.0, 475.0],
    [13.0, 729.0, 570.0],
];

/// Add all frameworks, add all agents, decline all, cycle of round 0, cycle of round 9, median of the cycles.
const DECLINE: [[f64; 6]; 9] = [
    [0.6, 54.6, 48.7, 29.1, 41.2, 34.5],
    [1.7, 56.4, 47.7, 31.3, 40.6, 35.7],
    [14.9, 67.8, 50.9, 42.2, 57.4, 49.2],
    [0.6, 305.0, 269.0, 178.0, 230.0, 211.0],
    [1.9, 323.0, 270.0, 192.0, 260.0, 231.0],
    [12.2, 387.0, 304.0, 261.0, 355.0, 277.0],
    [0.6, 676.0, 530.0, 394.0, 496.0, 488.0],
    [1.8, 710.0, 538.0, 425.0, 512.0, 510.0],
    [14.1, 793.0, 565.0, 520.0, 760.0, 661.0],
];

/// The same of the case with labels, without round 9.
const LABELS: [[f64; 5]; 9] = [
    [0.9, 67.5, 59.5, 39.7, 46.4],
    [2.3, 71.9, 59.6, 40.5, 49.4],
    [10.6, 86.7, 60.6, 50.7, 56.8],
    [0.6, 407.0, 353.0, 220.0, 264.0],
    [2.2, 419.0, 359.0, 248.0, 305.0],
    [12.0, 532.0, 347.0, 344.0, 393.0],
    [0.7, 854.0, 692.0, 498.0, 726.0],
    [3.7, 941.0, 711.0, 568.0, 676.0],
    [13.4, 1011.0, 670.0, 635.0, 814.0],
];

/// Agents, frameworks, and a cycle that makes no offer since every framework has filtered every agent.
const ALL_FILTERED: [(u32, u32, f64); 4] =
    [(1_000, 50, 331.0), (1_000, 200, 1_808.0), (5_000, 50, 2_374.0), (10_000, 50, 4_500.0)];

/// Sizes at which everybody declines everything; the last has no figure of the peer.
pub const FILTERED_SIZES: [(u32, u32); 6] =
    [(1_000, 50), (1_000, 200), (5_000, 50), (10_000, 50), (1_000, 1_000), (10_000, 200)];

/// Recover all, then cycles at 20, 40, 60, 80 and 100 % suppressed.
const SUPPRESS: [[f64; 6]; 9] = [
    [38.1, 26.8, 31.8, 30.8, 28.7, 2.2],
    [37.5, 30.9, 30.8, 29.8, 30.6, 4.6],
    [40.7, 39.6, 39.5, 36.0, 33.2, 1.7],
    [229.0, 188.0, 203.0, 185.0, 197.0, 28.4],
    [234.0, 185.0, 215.0, 189.0, 193.0, 33.2],
    [233.0, 225.0, 224.0, 211.0, 195.0, 25.2],
    [509.0, 365.0, 389.0, 405.0, 411.0, 46.2],
    [531.0, 412.0, 447.0, 388.0, 434.0, 58.1],
    [490.0, 487.0, 500.0, 458.0, 440.0, 98.6],
];

/// Recover all, cycle with 98 to 99 % suppressed.
const EXTREME_SUPPRESS: [[f64; 2]; 9] = [
    [37.5, 28.0],
    [37.8, 32.1],
    [37.4, 30.0],
    [224.0, 191.0],
    [248.0, 186.0],
    [275.0, 182.0],
    [459.0, 388.0],
    [478.0, 394.0],
    [540.0, 398.0],
];

/// Add all frameworks, add all agents, revive all.
const BACKLOG: [[f64; 3]; 9] = [
    [0.7, 23.3, 6.7],
    [1.6, 24.6, 24.8],
    [8.2, 37.1, 119.0],
    [0.6, 148.0, 71.2],
    [1.6, 158.0, 257.0],
    [10.2, 217.0, 1270.0],
    [0.6, 317.0, 169.0],
    [1.6, 354.0, 614.0],
    [12.4, 468.0, 2987.0],
];

fn place(size: (u32, u32)) -> Option<usize> {
    SIZES.iter().position(|other| *other == size)
}

fn shape((agents, frameworks): (u32, u32)) -> String {
    format!("{agents} x {frameworks}")
}

fn in_one_role(count: u32, name: &RoleName) -> Vec<FrameworkFacts> {
    (0..count).map(|index| framework(index, core::slice::from_ref(name))).collect()
}

/// The peer's common agent: 24 processors, of which 16 and 16 ranges of ports are in use.
pub fn half_used(agents: u32, frameworks: u32, name: &RoleName) -> Vec<NewAgent> {
    let total = bag("cpus:24;mem:4096;disk:4096;ports:[31000-32000]");
    let used = with(&bag("cpus:16;mem:2014;disk:1024"), [fragments(31_000, 32_000, 16)]);
    let make = |index| agent(index, total.clone(), vec![grant(index % frameworks, name, index, used.clone())]);
    (0..agents).map(make).collect()
}

/// Agents come, then each gets revocable processors beside what it has.
pub fn add_and_update(size: (u32, u32)) -> Vec<Row> {
    let (agents, frameworks) = size;
    let (name, peer) = (role("*"), place(size).map(|at| ADD_AND_UPDATE[at]));
    let total = bag("cpus:2;mem:1024;disk:4096;ports:[31000-32000]");
    let used = bag("cpus:1;mem:128;disk:1024;ports:[31126-31510,31512-31623,31810-31852,31854-31964]");
    let make = |index| agent(index, total.clone(), vec![grant(index % frameworks, &name, index, used.clone())]);
    let made = (0..agents).map(make).collect::<Vec<_>>();
    let facts = in_one_role(frameworks, &name);
    let mut bed = Bed::default();
    let adding_frameworks = bed.frameworks(&facts);
    let adding_agents = bed.agents(made, RUNS_WHILE_ADDING);
    assert_eq!(bed.grants.len(), agents as usize);
    let grown = with(&total, [revocable(10)]);
    let grown = (0..agents).map(|_| grown.clone()).collect::<Vec<_>>();
    let (updating, ()) = super::timed(|| {
        let stride = grown.len().div_ceil(RUNS_WHILE_ADDING);
        for (index, total) in grown.into_iter().enumerate() {
            bed.engine.update_agent(kaon_kernel::id::AgentIndex(index as u32), total).expect("it is there");
            if (index + 1).is_multiple_of(stride) {
                bed.engine.cycle(bed.now, &mut bed.chance, &mut bed.grants);
            }
        }
        bed.engine.cycle(bed.now, &mut bed.chance, &mut bed.grants);
    });
    assert_eq!(bed.grants.len(), 2 * agents as usize, "each agent is offered twice");
    let row = |phase, ours, at: usize| {
        Row::new("AddAndUpdate", shape(size), phase, ours).beside(peer.map(|peer: [f64; 3]| peer[at]))
    };
    vec![
        row("add frameworks", adding_frameworks, 0),
        row("add agents", adding_agents, 1).offering(agents as usize),
        row("update agents", updating, 2).offering(agents as usize),
    ]
}

/// Rounds of: decline all for good, then a cycle.
fn rounds(
    case: &'static str,
    size: (u32, u32),
    name: &RoleName,
    made: Vec<NewAgent>,
    peer: Option<[f64; 6]>,
) -> Vec<Row> {
    let (agents, frameworks) = size;
    let facts = in_one_role(frameworks, name);
    let mut bed = Bed::default();
    let adding_frameworks = bed.frameworks(&facts);
    let adding_agents = bed.agents(made, RUNS_WHILE_ADDING);
    let (mut declines, mut cycles) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        declines.push(bed.give_back(Some(FOREVER)));
        bed.wait(Duration::secs(1));
        let (spent, offers) = bed.full_round();
        assert_eq!(offers, agents as usize, "somebody has not declined yet");
        cycles.push(spent);
    }
    let row = |phase, ours, at: usize| {
        let peer = peer.map(|peer| peer[at]).filter(|figure| !figure.is_nan());
        Row::new(case, shape(size), phase, ours).beside(peer)
    };
    let (first, last) = (cycles[0], cycles[ROUNDS - 1]);
    vec![
        row("add frameworks", adding_frameworks, 0),
        row("add agents", adding_agents, 1).offering(agents as usize),
        row("decline all", median(&mut declines), 2),
        row("cycle, round 0", first, 3).offering(agents as usize),
        row("cycle, round 9", last, 4).offering(agents as usize),
        row("cycle, median", median(&mut cycles), 5).offering(agents as usize),
    ]
}

/// Ten rounds of declines.
pub fn decline(size: (u32, u32)) -> Vec<Row> {
    let name = role("*");
    rounds("Decline", size, &name, half_used(size.0, size.1, &name), place(size).map(|at| DECLINE[at]))
}

/// The same on agents whose used part is reserved with labels of their own.
pub fn labels(size: (u32, u32)) -> Vec<Row> {
    let (agents, frameworks) = size;
    let name = role("role1");
    let made = half_used(agents, frameworks, &name).into_iter().enumerate().map(|(index, mut made)| {
        let serial = 2 * index as u64;
        let entries = [reserved(&name, 8, 12, serial), reserved(&name, 8, 12, serial + 1)];
        let used = bag("mem:2014;disk:1024");
        made.total = with(&bag("cpus:8;mem:4096;disk:4096;ports:[31000-32000]"), entries.clone());
        made.used[0].resources = with(&used, entries.into_iter().chain([fragments(31_000, 32_000, 16)]));
        made
    });
    let peer = place(size).map(|at| {
        let [frameworks, agents, decline, first, median] = LABELS[at];
        [frameworks, agents, decline, first, f64::NAN, median]
    });
    rounds("Labels", size, &name, made.collect(), peer)
}

/// Every framework declines every agent, then a cycle that visits all of them and makes no offer.
pub fn all_filtered(size: (u32, u32)) -> Vec<Row> {
    let (agents, frameworks) = size;
    let name = role("*");
    let mut bed = Bed::default();
    bed.frameworks(&in_one_role(frameworks, &name));
    bed.agents(half_used(agents, frameworks, &name), 1);
    for _ in 1..frameworks {
        bed.give_back(Some(FOREVER));
        let (_, offers) = bed.full_round();
        assert_eq!(offers, agents as usize, "somebody has not declined yet");
    }
    let declining = bed.give_back(Some(FOREVER));
    let (first, offers) = bed.full_round();
    assert_eq!(offers, 0, "all have declined all");
    let mut cycles = (0..5).map(|_| bed.full_round().0).collect::<Vec<_>>();
    let peer = ALL_FILTERED.iter().find(|other| (other.0, other.1) == size).map(|other| other.2);
    let row = |phase, ours| Row::new("all filtered", shape(size), phase, ours);
    vec![
        row("last decline of all", declining),
        row("cycle, first", first).quadratic().beside(peer).offering(0),
        row("cycle, median", median(&mut cycles)).quadratic().beside(peer).offering(0),
    ]
}

/// What was offered comes back, a fifth more of the frameworks fall silent, and a cycle.
pub fn suppress(size: (u32, u32)) -> Vec<Row> {
    const PHASES: [&str; 5] = ["cycle, 20 % suppressed", "cycle, 40 %", "cycle, 60 %", "cycle, 80 %", "cycle, 100 %"];
    let (agents, frameworks) = size;
    let (name, peer) = (role("*"), place(size).map(|at| SUPPRESS[at]));
    let mut bed = Bed::default();
    bed.frameworks(&in_one_role(frameworks, &name));
    bed.agents(half_used(agents, frameworks, &name), 1);
    let (mut recoveries, mut rows, mut silent) = (Vec::new(), Vec::new(), 0);
    for (at, phase) in PHASES.into_iter().enumerate() {
        recoveries.push(bed.give_back(None));
        let until = frameworks * (at as u32 + 1) / PHASES.len() as u32;
        silence(&mut bed, silent..until, &name);
        silent = until;
        let (spent, offers) = bed.full_round();
        assert_eq!(offers, if silent == frameworks { 0 } else { agents as usize });
        let row = Row::new("Suppress", shape(size), phase, spent).offering(offers);
        rows.push(row.beside(peer.map(|peer| peer[at + 1])));
    }
    let recovering = Row::new("Suppress", shape(size), "recover all", median(&mut recoveries));
    rows.insert(0, recovering.beside(peer.map(|peer| peer[0])));
    rows
}

/// Nearly everybody is silent.
pub fn extreme_suppress(size: (u32, u32)) -> Vec<Row> {
    let (agents, frameworks) = size;
    let (name, peer) = (role("*"), place(size).map(|at| EXTREME_SUPPRESS[at]));
    let mut bed = Bed::default();
    bed.frameworks(&in_one_role(frameworks, &name));
    bed.agents(half_used(agents, frameworks, &name), 1);
    silence(&mut bed, 0..frameworks * 98 / 100, &name);
    let (mut recoveries, mut cycles) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        recoveries.push(bed.give_back(None));
        let (spent, offers) = bed.full_round();
        assert_eq!(offers, agents as usize);
        cycles.push(spent);
    }
    let row = |phase, ours, at: usize| {
        Row::new("ExtremeSuppress", shape(size), phase, ours).beside(peer.map(|peer| peer[at]))
    };
    vec![
        row("recover all", median(&mut recoveries), 0),
        row("cycle, 98 % suppressed", median(&mut cycles), 1).offering(agents as usize),
    ]
}

/// Nothing is left, and every framework asks again.
pub fn backlog(size: (u32, u32)) -> Vec<Row> {
    let (agents, frameworks) = size;
    let (name, peer) = (role("*"), place(size).map(|at| BACKLOG[at]));
    let total = bag("cpus:24;mem:4096;disk:4096;ports:[31000-32000]");
    let made = (0..agents).map(|index| agent(index, total.clone(), Vec::new())).collect();
    let facts = in_one_role(frameworks, &name);
    let mut bed = Bed::default();
    let adding_frameworks = bed.frameworks(&facts);
    let adding_agents = bed.agents(made, RUNS_WHILE_ADDING);
    let (reviving, ()) = super::timed(|| {
        for index in 0..frameworks {
            bed.engine.revive(FrameworkIndex(index), core::slice::from_ref(&name)).expect("it is there");
        }
        bed.engine.cycle(bed.now, &mut bed.chance, &mut bed.grants);
    });
    assert_eq!(bed.grants.len(), agents as usize, "nothing was left");
    let row = |phase, ours, at: usize| {
        Row::new("Backlog", shape(size), phase, ours).beside(peer.map(|peer: [f64; 3]| peer[at]))
    };
    vec![
        row("add frameworks", adding_frameworks, 0),
        row("add agents", adding_agents, 1).offering(agents as usize),
        row("revive all", reviving, 2).quadratic(),
    ]
}

fn silence(bed: &mut Bed, frameworks: core::ops::Range<u32>, name: &RoleName) {
    for index in frameworks {
        bed.engine.suppress(FrameworkIndex(index), core::slice::from_ref(name)).expect("it is there");
    }
}
