//! What is told of a wish helps: whoever makes the changes that are named gets what was wished for, and where nothing helps
//! that is told.

use super::{Play, bag, grant, role};
use crate::allocator::engine::against::Against;
use crate::allocator::engine::wanted::Wanted;
use crate::allocator::engine::{Reason, Rules};
use kaon_kernel::actor::StreamId;
use kaon_kernel::framework::Capability;
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkId, FrameworkIndex};
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::message::explain::{ClientAccount, Question, Subject};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::{ResourceName, Resources, Value};
use kaon_kernel::time::Duration;
use proptest::prelude::*;

const ASKING: u32 = 1;
const OTHER: u32 = 2;

fn ask(play: &Play, wants: &str) -> ClientAccount {
    let subject = Subject::Framework(FrameworkId::trusted(format!("{ASKING:04}")));
    let question = Question { subject, wants: bag(wants), placement: None, reply: StreamId(9) };
    play.engine.answer(&question, play.now).expect("it is known").clients.remove(0)
}

/// Declines all that a round gives.
fn decline(play: &mut Play, length: Duration) {
    for grant in play.round() {
        play.recover(grant, Some(length));
    }
}

#[test]
fn what_no_agent_has_is_told_by_name_whatever_filters_say() {
    let mut play = Play::new();
    play.framework(ASKING, &["dev"]);
    play.agent(1, "cpus:4;mem:2048;disk:1000;cpus(web):2");
    play.agent(2, "cpus:1;mem:512;disk:100;ports:[1-9]");
    play.agent(3, "cpus:2;mem:4096;disk:1000");
    decline(&mut play, Duration::secs(60));
    for (wants, text, change) in [
        (
            "cpus:100",
            "no agent has 100 cpus; the largest has 6",
            "ask for at most cpus:6, as S1 has, or add an agent with cpus:100",
        ),
        ("gpus:1", "no agent has any gpus", "add an agent with gpus:1"),
        (
            "foo:1;cpus:1",
            "no agent has any foo",
            "ask for at most cpus:6, as S1 has, or add an agent with cpus:1; foo:1",
        ),
        (
            "cpus:3;mem:3000",
            "no agent has cpus:3; mem:3000 together; S3 has cpus:2; mem:4096",
            "ask for at most cpus:2; mem:4096, as S3 has, or add an agent with cpus:3; mem:3000",
        ),
        ("ports:[8-10]", "no agent has ports:[8-10] together; S2 has ports:9", "add an agent with ports:[8-10]"),
    ] {
        let account = ask(&play, wants);
        let never = account.never.expect("it fits nowhere");
        assert_eq!((never.word.as_str(), never.text.as_str()), ("never_fits", text), "{wants}");
        assert_eq!(never.change, change, "{wants}");
        assert_eq!((account.nearest, account.agents_open), (None, 0), "{wants}");
        assert_eq!(account.groups.iter().map(|group| group.agents).sum::<u32>(), 3);
    }
    // Only the third could hold this, and only what is reserved to others would let the first hold the last.
    for (wants, agent, word, change) in [
        ("mem:3000", "S3", "filtered", "wait 60.0 s, or REVIVE the framework in this role"),
        ("cpus:5", "S1", "reserved_to_others", "subscribe in web, or take the reservation back"),
    ] {
        let account = ask(&play, wants);
        let nearest = account.nearest.expect("one could hold it");
        assert_eq!((nearest.agent_id, nearest.obstacle.word.as_str()), (AgentId::trusted(agent), word), "{wants}");
        assert!(nearest.obstacle.change.starts_with(change), "{wants}: {}", nearest.obstacle.change);
        assert_eq!(account.never, None);
    }
}

