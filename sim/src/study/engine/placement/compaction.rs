//! Cell compaction: the smallest part of a cluster that still holds a workload (policies 5.1; Verma, Korupolu, Wilkes,
//! CLUSTER 2014).

use super::Openb;
use kaon_actors::allocator::direct::Task;
use kaon_kernel::chance::Chance;

/// Shuffles of the machines, as in the paper.
const SHUFFLES: u64 = 11;
/// So many of a thousand tasks may be left out: picky ones.
const UNPLACED_THOUSANDTHS: usize = 2;
/// A cluster that is too small is cloned at most so often.
const CLONES_MAX: usize = 8;
/// Sets the shuffles apart from all other chance.
const STREAM: u64 = 0x0be2_b000_0000_0003;

/// The smallest sufficient number of machines for each shuffle, ascending. The tasks are those of the list, in its order.
pub(super) fn sizes(openb: &Openb, policy: &str, seed: u64) -> Result<Vec<usize>, String> {
    let mut found = Vec::new();
    for shuffle in 0..SHUFFLES {
        let mut chance = Chance::new(seed ^ STREAM.wrapping_add(shuffle << 32));
        let mut nodes: Vec<usize> = (0..openb.nodes.len()).collect();
        chance.shuffle(&mut nodes);
        let cell = nodes.clone();
        let mut clones = 1;
        while !holds(openb, policy, seed, &nodes)? {
            if clones == CLONES_MAX {
                return Err(format!("the workload does not fit into {CLONES_MAX} times the cluster"));
            }
            clones += 1;
            nodes.extend_from_slice(&cell);
        }
        // The first `most` machines are enough, the first `least` are not.
        let (mut least, mut most) = (0, nodes.len());
        while most - least > 1 {
            let middle = least + (most - least) / 2;
            if holds(openb, policy, seed, &nodes[..middle])? {
                most = middle;
            } else {
                least = middle;
            }
        }
        found.push(most);
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether nearly all tasks find a place, put there from scratch.
fn holds(openb: &Openb, policy: &str, seed: u64, nodes: &[usize]) -> Result<bool, String> {
    let mut cluster = openb.cluster(nodes.iter().copied())?;
    let mut placement = openb.policy(policy, seed)?;
    let mut chance = Chance::new(seed ^ STREAM);
    let mut spare = openb.pods.len() * UNPLACED_THOUSANDTHS / 1000;
    for pod in &openb.pods {
        let task = Task::of(pod.shape);
        match placement.choose(&cluster, &task, &mut chance) {
            Some(choice) => cluster.place(choice, &task).map_err(|misfit| misfit.to_string())?,
            None if spare == 0 => return Ok(false),
            None => spare -= 1,
        }
    }
    Ok(true)
}
