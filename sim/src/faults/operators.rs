//! What operators do in the middle of the storm: to agents, to machines, to roles.

use super::Planner;
use crate::machine::happening::Happening;
use crate::options::Options;
use crate::stage::Trouble;
use crate::world::operator::{Act, at};
use kaon_kernel::time::{Duration, Instant};

/// The longest grace that a drain leaves to tasks, in seconds.
const GRACE_SECONDS_MAX: u64 = 5;

type Course = Vec<(u32, Instant, Happening)>;

/// What an operator does to one agent from `begin` to `until`; nothing where the trouble is none of an operator's.
pub(super) fn strike(trouble: Trouble, agent: u32, begin: Instant, until: Instant) -> Course {
    let half = begin + Duration(until.since(begin).0 / 2);
    let seconds = |span: Duration| u16::try_from(span.0 / 1_000_000_000).unwrap_or(u16::MAX).max(1);
    match trouble {
        Trouble::Deactivate => vec![at(begin, Act::Deactivate(agent)), at(until, Act::Reactivate(agent))],
        Trouble::Drain => {
            let drain = Act::Drain { agent, grace_seconds: None, mark_gone: false };
            vec![at(begin, drain), at(until, Act::Reactivate(agent))]
        }
        Trouble::Gone => vec![at(begin, Act::MarkGone(agent)), at(until, Act::Start(agent))],
        Trouble::Maintenance => {
            let (after_seconds, length_seconds) = (seconds(half.since(begin)), seconds(until.since(half)));
            vec![
                at(begin, Act::Schedule { agent, after_seconds, length_seconds }),
                at(half, Act::StartMaintenance(agent)),
                at(until, Act::StopMaintenance(agent)),
                // The answer to the order before it is there by then, or the order has to be given again anyway.
                at(until + Duration::secs(1), Act::Start(agent)),
            ]
        }
        _ => Vec::new(),
    }
}

impl Planner {
    /// One thing that an operator does, and where there is one, the end of it.
    pub(super) fn operators(&mut self, options: &Options) {
        let (agent, length) = (self.some_agent(), self.seconds(1, 30));
        let begin = self.moment(length);
        let until = begin + length;
        let (kind, pick) = (self.chance.below(8), self.chance.bits());
        let trouble = match kind {
            0 => Trouble::Deactivate,
            1 => Trouble::Drain,
            2 => Trouble::Gone,
            3 => Trouble::Maintenance,
            4 => return self.harder_drain(agent, (begin, until), pick),
            5 => return self.passing_schedule(agent, (begin, until)),
            6 => return self.weight((begin, until), pick),
            _ => return self.quota(options, (begin, until), pick),
        };
        let words = match trouble {
            Trouble::Deactivate => format!("agent-{agent} is deactivated for {length}"),
            Trouble::Drain => format!("agent-{agent} is drained, and is to be back after {length}"),
            Trouble::Gone => format!("agent-{agent} is marked gone, and started again after {length}"),
            _ => format!("the machine of agent-{agent} is scheduled, goes down, and is back after {length}"),
        };
        self.add_all(strike(trouble, agent, begin, until), words);
    }

    /// Drained with a grace for its tasks, or so that it ends as gone.
    fn harder_drain(&mut self, agent: u32, (begin, until): (Instant, Instant), pick: u64) {
        let (mark_gone, grace) = (pick.is_multiple_of(2), pick / 2 % (GRACE_SECONDS_MAX + 1));
        let grace_seconds = Some(grace as u16);
        let last = if mark_gone { Act::Start(agent) } else { Act::Reactivate(agent) };
        let course = [at(begin, Act::Drain { agent, grace_seconds, mark_gone }), at(until, last)];
        let words =
            format!("agent-{agent} is drained with a grace of {grace} s{}", if mark_gone { " for good" } else { "" });
        self.add(course, words);
    }

    /// Scheduled and then not touched.
    fn passing_schedule(&mut self, agent: u32, (begin, until): (Instant, Instant)) {
        let schedule = Act::Schedule { agent, after_seconds: 60, length_seconds: 0 };
        let words = format!("the machine of agent-{agent} is scheduled, and then not");
        self.add([at(begin, schedule), at(until, Act::Unschedule(agent))], words);
    }

    fn weight(&mut self, (begin, until): (Instant, Instant), pick: u64) {
        let (role, weight) = ((pick >> 32) as u8, 100 + (pick % 10_000) as u32);
        let words = format!("a role has the weight {weight}/1000");
        self.add([at(begin, Act::SetWeight { role, weight }), at(until, Act::SetWeight { role, weight: 1000 })], words);
    }

    /// A limit of up to half of the processors, or a guarantee, or both.
    fn quota(&mut self, options: &Options, (begin, until): (Instant, Instant), pick: u64) {
        let all = (options.agent_cpus.0 * u64::from(options.agents)).min(u64::from(u32::MAX));
        let limit = (pick % (all / 2 + 1)) as u32;
        let (role, force) = ((pick >> 48) as u8, pick >> 40 & 1 == 0);
        let (guarantee, limit) = match pick >> 44 & 3 {
            0 => (limit, None),
            1 => (limit / 2, Some(limit)),
            _ => (0, Some(limit)),
        };
        let words = format!("a role has a quota: {guarantee} thousandths of a processor promised, at most {limit:?}");
        let none = Act::SetQuota { role, guarantee: 0, limit: None, force: true };
        self.add([at(begin, Act::SetQuota { role, guarantee, limit, force }), at(until, none)], words);
    }
}
