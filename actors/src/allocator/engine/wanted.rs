//! What keeps a wish from an agent: everything that would have to change, so that all of it could be offered there.
//!
//! The agent as a whole is looked at first: one that could not hold the wish if nothing else lay there is no prospect,
//! whatever filters and quotas say. The rest are the checks of [`super::feasible`], asked about an offer that holds the
//! wish instead of about any offer.

use super::against::{Against, Amounts, said};
use super::draft::{Drafts, Stage};
use super::feasible::{Reason, minimums, missing};
use super::filter::covers;
use super::sorter::{Class, Client};
use super::tables::{Agent, Capabilities, Membership};
use super::{Engine, SHAPES_SHARED_MAX};
use kaon_kernel::id::{AgentIndex, FrameworkIndex, RoleName};
use kaon_kernel::message::explain::{Obstacle, Question};
use kaon_kernel::placement::{Demand, PlacementRequest, Reason as Misplaced, Shape};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::role::is_within;
use kaon_kernel::resource::{Resource, ResourceName, Resources, Totals};
use std::sync::Arc;

/// What a task would need, and where.
pub(super) struct Wanted<'a> {
    pub(super) wants: &'a Resources,
    /// How much of each name.
    pub(super) amounts: Totals,
    placement: Option<(Demand, &'a PlacementRequest)>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(question: &'a Question) -> Self {
        let asks = question.placement.as_deref().filter(|request| request.is_pinned() || request.is_about_gpus());
        let demand = Demand::of(&question.wants).ok();
        Self { placement: demand.zip(asks), ..Self::anywhere(&question.wants) }
    }

    /// A wish that may lie anywhere.
    pub(super) fn anywhere(wants: &'a Resources) -> Self {
        Self { wants, amounts: wants.quantities(), placement: None }
    }

    /// Why an agent's hardware can't give the place, whatever runs there.
    pub(super) fn refusal(&self, found: &Agent) -> Option<Misplaced> {
        let (demand, request) = self.placement.as_ref()?;
        match &found.shape {
            None => Some(Misplaced::NoTopology),
            Some(shape) => shape.refusal(demand, request),
        }
    }

    /// What a bag lacks of the wish; of ports, names and devices only how many.
    fn lacks(&self, there: &Resources) -> Amounts {
        let there = there.quantities();
        let lacks = self.amounts.iter().filter_map(|(name, wanted)| {
            let lack = wanted.0.saturating_sub(there.of_name(name).0);
            (lack > 0).then(|| (name.clone(), Quantity(lack)))
        });
        lacks.collect()
    }
}

/// Verdicts on shapes: machines of one make have one.
#[derive(Default)]
pub(super) struct Shapes {
    known: Vec<(*const Shape, bool)>,
}

impl Shapes {
    pub(super) fn refuse(&mut self, found: &Agent, wanted: &Wanted<'_>) -> bool {
        if wanted.placement.is_none() {
            return false;
        }
        let at = found.shape.as_ref().map_or(core::ptr::null(), Arc::as_ptr);
        if let Some((_, refused)) = self.known.iter().find(|(other, _)| *other == at) {
            return *refused;
        }
        let refused = wanted.refusal(found).is_some();
        if self.known.len() <= SHAPES_SHARED_MAX {
            self.known.push((at, refused));
        }
        refused
    }
}

/// An agent as one client sees it.
struct View<'a> {
    engine: &'a Engine,
    member: &'a Membership,
    role: &'a RoleName,
    capabilities: Capabilities,
    found: &'a Agent,
    /// Roles whose reservations would be open to it as well, after a change that is told.
    opened: Vec<&'a RoleName>,
}

impl<'a> View<'a> {
    /// What of a bag is not reserved to others.
    fn open(&self, bag: &Resources) -> Resources {
        bag.filter(|entry| {
            entry.reservation_role().is_none_or(|holder| is_within(self.role, holder) || self.opened.contains(&holder))
        })
    }

    /// What of it the framework understands.
    fn understood(&self, bag: &Resources) -> Resources {
        bag.filter(|entry| missing(entry, self.capabilities).is_none())
    }

