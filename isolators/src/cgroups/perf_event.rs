//! `cgroups/perf_event`: a group by which `perf stat -G` counts for a container. Version 2 has it without being asked.

use super::Controller;

/// The controller.
#[derive(Clone, Copy, Debug)]
pub struct PerfEvent;

impl Controller for PerfEvent {
    fn name(&self) -> &'static str {
        "cgroups/perf_event"
    }

    fn controllers(&self) -> &'static [&'static str] {
        &["perf_event"]
    }
}