#[test]
fn a_quota_counts_only_where_it_keeps_the_wish_back() {
    let mut play = Play::new();
    let limits = Quota { guarantees: Vec::new(), limits: vec![(ResourceName::Cpus, Quantity(1000))] };
    play.engine.set_quota(&role("lim"), &limits).expect("a role");
    play.framework(ASKING, &["lim"]);
    play.agent(1, "cpus:4;mem:2048");
    assert_eq!(ask(&play, "gpus:1").never.expect("nobody has any").text, "no agent has any gpus");
    assert_eq!(ask(&play, "cpus:1;mem:1000").agents_open, 1);
    let nearest = ask(&play, "cpus:2.5;mem:1000").nearest.expect("one could hold it").obstacle;
    assert_eq!(
        (nearest.word.as_str(), nearest.change.as_str()),
        ("quota_limit", "raise the role's limit of cpus by 1.5")
    );
    // What runs there has to end as well.
    play.agent_in_use(2, "cpus:8;mem:64", &[grant(7, "x", 2, "cpus:4")]);
    let nearest = ask(&play, "cpus:6").nearest.expect("one could hold it").obstacle;
    assert_eq!(nearest.change, "raise the role's limit of cpus by 5; then wait until cpus:2 more are free there");
}

#[test]
fn of_agents_that_are_as_far_away_the_one_with_less_to_change_is_nearest() {
    let mut play = Play::new();
    let limits = Quota { guarantees: Vec::new(), limits: vec![(ResourceName::Cpus, Quantity(1000))] };
    play.engine.set_quota(&role("lim"), &limits).expect("a role");
    play.framework(ASKING, &["lim"]);
    play.agent_in_use(1, "cpus:4;mem:64", &[grant(7, "x", 1, "cpus:3")]);
    play.agent(2, "cpus:4;mem:64");
    let nearest = ask(&play, "cpus:2").nearest.expect("one could hold it");
    assert_eq!(nearest.agent_id, AgentId::trusted("S2"));
    assert_eq!(nearest.obstacle.change, "raise the role's limit of cpus by 1");
}

/// A cluster and a wish, by numbers.
#[derive(Clone, Debug)]
struct Case {
    agents: Vec<(usize, u8, u8)>,
    wish: usize,
    limits: u8,
    guarantees: u8,
    inactive: u8,
    listed: u8,
    has_minimum: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let agents = prop::collection::vec((0..TOTALS.len(), any::<u8>(), any::<u8>()), 1..5);
    (agents, 0..WISHES.len(), any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>(), any::<bool>()).prop_map(
        |(agents, wish, limits, guarantees, inactive, listed, has_minimum)| Case {
            agents,
            wish,
            limits,
            guarantees,
            inactive,
            listed,
            has_minimum,
        },
    )
}

const TOTALS: [&str; 8] = [
    "cpus:4;mem:1024",
    "cpus:2;mem:2048;disk:100",
    "cpus:4;mem:1024;gpus:1",
    "cpus:1;cpus(dev):2;mem:64;mem(dev):512",
    "cpus:1;cpus(other):3;mem:64;mem(third):64",
    "disk:500;ports:[1-20]",
    "cpus:8;mem:64;ports:[1-9]",
    "cpus:3;mem:3000;licences:3",
];
const WISHES: [&str; 10] = [
    "cpus:1",
    "cpus:3;mem:64",
    "cpus:4",
    "mem:1500",
    "disk:50",
    "ports:[3-12]",
    "gpus:1;cpus:1",
    "licences:2;cpus:1",
    "cpus:2;mem:500",
    "cpus:6;ports:[2-4]",
];
const USES: [&str; 4] = ["cpus:1", "cpus:2;mem:512", "mem:700", "cpus:1;mem:32;ports:[4-5];disk:400"];

fn scalars(text: &str) -> Vec<(ResourceName, Quantity)> {
    let scalar = |entry: &kaon_kernel::resource::Resource| match entry.value {
        Value::Scalar(amount) => Some((entry.name.clone(), amount)),
        _ => None,
    };
    bag(text).iter().filter_map(scalar).collect()
}

/// The world of a case, with what others hold of it.
struct World {
    play: Play,
    held: Vec<Grant>,
    limits: Vec<(ResourceName, Quantity)>,
    capabilities: Vec<Capability>,
}

