//! Old sandboxes: the machine is asked about them from the start until none is left, and again from each end.

use super::{Bench, config, exited};
use crate::agent::AgentConfig;
use kaon_kernel::actor::HostId;
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, SweepPolicy};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::time::Duration;

fn sweeps(bench: &Bench) -> usize {
    bench.asked.iter().filter(|(_, request)| matches!(request, ContainerRequest::Sweep(_))).count()
}

fn swept(bench: &mut Bench, removed: u64, left: u64) {
    let outcome = ContainerOutcome::Swept { removed, failed: 0, left };
    bench.answer(|request| matches!(request, ContainerRequest::Sweep(_)), outcome);
}

#[test]
fn sandboxes_are_looked_for_while_there_are_any() {
    // Short against the patience of an agent that hears no ping.
    let mut bench = Bench::registered(AgentConfig { disk_watch_interval: Duration::secs(3), ..config() });
    assert_eq!(sweeps(&bench), 0);
    bench.pass(Duration::secs(3));
    assert_eq!(sweeps(&bench), 1, "those of an earlier life");
    bench.pass(Duration::secs(9));
    assert_eq!(sweeps(&bench), 1, "one at a time");
    swept(&mut bench, 2, 1);
    bench.pass(Duration::secs(3));
    swept(&mut bench, 1, 0);
    bench.pass(Duration::secs(9));
    assert_eq!((sweeps(&bench), bench.counted["gc/path_removals_succeeded"]), (0, 3), "there is nothing to remove");
    bench.running("t", HostId(50));
    bench.exit(exited(0));
    bench.flush();
    bench.pass(Duration::secs(3));
    assert_eq!(sweeps(&bench), 1, "an executor has ended");
}

#[test]
fn the_fuller_the_disk_the_sooner_they_go() {
    let policy = SweepPolicy::DEFAULT;
    let hours = |used| policy.age_max(Quantity(used)).0 / 3_600_000_000_000;
    assert_eq!([0, 400, 800, 900, 1000].map(hours), [151, 84, 16, 0, 0]);
    assert_eq!(SweepPolicy { headroom: Quantity(1000), ..policy }.age_max(Quantity(0)), Duration::ZERO);
}
