//! Seats filled with nonsense: a policy can be unfair, but it can neither break an invariant nor stop offers.

use super::bag::sum_of;
use crate::allocator::engine::amounts::Amounts;
use crate::allocator::engine::arrangement::{AgentOrder, Arrangement};
use crate::allocator::engine::sorter::{Client, Drf, RoleIndex, Sorter};
use crate::allocator::engine::tables::{AgentFacts, FrameworkFacts};
use crate::allocator::engine::{Engine, Rules};
use core::ops::ControlFlow;
use kaon_kernel::chance::Chance;
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkId, FrameworkIndex, RoleName};
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::offer::Refusal;
use kaon_kernel::resource::{Resources, parse};
use kaon_kernel::time::{Duration, Instant};
use proptest::prelude::*;

const ROLES: [&str; 4] = ["a", "a/b", "c", "*"];

/// What a hostile seat does when it is asked.
#[derive(Clone, Copy, Debug)]
enum Mischief {
    /// Answers well.
    None,
    /// Nothing at all.
    Silent,
    /// The same answer many times over.
    Repeats,
    /// Clients and agents that may not be there.
    Invents,
    /// Any of those that it was told of, whether they are active or not, some of them several times.
    Scrambles,
    /// As [`Mischief::Scrambles`], without an end of its own.
    Endless,
}

const MISCHIEF: [Mischief; 6] =
    [Mischief::None, Mischief::Silent, Mischief::Repeats, Mischief::Invents, Mischief::Scrambles, Mischief::Endless];

/// A sorter that keeps honest books and answers as it likes.
struct HostileSorter {
    books: Drf,
    chance: Chance,
    mischief: Mischief,
    told: Vec<Client>,
}

impl HostileSorter {
    fn new(mischief: Mischief) -> Self {
        Self { books: Drf::default(), chance: Chance::new(9), mischief, told: Vec::new() }
    }

    fn any(&mut self) -> Client {
        match self.told.len() as u64 {
            0 => Client { framework: FrameworkIndex(0), role: RoleIndex(0) },
            count => self.told[self.chance.below(count) as usize],
        }
    }
}

impl Sorter for HostileSorter {
    fn reset(&mut self, weights: &[(RoleName, u32)]) {
        self.told.clear();
        self.books.reset(weights);
    }
    fn add_role(&mut self, role: RoleIndex, name: &RoleName) {
        self.books.add_role(role, name);
    }
    fn remove_role(&mut self, role: RoleIndex) {
        self.books.remove_role(role);
    }
    fn add_framework(&mut self, client: Client, id: &FrameworkId) {
        // Who has gone stays told: it is visited on.
        self.told.push(client);
        self.books.add_framework(client, id);
    }
    fn remove_framework(&mut self, client: Client) {
        self.books.remove_framework(client);
    }
    fn set_active(&mut self, client: Client, active: bool) {
        self.books.set_active(client, active);
    }
    fn allocated(&mut self, client: Client, amounts: &Amounts) {
        self.books.allocated(client, amounts);
    }
    fn unallocated(&mut self, client: Client, amounts: &Amounts) {
        self.books.unallocated(client, amounts);
    }
    fn set_total(&mut self, total: &Amounts) {
        self.books.set_total(total);
    }
    fn walk(&mut self, visit: &mut dyn FnMut(Client) -> ControlFlow<()>) {
        let one = self.any();
        let visits = match self.mischief {
            Mischief::None => return self.books.walk(visit),
            Mischief::Silent => 0,
            Mischief::Endless => u64::MAX,
            Mischief::Repeats | Mischief::Invents | Mischief::Scrambles => 50,
        };
        for _ in 0..visits {
            let client = match self.mischief {
                Mischief::Invents => {
                    let (framework, role) = (self.chance.below(9) as u32, self.chance.below(99) as u32);
                    Client { framework: FrameworkIndex(framework), role: RoleIndex(role) }
                }
                Mischief::Repeats => one,
                _ => self.any(),
            };
            if visit(client).is_break() {
                return;
            }
        }
    }
    fn share(&self, _: RoleIndex) -> f64 {
        f64::NAN
    }
    fn holds(&self, client: Client) -> Option<(&Amounts, u64)> {
        self.books.holds(client)
    }
}

/// An arrangement that writes what it likes.
struct HostileArrangement(Mischief);

impl Arrangement for HostileArrangement {
    fn arrange(&mut self, candidates: &mut [AgentIndex], chance: &mut Chance) {
        let before = candidates.to_vec();
        for (at, candidate) in candidates.iter_mut().enumerate() {
            *candidate = match self.0 {
                Mischief::None => before[before.len() - 1 - at],
                Mischief::Silent | Mischief::Repeats | Mischief::Endless => before[0],
                Mischief::Invents => AgentIndex(chance.below(30) as u32),
                Mischief::Scrambles => before[chance.below(before.len() as u64) as usize],
            };
        }
    }
}

fn bag(text: &str) -> Resources {
    parse::resources(text).expect("a resource text of a test")
}

/// Who is there, as the master knows.
#[derive(Default)]
struct Known {
    frameworks: Vec<(u32, bool, Vec<&'static str>, Vec<&'static str>)>,
    agents: Vec<(u32, bool, Resources)>,
    outstanding: Vec<Grant>,
}

struct Siege {
    engine: Engine,
    chance: Chance,
    now: Instant,
    known: Known,
}

impl Siege {
    fn new(sorter: Mischief, arrangement: Mischief) -> Self {
        let rules = Rules { order: AgentOrder::Given, ..Rules::default() };
        let seats = (Box::new(HostileSorter::new(sorter)), Box::new(HostileArrangement(arrangement)));
        let mut engine = Engine::with_seats(rules, seats.0, seats.1);
        engine.begin(Instant(0), &[]);
        engine.resume().expect("it has begun");
        Self { engine, chance: Chance::new(5), now: Instant(0), known: Known::default() }
    }

