//! Small clusters with faults: every claim holds, every task ends.

use kaon_sim::{Options, explore, run};

/// The seeds that a debug build goes through here; `kaon sim explore` goes through more.
const SEEDS: u64 = 20;

/// Reservations and volumes: amounts stay, no volume goes under a task, and all that is lost is found again.
#[test]
fn what_is_reserved_and_kept_survives_faults() {
    let options = Options { agents: 4, frameworks: 3, tasks: 40, workers: 2, volumes: true, ..Options::default() };
    let explored = explore(0..SEEDS, &options, &|_| ()).expect("the options are sound");
    let told: Vec<String> = explored.failures.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    assert!(explored.relaunched > 0, "the faults cost tasks");
}

#[test]
fn small_clusters_with_faults_come_to_rest() {
    let options = Options { agents: 5, frameworks: 3, tasks: 40, workers: 2, ..Options::default() };
    let explored = explore(0..SEEDS, &options, &|_| ()).expect("the options are sound");
    let told: Vec<String> = explored.failures.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    assert_eq!(explored.seeds, SEEDS);
    assert!(explored.faults > SEEDS, "the swarm plans faults");
    assert!(explored.relaunched > 0, "the faults cost tasks");
}

/// A master that ends right behind its welcome to an agent: the agent must not keep a session that nobody else has.
#[test]
fn an_end_that_overtakes_a_welcome_leaves_no_half_of_a_session() {
    let kept_faults = Some(vec![16, 22, 23, 25, 37]);
    let small =
        Options { agents: 1, frameworks: 1, tasks: 1, seed: 1077, faults: true, kept_faults, ..Options::default() };
    let report = run(&small).expect("the options are sound");
    assert!(report.is_well(), "{report}");
}