    /// The roles without whose reservations a wish would fit: one if that is enough.
    fn in_the_way(&self, wants: &Resources) -> Vec<&'a RoleName> {
        let total = &self.found.total;
        let mut holders: Vec<&RoleName> = total.iter().filter_map(Resource::reservation_role).collect();
        holders.sort_unstable();
        holders.dedup();
        holders.retain(|holder| !is_within(self.role, holder));
        let is_enough = |holder: &&&RoleName| {
            let is_open = |role: &RoleName| is_within(self.role, role) || role == **holder;
            total.filter(|entry| entry.reservation_role().is_none_or(is_open)).find(wants, Some(self.role)).is_some()
        };
        match holders.iter().find(is_enough) {
            Some(holder) => vec![holder],
            None => holders,
        }
    }

    /// What quota takes away where so much of a name that is reserved to nobody is needed, `back` of which has to come back
    /// first: what those with a guarantee give back must stay free for them.
    fn cut(&self, name: &ResourceName, needed: u128, back: u128, into: &mut Vec<Against<'a>>) {
        let (quotas, names) = (&self.engine.quotas, &self.engine.names);
        let Some((at, name)) = names.find(name).and_then(|at| Some((at, names.name(at)?))) else { return };
        let top = quotas.top(self.member.top);
        let promised = top.missing.of(at).min(self.found.open.of(at) + back);
        let guaranteed = if back > 0 && self.gives_back_a_guarantee(at) { back } else { 0 };
        let promised_to_others = quotas.required.of(at).saturating_sub(top.missing.of(at)) + guaranteed;
        let surplus = match promised_to_others {
            0 => u128::MAX,
            _ => quotas.headroom.of(at).saturating_sub(quotas.required.of(at)),
        };
        let above = if needed > 0 { top.above(at, needed) } else { 0 };
        let kept = needed.saturating_sub(promised).saturating_sub(surplus).min(promised_to_others);
        for (more, is_limit) in [(above, true), (kept, false)] {
            let known = into.iter_mut().find_map(|one| match one {
                Against::Quota { name: other, more, is_limit: which } if *other == name && *which == is_limit => {
                    Some(more)
                }
                _ => None,
            });
            match known {
                Some(known) => *known = more.max(*known),
                None if more > 0 => into.push(Against::Quota { name, more, is_limit }),
                None => {}
            }
        }
    }

    /// Whether somebody else with a guarantee of the scalar at a position has something here.
    fn gives_back_a_guarantee(&self, at: usize) -> bool {
        let quotas = &self.engine.quotas;
        let is_another = |top: u32| top != self.member.top && quotas.top(top).guarantees.of(at) > 0;
        let held = self.found.holdings.iter().filter_map(|(client, _)| self.engine.clients.find(*client));
        held.map(|place| self.engine.clients.at(place).top).any(is_another)
            || self.opened.iter().filter_map(|role| quotas.find(role)).any(is_another)
    }

    /// Everything against a wish that the agent as a whole could hold, but for the reasons in `all`, which is added to.
    fn against(mut self, wanted: &Wanted<'_>, all: &mut Vec<Against<'a>>) {
        let (engine, found, role, top) = (self.engine, self.found, self.role, self.member.top);
        let holds = |bag: &Resources| bag.find(wanted.wants, Some(role)).is_some();
        let mut whole = self.open(&found.total);
        if !holds(&whole) {
            self.opened = self.in_the_way(wanted.wants);
            all.push(Against::Reserved(self.opened.clone()));
            whole = self.open(&found.total);
        }
        if !holds(&self.understood(&whole)) {
            let lacking = found.total.iter().find_map(|entry| missing(entry, self.capabilities));
            all.extend(lacking.map(|capability| Against::Offer(Reason::NotUnderstood { capability })));
        } else {
            whole = self.understood(&whole);
        }
        let mut drafts = Drafts::new(&engine.rules, &engine.quotas, &engine.names, found, Stage::Promised, false);
        let is_promised = engine.quotas.top(top).class == Class::Promised && drafts.advances(top);
        if !is_promised {
            drafts = Drafts::new(&engine.rules, &engine.quotas, &engine.names, found, Stage::Fair, false);
        }
        let offer = drafts.offer(role, top, self.capabilities).offer.clone();
        let free = self.understood(&self.open(&found.free));
        let is_offered = holds(&offer);
        let is_short = !is_offered && !holds(&free);
        let lacks = if is_short { wanted.lacks(&free) } else { Amounts::new() };
        let quotas_from = all.len();
        if !is_offered && engine.quotas.any() {
            let ours = if is_short { &whole } else { &free };
            for (name, amount) in wanted.amounts.iter() {
                let back = lacks.iter().find(|(lack, _)| lack == name).map_or(0, |(_, lack)| u128::from(lack.0));
                let needed = amount.0.saturating_sub(self.reserved(ours, name));
                self.cut(name, u128::from(needed), back, all);
            }
        }
        let minimums = minimums(&engine.rules, Some(self.member));
        let reach = |bag: &Resources| {
            let amount = |name: &ResourceName| bag.scalar(name).max(wanted.amounts.of_name(name));
            minimums.iter().find(|set| set.iter().all(|(name, least)| amount(name) >= *least))
        };
        if !minimums.is_empty() && reach(&offer).is_none() {
            // What quota withholds may be what the minimum wants.
            for (name, least) in reach(&free).into_iter().flatten() {
                let needed = least.0.saturating_sub(self.reserved(&free, name));
                self.cut(name, u128::from(needed), 0, all);
            }
            if !all[quotas_from..].iter().any(|one| matches!(one, Against::Quota { .. })) {
                let (cpus, mem) = (offer.scalar(&ResourceName::Cpus), offer.scalar(&ResourceName::Mem));
                all.push(Against::Offer(Reason::BelowMinimum { cpus, mem }));
            }
        }
        // A refusal of less than what is wanted does not keep what is wanted back.
        let keeps = |refused: &Resources| {
            let there = refused.quantities();
            covers(refused, &offer) && wanted.amounts.iter().all(|(name, amount)| there.of_name(name) >= amount)
        };
        let filter = self.member.owner.and_then(|owner| found.filters.longest(owner, keeps));
        all.extend(filter.map(|(refused, until)| Against::Offer(Reason::Filtered { refused, until })));
        if is_short {
            all.push(Against::Size { lacks, is_empty: found.free.is_empty() });
        }
    }

    /// How much of a scalar is reserved to the role in a bag.
    fn reserved(&self, bag: &Resources, name: &ResourceName) -> u64 {
        let is_ours = |holder: &RoleName| is_within(self.role, holder);
        bag.filter(|entry| entry.reservation_role().is_some_and(is_ours)).scalar(name).0
    }
}

