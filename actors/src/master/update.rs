//! UPDATE_FRAMEWORK: a subscribed framework replaces what it said of itself, and is answered (reference 3.1, 3.3).
//!
//! Mesos: `Master::updateFramework`, `validation::framework::validateUpdate`. There nothing of a framework is in the
//! registry; here the new words are there before they count, as those of a subscription are.

use super::{Master, MasterContext, Pending};
use crate::constraints::Constrained;
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::constraint::OfferRules;
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{FrameworkIndex, OfferId};
use kaon_kernel::message::operator::Answer;
use kaon_kernel::message::registrar::RegistryOperation;
use kaon_kernel::message::scheduler::FrameworkUpdate;

impl Master {
    /// A framework says something else of itself.
    pub(super) fn on_update_framework(
        &mut self,
        index: FrameworkIndex,
        update: Box<FrameworkUpdate>,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_update_framework", 1);
        let (reply, framework) = (update.reply, &self.state.frameworks[&index]);
        let checked = match update.info.id.as_ref() == Some(&framework.id) {
            true => check_update(&framework.info, &update.info),
            false => {
                let words = "'framework_id' differs from 'update_framework.framework_info.id'";
                Err(Defect::new(Cause::FrameworkIdMismatch, words))
            }
        };
        let checked = checked.and_then(|()| self.check_framework(&update.info, &update.offers));
        if let Err(defect) = checked {
            return Self::answer(reply, Answer::Refused(defect), context);
        }
        let is_same = framework.info == update.info;
        let operation = RegistryOperation::AdmitFramework { info: update.info.clone() };
        if is_same {
            self.on_framework_update_written(*update, context);
        } else if !self.register_wish(operation, Pending::Update(update), context) {
            let reason = "too many changes wait for the registry".to_owned();
            Self::answer(reply, Answer::Unavailable { reason }, context);
        }
    }

    /// What a framework may say of itself in this cluster, when it subscribes as well.
    pub(super) fn check_framework(&self, info: &FrameworkInfo, offers: &OfferRules) -> Result<(), Defect> {
        if let Some(role) = info.roles.iter().find(|role| !self.may_use(role)) {
            let words = format!("Role '{role}' is not present in the master's --roles");
            return Err(Defect::new(Cause::RoleNotAllowed, words));
        }
        let mut constraints = offers.constraints.iter();
        match constraints.find_map(|(_, constraints)| Constrained::new(constraints).err()) {
            Some(error) => Err(Defect::new(Cause::ConstraintsInvalid, format!("Invalid offer constraints: {error}"))),
            None => Ok(()),
        }
    }

    /// The registry has the new words: they count.
    pub(super) fn on_framework_update_written(&mut self, update: FrameworkUpdate, context: &mut MasterContext<'_>) {
        let FrameworkUpdate { info, suppressed_roles, offers, reply } = update;
        let index = info.id.as_ref().and_then(|id| self.state.framework_index(id.as_str()));
        let Some(index) = index else {
            let reason = "Framework has been removed".to_owned();
            return Self::answer(reply, Answer::Conflict { reason }, context);
        };
        let framework = &mut self.state.frameworks[&index];
        let is_same = framework.info == info;
        framework.info = info;
        framework.suppressed = suppressed_roles.into_iter().collect();
        framework.offer_rules = offers;
        self.update_allocated_framework(index, context);
        self.rescind_foreign_roles(index, context);
        if !is_same {
            self.tell_agents_of(index, context);
            self.show_framework(index, context);
        }
        Self::answer(reply, Answer::Done, context);
    }

    /// Takes back what is offered to a framework in roles that it has left. Its tasks there run on.
    fn rescind_foreign_roles(&mut self, index: FrameworkIndex, context: &mut MasterContext<'_>) {
        let framework = &self.state.frameworks[&index];
        let is_foreign = |id: &&OfferId| !framework.info.roles.contains(&self.state.offers[*id].role);
        let foreign: Vec<OfferId> = framework.offers.iter().filter(is_foreign).copied().collect();
        for id in foreign {
            self.rescind(id, context);
        }
    }
}

/// What may not change while a framework is subscribed.
fn check_update(before: &FrameworkInfo, after: &FrameworkInfo) -> Result<(), Defect> {
    if before.principal != after.principal {
        return Err(Defect::new(Cause::PrincipalChanged, "Changing framework's principal is not allowed"));
    }
    if before.user != after.user {
        let (before, after) = (&before.user, &after.user);
        let words =
            format!("Updating 'FrameworkInfo.user' is unsupported; attempted to update from '{before}' to '{after}'");
        return Err(Defect::new(Cause::UserChanged, words));
    }
    if before.checkpoint != after.checkpoint {
        let (before, after) = (before.checkpoint, after.checkpoint);
        let words = format!(
            "Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from '{before}' to '{after}'"
        );
        return Err(Defect::new(Cause::CheckpointChanged, words));
    }
    Ok(())
}
