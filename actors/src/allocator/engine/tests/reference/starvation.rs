//! Nobody starves: with any mix of frameworks that decline, what is free reaches one that takes it within a bound.
//!
//! The bound: twice the sum over those who decline of (the time each takes to answer, and one coalescing window), and
//! one window. While that sum is below the interval, a refusal outlasts the rest of the line, so each declines at most once
//! before it is the turn of one that takes; twice, since refusals of no length all end with a batch round in between.

use crate::allocator::engine::arrangement::AgentOrder;
use crate::allocator::engine::filter::EXPIRY_GRAIN;
use crate::allocator::engine::tables::{AgentFacts, FrameworkFacts};
use crate::allocator::engine::{Engine, Rules};
use kaon_kernel::chance::Chance;
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkId, FrameworkIndex, RoleName};
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::offer::Refusal;
use kaon_kernel::resource::{Resources, parse};
use kaon_kernel::time::{Duration, Instant};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The allocator's coalescing window.
const WINDOW: Duration = Duration::millis(1);
const SECONDS: u64 = 30;
const AGENTS: u32 = 4;

/// A framework that wants nothing.
#[derive(Clone, Copy, Debug)]
struct Decliner {
    delay: Duration,
    refusal: Duration,
    role: usize,
}

/// What happens at a time.
#[derive(Debug)]
enum Event {
    Round,
    Batch,
    Answer(Grant),
    /// The tasks of one that took something end.
    Over(Grant),
}

struct World {
    engine: Engine,
    chance: Chance,
    now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    serial: u64,
    is_round_armed: bool,
    decliners: Vec<Decliner>,
    lasting: Duration,
    free_since: BTreeMap<u32, Instant>,
    taken: u64,
}

fn total() -> Resources {
    parse::resources("cpus:4;mem:1024").expect("a resource text of a test")
}

impl World {
    fn new(decliners: Vec<Decliner>, takers: u32, lasting: Duration) -> Self {
        const ROLES: [&str; 3] = ["a", "a/b", "c"];
        let mut engine = Engine::new(Rules { order: AgentOrder::Random, ..Rules::default() });
        engine.begin(Instant(0), &[]);
        engine.resume().expect("it has begun");
        for index in 0..decliners.len() as u32 + takers {
            let role = decliners.get(index as usize).map_or("taker", |decliner| ROLES[decliner.role % 3]);
            let facts = FrameworkFacts {
                id: FrameworkId::trusted(format!("{index:04}")),
                roles: vec![RoleName::trusted(role)],
                suppressed: Vec::new(),
                capabilities: Default::default(),
            };
            engine.add_framework(FrameworkIndex(index), &facts, true).expect("it has begun");
        }
        for index in 0..AGENTS {
            let facts = AgentFacts {
                id: AgentId::trusted(format!("S{index}")),
                hostname: format!("machine-{index}"),
                attributes: Vec::new(),
                domain: None,
            };
            engine.add_agent(AgentIndex(index), facts, total(), &[]).expect("it has begun");
        }
        let events = BTreeMap::from([((Instant(0) + Duration::secs(1), 0), Event::Batch)]);
        let free_since = (0..AGENTS).map(|index| (index, Instant(0))).collect();
        let (chance, now) = (Chance::new(1), Instant(0));
        let (serial, is_round_armed, taken) = (0, false, 0);
        Self { engine, chance, now, events, serial, is_round_armed, decliners, lasting, free_since, taken }
    }

    fn bound(&self) -> Duration {
        let line = self.decliners.iter().map(|decliner| decliner.delay.0 + WINDOW.0 + EXPIRY_GRAIN.0);
        Duration(2 * line.sum::<u64>() + WINDOW.0)
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    /// Lives for a while; no agent may be free for longer than the bound.
    fn live(&mut self) {
        let end = Instant(0) + Duration::secs(SECONDS);
        let bound = self.bound();
        while self.now < end {
            if self.engine.has_work() && !self.is_round_armed {
                self.is_round_armed = true;
                self.at(self.now + WINDOW, Event::Round);
            }
            let due = self.events.keys().next().map(|(at, _)| *at);
            if let Some(expiry) = self.engine.next_expiry().filter(|expiry| due.is_none_or(|due| *expiry <= due)) {
                self.now = self.now.max(expiry);
                self.engine.expire(self.now);
                continue;
            }
            let Some(((at, _), event)) = self.events.pop_first() else { return };
            self.now = at;
            self.handle(event);
            for (agent, since) in &self.free_since {
                let waited = self.now.since(*since);
                assert!(waited <= bound, "agent {agent} is free for {waited:?}, the bound is {bound:?}");
            }
        }
        assert!(self.taken >= u64::from(AGENTS), "{} offers taken", self.taken);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Round => {
                self.is_round_armed = false;
                let mut grants = Vec::new();
                self.engine.cycle(self.now, &mut self.chance, &mut grants);
                for grant in grants {
                    match self.decliners.get(grant.framework.0 as usize).copied() {
                        Some(decliner) => self.at(self.now + decliner.delay, Event::Answer(grant)),
                        None => {
                            self.taken += 1;
                            self.free_since.remove(&grant.agent.0);
                            self.at(self.now + self.lasting, Event::Over(grant));
                        }
                    }
                }
            }
            Event::Batch => {
                self.engine.mark_batch();
                let next = self.engine.next_round(self.now);
                self.at(next, Event::Batch);
            }
            Event::Answer(grant) => {
                let refusal = self.decliners[grant.framework.0 as usize].refusal;
                self.engine.recover(self.now, grant, Some(Refusal(refusal))).expect("it was granted");
            }
            Event::Over(grant) => {
                self.free_since.insert(grant.agent.0, self.now);
                self.engine.recover(self.now, grant, None).expect("it was granted");
            }
        }
    }
}

fn decliners() -> impl Strategy<Value = Vec<Decliner>> {
    let refusals = prop::sample::select(vec![0, 5, 1_000, 1_001, 5_000, 60_000]);
    let decliner = (0u64..120, refusals, 0usize..3).prop_map(|(delay, refusal, role)| Decliner {
        delay: Duration::millis(delay),
        refusal: Duration::millis(refusal),
        role,
    });
    // Together they answer within an interval: beyond it the first has come round again before the last has answered.
    let line = |all: &Vec<Decliner>| all.iter().map(|one| one.delay.0 + WINDOW.0 + EXPIRY_GRAIN.0).sum::<u64>();
    prop::collection::vec(decliner, 0..12)
        .prop_filter("slower than an interval", move |all| line(all) < Duration::secs(1).0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_free_reaches_one_who_takes_it_within_the_bound(
        decliners in decliners(),
        takers in 1u32..4,
        lasting in 1u64..3_000,
    ) {
        World::new(decliners, takers, Duration::millis(lasting)).live();
    }
}