fn quota_of(limits: &[(ResourceName, Quantity)], guarantees: &[(ResourceName, Quantity)]) -> Quota {
    Quota { guarantees: guarantees.to_vec(), limits: limits.to_vec() }
}

impl World {
    fn new(case: &Case) -> Self {
        let minimums = if case.has_minimum { Rules::default().minimums } else { Vec::new() };
        let mut play = Play::with(Rules { minimums, ..Rules::default() }, &[]);
        play.framework(ASKING, &["dev"]);
        play.framework_with(OTHER, &["other"], &["other"], &[]);
        let mut held = Vec::new();
        for (number, (total, used, _)) in (1..).zip(&case.agents) {
            let wish = bag(USES[usize::from(*used) % USES.len()]);
            let used = bag(TOTALS[*total]).find(&wish, Some(&role("other"))).filter(|_| used.is_multiple_of(3));
            let user = if number % 2 == 0 { (OTHER, "other") } else { (ASKING, "dev") };
            let is_theirs = |used: &Resources| used.offerable_to(&role(user.1)) == *used;
            let used = used.filter(is_theirs).map(|resources| Grant {
                framework: FrameworkIndex(user.0),
                role: role(user.1),
                agent: AgentIndex(number),
                resources,
            });
            play.agent_in_use(number, TOTALS[*total], used.as_slice());
            held.extend(used);
        }
        // All is declined by numbers: at once, in part, or not, and then stays held.
        for given in play.round() {
            let (_, _, how) = case.agents[given.agent.0 as usize - 1];
            match how % 4 {
                0 => play.recover(given, None),
                1 => play.recover(given, Some(Duration::secs(60))),
                2 => {
                    let first = given.resources.iter().next().expect("never empty").name.clone();
                    let part = given.resources.filter(|entry| entry.name == first);
                    let rest = given.resources.minus(&part).expect("a part of it");
                    play.recover(Grant { resources: part, ..given.clone() }, Some(Duration::secs(30)));
                    held.push(Grant { resources: rest, ..given });
                    held.retain(|one| !one.resources.is_empty());
                }
                _ => held.push(given),
            }
        }
        let limits = ["", "", "cpus:2", "cpus:5;mem:600", "mem:0"][usize::from(case.limits) % 5];
        let limits = if limits.is_empty() { Vec::new() } else { scalars(limits) };
        let guarantees = ["", "", "cpus:3", "mem:900;cpus:1"][usize::from(case.guarantees) % 4];
        let guarantees = if guarantees.is_empty() { Vec::new() } else { scalars(guarantees) };
        play.engine.set_quota(&role("dev"), &quota_of(&limits, &[])).expect("a role");
        play.engine.set_quota(&role("other"), &quota_of(&[], &guarantees)).expect("a role");
        let inactive = AgentIndex(u32::from(case.inactive % 8) + 1);
        let _ = play.engine.set_agent_active(inactive, false);
        let listed = [format!("machine-{}", case.listed % 4 + 1)];
        play.engine.set_whitelist((case.listed > 160).then_some(&listed[..])).expect("it has begun");
        play.engine.invariants();
        Self { play, held, limits, capabilities: Vec::new() }
    }

    fn against(&self, agent: AgentIndex, wants: &Resources) -> Vec<Against<'_>> {
        let found = self.play.engine.agent(agent).expect("it is there");
        self.play.engine.against_wish(FrameworkIndex(ASKING), &role("dev"), found, &Wanted::anywhere(wants))
    }

    /// Makes the change that is named for one thing; false when that is left out of the test.
    fn change(&mut self, agent: AgentIndex, what: &What) -> bool {
        let engine = &mut self.play.engine;
        let asking = FrameworkIndex(ASKING);
        match what {
            What::Activate => engine.set_agent_active(agent, true).expect("it is there"),
            What::List => engine.set_whitelist(None).expect("it has begun"),
            What::Understand(capability) => {
                self.capabilities.push(*capability);
                let capabilities = self.capabilities.iter().collect();
                engine.update_framework(asking, &[role("dev")], &[], capabilities).expect("it is there");
            }
            What::Raise(name, more) => {
                for (limited, limit) in &mut self.limits {
                    if limited == name {
                        limit.0 += more;
                    }
                }
                engine.set_quota(&role("dev"), &quota_of(&self.limits, &[])).expect("a role");
            }
            What::Lower => engine.set_quota(&role("other"), &Quota::default()).expect("a role"),
            What::Minimum => engine.set_minimums(asking, &role("dev"), Some(Vec::new())).expect("it is in it"),
            What::Revive => engine.revive(asking, &[role("dev")]).expect("it is there"),
            What::End => {
                let (there, rest): (Vec<_>, Vec<_>) = self.held.drain(..).partition(|one| one.agent == agent);
                self.held = rest;
                for one in there {
                    self.play.recover(one, None);
                }
            }
            What::Unreserve => return false,
        }
        true
    }
}