    fn act(&mut self, number: u32, (kind, one, two): (u8, u8, u8)) {
        let name = ROLES[usize::from(two) % ROLES.len()];
        let place = usize::from(one);
        let (frameworks, agents) = (self.known.frameworks.len(), self.known.agents.len());
        match kind % 10 {
            0 | 1 => {
                let other = ROLES[usize::from(two / 4) % ROLES.len()];
                let names = if name == other { vec![name] } else { vec![name, other] };
                let facts = FrameworkFacts {
                    id: FrameworkId::trusted(format!("{number}")),
                    roles: names.iter().map(|name| RoleName::trusted(*name)).collect(),
                    suppressed: Vec::new(),
                    capabilities: Default::default(),
                };
                self.engine.add_framework(FrameworkIndex(number), &facts, true).expect("it has begun");
                self.known.frameworks.push((number, true, names, Vec::new()));
            }
            2 | 3 => {
                let total = bag(["cpus:4;mem:64", "cpus:2;cpus(a):2;mem:8", "cpus:1;gpus:1"][usize::from(one % 3)]);
                let (id, hostname) = (AgentId::trusted(format!("S{number}")), format!("machine-{number}"));
                let facts = AgentFacts { id, hostname, attributes: Vec::new(), domain: None };
                self.engine.add_agent(AgentIndex(number), facts, total.clone(), &[]).expect("it has begun");
                self.known.agents.push((number, true, total));
            }
            4 if frameworks > 0 => {
                let (index, _, names, suppressed) = &mut self.known.frameworks[place % frameworks];
                let name = names[usize::from(two) % names.len()];
                let role = [RoleName::trusted(name)];
                if two.is_multiple_of(2) {
                    self.engine.suppress(FrameworkIndex(*index), &role).expect("it is there");
                    suppressed.push(name);
                } else {
                    self.engine.revive(FrameworkIndex(*index), &role).expect("it is there");
                    suppressed.retain(|other| *other != name);
                }
            }
            5 if frameworks > 0 => {
                let (index, active, ..) = &mut self.known.frameworks[place % frameworks];
                *active = two.is_multiple_of(2);
                let index = FrameworkIndex(*index);
                let set = if *active {
                    self.engine.activate_framework(index)
                } else {
                    self.engine.deactivate_framework(index)
                };
                set.expect("it is there");
            }
            6 if frameworks > 0 && two.is_multiple_of(2) => {
                let (index, ..) = self.known.frameworks.swap_remove(place % frameworks);
                self.engine.remove_framework(FrameworkIndex(index)).expect("it is there");
                self.known.outstanding.retain(|grant| grant.framework.0 != index);
            }
            6 if agents > 0 => {
                let (index, ..) = self.known.agents.swap_remove(place % agents);
                self.engine.remove_agent(AgentIndex(index)).expect("it is there");
                self.known.outstanding.retain(|grant| grant.agent.0 != index);
            }
            7 if agents > 0 => {
                let (index, active, _) = &mut self.known.agents[place % agents];
                *active = two.is_multiple_of(2);
                self.engine.set_agent_active(AgentIndex(*index), *active).expect("it is there");
            }
            8 if !self.known.outstanding.is_empty() => {
                let grant = self.known.outstanding.swap_remove(place % self.known.outstanding.len());
                let refusal = [None, Some(Refusal(Duration::secs(2)))][usize::from(two % 2)];
                self.engine.recover(self.now, grant, refusal).expect("it was granted");
            }
            _ => self.now = self.now + Duration::millis(u64::from(one) * 5),
        }
        self.round();
    }

    /// A batch round: only what may be granted is, and nothing that could be granted is left.
    fn round(&mut self) {
        let mut grants = Vec::new();
        self.engine.mark_batch();
        self.engine.cycle(self.now, &mut self.chance, &mut grants);
        self.engine.invariants();
        for grant in &grants {
            let framework = self.known.frameworks.iter().find(|known| known.0 == grant.framework.0);
            let (_, active, names, suppressed) = framework.expect("a grant to a framework that is there");
            let name = grant.role.as_str();
            assert!(*active && names.contains(&name) && !suppressed.contains(&name), "{grant:?}");
            let agent = self.known.agents.iter().find(|known| known.0 == grant.agent.0);
            assert!(agent.expect("a grant of an agent that is there").1, "a grant of an agent that is not active");
        }
        self.known.outstanding.extend(grants);
        for (agent, _, total) in &self.known.agents {
            let held = self.known.outstanding.iter().filter(|grant| grant.agent.0 == *agent);
            let held = sum_of(held.map(|grant| &grant.resources));
            let free = total.minus(&held).expect("no more is granted than there is");
            assert_eq!(*self.engine.agent(AgentIndex(*agent)).expect("it is there").free(), free);
        }
        for (framework, _, names, _) in &self.known.frameworks {
            for (agent, ..) in &self.known.agents {
                for name in names {
                    let name = RoleName::trusted(*name);
                    let reasons = self.engine.explain(FrameworkIndex(*framework), &name, AgentIndex(*agent));
                    assert!(!reasons.is_empty(), "agent {agent} could be offered to {framework} as {name}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_hostile_policy_breaks_nothing_and_stops_nothing(
        sorter in 0..MISCHIEF.len(),
        arrangement in 0..MISCHIEF.len(),
        steps in prop::collection::vec(any::<(u8, u8, u8)>(), 1..40),
    ) {
        let mut siege = Siege::new(MISCHIEF[sorter], MISCHIEF[arrangement]);
        for (number, step) in steps.into_iter().enumerate() {
            siege.act(number as u32, step);
        }
    }
}
