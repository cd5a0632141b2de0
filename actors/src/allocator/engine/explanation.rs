//! Answers to questions from outside, put together from the reasons of the checks.
//!
//! The reasons are those of [`Engine::explain`]; this file counts and groups them, measures what a task would lack on each
//! agent, picks the agent that is nearest, and says what would have to change. Cost: one pass over all agents for each
//! client in question; where a [`Glance`] is enough an agent costs a few comparisons, else one like the agent before it one
//! of its bag.

use super::Engine;
use super::against::{Against, NEVER_FROM, TOPOLOGY, Way, narrow};
use super::glance::{Glance, Wish};
use super::sorter::Client;
use super::tables::{Agent, Membership};
use super::wanted::{Shapes, Wanted};
use core::cmp::Reverse;
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkIndex, RoleName};
use kaon_kernel::message::explain::{
    CLIENTS_MAX, ClientAccount, Explanation, Group, HOLDERS_MAX, Holder, Nearest, Obstacle, Question, Subject,
};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::ResourceName;
use kaon_kernel::table::Table;
use kaon_kernel::time::Instant;

impl Engine {
    /// Answers a question at `now`; `None` when its subject is not known.
    pub fn answer(&self, question: &Question, now: Instant) -> Option<Explanation> {
        let (clients, agent) = self.subjects(&question.subject)?;
        let shown = clients.iter().take(CLIENTS_MAX);
        let accounts = shown.map(|&client| self.account(client, agent, &Wanted::new(question), now));
        let capacity = match agent.and_then(|agent| self.agents.get(&agent)) {
            Some(found) => {
                let (total, free) = (found.total.quantities(), found.free.quantities());
                let held = |name: &ResourceName, all: Quantity| all.0.saturating_sub(free.of_name(name).0);
                total.iter().map(|(name, all)| (name.as_str().to_owned(), all.0, held(name, all))).collect()
            }
            None => {
                self.totals().map(|(name, all, held)| (name.as_str().to_owned(), narrow(all), narrow(held))).collect()
            }
        };
        Some(Explanation {
            clients: accounts.collect(),
            clients_left_out: clients.len().saturating_sub(CLIENTS_MAX) as u32,
            holders: self.holders(agent),
            capacity,
        })
    }

    /// The clients in question in order, and the agent, if it is about one.
    fn subjects(&self, subject: &Subject) -> Option<(Vec<Client>, Option<AgentIndex>)> {
        let members = self.clients.iter().map(|(_, member)| member).filter(|member| member.is_subscribed);
        let mut clients: Vec<Client> = members.map(|member| member.client).collect();
        let mut about = None;
        match subject {
            Subject::Framework(id) => {
                let (&framework, _) = self.frameworks.iter().find(|(_, known)| known.is_known && known.id == *id)?;
                clients.retain(|client| client.framework == framework);
            }
            Subject::Role(name) => {
                let role = self.roles.find(name)?;
                clients.retain(|client| client.role == role);
            }
            Subject::Agent(id) => {
                about = Some(*self.agents.iter().find(|(_, found)| found.facts.id == *id)?.0);
            }
        }
        clients.sort_unstable();
        Some((clients, about))
    }

