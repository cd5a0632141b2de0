//! Nobody starves in a whole cluster: frameworks that sit on offers which they can't use delay one that can by no more than
//! the time they sit on them, once each and once more (docs/policies.md).

use kaon_kernel::quantity::Quantity;
use kaon_kernel::time::Duration;
use kaon_sim::stage::{Behaviour, Group, Stage, Work};
use kaon_sim::workload::generate::Law;
use kaon_sim::{Options, run};
use std::sync::Arc;

/// Small machines, and at last one on which the large tasks fit, one at a time.
const SMALL: u32 = 4;
const SEEDS: u64 = 8;
/// A round of the allocator, the grain of filters and three messages there and back, for each who declines.
const TURN: Duration = Duration::millis(20);

fn group(name: &str, frameworks: u32, behaviour: Behaviour, work: (u32, u64, f64, Duration)) -> Group {
    let (tasks, cpus, seconds, gap) = work;
    let (cpus, mem) = (Quantity::units(cpus), Quantity::units(64));
    Group {
        name: name.to_owned(),
        frameworks,
        behaviour,
        class: 0,
        replicas: 0,
        wait: Duration::ZERO,
        work: Work::Drawn { tasks, cpus, mem, lengths: Law::Fixed(seconds), gap },
    }
}

/// The longest time from the submission of a small task to its start in microseconds, and how many offers were declined.
fn longest_wait(seed: u64, hoarders: u32, holding: Duration) -> (i64, u64) {
    let mut sizes = vec![(Quantity::units(2), Quantity::units(4096)); SMALL as usize];
    sizes.push((Quantity::units(16), Quantity::units(16_384)));
    let taker = group("taker", 1, Behaviour::Batch, (40, 1, 1.0, Duration::secs(1)));
    let large = group("large", hoarders, Behaviour::Hoarder { holding }, (2, 16, 8.0, Duration::ZERO));
    let groups = if hoarders > 0 { vec![taker, large] } else { vec![taker] };
    let tasks = groups.iter().map(Group::tasks).sum();
    let stage = Stage { sizes, groups, is_recorded: true, ..Stage::default() };
    let options = Options {
        agents: SMALL + 1,
        frameworks: 1 + hoarders,
        tasks,
        seed,
        stage: Some(Arc::new(stage)),
        varied: false,
        ..Options::default()
    };
    let report = run(&options).expect("the options are sound");
    assert!(report.is_well(), "{:?}", report.failures);
    let records = report.records.expect("they are asked for");
    let waits = records.tasks.iter().filter(|task| task.tenant == 0);
    let waits = waits.map(|task| task.start_us.expect("every task ran") - task.submit_us);
    (waits.max().expect("there are tasks"), report.offers_declined)
}

#[test]
fn who_sits_on_offers_delays_others_by_a_bounded_time() {
    for seed in 0..SEEDS {
        // All of them together sit on offers for less than the interval of batch rounds.
        let (hoarders, holding) = (2 + seed as u32 % 3, Duration::millis(40 + 20 * seed));
        let (alone, _) = longest_wait(seed, 0, holding);
        let (among, declined) = longest_wait(seed, hoarders, holding);
        let bound = Duration(2 * u64::from(hoarders) * (holding.0 + TURN.0)).0 as i64 / 1000;
        assert!(declined > 20, "seed {seed}: {declined} offers are declined");
        assert!(among <= alone + bound, "seed {seed}: {among} us among {hoarders}, {alone} us alone, bound {bound} us");
    }
}
