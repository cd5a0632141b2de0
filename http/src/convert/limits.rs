//! `TaskInfo.limits`: how far a task may go beyond what it takes of the offer (reference 5.1).

use kaon_kernel::cause::Cause;
use kaon_kernel::container_info::{Limit, Limits};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{ResourceName, Resources};

use super::Error;

/// The limits of a task that takes `resources`; nothing when there are none.
///
/// # Errors
/// A limit on something else than `cpus` and `mem`, one that is no amount, or one below what the task takes.
pub(crate) fn from_v1<'a>(
    entries: impl Iterator<Item = (&'a str, f64)>,
    resources: &Resources,
) -> Result<Option<Box<Limits>>, Error> {
    let mut limits = Limits::default();
    for (name, value) in entries {
        let place = match name {
            "cpus" => &mut limits.cpus,
            "mem" => &mut limits.mem,
            other => {
                let text = format!(
                    "Resource '{other}' in the task resource limits is not supported; only 'cpus' and 'mem' are"
                );
                return Err(Error::Rule(Cause::LimitsInvalid, text));
            }
        };
        *place = Some(limit(name, value, resources)?);
    }
    Ok((!limits.is_empty()).then(|| Box::new(limits)))
}

fn limit(name: &str, value: f64, resources: &Resources) -> Result<Limit, Error> {
    if value == f64::INFINITY {
        return Ok(Limit::Unlimited);
    }
    let quantity = Quantity::from_scalar(value);
    let quantity = quantity.ok_or_else(|| Error::Quantity { name: format!("limit of {name}"), value })?;
    let taken = resources.scalar(&ResourceName::of(name));
    if quantity < taken {
        let text = format!("The limit of '{name}', {quantity}, is less than what the task takes, {taken}");
        return Err(Error::Rule(Cause::LimitsInvalid, text));
    }
    Ok(Limit::Amount(quantity))
}
