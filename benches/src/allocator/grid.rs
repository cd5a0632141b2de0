//! A grid of cluster sizes by cases: how cost grows, and what limits a cell.
//!
//! Frameworks are spread in turn over as many roles as there are frameworks, up to [`ROLES_MAX`]: flat, or the leaves of a
//! tree three deep. A cell that would need more looks than [`LOOKS_MAX`] to bring all filters into force, or more
//! reservations than [`RESERVATIONS_MAX`], is left out and says so.

use super::bed::{Bed, FOREVER, NewAgent, agent, bag, framework, role};
use super::labels::{fragments, reserved, with};
use super::{median, quota, timed};
use kaon_actors::allocator::engine::Rules;
use kaon_kernel::chance::Chance;
use kaon_kernel::id::{FrameworkIndex, RoleName};

/// Numbers of agents.
pub const AGENTS: [u32; 3] = [1_000, 10_000, 50_000];
/// Numbers of frameworks.
pub const FRAMEWORKS: [u32; 5] = [1, 50, 200, 1_000, 6_000];
/// Roles at most.
pub const ROLES_MAX: u32 = 1_000;
/// Looks at filters at most while all frameworks decline all agents one after the other: agents times the square of
/// frameworks. A minute or so.
pub const LOOKS_MAX: u64 = 2_500_000_000;
/// Labelled reservations at most.
pub const RESERVATIONS_MAX: u64 = 1_000_000;
/// Freed agents whose price is measured one by one.
const CHURN: usize = 2_000;

/// How roles lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// Beside each other.
    Flat,
    /// Three components each, ten children to a node.
    Deep,
}

/// What state the cluster is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Everything is free and wanted.
    AllFree,
    /// Every framework has declined every agent.
    AllFiltered,
    /// Every other framework is silent.
    HalfSuppressed,
    /// Every role has a limit that ends within what it is offered next.
    NearQuota,
    /// A hundred labelled reservations on each agent, all for one role, agents in turn for all roles.
    Labels,
    /// 250 ranges of ports on each agent.
    Ports,
    /// Agents are freed one by one while everything is granted: microseconds each.
    Churn,
}

/// All cases.
pub const CASES: [Case; 7] =
    [Case::AllFree, Case::AllFiltered, Case::HalfSuppressed, Case::NearQuota, Case::Labels, Case::Ports, Case::Churn];

/// One cell.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Agents.
    pub agents: u32,
    /// Frameworks.
    pub frameworks: u32,
    /// How roles lie.
    pub roles: Roles,
    /// In which state.
    pub case: Case,
}

/// What came of a cell.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// A full round (of [`Case::Churn`]: one freed agent to its grant).
    Measured {
        /// Processor time in milliseconds, median.
        spent: f64,
        /// The worst of the measurements in milliseconds.
        worst: f64,
        /// Grants made in it.
        grants: usize,
    },
    /// Left out, since the load would need so many looks or reservations.
    TooLarge(u64),
}

impl Cell {
    /// The roles of its frameworks.
    pub fn names(&self) -> Vec<RoleName> {
        let count = self.frameworks.min(ROLES_MAX);
        let path = |at: u32| match self.roles {
            Roles::Flat => format!("role-{at:04}"),
            Roles::Deep => format!("org-{}/team-{}/role-{at:04}", at % 10, at / 10 % 10),
        };
        (0..count).map(|at| role(&path(at))).collect()
    }

    /// Measures it, the median of some rounds.
    pub fn measure(&self, rounds: usize) -> Outcome {
        let looks = u64::from(self.agents) * u64::from(self.frameworks).pow(2);
        let reservations = u64::from(self.agents) * 100;
        match self.case {
            Case::AllFiltered if looks > LOOKS_MAX => return Outcome::TooLarge(looks),
            Case::Labels if reservations > RESERVATIONS_MAX => return Outcome::TooLarge(reservations),
            _ => {}
        }
        let mut bed = self.bed();
        if self.case == Case::Churn {
            return churn(&mut bed);
        }
        let (mut spent, mut grants) = (Vec::new(), 0);
        for _ in 0..rounds {
            let round = bed.full_round();
            spent.push(round.0);
            grants = round.1;
            if self.case != Case::AllFiltered {
                bed.give_back(None);
            }
        }
        let worst = spent.iter().copied().fold(0.0, f64::max);
        Outcome::Measured { spent: median(&mut spent), worst, grants }
    }

    /// The cluster in the state of the case, before a round.
    ///
    /// # Panics
    /// When the engine does not grant what it should on the way there.
    pub fn bed(&self) -> Bed {
        let names = &self.names()[..];
        let mut bed = Bed::new(Rules::default(), &[]);
        let name = |index: u32| &names[index as usize % names.len()];
        let facts = (0..self.frameworks).map(|index| framework(index, core::slice::from_ref(name(index))));
        bed.frameworks(&facts.collect::<Vec<_>>());
        bed.agents((0..self.agents).map(|index| self.agent(index, names)).collect(), 0);
        match self.case {
            Case::AllFiltered => {
                for _ in 0..self.frameworks {
                    let (_, offers) = bed.full_round();
                    assert_eq!(offers, self.agents as usize, "somebody has not declined yet");
                    bed.give_back(Some(FOREVER));
                }
            }
            Case::HalfSuppressed => {
                for index in (1..self.frameworks).step_by(2) {
                    let name = core::slice::from_ref(name(index));
                    bed.engine.suppress(FrameworkIndex(index), name).expect("it is there");
                }
            }
            Case::NearQuota => quota::limit_near(&mut bed, names, self.agents),
            Case::Churn => {
                bed.full_round();
            }
            Case::AllFree | Case::Labels | Case::Ports => {}
        }
        bed
    }

    fn agent(&self, index: u32, names: &[RoleName]) -> NewAgent {
        let plain = || bag("cpus:24;mem:4096;disk:4096;ports:[31000-32000]");
        let total = match self.case {
            Case::Labels => {
                let name = &names[index as usize % names.len()];
                let serial = |at: u32| u64::from(index) * 100 + u64::from(at);
                with(&plain(), (0..100).map(|at| reserved(name, 1, 2, serial(at))))
            }
            Case::Ports => with(&bag("cpus:24;mem:4096;disk:4096"), [fragments(31_000, 32_000, 250)]),
            _ => plain(),
        };
        agent(index, total, Vec::new())
    }
}

/// One freed agent at a time, from its return to the next grant.
fn churn(bed: &mut Bed) -> Outcome {
    let mut chance = Chance::new(2);
    let mut spent = Vec::new();
    for _ in 0..CHURN {
        let at = chance.below(bed.grants.len() as u64) as usize;
        let grant = bed.grants.swap_remove(at);
        let before = bed.grants.len();
        spent.push(
            timed(|| {
                bed.engine.recover(bed.now, grant, None).expect("it was granted");
                bed.engine.cycle(bed.now, &mut bed.chance, &mut bed.grants);
            })
            .0,
        );
        assert_eq!(bed.grants.len(), before + 1, "what is freed is granted");
    }
    let worst = spent.iter().copied().fold(0.0, f64::max);
    Outcome::Measured { spent: median(&mut spent), worst, grants: 1 }
}