    fn account(&self, client: Client, about: Option<AgentIndex>, wanted: &Wanted<'_>, now: Instant) -> ClientAccount {
        let Client { framework, role } = client;
        let name = self.roles.name(role);
        let standing = self.standing(framework, name);
        let mut open = 0;
        let mut groups: Table<&'static str, (u32, Way, AgentIndex)> = Table::default();
        let asked = self.agents.iter().filter(|(agent, _)| about.is_none_or(|about| about == **agent));
        let member = self.clients.find(client).and_then(|at| self.clients.get(at));
        let mut wish = member.and_then(|member| Wish::new(self, member, wanted));
        let mut before: Option<(&Agent, Option<(&'static str, Way)>)> = None;
        let mut shapes = Shapes::default();
        for (&agent, found) in asked {
            if shapes.refuse(found, wanted) {
                let group = groups.entry(TOPOLOGY).or_insert((0, ((NEVER_FROM, 0), 1), agent));
                group.0 += 1;
                continue;
            }
            let seen = wish.as_mut().map_or(Glance::Unclear, |wish| wish.glance(self, found));
            let verdict = match seen {
                Glance::Open => None,
                Glance::Against(word, distance) => Some((word, (distance, 1))),
                Glance::Unclear => {
                    // Most agents of a cluster are like the one before: what was found there is true here as well.
                    let known = before.filter(|(other, _)| is_alike(member, other, found));
                    let verdict = match known {
                        Some((_, verdict)) => verdict,
                        None => self.verdict(framework, name, found, wanted, now),
                    };
                    before = Some((found, verdict));
                    verdict
                }
            };
            let Some((word, way)) = verdict else {
                open += 1;
                continue;
            };
            let group = groups.entry(word).or_insert((0, way, agent));
            group.0 += 1;
            if way < group.1 {
                (group.1, group.2) = (way, agent);
            }
        }
        let nearest = groups.values().min_by_key(|(_, way, agent)| (*way, *agent)).filter(|_| open == 0);
        let (possible, never) = match nearest {
            Some(&(_, ((kind, _), _), agent)) if kind >= NEVER_FROM => {
                (None, self.never(wanted, agent, about.is_some()))
            }
            Some(&(_, _, agent)) => (Some(agent), None),
            None => (None, None),
        };
        let nearest = possible.and_then(|agent| {
            let (agent_id, obstacle) = self.obstacle_on(framework, name, agent, wanted, now)?;
            Some(Nearest { agent_id, obstacle })
        });
        let mut groups: Vec<Group> = groups
            .values()
            .filter_map(|&(agents, _, agent)| {
                let (example, obstacle) = self.obstacle_on(framework, name, agent, wanted, now)?;
                Some(Group { obstacle, agents, example })
            })
            .collect();
        groups.sort_by_key(|group| Reverse(group.agents));
        ClientAccount {
            framework_id: self.frameworks[&framework].id.clone(),
            role: name.clone(),
            role_share_millionths: (self.sorter.share(role) * 1e6) as u64,
            allocations: member.map_or(0, |member| member.allocations),
            standing: standing.iter().filter_map(|&reason| Against::obstacle(&[Against::Offer(reason)], now)).collect(),
            agents_open: open,
            groups,
            nearest,
            never,
        }
    }

    /// The word for the first thing against all of a wish on one agent, and how far away it is.
    pub(super) fn verdict(
        &self,
        framework: FrameworkIndex,
        role: &RoleName,
        found: &Agent,
        wanted: &Wanted<'_>,
        now: Instant,
    ) -> Option<(&'static str, Way)> {
        let all = self.against_wish(framework, role, found, wanted);
        let most = all.iter().map(|one| one.distance(now)).max()?;
        Some((all.first()?.word(), (most, all.len())))
    }

    fn obstacle_on(
        &self,
        framework: FrameworkIndex,
        role: &RoleName,
        agent: AgentIndex,
        wanted: &Wanted<'_>,
        now: Instant,
    ) -> Option<(AgentId, Obstacle)> {
        let found = self.agents.get(&agent)?;
        let all = match wanted.refusal(found) {
            Some(reason) => vec![Against::Topology(reason)],
            None => self.against_wish(framework, role, found, wanted),
        };
        Some((found.facts.id.clone(), Against::obstacle(&all, now)?))
    }

    /// Who holds most, of one agent or of all.
    fn holders(&self, agent: Option<AgentIndex>) -> Vec<Holder> {
        let name = |client: Client| {
            let framework_id = self.frameworks.get(&client.framework).map(|known| known.id.clone());
            Some((framework_id?, self.roles.name(client.role).clone()))
        };
        if let Some(found) = agent.and_then(|agent| self.agents.get(&agent)) {
            let holders = found.holdings.iter().filter_map(|(client, holding)| {
                let (framework_id, role) = name(*client)?;
                let held = holding.whole().quantities();
                let held = held.iter().map(|(name, amount)| (name.as_str().to_owned(), amount.0)).collect();
                Some(Holder { framework_id, role, held })
            });
            return holders.take(HOLDERS_MAX).collect();
        }
        let members = self.clients.iter().map(|(_, member)| member).filter(|member| !member.held.is_zero());
        let mut shares: Vec<_> = members.map(|member| (member.held.share_of(&self.total), member)).collect();
        shares.sort_by(|one, two| two.0.total_cmp(&one.0).then_with(|| one.1.client.cmp(&two.1.client)));
        let holders = shares.into_iter().filter_map(|(_, member)| {
            let (framework_id, role) = name(member.client)?;
            let held = self.names.named(&member.held).filter(|(_, amount)| *amount > 0);
            let held = held.map(|(name, amount)| (name.as_str().to_owned(), narrow(amount))).collect();
            Some(Holder { framework_id, role, held })
        });
        holders.take(HOLDERS_MAX).collect()
    }
}

/// Whether two agents are the same to a client: equal in all that the checks look at, neither with a filter of it. One
/// with constraints may find any two agents different.
fn is_alike(member: Option<&Membership>, one: &Agent, other: &Agent) -> bool {
    let Some(member) = member.filter(|member| member.constrained.is_none()) else { return false };
    let is_filtered = |agent: &Agent| member.owner.is_some_and(|owner| agent.filters.has(owner));
    (one.active, one.is_listed, one.has_gpus, one.is_remote)
        == (other.active, other.is_listed, other.has_gpus, other.is_remote)
        && one.free == other.free
        && one.total == other.total
        && !is_filtered(one)
        && !is_filtered(other)
}
