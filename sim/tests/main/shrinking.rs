//! A failing run is made smaller, and what is left still fails in the same way.

use kaon_sim::{Options, Plant, explore, run, shrink};

#[test]
fn a_failure_shrinks_to_a_small_run_that_repeats_it() {
    let plant = Some(Plant::SecondLaunch);
    let planted =
        |seed| Options { agents: 6, frameworks: 3, tasks: 60, seed, faults: true, plant, ..Options::default() };
    let mut runs = (1..200).map(|seed| (planted(seed), run(&planted(seed)).expect("the options are sound")));
    let (options, before) = runs.find(|(_, report)| !report.is_well()).expect("the plant shows itself");
    let claim = &before.failures[0].claim;
    let shrunk = shrink(&options).expect("the options are sound").expect("it fails");
    let small = &shrunk.options;
    assert!(small.agents < 6 && small.frameworks < 3 && small.tasks < 60, "{shrunk}");
    assert!(shrunk.report.faults.len() < before.faults.len().max(1), "{shrunk}");
    let again = run(small).expect("the options are sound");
    assert_eq!(again.trace_hash, shrunk.report.trace_hash);
    assert_eq!(&again.failures.first().expect("it fails again").claim, claim);
    assert!(again.failures[0].repeat.contains("--keep-faults"), "{}", again.failures[0].repeat);
}

#[test]
fn what_does_not_fail_does_not_shrink() {
    let options = Options { agents: 2, frameworks: 1, tasks: 5, ..Options::default() };
    assert!(shrink(&options).expect("the options are sound").is_none());
}

#[test]
fn faults_left_out_are_left_out_alone() {
    let options = Options { agents: 4, frameworks: 2, tasks: 30, seed: 11, faults: true, ..Options::default() };
    let all = run(&options).expect("the options are sound").faults;
    assert!(all.len() > 2, "{all:?}");
    let kept = Options { kept_faults: Some(vec![0, 2]), ..options.clone() };
    assert_eq!(run(&kept).expect("the options are sound").faults, [all[0].clone(), all[2].clone()]);
    let whole = Options { kept_faults: Some((0..all.len() as u32).collect()), ..options.clone() };
    assert_eq!(run(&whole).expect("sound").trace_hash, run(&options).expect("sound").trace_hash);
}

#[test]
fn exploring_counts_what_was_reached() {
    let options = Options { agents: 4, frameworks: 2, tasks: 30, ..Options::default() };
    let explored = explore(0..12, &options, &|_| ()).expect("the options are sound");
    let finished = explored.marks.iter().find(|(mark, _)| mark.starts_with("TASK_FINISHED of executor"));
    assert_eq!(finished.map(|(_, seeds)| *seeds), Some(12), "{:?}", explored.marks);
    assert!(explored.marks.values().any(|&seeds| seeds < 12), "some are rare: {:?}", explored.marks);
}
