//! The metrics by name, for `kaon sim list` and for refusals that name the nearest.

/// A metric, or a family of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricRow {
    /// Its name; in a family `*` stands for a statistic, a resource, a scheduler.
    pub name: &'static str,
    /// Its definition in a line.
    pub about: &'static str,
}

const fn row(name: &'static str, about: &'static str) -> MetricRow {
    MetricRow { name, about }
}

/// The statistics of most families; percentiles are of nearest rank.
pub(crate) const STATISTICS: [&str; 6] = ["mean", "p50", "p90", "p95", "p99", "max"];

/// Every metric; the statistics of families are [`STATISTICS`], where nothing else is said.
pub const METRICS: &[MetricRow] = &[
    row("queueing_delay_*", "seconds from submit to first start"),
    row("flow_time_*", "seconds from a task's submit to its end"),
    row("jct_*", "seconds from a job's submit to the end of its last task"),
    row("slowdown_*", "flow time over run time"),
    row("bounded_slowdown_*", "the same with run times below 10 s taken for 10 s, and at least 1"),
    row(
        "finish_time_fairness_*",
        "a job's flow time over that of the same job when its tenant has 1/n of the pool for itself (Themis)",
    ),
    row("makespan", "seconds from the first submit to the last end"),
    row("tasks", "tasks of the workload"),
    row("tasks_finished", "tasks that ended"),
    row("tasks_unfinished", "tasks that did not end, those that never started included"),
    row("tasks_unstarted", "tasks that never started"),
    row("preemptions", "times a running task was thrown back into the queue"),
    row("utilisation_*", "cpus, mem, gpus: used over capacity, from the first submit to the last end"),
    row("queue_length_mean", "tasks submitted and not started, averaged over the same window"),
    row("tenants", "tenants of the workload"),
    row("tasks_*", "fair division: tasks of a tenant, in fractions"),
    row("whole_tasks_*", "fair division: tasks of a tenant when they are handed out whole"),
    row("dominant_share_*", "fair division: dominant share of a tenant"),
    row("dominant_share_max", "the largest time-averaged dominant share of a tenant"),
    row("jain_index", "Jain's index of the tenants' time-averaged dominant shares; 1 is even"),
    row("fair_share_deviation_mean", "distance of shares from the fair ones (continuous DRF on current demands)"),
    row("gpu_allocation_ratio", "GPU units allocated over GPU units of the cluster, when all have arrived; percent"),
    row("gpu_allocation_ratio_at_*", "the same when the request that has arrived is that percentage of the capacity"),
    row("fragmentation_ratio", "fragmented GPU units over idle ones, when all have arrived; percent"),
    row("fragmentation_ratio_at_*", "the same when the request that has arrived is that percentage of the capacity"),
    row("fragmentation_amount", "fragmented GPU units over all, when all have arrived; percent"),
    row("fragmentation_amount_at_*", "the same when the request that has arrived is that percentage of the capacity"),
    row(
        "stranded_*",
        "cpus, mem, gpus: free on machines where another resource is below the least request; part of capacity",
    ),
    row("inflation_ratio", "GPU request that had arrived over capacity when a task first found no machine; percent"),
    row(
        "compaction_ratio_p90",
        "smallest part of the machines that holds the workload, 90th percentile of 11 shuffles",
    ),
    row("conflict_fraction", "commits with a conflict over jobs placed; may exceed 1"),
    row("offer_rejection_rate", "offers declined in full over offers sent"),
    row("abandoned_jobs", "jobs that their scheduler gave up"),
    row("scheduler_busyness_*", "NAME_mean, NAME_median, NAME_mad: part of the time (of each day) spent deciding"),
    row("scheduler_wait_*", "NAME_mean, NAME_p90: seconds from a job's submit to its first attempt"),
    row("locality_node", "tasks on a preferred node over tasks with preferences"),
    row("locality_rack", "tasks on a preferred node or rack over tasks with preferences"),
    row("offers_accepted", "offers taken"),
    row("offers_declined", "offers declined"),
    row(
        "extra_delay_*",
        "seconds that the cluster adds to a task: flow time less run time; by group of frameworks, too",
    ),
    row("queueing_delay_NAME_*", "queueing delay by group of frameworks"),
    row("agents_back_seconds_max", "the longest time from the fall of a master until all agents are back"),
    row("crashes", "processes that ended before their time"),
    row("resubscriptions", "subscriptions of frameworks after their first"),
    row("tasks_relaunched", "launches of tasks that the cluster had lost"),
    row("rows_skipped", "bad rows of the inputs that were left out (workload.lenient)"),
    row("jobs_dropped", "jobs or tasks of the inputs that cannot be part of the study; the notes say why"),
    row("simulated_seconds", "virtual time that passed"),
    row("failures", "claims that did not hold"),
    row("events", "events handled"),
];

/// Whether a name is that of a metric or of a member of a family.
pub(crate) fn is_known(name: &str) -> bool {
    METRICS.iter().any(|row| match row.name.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => row.name == name,
    })
}
