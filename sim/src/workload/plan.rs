//! What the simulated frameworks want done: tasks with lengths and ends, drawn from the seed.

use super::generate::Law;
use super::numbers::natural_logarithm;
use crate::stage::{Behaviour, Group, Work};
use kaon_kernel::chance::Chance;
use kaon_kernel::check::{Check, CheckTarget, Checks, HealthCheck, TcpTarget};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::task::CommandInfo;
use kaon_kernel::time::Duration;
use serde::Serialize;

/// How long tasks run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Lengths {
    /// All alike, in seconds.
    Fixed(f64),
    /// Evenly between two lengths, in seconds.
    Uniform(f64, f64),
    /// Exponentially with this mean, in seconds, at most ten times the mean.
    Exponential(f64),
}

impl Lengths {
    fn draw(self, chance: &mut Chance) -> Duration {
        let unit = chance.unit();
        let seconds = match self {
            Self::Fixed(seconds) => seconds,
            Self::Uniform(least, most) => least + (most - least) * unit,
            Self::Exponential(mean) => (-natural_logarithm(1.0 - unit) * mean).min(10.0 * mean),
        };
        // Whole milliseconds: the text of a command carries them exactly.
        Duration::from_seconds(seconds).map_or(Duration::ZERO, |length| Duration(length.0 / 1_000_000 * 1_000_000))
    }

    /// The mean in seconds.
    pub fn mean(self) -> f64 {
        match self {
            Self::Fixed(mean) | Self::Exponential(mean) => mean,
            Self::Uniform(least, most) => (least + most) / 2.0,
        }
    }
}

impl core::fmt::Display for Lengths {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Fixed(seconds) => write!(formatter, "{seconds}"),
            Self::Uniform(least, most) => write!(formatter, "{least}..{most}"),
            Self::Exponential(mean) => write!(formatter, "exp:{mean}"),
        }
    }
}

/// A text is not a law of lengths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task lengths are SECONDS, LEAST..MOST or exp:MEAN, not {0:?}")]
pub struct LengthsError(String);

impl core::str::FromStr for Lengths {
    type Err = LengthsError;

    /// Reads `5`, `1..20` or `exp:8`, all in seconds.
    fn from_str(text: &str) -> Result<Self, LengthsError> {
        let number = |part: &str| part.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
        let lengths = if let Some(mean) = text.strip_prefix("exp:") {
            number(mean).map(Self::Exponential)
        } else if let Some((least, most)) = text.split_once("..") {
            number(least).zip(number(most)).filter(|(least, most)| least <= most).map(|(a, b)| Self::Uniform(a, b))
        } else {
            number(text).map(Self::Fixed)
        };
        lengths.ok_or_else(|| LengthsError(text.to_owned()))
    }
}

/// One task of a framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskPlan {
    /// When it is submitted, from the beginning of the run.
    pub(crate) submit: Duration,
    /// Processors.
    pub(crate) cpus: Quantity,
    /// Memory in MiB.
    pub(crate) mem: Quantity,
    /// How long it runs.
    pub(crate) length: Duration,
    /// Its exit code.
    pub(crate) code: u8,
    /// Killed by its framework so long after it was seen to run.
    pub(crate) killed_after: Option<Duration>,
    /// Whether it listens, and is checked while it runs.
    pub(crate) is_checked: bool,
}

impl TaskPlan {
    /// The text of its command, in the language of simulated programs.
    pub(crate) fn command(&self) -> String {
        let seconds = self.length.as_seconds();
        let listens = if self.is_checked { "listen 80; " } else { "" };
        match self.code {
            0 => format!("{listens}sleep {seconds}"),
            code => format!("{listens}sleep {seconds}; exit {code}"),
        }
    }

