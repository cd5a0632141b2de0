//! Quotas and weights of roles (`QuotaConfig`, `WeightInfo`).

use kaon_kernel::cause::Cause;
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::{ResourceName, role};

use super::Error;
use crate::v1::mesos as v1;
use crate::v1::quota as api;

/// A quota as an operator set it.
///
/// # Errors
/// When the role is none, or an amount is negative, not a number or beyond 1e12.
pub fn quota_from_v1(config: api::QuotaConfig) -> Result<(RoleName, Quota), Error> {
    let role = role::parse(&config.role)?;
    let guarantees = config.guarantees.into_iter().map(|entry| amount(entry.key, entry.value));
    let guarantees = guarantees.collect::<Result<Vec<_>, _>>()?;
    let limits = config.limits.into_iter().map(|entry| amount(entry.key, entry.value)).collect::<Result<_, _>>()?;
    // A guarantee of nothing says nothing.
    let guarantees = guarantees.into_iter().filter(|(_, amount)| !amount.is_zero()).collect();
    Ok((role, Quota { guarantees, limits }))
}

/// A quota in the older form, which knows guarantees alone and means limits of the same amounts (reference 7.1).
///
/// # Errors
/// When the role is none, or the guarantee is empty, names a resource twice, or has what is not a plain scalar.
pub fn request_from_v1(request: &api::QuotaRequest) -> Result<(RoleName, Quota), Error> {
    let role = role::parse(request.role.as_deref().unwrap_or_default())?;
    if request.guarantee.is_empty() {
        return Err(Error::Rule(Cause::QuotaInvalid, "QuotaInfo with empty 'guarantee'".to_owned()));
    }
    let mut guarantees: Vec<(ResourceName, Quantity)> = Vec::new();
    for entry in &request.guarantee {
        let is_reserved = entry.reservation.is_some()
            || !entry.reservations.is_empty()
            || entry.role.as_deref().is_some_and(|role| role != role::DEFAULT);
        if is_reserved || entry.disk.is_some() || entry.revocable.is_some() || entry.shared.is_some() {
            let text = format!("QuotaInfo may not have reservations, DiskInfo, revocable or shared '{}'", entry.name);
            return Err(Error::Rule(Cause::QuotaInvalid, text));
        }
        let scalar = entry.scalar.filter(|_| entry.r#type == v1::value::Type::Scalar as i32);
        let Some(scalar) = scalar else {
            return Err(Error::Rule(
                Cause::QuotaInvalid,
                format!("QuotaInfo may only have scalars, '{}' is none", entry.name),
            ));
        };
        let (name, amount) = amount(entry.name.clone(), scalar)?;
        if guarantees.iter().any(|(present, _)| *present == name) {
            return Err(Error::Rule(Cause::QuotaInvalid, format!("QuotaInfo has '{}' twice", entry.name)));
        }
        guarantees.push((name, amount));
    }
    let limits = guarantees.clone();
    guarantees.retain(|(_, amount)| !amount.is_zero());
    Ok((role, Quota { guarantees, limits }))
}

/// A quota in the older form, as operators read it.
pub fn info_to_v1(role: &RoleName, quota: &Quota) -> api::QuotaInfo {
    let guarantee = quota.guarantees.iter().map(|(name, amount)| v1::Resource {
        name: name.as_str().to_owned(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value: amount.as_scalar() }),
        role: Some(role::DEFAULT.to_owned()),
        ..v1::Resource::default()
    });
    api::QuotaInfo { role: Some(role.to_string()), principal: None, guarantee: guarantee.collect() }
}

/// A quota as operators read it.
pub fn quota_to_v1(role: &RoleName, quota: &Quota) -> api::QuotaConfig {
    let pair = |(name, amount): &(ResourceName, Quantity)| {
        (name.as_str().to_owned(), v1::value::Scalar { value: amount.as_scalar() })
    };
    let (guarantees, limits) = (quota.guarantees.iter().map(pair), quota.limits.iter().map(pair));
    api::QuotaConfig {
        role: role.to_string(),
        guarantees: guarantees.map(|(key, value)| api::quota_config::GuaranteesEntry { key, value }).collect(),
        limits: limits.map(|(key, value)| api::quota_config::LimitsEntry { key, value }).collect(),
    }
}

fn amount(name: String, v1::value::Scalar { value }: v1::value::Scalar) -> Result<(ResourceName, Quantity), Error> {
    match Quantity::from_scalar(value) {
        Some(quantity) if !name.is_empty() => Ok((ResourceName::of(&name), quantity)),
        Some(_) => Err(Error::Rule(Cause::QuotaInvalid, "an amount without the name of its resource".to_owned())),
        None => Err(Error::Quantity { name, value }),
    }
}

/// A weight as an operator set it, in thousandths.
///
/// # Errors
/// When the role is none, or the weight is not between 0.001 and 1,000,000.
pub fn weight_from_v1(info: v1::WeightInfo) -> Result<(RoleName, u32), Error> {
    let role = role::parse(info.role.as_deref().unwrap_or_default())?;
    let thousandths = (info.weight * 1000.0).round();
    match (1.0..=1e9).contains(&thousandths) {
        true => Ok((role, thousandths as u32)),
        false => Err(Error::Rule(
            Cause::QuotaInvalid,
            format!("the weight {} of role '{role}' is not between 0.001 and 1000000", info.weight),
        )),
    }
}

/// A weight as operators read it.
pub fn weight_to_v1(role: &RoleName, thousandths: u32) -> v1::WeightInfo {
    v1::WeightInfo { weight: f64::from(thousandths) / 1000.0, role: Some(role.to_string()) }
}
