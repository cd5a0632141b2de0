//! How much a task takes, as placement sees it.

use super::Reason;
use crate::quantity::Quantity;
use crate::resource::{Device, ResourceName, Resources, Value};

/// The amounts of a task that have a place on a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Processing units.
    pub cpus: Quantity,
    /// Memory in MiB.
    pub mem: Quantity,
    /// Whole GPUs.
    pub gpus: u32,
    /// Devices that the task takes by their names.
    pub devices: Vec<Device>,
}

impl Demand {
    /// What of a bag has a place: `cpus`, `mem`, `gpus` as a count and as devices, whatever the reservations.
    ///
    /// # Errors
    /// [`Reason::PartOfGpus`] for a count that is not whole.
    pub fn of(resources: &Resources) -> Result<Self, Reason> {
        let gpus = resources.scalar(&ResourceName::Gpus);
        let count = u32::try_from(gpus.0 / 1000).ok().filter(|_| gpus.0.is_multiple_of(1000));
        let devices = resources.iter().filter(|entry| entry.name == ResourceName::Gpus);
        let devices = devices.flat_map(|entry| match &entry.value {
            Value::Devices(devices) => devices.as_slice(),
            _ => &[],
        });
        Ok(Self {
            cpus: resources.scalar(&ResourceName::Cpus),
            mem: resources.scalar(&ResourceName::Mem),
            gpus: count.ok_or(Reason::PartOfGpus(gpus))?,
            devices: devices.cloned().collect(),
        })
    }

    /// Memory in bytes, rounded up.
    pub(super) fn mem_bytes(&self) -> u64 {
        u64::try_from((u128::from(self.mem.0) << 20).div_ceil(1000)).unwrap_or(u64::MAX)
    }
}
