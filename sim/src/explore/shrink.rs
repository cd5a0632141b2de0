//! A failing run made small: fewer machines, frameworks and tasks, then fewer faults, as long as the same claim is broken.
//!
//! A smaller cluster is another run with other chance, so a step also tries a few more seeds; among the faults of one run the
//! halves are taken out first, then single ones (delta debugging, Zeller and Hildebrandt 2002). Every try is a whole run;
//! their number is bounded.

use crate::options::{Error, Options};
use crate::report::Report;

/// The most runs of one shrinking.
pub const RUNS_MAX: u32 = 600;
/// How many seeds are tried for each smaller cluster.
const SEEDS_TRIED: u64 = 6;

/// A failure, as small as it was found.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest run that still fails: its failures begin with the claim.
    pub report: Report,
    /// What it is.
    pub options: Options,
    /// Runs that it took to find it.
    pub runs: u32,
}

/// Makes a failing run smaller; `None` when it does not fail. Costs up to [`RUNS_MAX`] runs.
///
/// # Errors
/// When the options make no run.
pub fn shrink(options: &Options) -> Result<Option<Shrunk>, Error> {
    let report = crate::run(options)?;
    let Some(failure) = report.failures.first() else { return Ok(None) };
    let claim = failure.claim.clone();
    let mut search = Search { claim, runs: 1, best: Shrunk { report, options: options.clone(), runs: 0 } };
    while search.fewer()? {}
    if search.best.options.faults {
        search.fewer_faults()?;
    }
    search.best.runs = search.runs;
    Ok(Some(search.best))
}

struct Search {
    claim: String,
    runs: u32,
    best: Shrunk,
}

/// A number of a run that can be smaller.
type Size = fn(&mut Options) -> &mut u32;

impl Search {
    /// Takes a run over when it breaks the same claim.
    fn takes(&mut self, options: Options) -> Result<bool, Error> {
        if self.runs >= RUNS_MAX {
            return Ok(false);
        }
        self.runs += 1;
        let report = crate::run(&options)?;
        let same = report.failures.first().is_some_and(|failure| failure.claim == self.claim);
        if same {
            self.best = Shrunk { report, options, runs: 0 };
        }
        Ok(same)
    }

    /// One round over the sizes; whether one of them became smaller.
    fn fewer(&mut self) -> Result<bool, Error> {
        let sizes: [Size; 3] =
            [|options| &mut options.agents, |options| &mut options.frameworks, |options| &mut options.tasks];
        let mut smaller = false;
        for size in sizes {
            let now = *size(&mut self.best.options.clone());
            let mut tried = [1, now / 4, now / 2, now.saturating_sub(1)];
            tried.sort_unstable();
            for wanted in tried.into_iter().filter(|&wanted| wanted > 0 && wanted < now) {
                if self.with(size, wanted)? {
                    smaller = true;
                    break;
                }
            }
        }
        Ok(smaller)
    }

    fn with(&mut self, size: Size, wanted: u32) -> Result<bool, Error> {
        let seed = self.best.options.seed;
        for seed in [seed].into_iter().chain(1..SEEDS_TRIED) {
            let mut options = Options { seed, kept_faults: None, ..self.best.options.clone() };
            *size(&mut options) = wanted;
            if self.takes(options)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes faults out, in ever smaller pieces.
    fn fewer_faults(&mut self) -> Result<(), Error> {
        let mut kept: Vec<u32> = (0..self.best.report.faults.len() as u32).collect();
        let mut piece = kept.len().div_ceil(2);
        while piece > 0 && !kept.is_empty() {
            let mut from = 0;
            while from < kept.len() {
                let end = kept.len().min(from + piece);
                let rest = [&kept[..from], &kept[end..]].concat();
                if self.takes(Options { kept_faults: Some(rest.clone()), ..self.best.options.clone() })? {
                    kept = rest;
                } else {
                    from = end;
                }
            }
            piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
        }
        Ok(())
    }
}

impl core::fmt::Display for Shrunk {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Options { agents, frameworks, tasks, .. } = self.options;
        writeln!(
            formatter,
            "shrunk in {} runs to {agents} agents, {frameworks} frameworks, {tasks} tasks, {} faults:",
            self.runs,
            self.report.faults.len()
        )?;
        self.report.faults.iter().try_for_each(|fault| writeln!(formatter, "  fault: {fault}"))?;
        self.report.failures.iter().take(1).try_for_each(|failure| write!(formatter, "{failure}"))
    }
}
