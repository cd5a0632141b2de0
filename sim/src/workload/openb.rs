//! The openb GPU-sharing cluster (Alibaba, 2023): node lists and pod lists as CSV.
//!
//! Weng et al., USENIX ATC 2023; Apache-2.0. Some mixes have only the first five columns.

use super::model::{AMOUNT_MAX, GPUS_MAX, Node, SECONDS_MAX, Task};
use super::rows::{Fault, Fields, Format, Split};

/// A list of nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nodes;

impl Format for Nodes {
    type Row = Node;

    fn split(&self) -> Split {
        Split::At(',')
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &[("sn", true), ("cpu_milli", true), ("memory_mib", true), ("gpu", true), ("model", true)]
    }

    fn has_header(&self) -> bool {
        true
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Node>, Fault> {
        let gpus = fields.unsigned(3, GPUS_MAX)? as u32;
        // Some lists say of machines without GPUs what else they are.
        let gpu_type = if gpus > 0 { fields.text(4) } else { "" };
        Ok(Some(Node {
            name: fields.text(0).to_owned(),
            cpus_milli: fields.unsigned(1, AMOUNT_MAX)?,
            mem_mib: fields.unsigned(2, AMOUNT_MAX)?,
            gpus,
            gpu_type: gpu_type.to_owned(),
        }))
    }
}

/// A list of pods; each is a job of one task, numbered by row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pods {
    rows: u64,
}

impl Format for Pods {
    type Row = Task;

    fn split(&self) -> Split {
        Split::At(',')
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &[
            ("name", true),
            ("cpu_milli", true),
            ("memory_mib", true),
            ("num_gpu", true),
            ("gpu_milli", true),
            ("gpu_spec", false),
            ("qos", false),
            ("creation_time", false),
            ("deletion_time", false),
        ]
    }

    fn has_header(&self) -> bool {
        true
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Task>, Fault> {
        let gpus = fields.unsigned(3, GPUS_MAX)? as u32;
        // Of no GPU it says nothing how much of it is asked for.
        let gpu_milli = fields.unsigned(4, 1000)? as u32 * gpus.min(1);
        if (gpus == 0) != (gpu_milli == 0) || gpus > 1 && gpu_milli != 1000 {
            return Err(Fault::Unsound(format!("{gpus} GPUs of {gpu_milli} thousandths each: only one can be shared")));
        }
        let micros = |column: usize| fields.unsigned(column, SECONDS_MAX).map(|seconds| seconds as i64 * 1_000_000);
        let submit_us = if fields.is_empty(7) { 0 } else { micros(7)? };
        let end_us = if fields.is_empty(8) { None } else { Some(micros(8)?) };
        if end_us.is_some_and(|end| end < submit_us) {
            return Err(Fault::Unsound("the pod is deleted before it is created".to_owned()));
        }
        let types = fields.text(5).split('|').filter(|text| !text.is_empty());
        let task = Task {
            job: self.rows,
            tenant: fields.text(6).to_owned(),
            submit_us,
            run_us: end_us.map(|end| end - submit_us),
            cpus_milli: fields.unsigned(1, AMOUNT_MAX)?,
            mem_mib: fields.unsigned(2, AMOUNT_MAX)?,
            gpus,
            gpu_milli,
            gpu_types: types.map(str::to_owned).collect(),
            ..Task::default()
        };
        self.rows += 1;
        Ok(Some(task))
    }
}
