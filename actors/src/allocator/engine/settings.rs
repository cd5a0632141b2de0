//! What operators and frameworks set: weights, whitelist, constraints, minimum sizes.

use super::sorter::Client;
use super::{Engine, Error, Minimums, SHAPES_SHARED_MAX};
use crate::constraints::Constrained;
use kaon_kernel::constraint::OfferConstraints;
use kaon_kernel::id::{AgentIndex, FrameworkIndex, RoleName};
use kaon_kernel::placement::Shape;
use std::sync::Arc;

impl Engine {
    /// Sets the weight of a role, in thousandths and above zero.
    pub fn set_weight(&mut self, role: &RoleName, thousandths: u32) -> Result<(), Error> {
        self.check_begun()?;
        if thousandths == 0 {
            return Err(Error::NoWeight);
        }
        self.sorter.set_weight(role, thousandths);
        self.mark_everyone();
        Ok(())
    }

    /// Offers only agents with one of these hostnames; `None` offers all (Mesos `--whitelist`). Cost: a pass over all
    /// agents.
    pub fn set_whitelist(&mut self, hostnames: Option<&[String]>) -> Result<(), Error> {
        self.check_begun()?;
        self.whitelist = hostnames.map(|hostnames| hostnames.iter().cloned().collect());
        for at in 0..self.agents.len() {
            let (&agent, found) = self.agents.get_index(at).expect("a place in the table");
            let is_listed = self.lists(&found.facts.hostname);
            if is_listed != found.is_listed {
                self.agents[at].is_listed = is_listed;
                self.touch(agent);
            }
        }
        Ok(())
    }

    /// What an agent's hardware could give at most, for explanations alone. Cost: a comparison with each make of machine.
    pub fn set_shape(&mut self, agent: AgentIndex, shape: Shape) -> Result<(), Error> {
        let found = self.agents.get_mut(&agent).ok_or(Error::UnknownAgent(agent))?;
        let known = self.shapes.iter().find(|known| ***known == shape);
        found.shape = Some(known.map_or_else(|| Arc::new(shape), Arc::clone));
        if known.is_none()
            && self.shapes.len() < SHAPES_SHARED_MAX
            && let Some(shape) = &found.shape
        {
            self.shapes.push(Arc::clone(shape));
        }
        Ok(())
    }

    /// Whether agents of a hostname may be offered.
    pub(super) fn lists(&self, hostname: &str) -> bool {
        self.whitelist.as_ref().is_none_or(|listed| listed.contains(hostname))
    }

    /// Replaces the offer constraints of a framework in a role; those without a group remove them. They go with its
    /// subscription in the role.
    pub fn set_constraints(
        &mut self,
        framework: FrameworkIndex,
        role: &RoleName,
        constraints: &OfferConstraints,
    ) -> Result<(), Error> {
        let at = self.subscription(framework, role)?;
        let constrained = Constrained::new(constraints).map_err(|_| Error::BadConstraints)?;
        self.clients.at_mut(at).constrained = constrained.map(Box::new);
        self.mark_everyone();
        Ok(())
    }

    /// Replaces the minimum size of offers to a framework in a role; `None` is that of the rules
    /// (`FrameworkInfo.offer_filters`, reference 3.5). It goes with its subscription in the role.
    pub fn set_minimums(
        &mut self,
        framework: FrameworkIndex,
        role: &RoleName,
        minimums: Option<Minimums>,
    ) -> Result<(), Error> {
        let at = self.subscription(framework, role)?;
        self.put_minimums(at, minimums);
        self.mark_everyone();
        Ok(())
    }

    pub(super) fn put_minimums(&mut self, at: u32, minimums: Option<Minimums>) {
        let member = self.clients.at_mut(at);
        let (top, is) = (member.top, minimums.is_some());
        let was = core::mem::replace(&mut member.minimums, minimums.map(Box::new)).is_some();
        if was != is {
            self.particular = if is { self.particular + 1 } else { self.particular - 1 };
            self.quotas.particular(top, is);
            self.classify(top);
        }
    }

    /// The place of a framework in a role in which it is subscribed.
    fn subscription(&self, framework: FrameworkIndex, role: &RoleName) -> Result<u32, Error> {
        self.check_known(framework)?;
        let client = self.roles.find(role).map(|role| Client { framework, role });
        let at = client.and_then(|client| self.clients.find(client));
        at.filter(|&at| self.clients.at(at).is_subscribed).ok_or(Error::NotSubscribed)
    }
}
