//! Two traces of Alibaba: inference instances of recommendation models (2025) and the inventory of a GPU fleet (2026).
//!
//! Yang et al., NSDI 2025; Duan et al., ASPLOS 2026. Both are stated to be for research or study, without a licence: they
//! are read from where they are and never shipped.

use super::model::{AMOUNT_MAX, GPUS_MAX, Node, SECONDS_MAX, Task};
use super::rows::{Fault, Fields, Format, Split};

/// An inference instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its request, submission and run time as a task of its application (the tenant). One that was there before the
    /// trace is submitted at its start; one that outlived the trace has no run time.
    pub task: Task,
    /// On a node with GPUs (role HN) rather than one without (CN).
    pub is_gpu_node: bool,
    /// Part of a network card, in percent.
    pub rdma_percent: u32,
    /// Disk in MiB.
    pub disk_mib: u64,
    /// The most instances of its application on one node; none without a limit.
    pub per_node_max: Option<u32>,
}

/// The trace of instances.
#[derive(Clone, Copy, Debug, Default)]
pub struct Instances {
    rows: u64,
}

impl Format for Instances {
    type Row = Instance;

    fn split(&self) -> Split {
        Split::At(',')
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &[
            ("instance_sn", true),
            ("role", true),
            ("app_name", true),
            ("cpu_request", true),
            ("gpu_request", true),
            ("rdma_request", true),
            ("memory_request", true),
            ("disk_request", true),
            ("max_instance_per_node", true),
            ("creation_time", true),
            ("deletion_time", true),
        ]
    }

    fn has_header(&self) -> bool {
        true
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Instance>, Fault> {
        let is_gpu_node = match fields.text(1) {
            "HN" => true,
            "CN" => false,
            _ => return Err(fields.unfit(1, "CN or HN")),
        };
        // What is not said of cards, disks and limits is not asked for.
        let some = |column: usize| match fields.is_empty(column) {
            true => Ok(0),
            false => fields.scaled(column, 3),
        };
        let amount = |column: usize, factor: u64| {
            let milli = if matches!(column, 4 | 5 | 7) { some(column)? } else { fields.scaled(column, 3)? };
            let scaled = milli.checked_mul(factor).map(|value| value / 1000).filter(|value| *value <= AMOUNT_MAX);
            scaled.ok_or_else(|| fields.unfit(column, "an amount within its bound"))
        };
        let time = |column: usize| match fields.is_empty(column) {
            true => Ok(None),
            false => {
                let micros = fields.scaled(column, 6)?;
                let micros = Some(micros as i64).filter(|_| micros <= SECONDS_MAX * 1_000_000);
                micros.ok_or_else(|| fields.unfit(column, "a time within its bound")).map(Some)
            }
        };
        let submit_us = time(9)?.unwrap_or(0);
        let end_us = time(10)?;
        if end_us.is_some_and(|end| end < submit_us) {
            return Err(Fault::Unsound("the instance is deleted before it is created".to_owned()));
        }
        let gpus = amount(4, 1)?;
        if gpus > GPUS_MAX || some(4)? % 1000 != 0 {
            return Err(fields.unfit(4, "a whole number of GPUs"));
        }
        let limit = if fields.is_empty(8) { -1 } else { fields.signed(8)? };
        let per_node_max = match limit {
            -1 => None,
            1.. => Some(u32::try_from(limit).map_err(|_| fields.unfit(8, "-1 or a limit"))?),
            _ => return Err(fields.unfit(8, "-1 or a limit from one")),
        };
        let task = Task {
            job: self.rows,
            tenant: fields.text(2).to_owned(),
            submit_us,
            run_us: end_us.map(|end| end - submit_us),
            cpus_milli: amount(3, 1000)?,
            mem_mib: amount(6, 1024)?,
            gpus: gpus as u32,
            gpu_milli: if gpus > 0 { 1000 } else { 0 },
            ..Task::default()
        };
        self.rows += 1;
        let rdma_percent = amount(5, 1)?;
        if rdma_percent > 100 {
            return Err(fields.unfit(5, "a percentage"));
        }
        Ok(Some(Instance {
            task,
            is_gpu_node,
            rdma_percent: rdma_percent as u32,
            disk_mib: amount(7, 1024)?,
            per_node_max,
        }))
    }
}

/// The memory of a node of which it is not told, in MiB: 16 TiB, so that it limits nothing.
const MEM_UNTOLD_MIB: u64 = 1 << 24;

/// The inventory of nodes; memory is not told, and limits nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fleet;

impl Format for Fleet {
    type Row = Node;

    fn split(&self) -> Split {
        Split::At(',')
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &[("gpu_model", true), ("gpu_capacity_num", true), ("cpu_num", true), ("node_name", true)]
    }

    fn has_header(&self) -> bool {
        true
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Node>, Fault> {
        let gpus = fields.unsigned(1, GPUS_MAX)? as u32;
        Ok(Some(Node {
            name: fields.text(3).to_owned(),
            cpus_milli: fields.unsigned(2, AMOUNT_MAX / 1000)? * 1000,
            mem_mib: MEM_UNTOLD_MIB,
            gpus,
            gpu_type: if gpus > 0 { fields.text(0) } else { "" }.to_owned(),
        }))
    }
}
