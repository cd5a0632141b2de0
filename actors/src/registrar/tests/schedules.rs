//! Random schedules: what must hold however unlucky the group is.

use super::world::run_schedule;

#[test]
fn two_hundred_unlucky_groups_stay_one() {
    let (mut terms, mut operations, mut installed) = (0, 0, 0);
    for seed in 0..200 {
        let world = run_schedule(seed, false);
        terms += world.leaders.len();
        operations += world.acknowledged.len();
        installed += world.installed;
    }
    // A schedule in which nothing happens proves nothing.
    let story = format!("{terms} terms, {operations} operations, {installed} snapshots installed");
    assert!(terms > 400 && operations > 4_000 && installed > 50, "{story}");
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    let traces: Vec<_> = (0..10).map(|seed| run_schedule(seed, false).trace).collect();
    let again: Vec<_> = (0..10).map(|seed| run_schedule(seed, false).trace).collect();
    assert_eq!(traces, again);
    assert!(traces.windows(2).all(|pair| pair[0] != pair[1]), "{traces:?}");
}

/// The claims must be able to fail: disks that say they have written, and have not, are found out.
#[test]
fn lying_disks_are_found_out() {
    let caught = (0..20).filter(|seed| std::panic::catch_unwind(|| run_schedule(*seed, true)).is_err()).count();
    assert!(caught > 5, "{caught} of 20");
}
