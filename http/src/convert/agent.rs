//! `AgentInfo`, attributes and domains: from the kernel to v1 only, as agents speak the kernel's own words; but for domains,
//! which flags name in their v1 form.

use kaon_kernel::agent::{AgentInfo, Attribute, AttributeValue, Domain};

use super::resource::{self, Form};
use crate::codec::{self, MediaType};
use crate::v1::mesos as v1;
use crate::v1::mesos::domain_info::fault_domain::{RegionInfo, ZoneInfo};
use crate::v1::mesos::value;

/// The v1 form, with resources as the operator's endpoints show them.
pub fn to_v1(info: &AgentInfo) -> v1::AgentInfo {
    v1::AgentInfo {
        hostname: info.hostname.clone(),
        port: Some(i32::from(info.port)),
        resources: resource::to_v1(&info.resources, Form::Endpoint, None),
        attributes: info.attributes.iter().map(attribute_to_v1).collect(),
        id: info.id.as_ref().map(|id| v1::AgentId { value: id.to_string() }),
        domain: info.domain.as_ref().map(domain_to_v1),
    }
}

/// The v1 form of an attribute.
pub fn attribute_to_v1(attribute: &Attribute) -> v1::Attribute {
    let mut out = v1::Attribute { name: attribute.name.clone(), ..v1::Attribute::default() };
    let kind = match &attribute.value {
        AttributeValue::Scalar(quantity) => {
            out.scalar = Some(value::Scalar { value: quantity.as_scalar() });
            value::Type::Scalar
        }
        AttributeValue::Ranges(ranges) => {
            out.ranges = Some(resource::ranges_to_v1(ranges));
            value::Type::Ranges
        }
        AttributeValue::Text(text) => {
            out.text = Some(value::Text { value: text.clone() });
            value::Type::Text
        }
    };
    out.r#type = kind as i32;
    out
}

/// The v1 form of a fault domain.
pub fn domain_to_v1(domain: &Domain) -> v1::DomainInfo {
    let region = RegionInfo { name: domain.region.clone() };
    let zone = ZoneInfo { name: domain.zone.clone() };
    v1::DomainInfo { fault_domain: Some(v1::domain_info::FaultDomain { region, zone }) }
}

/// A fault domain as the flag `--domain` names it: `DomainInfo` in JSON.
///
/// # Errors
/// When it is none, or has no fault domain.
pub fn domain_from_json(text: &str) -> Result<Domain, String> {
    let info: v1::DomainInfo = codec::decode(MediaType::Json, text.as_bytes()).map_err(|error| error.to_string())?;
    let fault = info.fault_domain.ok_or("a domain must have a 'fault_domain'")?;
    Ok(Domain { region: fault.region.name, zone: fault.zone.name })
}
