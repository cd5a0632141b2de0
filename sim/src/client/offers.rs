//! Offers: as many tasks as fit, the rest declined.

use super::group::{EXECUTOR, EXECUTOR_DISK, GROUP_MAX, executor};
use super::task::task_id;
use super::{Client, ClientContext, Phase};
use crate::report::Course;
use kaon_kernel::id::{AgentId, ArchivedOfferId, OfferId};
use kaon_kernel::message::scheduler::{Call, ClientOffer};
use kaon_kernel::offer::{ArchivedOffer, OfferOperation, Refusal};
use kaon_kernel::placement::{PlacementRequest, Policy};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::task::{CommandInfo, TaskInfo, TaskState};
use kaon_kernel::time::Duration;
use rkyv::rancor::Panic;

/// How long it does not want an offer again that it has no use for at all.
const NO_USE: Refusal = Refusal(Duration::secs(600));

impl Client {
    pub(super) fn on_offers(
        &mut self,
        offers: &rkyv::vec::ArchivedVec<ArchivedOffer>,
        context: &mut ClientContext<'_>,
    ) {
        let mut declined = Vec::new();
        for offer in offers.iter() {
            let known = |id: &ArchivedOfferId| ClientOffer::Known(OfferId(id.0.to_native()));
            let resources = rkyv::api::high::deserialize::<Resources, Panic>(&offer.resources);
            let resources = resources.unwrap_or_else(|never| match never {});
            let agent = AgentId::trusted(offer.agent_id.as_str());
            let mut left = resources;
            let mut operations = Vec::new();
            if self.config.volumes {
                let kept = if self.queue.is_empty() { None } else { self.kept_task(&mut left) };
                if let Some((before, used)) = kept
                    && let Some(job) = self.queue.pop_front()
                {
                    operations.extend(before);
                    let task = TaskInfo { resources: used, ..self.launch(job, &agent, context) };
                    operations.push(OfferOperation::Launch { tasks: vec![task] });
                }
                operations.extend(self.give_back(&mut left, context));
            }
            let room = self.room(&left.unreserved());
            if (room == 0 || self.queue.is_empty()) && operations.is_empty() {
                declined.push(known(&offer.id));
                continue;
            }
            let mut tasks = Vec::with_capacity(room.min(self.queue.len()));
            let most = if self.config.grouped { room.min(GROUP_MAX) } else { room };
            while tasks.len() < most
                && let Some(job) = self.queue.pop_front()
            {
                tasks.push(self.launch(job, &agent, context));
            }
            self.tally.accepted += 1;
            if !tasks.is_empty() {
                operations.push(match self.config.grouped {
                    true => OfferOperation::LaunchGroup { executor: Box::new(executor(&tasks)), tasks },
                    false => OfferOperation::Launch { tasks },
                });
            }
            let call = Call::Accept { offers: vec![known(&offer.id)], operations, refusal: Refusal::DEFAULT };
            self.call(call, context);
        }
        if !declined.is_empty() {
            self.tally.declined += declined.len() as u64;
            let refusal = if self.queue.is_empty() { NO_USE } else { Refusal::DEFAULT };
            self.call(Call::Decline { offers: declined, refusal }, context);
        }
        self.ask_for_offers(context);
    }

    /// How many tasks fit.
    fn room(&self, resources: &Resources) -> usize {
        let own = if self.config.grouped { EXECUTOR } else { (Quantity::ZERO, Quantity::ZERO) };
        if self.config.grouped && resources.scalar(&ResourceName::Disk) < EXECUTOR_DISK {
            return 0;
        }
        let fit = |name, each: Quantity, own: Quantity| {
            resources.scalar(&name).0.saturating_sub(own.0).checked_div(each.0).unwrap_or(u64::MAX)
        };
        let cpus = fit(ResourceName::Cpus, self.config.cpus, own.0);
        cpus.min(fit(ResourceName::Mem, self.config.mem, own.1)) as usize
    }

    fn launch(&mut self, number: u32, agent: &AgentId, context: &mut ClientContext<'_>) -> TaskInfo {
        if let Some(courses) = self.courses.as_mut() {
            let launched_seconds = context.now().0 as f64 / 1e9;
            let (task, acceptance) = ((self.config.number, number), self.tally.accepted);
            courses.push(Course { task, acceptance, launched_seconds, statuses: Vec::new() });
        }
        let job = &mut self.jobs[number as usize];
        self.tally.relaunched += u64::from(job.attempt > 0);
        job.phase = Phase::Launched;
        job.state = TaskState::Staging;
        job.heard = context.now();
        job.killing = false;
        job.agent = Some(agent.clone());
        let value = Some(job.plan.command());
        TaskInfo {
            name: format!("batch-{}-{number}", self.config.number),
            task_id: task_id(number, job.attempt),
            agent_id: agent.clone(),
            resources: Resources::cpus_and_mem(self.config.cpus, self.config.mem),
            command: Some(CommandInfo { shell: true, value, ..CommandInfo::default() }),
            role: self.config.role.clone(),
            executor: None,
            limits: None,
            container: None,
            kill_grace: None,
            max_completion_time: None,
            checks: job.plan.checks(),
            data: None,
            labels: Vec::new(),
            placement: self
                .config
                .placed
                .then(|| Box::new(PlacementRequest { policy: Policy::Packed, ..PlacementRequest::default() })),
            defect: None,
            rest: Vec::new(),
        }
    }
}