impl Engine {
    /// Everything that keeps a wish from an agent, but for its hardware; empty when all of it can be offered.
    pub(super) fn against_wish<'a>(
        &'a self,
        framework: FrameworkIndex,
        role: &RoleName,
        found: &'a Agent,
        wanted: &Wanted<'_>,
    ) -> Vec<Against<'a>> {
        let mut all: Vec<Against<'_>> =
            self.against_agent(framework, role, found).into_iter().map(Against::Offer).collect();
        if wanted.wants.is_empty() {
            all.truncate(1);
            return all;
        }
        let Some(index) = self.roles.find(role) else { return all };
        let member = self.clients.find(Client { framework, role: index }).and_then(|at| self.clients.get(at));
        let (Some(member), Some(known)) = (member, self.frameworks.get(&framework)) else { return all };
        if found.total.find(wanted.wants, Some(role)).is_none() {
            return vec![Against::Never(wanted.lacks(&found.total))];
        }
        // The others are asked again, about all of the wish.
        all.retain(|one| {
            matches!(
                one,
                Against::Offer(
                    Reason::AgentInactive
                        | Reason::NotListed
                        | Reason::NotOwned { .. }
                        | Reason::Constrained
                        | Reason::GpuOptIn
                        | Reason::OtherRegion { .. }
                )
            )
        });
        let capabilities = known.capabilities;
        let role = self.roles.name(index);
        View { engine: self, member, role, capabilities, found, opened: Vec::new() }.against(wanted, &mut all);
        all
    }

    /// Why a wish fits on no agent, or not on the one that is asked about, of which this one lacks least.
    pub(super) fn never(&self, wanted: &Wanted<'_>, nearest: AgentIndex, is_about_one: bool) -> Option<Obstacle> {
        let found = self.agents.get(&nearest)?;
        if let Some(reason) = wanted.refusal(found) {
            return Against::obstacle(&[Against::Topology(reason)], kaon_kernel::time::Instant(0));
        }
        let among = || self.agents.values().filter(|other| !is_about_one || core::ptr::eq(*other, found));
        let largest = |name: &ResourceName| among().map(|other| other.total.quantities().of_name(name)).max();
        let nobody = if is_about_one { "the agent does not have" } else { "no agent has" };
        let single = wanted.amounts.iter().filter_map(|(name, amount)| {
            let largest = largest(name).filter(|largest| *largest < amount)?;
            let name = name.as_str();
            Some(match (largest, is_about_one) {
                (Quantity(0), _) => format!("{nobody} any {name}"),
                (_, true) => format!("{nobody} {amount} {name}, all it has is {largest}"),
                (_, false) => format!("{nobody} {amount} {name}; the largest has {largest}"),
            })
        });
        let single: Vec<String> = single.collect();
        let there = found.total.quantities();
        let had: Vec<(ResourceName, Quantity)> =
            wanted.amounts.iter().map(|(name, _)| (name.clone(), there.of_name(name))).collect();
        let (id, wants) = (&found.facts.id, wanted.wants);
        let text = match single.is_empty() {
            true => format!("{nobody} {wants} together; {id} has {}", said(&had)),
            false => single.join(", and "),
        };
        let most: Vec<(ResourceName, Quantity)> = had.into_iter().filter(|(_, amount)| amount.0 > 0).collect();
        let is_counted = !wanted.lacks(&found.total).is_empty() && !most.is_empty();
        let change = match is_counted {
            true => format!("ask for at most {}, as {id} has, or add an agent with {wants}", said(&most)),
            false => format!("add an agent with {wants}"),
        };
        Some(Obstacle { word: super::against::NEVER.to_owned(), text, change })
    }
}
