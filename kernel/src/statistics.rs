//! What a container uses, figure by figure: `ResourceStatistics` of the v1 API. Each figure is there when something on the
//! machine counts it.

/// The figures of one container at one moment; `None` where nothing counts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Processes.
    pub processes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Processor time in user mode, in nanoseconds.
    pub user_nanos: Option<u64>,
    /// Processor time in the kernel, in nanoseconds.
    pub system_nanos: Option<u64>,
    /// The most processors it may use, in thousandths.
    pub cpus_limit_millis: Option<u64>,
    /// The processors it has for sure, in thousandths.
    pub cpus_request_millis: Option<u64>,
    /// Periods in which it was accounted.
    pub periods: Option<u64>,
    /// Periods in which it had to wait because its limit was used up.
    pub throttled_periods: Option<u64>,
    /// How long it has waited so, in nanoseconds.
    pub throttled_nanos: Option<u64>,
    /// Memory in all, in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory and swap in all, in bytes.
    pub memory_and_swap_bytes: Option<u64>,
    /// The most it may have, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// What is left to it when others press, in bytes.
    pub memory_request_bytes: Option<u64>,
    /// The most memory that it ever had, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// Memory that is no file's, in bytes.
    pub anonymous_bytes: Option<u64>,
    /// Resident memory, in bytes.
    pub resident_bytes: Option<u64>,
    /// Files kept in memory, in bytes.
    pub file_bytes: Option<u64>,
    /// Files mapped into memory, in bytes.
    pub mapped_file_bytes: Option<u64>,
    /// Swap, in bytes.
    pub swap_bytes: Option<u64>,
    /// Memory that can't be taken back, in bytes.
    pub unevictable_bytes: Option<u64>,
    /// How often the kernel killed something in it for want of memory.
    pub oom_kills: Option<u64>,
    /// How much time something in it waited for memory, in microseconds (pressure stall, `some`).
    pub memory_stall_micros: Option<u64>,
    /// The most processes and threads it may have.
    pub tasks_limit: Option<u64>,
    /// The size of its sandbox and volumes, in bytes.
    pub disk_used_bytes: Option<u64>,
    /// How large they may be, in bytes.
    pub disk_limit_bytes: Option<u64>,
    /// Bytes read from and written to each block device.
    pub block_devices: Vec<BlockDevice>,
    /// Huge pages, in bytes.
    pub huge_page_bytes: Option<u64>,
}

/// What a container did with one block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockDevice {
    /// Its major number.
    pub major: u64,
    /// Its minor number.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

impl Statistics {
    /// These figures, with those of `other` where these have none.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            processes: self.processes.or(other.processes),
            threads: self.threads.or(other.threads),
            user_nanos: self.user_nanos.or(other.user_nanos),
            system_nanos: self.system_nanos.or(other.system_nanos),
            cpus_limit_millis: self.cpus_limit_millis.or(other.cpus_limit_millis),
            cpus_request_millis: self.cpus_request_millis.or(other.cpus_request_millis),
            periods: self.periods.or(other.periods),
            throttled_periods: self.throttled_periods.or(other.throttled_periods),
            throttled_nanos: self.throttled_nanos.or(other.throttled_nanos),
            memory_bytes: self.memory_bytes.or(other.memory_bytes),
            memory_and_swap_bytes: self.memory_and_swap_bytes.or(other.memory_and_swap_bytes),
            memory_limit_bytes: self.memory_limit_bytes.or(other.memory_limit_bytes),
            memory_request_bytes: self.memory_request_bytes.or(other.memory_request_bytes),
            memory_peak_bytes: self.memory_peak_bytes.or(other.memory_peak_bytes),
            anonymous_bytes: self.anonymous_bytes.or(other.anonymous_bytes),
            resident_bytes: self.resident_bytes.or(other.resident_bytes),
            file_bytes: self.file_bytes.or(other.file_bytes),
            mapped_file_bytes: self.mapped_file_bytes.or(other.mapped_file_bytes),
            swap_bytes: self.swap_bytes.or(other.swap_bytes),
            unevictable_bytes: self.unevictable_bytes.or(other.unevictable_bytes),
            oom_kills: self.oom_kills.or(other.oom_kills),
            memory_stall_micros: self.memory_stall_micros.or(other.memory_stall_micros),
            tasks_limit: self.tasks_limit.or(other.tasks_limit),
            disk_used_bytes: self.disk_used_bytes.or(other.disk_used_bytes),
            disk_limit_bytes: self.disk_limit_bytes.or(other.disk_limit_bytes),
            block_devices: if self.block_devices.is_empty() { other.block_devices } else { self.block_devices },
            huge_page_bytes: self.huge_page_bytes.or(other.huge_page_bytes),
        }
    }
}
