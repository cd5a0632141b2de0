//! Mistakes that are planted must be found, and told so that they can be seen again.

use kaon_sim::{Options, Plant, Report, run};

fn planted(plant: Plant) -> Report {
    let options = Options {
        agents: 6,
        frameworks: 3,
        tasks: 120,
        plant: Some(plant),
        deadline: kaon_kernel::time::Duration::secs(1800),
        ..Options::default()
    };
    run(&options).expect("the options are sound")
}

#[test]
fn every_plant_is_found() {
    for plant in Plant::ALL {
        let report = planted(plant);
        let failure = report.failures.first().unwrap_or_else(|| panic!("{plant:?} is not found:\n{report}"));
        let text = failure.to_string();
        let command = "kaon sim run --agents 6 --frameworks 3 --tasks 120 --seed 1 --workers 1";
        assert!(failure.repeat.starts_with(command), "{text}");
        assert!(failure.repeat.contains(&format!("--plant {}", plant.word())), "{text}");
        assert!(text.contains(&failure.repeat), "{text}");
        assert!(failure.story.len() > 10, "{text}");
    }
}

#[test]
fn a_double_grant_is_seen_by_a_checker() {
    let report = planted(Plant::DoubleGrant);
    let failure = report.failures.first().expect("it is found");
    let words = [failure.claim.as_str(), failure.words.as_str()].join(" ");
    assert!(words.contains("fit into") || words.contains("held of") || words.contains("offer"), "{failure}");
}