/// A change that an obstacle names.
enum What {
    Activate,
    List,
    Understand(Capability),
    Unreserve,
    Raise(ResourceName, u64),
    Lower,
    Minimum,
    Revive,
    End,
}

impl What {
    fn of(against: &Against<'_>) -> Self {
        match against {
            Against::Offer(Reason::AgentInactive) => Self::Activate,
            Against::Offer(Reason::NotListed) => Self::List,
            Against::Offer(Reason::GpuOptIn) => Self::Understand(Capability::GpuResources),
            Against::Offer(Reason::BelowMinimum { .. }) => Self::Minimum,
            Against::Offer(Reason::Filtered { .. }) => Self::Revive,
            Against::Reserved(_) => Self::Unreserve,
            Against::Quota { name, more, is_limit: true } => Self::Raise((*name).clone(), *more as u64),
            Against::Quota { is_limit: false, .. } => Self::Lower,
            Against::Size { .. } => Self::End,
            other => panic!("{other:?} names nothing that can be done in this test"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn whoever_makes_the_changes_that_are_named_gets_the_wish(case in case()) {
        let mut world = World::new(&case);
        let wants = bag(WISHES[case.wish]);
        let account = ask(&world.play, WISHES[case.wish]);
        let agents: Vec<AgentIndex> = (1..=case.agents.len() as u32).map(AgentIndex).collect();
        let total = |agent: &AgentIndex| world.play.engine.agent(*agent).expect("it is there").total().clone();
        let could = agents.iter().filter(|agent| total(agent).find(&wants, None).is_some()).count();
        let open: Vec<AgentIndex> = agents.iter().copied().filter(|&agent| world.against(agent, &wants).is_empty()).collect();
        prop_assert_eq!(account.agents_open as usize, open.len());
        prop_assert_eq!(account.never.is_some(), could == 0, "{:?}", account);
        prop_assert_eq!(account.nearest.is_some(), could > 0 && open.is_empty(), "{:?}", account);
        let agent = match (&account.nearest, open.first()) {
            (Some(nearest), _) => {
                let number = nearest.agent_id.as_str().trim_start_matches('S').parse().expect("a number");
                let agent = AgentIndex(number);
                let changes: Vec<What> = world.against(agent, &wants).iter().map(What::of).collect();
                prop_assert!(!changes.is_empty());
                for change in &changes {
                    if !world.change(agent, change) {
                        return Ok(());
                    }
                }
                let left = format!("{:?}", world.against(agent, &wants));
                prop_assert_eq!(left, "[]", "after {:?}", account.nearest);
                agent
            }
            (None, Some(&open)) => open,
            (None, None) => return Ok(()),
        };
        // It is offered. A limit can be used up on another agent first.
        if world.limits.is_empty() || agents.len() == 1 {
            world.play.engine.mark_batch();
            let grants = world.play.round();
            let given = grants.iter().find(|grant| grant.agent == agent);
            let is_enough = given.is_some_and(|given| given.resources.find(&wants, None).is_some());
            let is_kept = case.guarantees % 4 > 1 && agents.len() > 1;
            prop_assert!(is_enough || is_kept, "{:?} of {:?}: {:?}", given, agent, account);
        }
    }
}
