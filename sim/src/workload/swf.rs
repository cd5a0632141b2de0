//! Standard Workload Format: logs of batch systems, one job a line, eighteen blank separated numbers, -1 for unknown,
//! header lines that begin with a semicolon (Chapin et al., JSSPP 1999; the Parallel Workloads Archive).
//!
//! The archive asks that users acknowledge it and the people whom each header names; Kaon ships no log.

use super::rows::{Fault, Fields, Format, ReadError, Rows, Skipped, Split, Strictness};
use crate::batch::{After, Job};
use std::path::Path;

/// One line of a log, as it stands there. Times in seconds, -1 for unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Job number.
    pub number: i64,
    /// Submit time from the start of the log.
    pub submit_s: i64,
    /// Run time.
    pub run_s: i64,
    /// Processors that were allocated.
    pub allocated: i64,
    /// Processors that were asked for.
    pub requested: i64,
    /// Run time that was asked for.
    pub requested_s: i64,
    /// User.
    pub user: i64,
    /// The job that had to end first.
    pub preceding: i64,
    /// Time from that job's end to this one's submission.
    pub think_s: i64,
}

const COLUMNS: [(&str, bool); 18] = [
    ("job number", true),
    ("submit time", true),
    ("wait time", true),
    ("run time", true),
    ("allocated processors", true),
    ("average cpu time", true),
    ("used memory", true),
    ("requested processors", true),
    ("requested time", true),
    ("requested memory", true),
    ("status", true),
    ("user", true),
    ("group", true),
    ("executable", true),
    ("queue", true),
    ("partition", true),
    ("preceding job", true),
    ("think time", true),
];

/// The format, and what the header said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swf {
    /// `MaxProcs`, the processors of the machine.
    pub processors_max: Option<u64>,
    /// `MaxNodes`, which is no number of processors.
    pub nodes_max: Option<u64>,
    /// `Acknowledge`: whom to thank.
    pub acknowledge: Vec<String>,
}

impl Format for Swf {
    type Row = Entry;

    fn split(&self) -> Split {
        Split::Blanks
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &COLUMNS
    }

    fn has_header(&self) -> bool {
        false
    }

    fn comment(&mut self, line: &str) -> bool {
        let Some(note) = line.trim_start().strip_prefix(';') else { return false };
        let Some((key, value)) = note.split_once([':', '=']) else { return true };
        let (key, value) = (key.trim(), value.trim());
        // A remark may follow the number.
        let number = || value.split_whitespace().next()?.replace(',', "").parse().ok();
        match () {
            () if key.eq_ignore_ascii_case("MaxProcs") => self.processors_max = number(),
            () if key.eq_ignore_ascii_case("MaxNodes") => self.nodes_max = number(),
            () if key.eq_ignore_ascii_case("Acknowledge") => self.acknowledge.push(value.to_owned()),
            () => {}
        }
        true
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Entry>, Fault> {
        // Whole seconds by the standard; some logs have decimals in them, which are rounded.
        let number = |column| fields.scaled_signed(column, 0);
        Ok(Some(Entry {
            number: number(0)?,
            submit_s: number(1)?,
            run_s: number(3)?,
            allocated: number(4)?,
            requested: number(7)?,
            requested_s: number(8)?,
            user: number(11)?,
            preceding: number(16)?,
            think_s: number(17)?,
        }))
    }
}

/// What to make of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Processors, where the header is not to be believed.
    pub processors: Option<u64>,
    /// Bad rows.
    pub strictness: Strictness,
    /// Submit a job that names a preceding one at that one's end plus its think time, rather than at its logged time.
    pub is_closed_loop: bool,
}

/// A log, ready to run.
#[derive(Clone, Debug)]
pub struct Log {
    /// Processors of the machine.
    pub processors: u64,
    /// The jobs that passed the filter, in the order of the file.
    pub jobs: Vec<Job>,
    /// Jobs in the file.
    pub entries: u64,
    /// Jobs that the filter dropped.
    pub filtered: u64,
    /// Bad rows, when they were skipped.
    pub skipped: Skipped,
    /// Whom to thank.
    pub acknowledge: Vec<String>,
}

/// Why a log cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nobody says how large the machine is.
    #[error(
        "{name}: the header has no MaxProcs{nodes}, and no number of processors was given (cluster.processors)",
        nodes = nodes.map_or_else(String::new, |nodes| format!(" (it has MaxNodes, {nodes})"))
    )]
    NoProcessors {
        /// The file.
        name: String,
        /// What the header says of nodes.
        nodes: Option<u64>,
    },
    /// A number is beyond what microseconds hold.
    #[error("{0}: job {1} has a time beyond 100,000 years")]
    TooLong(String, i64),
}

/// The longest time of a log in seconds: a hundred thousand years, far inside what microseconds in 64 bits hold.
const SECONDS_MAX: i64 = 100_000 * 366 * 86_400;

/// Reads a log and applies the filter of the published results: drop jobs wider than the machine; take the one known of
/// allocated and requested processors for the other, drop when neither is; drop run times and requested times that are
/// not positive; cut run times to the requested time; drop negative submit times. The jobs ask for the requested
/// processors, hold the order of the file, and have no priority.
pub fn read(path: &Path, options: Options) -> Result<Log, LogError> {
    let (entries, header, skipped) = Rows::open(path, Swf::default(), options.strictness)?.collect_all()?;
    let name = || path.display().to_string();
    let processors = options
        .processors
        .or(header.processors_max)
        .ok_or_else(|| LogError::NoProcessors { name: name(), nodes: header.nodes_max })?;
    let mut jobs: Vec<Job> = Vec::with_capacity(entries.len());
    let mut places = std::collections::BTreeMap::new();
    for entry in &entries {
        let Some(mut job) = filter(entry, processors) else { continue };
        if [entry.submit_s, entry.run_s, entry.requested_s, entry.think_s].iter().any(|time| *time > SECONDS_MAX) {
            return Err(LogError::TooLong(name(), entry.number));
        }
        if options.is_closed_loop {
            let after = |place: &usize| After { job: *place as u32, think_us: entry.think_s.max(0) * 1_000_000 };
            job.after = places.get(&entry.preceding).map(after);
            places.insert(entry.number, jobs.len());
        }
        jobs.push(job);
    }
    Ok(Log {
        processors,
        filtered: (entries.len() - jobs.len()) as u64,
        jobs,
        entries: entries.len() as u64,
        skipped,
        acknowledge: header.acknowledge,
    })
}

/// The job of an entry, unless the filter drops it.
fn filter(entry: &Entry, processors: u64) -> Option<Job> {
    let most = i64::try_from(processors).unwrap_or(i64::MAX);
    let wide = entry.allocated.max(entry.requested);
    let asked = if entry.requested > 0 { entry.requested } else { entry.allocated };
    let is_fit = wide <= most && asked > 0 && entry.run_s > 0 && entry.requested_s > 0 && entry.submit_s >= 0;
    is_fit.then(|| Job {
        id: entry.number.unsigned_abs(),
        tenant: u32::try_from(entry.user).unwrap_or(0),
        submit_us: entry.submit_s.min(SECONDS_MAX) * 1_000_000,
        after: None,
        processors: asked.unsigned_abs(),
        run_us: entry.run_s.min(entry.requested_s).min(SECONDS_MAX) * 1_000_000,
        planned_us: entry.requested_s.min(SECONDS_MAX) * 1_000_000,
    })
}
