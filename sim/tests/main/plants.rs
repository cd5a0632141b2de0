//! Mistakes that are planted must be found, and told so that they can be seen again.

use kaon_sim::{Options, Plant, Report, run};

/// So many seeds may go by before a plant shows itself.
const SEEDS_MAX: u64 = 2000;

fn planted(plant: Plant, seed: u64) -> Options {
    Options {
        agents: 4,
        frameworks: 2,
        tasks: 40,
        seed,
        faults: true,
        plant: Some(plant),
        deadline: kaon_kernel::time::Duration::secs(1800),
        ..Options::default()
    }
}

/// Seeds that show those plants which the first seeds do not. They are tried first; when what they do changes, all are gone
/// through from the first on, and the new one belongs here.
const SHOWN_BY: [(Plant, u64); 6] = [
    (Plant::TornBatch, 211),
    (Plant::SilentTask, 102),
    (Plant::LostFrame, 40),
    (Plant::Overtaking, 8),
    (Plant::ForgottenLimit, 87),
    (Plant::ForgottenStanding, 34),
];

/// A seed that shows a plant.
fn found(plant: Plant) -> Report {
    let known = SHOWN_BY.iter().filter(|(one, _)| *one == plant).map(|(_, seed)| *seed);
    let seeds = known.chain(1..=SEEDS_MAX);
    let reports = seeds.map(|seed| run(&planted(plant, seed)).expect("the options are sound"));
    let mut failed = reports.filter(|report| !report.is_well());
    failed.next().unwrap_or_else(|| panic!("{plant:?} is not found by {SEEDS_MAX} seeds"))
}

#[test]
fn every_plant_is_found() {
    for plant in Plant::ALL {
        let report = found(plant);
        let failure = report.failures.first().expect("it failed");
        let text = failure.to_string();
        println!("{}: seed {}, {}", plant.word(), failure.seed, failure.claim);
        let command = "kaon sim run --agents 4 --frameworks 2 --tasks 40 --seed";
        assert!(failure.repeat.starts_with(command), "{text}");
        assert!(failure.repeat.contains(&format!("--plant {}", plant.word())), "{text}");
        assert!(text.contains(&failure.repeat), "{text}");
        assert!(failure.story.len() > 10, "{text}");
        // It is the plant that was found, not a mistake that is there without it.
        let sound = run(&Options { plant: None, ..planted(plant, failure.seed) }).expect("the options are sound");
        assert!(sound.is_well(), "{} without {}: {sound}", failure.seed, plant.word());
    }
}

#[test]
fn a_double_grant_is_seen_by_a_checker() {
    let report = run(&Options { faults: false, ..planted(Plant::DoubleGrant, 1) }).expect("the options are sound");
    let failure = report.failures.first().expect("it is found");
    let words = [failure.claim.as_str(), failure.words.as_str()].join(" ");
    assert!(words.contains("fit into") || words.contains("held of") || words.contains("offer"), "{failure}");
}
