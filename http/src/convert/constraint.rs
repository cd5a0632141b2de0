//! Which offers a framework wants: `OfferConstraints`, and the minimum sizes of `FrameworkInfo.offer_filters`
//! (reference 3.5, 3.6).

use kaon_kernel::cause::Cause;
use kaon_kernel::constraint::{
    AttributeConstraint, ConstraintGroup, OfferConstraints, OfferRules, Predicate, Selector,
};
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{ResourceName, role};

use super::Error;
use crate::v1::mesos as v1;
use crate::v1::scheduler as api;
use api::attribute_constraint::{predicate, selector};

/// What a SUBSCRIBE says about offers, by role in the order of their names. What the expressions are worth the master
/// judges.
///
/// # Errors
/// The first rule that is broken. The text goes to the framework as an ERROR event.
pub fn from_v1(info: &v1::FrameworkInfo, constraints: api::OfferConstraints) -> Result<OfferRules, Error> {
    let mut rules = OfferRules::default();
    for entry in constraints.role_constraints {
        let groups = entry.value.groups.into_iter().map(|group| {
            let constraints = group.attribute_constraints.into_iter().map(constraint);
            let constraints = constraints.collect::<Result<Vec<_>, _>>()?;
            if constraints.is_empty() {
                return Err(rule("An offer constraint group must not be empty"));
            }
            Ok(ConstraintGroup(constraints))
        });
        let groups = groups.collect::<Result<Vec<_>, _>>()?;
        if groups.is_empty() {
            return Err(rule("Offer constraints of a role must have a group"));
        }
        rules.constraints.push((role::parse(&entry.key)?, OfferConstraints { groups }));
    }
    for entry in &info.offer_filters {
        let Some(minimum) = &entry.value.min_allocatable_resources else { continue };
        let sets = minimum.quantities.iter().map(|set| {
            let quantities = set.quantities.iter().map(|one| {
                let (name, value) = (one.key.clone(), one.value.value);
                let quantity = Quantity::from_scalar(value).ok_or(Error::Quantity { name, value })?;
                Ok((ResourceName::of(&one.key), quantity))
            });
            quantities.collect::<Result<Vec<_>, Error>>()
        });
        rules.minimums.push((role::parse(&entry.key)?, sets.collect::<Result<_, _>>()?));
    }
    rules.constraints.sort_by(|(one, _), (two, _)| one.cmp(two));
    rules.minimums.sort_by(|(one, _), (two, _)| one.cmp(two));
    Ok(rules)
}

/// Constraints may only be of roles that the framework is in. Minimum sizes of others are of no account, as in Mesos.
///
/// # Errors
/// The first stray role.
pub fn judge(rules: &OfferRules, roles: &[RoleName]) -> Result<(), Error> {
    match rules.constraints.iter().find(|(role, _)| !roles.contains(role)) {
        Some((stray, _)) => Err(Error::Rule(
            Cause::ConstraintsInvalid,
            format!("Offer constraints of role '{stray}', which is not subscribed"),
        )),
        None => Ok(()),
    }
}

fn rule(text: &str) -> Error {
    Error::Rule(Cause::ConstraintsInvalid, text.to_owned())
}

fn constraint(constraint: api::AttributeConstraint) -> Result<AttributeConstraint, Error> {
    use selector::PseudoattributeType as Pseudo;
    let selector = match constraint.selector.selector {
        Some(selector::Selector::AttributeName(name)) => Selector::Attribute(name),
        Some(selector::Selector::PseudoattributeType(number)) => match Pseudo::try_from(number) {
            Ok(Pseudo::Hostname) => Selector::Hostname,
            Ok(Pseudo::Region) => Selector::Region,
            Ok(Pseudo::Zone) => Selector::Zone,
            Ok(Pseudo::Unknown) | Err(_) => return Err(rule("An offer constraint has an unknown pseudo-attribute")),
        },
        None => return Err(rule("An offer constraint must have a selector")),
    };
    let predicate = match constraint.predicate.predicate {
        Some(predicate::Predicate::Exists(_)) => Predicate::Exists,
        Some(predicate::Predicate::NotExists(_)) => Predicate::NotExists,
        Some(predicate::Predicate::TextEquals(text)) => Predicate::TextEquals(text.value),
        Some(predicate::Predicate::TextNotEquals(text)) => Predicate::TextNotEquals(text.value),
        Some(predicate::Predicate::TextMatches(text)) => Predicate::TextMatches(text.regex),
        Some(predicate::Predicate::TextNotMatches(text)) => Predicate::TextNotMatches(text.regex),
        None => return Err(rule("An offer constraint must have a predicate")),
    };
    Ok(AttributeConstraint { selector, predicate })
}
