//! What a container uses, in the words of `ResourceStatistics`. A figure that nothing counts is left out, as in Mesos.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kaon_kernel::statistics::Statistics;

use crate::v1::mesos as v1;

/// What one container uses.
#[derive(Clone, Debug)]
pub struct ContainerFigures {
    /// Its name.
    pub container_id: String,
    /// Its figures.
    pub figures: Statistics,
}

/// Reads the figures of all containers that run; may block.
pub type ContainerSource = Arc<dyn Fn() -> Vec<ContainerFigures> + Send + Sync>;

/// Seconds of a number of nanoseconds.
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Figures in the words of the v1 API.
pub(super) fn statistics(figures: &Statistics) -> v1::ResourceStatistics {
    use v1::cgroup_info::blkio;
    let small = |count: Option<u64>| count.and_then(|count| u32::try_from(count).ok());
    let cpus = |millis: Option<u64>| millis.map(|millis| millis as f64 / 1e3);
    let value = |op: blkio::Operation, value: u64| blkio::Value { op: Some(op as i32), value: Some(value) };
    let throttling = figures.block_devices.iter().map(|device| blkio::throttling::Statistics {
        device: Some(v1::device::Number { major_number: device.major, minor_number: device.minor }),
        io_serviced: vec![value(blkio::Operation::Read, device.reads), value(blkio::Operation::Write, device.writes)],
        io_service_bytes: vec![
            value(blkio::Operation::Read, device.read_bytes),
            value(blkio::Operation::Write, device.written_bytes),
        ],
    });
    let throttling: Vec<_> = throttling.collect();
    v1::ResourceStatistics {
        timestamp: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        cpus_user_time_secs: figures.user_nanos.map(seconds),
        cpus_system_time_secs: figures.system_nanos.map(seconds),
        cpus_throttled_time_secs: figures.throttled_nanos.map(seconds),
        cpus_limit: cpus(figures.cpus_limit_millis.or(figures.cpus_request_millis)),
        cpus_soft_limit: cpus(figures.cpus_request_millis),
        processes: small(figures.processes),
        threads: small(figures.threads),
        cpus_nr_periods: small(figures.periods),
        cpus_nr_throttled: small(figures.throttled_periods),
        mem_total_bytes: figures.memory_bytes,
        mem_total_memsw_bytes: figures.memory_and_swap_bytes,
        mem_limit_bytes: figures.memory_limit_bytes,
        mem_soft_limit_bytes: figures.memory_request_bytes,
        mem_rss_bytes: figures.resident_bytes,
        mem_anon_bytes: figures.anonymous_bytes,
        mem_file_bytes: figures.file_bytes,
        mem_cache_bytes: figures.file_bytes,
        mem_mapped_file_bytes: figures.mapped_file_bytes,
        mem_swap_bytes: figures.swap_bytes,
        mem_unevictable_bytes: figures.unevictable_bytes,
        disk_limit_bytes: figures.disk_limit_bytes,
        disk_used_bytes: figures.disk_used_bytes,
        blkio_statistics: (!throttling.is_empty())
            .then(|| blkio::Statistics { throttling, ..blkio::Statistics::default() }),
        ..v1::ResourceStatistics::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::polled::json::v1_json;

    #[test]
    fn figures_are_told_in_mesos_words_and_unknown_ones_left_out() {
        let figures = Statistics {
            user_nanos: Some(1_500_000_000),
            throttled_periods: Some(7),
            cpus_request_millis: Some(500),
            memory_limit_bytes: Some(64 << 20),
            ..Statistics::default()
        };
        let told = v1_json(&statistics(&figures));
        assert_eq!((&told["cpus_user_time_secs"], &told["cpus_nr_throttled"]), (&json!(1.5), &json!(7)));
        assert_eq!((&told["cpus_limit"], &told["mem_limit_bytes"]), (&json!(0.5), &json!(64 << 20)));
        assert!(told.get("mem_rss_bytes").is_none() && told.get("blkio_statistics").is_none());
    }
}
