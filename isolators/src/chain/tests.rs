//! The chain: order, undoing, and what contradicts itself.

use super::*;
use crate::isolator::{HostAction, Rlimit};
use kaon_kernel::container::Program;
use proptest::prelude::*;
use std::sync::Mutex;

type Log = Arc<Mutex<Vec<String>>>;

struct Recorder {
    name: &'static str,
    log: Log,
    refuses: Option<&'static str>,
    contribution: Contribution,
}

impl Recorder {
    fn step(&self, step: &'static str) -> Result<(), Error> {
        self.log.lock().unwrap().push(format!("{step} {}", self.name));
        match self.refuses {
            Some(refused) if refused == step => Err(Error::Refused { isolator: self.name, reason: "no".into() }),
            _ => Ok(()),
        }
    }
}

impl Isolator for Recorder {
    fn name(&self) -> &'static str {
        self.name
    }
    fn prepare(&self, _: &ContainerId, _: &LaunchSpec) -> Result<Contribution, Error> {
        self.step("prepare").map(|()| self.contribution.clone())
    }
    fn is_awaited(&self, _: &ContainerId) -> bool {
        self.refuses == Some("isolate")
    }
    fn isolate(&self, _: &ContainerId, _: i32) -> Result<(), Error> {
        self.step("isolate")
    }
    fn cleanup(&self, _: &ContainerId) -> Result<(), Error> {
        self.step("cleanup")
    }
}

fn chain(refusals: [Option<&'static str>; 3]) -> (Chain, Log) {
    let log = Log::default();
    let names = ["a", "b", "c"].into_iter().zip(refusals);
    let recorder = |(name, refuses)| {
        Arc::new(Recorder { name, log: log.clone(), refuses, contribution: Contribution::default() })
            as Arc<dyn Isolator>
    };
    (Chain::new(names.map(recorder).collect()).unwrap(), log)
}

fn spec() -> LaunchSpec {
    LaunchSpec::bare(Program::Shell("true".into()), "s".into())
}

#[test]
fn undone_in_reverse_and_all_of_it() {
    let container = ContainerId::trusted("c");
    let (whole, log) = chain([None, None, Some("cleanup")]);
    whole.prepare(&container, &spec()).unwrap();
    whole.isolate(&container, 1).unwrap();
    whole.cleanup(&container);
    let steps = "prepare a,prepare b,prepare c,isolate a,isolate b,isolate c,cleanup c,cleanup b,cleanup a";
    assert_eq!(log.lock().unwrap().join(","), steps);

    let (broken, log) = chain([None, Some("prepare"), None]);
    assert_eq!(broken.prepare(&container, &spec()).unwrap_err().to_string(), "b: no");
    assert_eq!(log.lock().unwrap().join(","), "prepare a,prepare b,cleanup b,cleanup a");
}

#[test]
fn disagreement_is_a_refusal_that_leaves_nothing() {
    let log = Log::default();
    let with = |name, value: &str| {
        let environment = vec![("SAME".to_owned(), value.to_owned())];
        let contribution = Contribution { environment, ..Contribution::default() };
        Arc::new(Recorder { name, log: log.clone(), refuses: None, contribution }) as Arc<dyn Isolator>
    };
    let chain = Chain::new(vec![with("a", "1"), with("b", "2")]).unwrap();
    let error = chain.prepare(&ContainerId::trusted("c"), &spec()).unwrap_err();
    assert_eq!(error.to_string(), "a and b both set the variable SAME, differently");
    assert_eq!(log.lock().unwrap().join(","), "prepare a,prepare b,cleanup b,cleanup a");
}

#[test]
fn names_are_checked() {
    assert_eq!(Chain::parse("posix/cpu, posix/mem,posix/rlimits").unwrap().names().count(), 3);
    let error = |text: &str| Chain::parse(text).unwrap_err().to_string();
    assert_eq!(error("posix/cpu,posix/cpu"), "isolator 'posix/cpu' is named twice");
    assert!(error("cgroup/cpu").starts_with("no isolator is called 'cgroup/cpu'; there are posix/cpu, "));
    assert!(error("filesystem/posix,filesystem/linux").contains("only one can be chosen"));
    assert_eq!(error("gpu/nvidia"), "isolator 'gpu/nvidia' needs 'cgroups/devices' too");
    assert_eq!(error("volume/secret"), "isolator 'volume/secret' needs 'filesystem/linux' too");
    assert_eq!(Chain::parse("posix/disk,disk/du").unwrap_err().to_string(), "isolator 'disk/du' is named twice");
    let all: Vec<_> = Chain::parse("filesystem/linux,posix/cpu").unwrap().names().collect();
    let volumes = ["volume/host_path", "volume/sandbox_path", "volume/image"];
    assert_eq!(all[..4], ["filesystem/linux", volumes[0], volumes[1], volumes[2]], "files first, with their volumes");
    assert_eq!(all[4..], ["posix/cpu"]);
}

fn contributions() -> impl Strategy<Value = Vec<(&'static str, Contribution)>> {
    let environment = proptest::collection::vec(("[AB]", "[xy]"), 0..3);
    let rlimits = proptest::collection::vec(("[PQ]", proptest::option::of(0_u64..2)), 0..3);
    let one = (environment, rlimits, 0_u8..3).prop_map(|(environment, rlimits, actions)| Contribution {
        environment,
        rlimits: rlimits.into_iter().map(|(name, soft)| Rlimit { name, soft, hard: None }).collect(),
        actions: (0..actions).map(|n| HostAction::Write { path: "f".into(), text: n.to_string() }).collect(),
        ..Contribution::default()
    });
    proptest::collection::vec(one.prop_map(|contribution| ("i", contribution)), 0..4)
}

proptest! {
    /// The merge sets each name once, to what everyone wanted who set it; it refuses exactly when they disagree.
    #[test]
    fn merge_keeps_every_wish_or_refuses(parts in contributions()) {
        let variables: Vec<_> = parts.iter().flat_map(|(_, part)| part.environment.clone()).collect();
        let limits: Vec<_> = parts.iter().flat_map(|(_, part)| part.rlimits.clone()).collect();
        let disagree = variables.iter().any(|one| variables.iter().any(|two| one.0 == two.0 && one.1 != two.1))
            || limits.iter().any(|one| limits.iter().any(|two| one.name == two.name && one != two));
        match merge(parts.clone()) {
            Err(_) => prop_assert!(disagree),
            Ok(merged) => {
                prop_assert!(!disagree);
                prop_assert!(variables.iter().all(|one| merged.environment.iter().filter(|two| *two == one).count() == 1));
                prop_assert!(limits.iter().all(|one| merged.rlimits.iter().filter(|two| *two == one).count() == 1));
                let actions: Vec<_> = parts.into_iter().flat_map(|(_, part)| part.actions).collect();
                prop_assert_eq!(merged.actions, actions);
            }
        }
    }
}
