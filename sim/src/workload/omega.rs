//! The example cell of the Omega simulator (Schwarzkopf et al., EuroSys 2013): what runs at the start, and empirical
//! distributions; BSD 3-clause. The authors say the numbers are made up.

use super::model::{AMOUNT_MAX, SECONDS_MAX};
use super::rows::{Fault, Fields, Format, Split};

/// A line of the initial state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Initial {
    /// A job that runs at the start.
    Runs {
        /// The job.
        job: u64,
        /// Production flag 1 and scheduling class 2 or 3.
        is_service: bool,
        /// Tasks.
        tasks: u32,
        /// CPU of all tasks, in thousandths of a core.
        cpus_milli: u64,
        /// Memory of all tasks in bytes.
        mem_bytes: u64,
    },
    /// When one of these ends.
    Ends {
        /// The job.
        job: u64,
        /// When.
        end_us: i64,
    },
}

/// The initial state.
#[derive(Clone, Copy, Debug, Default)]
pub struct State;

impl Format for State {
    type Row = Initial;

    fn split(&self) -> Split {
        Split::Blanks
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &[
            ("kind", true),
            ("time", true),
            ("job", true),
            ("production", true),
            ("class", true),
            ("tasks", false),
            ("cores", false),
            ("memory", false),
        ]
    }

    fn has_header(&self) -> bool {
        false
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Initial>, Fault> {
        let job = fields.unsigned(2, u64::MAX)?;
        let (production, class) = (fields.unsigned(3, 1)?, fields.unsigned(4, 3)?);
        let is_service = production == 1 && class >= 2;
        let time_us = fields.scaled(1, 6)?;
        if time_us > SECONDS_MAX * 1_000_000 {
            return Err(fields.unfit(1, "a time within its bound"));
        }
        match fields.text(0) {
            "11" => Ok(Some(Initial::Runs {
                job,
                is_service,
                tasks: fields.unsigned(5, 1 << 31)? as u32,
                cpus_milli: fields.scaled(6, 3)?.min(AMOUNT_MAX),
                mem_bytes: fields.scaled(7, 0)?,
            })),
            "12" => Ok(Some(Initial::Ends { job, end_us: time_us as i64 })),
            _ => Err(fields.unfit(0, "11 or 12")),
        }
    }
}

/// A value of an empirical distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Of the service scheduler, rather than the batch one.
    pub is_service: bool,
    /// Tasks, or microseconds, by the file: in millionths.
    pub value_millionths: u64,
}

/// A file of samples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Samples;

impl Format for Samples {
    type Row = Sample;

    fn split(&self) -> Split {
        Split::Blanks
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &[("cell", true), ("policy", true), ("scheduler", true), ("value", true)]
    }

    fn has_header(&self) -> bool {
        false
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Sample>, Fault> {
        Ok(Some(Sample { is_service: fields.unsigned(2, 1)? == 1, value_millionths: fields.scaled(3, 6)? }))
    }
}