    /// How it is checked: well, as long as it runs.
    pub(crate) fn checks(&self) -> Option<Box<Checks>> {
        let check = |target| Check {
            target,
            delay: Duration::secs(1),
            interval: Duration::secs(5),
            timeout: Duration::secs(2),
        };
        let at = CheckTarget::Tcp(TcpTarget { is_ipv6: false, port: 80 });
        let health = HealthCheck { check: check(at), failures_max: 3, grace: Duration::ZERO };
        let command = CommandInfo { shell: true, value: Some("true".to_owned()), ..CommandInfo::default() };
        let check = check(CheckTarget::Command(Box::new(command)));
        self.is_checked.then(|| Box::new(Checks { health: Some(health), check: Some(check) }))
    }
}

/// So many of a million tasks end with an error of their own.
const FAILING_PARTS: u32 = 20_000;
/// So many of a million tasks are killed by their framework.
const KILLED_PARTS: u32 = 20_000;

/// One of so many tasks is checked.
const CHECKED_EACH: usize = 50;

/// The tasks of one framework.
pub(crate) fn plan(
    count: usize,
    (cpus, mem): (Quantity, Quantity),
    lengths: Lengths,
    varied: bool,
    chance: &mut Chance,
) -> Vec<TaskPlan> {
    let draw = |number: usize| {
        let length = lengths.draw(chance);
        let code = if varied && chance.parts_per_million(FAILING_PARTS) { 3 } else { 0 };
        let killed = varied && chance.parts_per_million(KILLED_PARTS);
        let killed_after = killed.then(|| chance.duration_below(length));
        let is_checked = varied && number % CHECKED_EACH == CHECKED_EACH - 1;
        TaskPlan { submit: Duration::ZERO, cpus, mem, length, code, killed_after, is_checked }
    };
    (0..count).map(draw).collect()
}

/// A service runs so much longer than its framework lets it: it does not end by itself.
const SERVICE_TIMES: u64 = 1000;

/// The tasks of a framework of a group, in order of submission; the same for every number of other groups.
pub(crate) fn plan_group(group: &Group, index: u32, chance: &mut Chance) -> Vec<TaskPlan> {
    let whole = |length: Duration| Duration(length.0 / 1_000_000 * 1_000_000);
    let behave = |plan: TaskPlan| match group.behaviour {
        Behaviour::Service => {
            TaskPlan { length: plan.length.times(SERVICE_TIMES), killed_after: Some(plan.length), ..plan }
        }
        Behaviour::CrashLooper { .. } => TaskPlan { code: 1, ..plan },
        _ => plan,
    };
    let task = |submit: Duration, length: Duration, cpus: Quantity, mem: Quantity| {
        let (submit, length) = (whole(submit), whole(length));
        behave(TaskPlan { submit, cpus, mem, length, code: 0, killed_after: None, is_checked: false })
    };
    match &group.work {
        Work::Listed(lists) => {
            let listed = lists.get(index as usize).map_or(&[][..], Vec::as_slice);
            listed.iter().map(|one| task(one.submit, one.length, one.cpus, one.mem)).collect()
        }
        Work::Drawn { tasks, cpus, mem, lengths, gap } => {
            let mut submit = Duration::ZERO;
            let gaps = Law::Exponential(gap.as_seconds());
            let draw = |_| {
                if *gap > Duration::ZERO {
                    submit = submit + Duration::from_seconds(gaps.draw(chance)).unwrap_or(Duration::ZERO);
                }
                let length = Duration::from_seconds(lengths.draw(chance)).unwrap_or(Duration::ZERO);
                task(submit, length, *cpus, *mem)
            };
            (0..*tasks).map(draw).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_are_read_as_they_are_written() {
        for law in [Lengths::Fixed(5.0), Lengths::Uniform(1.0, 20.5), Lengths::Exponential(8.0)] {
            assert_eq!(law.to_string().parse(), Ok(law));
        }
        for text in ["", "-1", "5..1", "exp:", "nan"] {
            assert!(text.parse::<Lengths>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_command_says_exactly_what_was_planned() {
        let mut chance = Chance::new(1);
        let size = (Quantity::units(1), Quantity::units(1));
        for task in plan(200, size, Lengths::Exponential(3.0), true, &mut chance) {
            let course = crate::machine::program::course(&kaon_kernel::container::Program::Shell(task.command()));
            assert_eq!(course.length, task.length, "{}", task.command());
        }
    }
}
