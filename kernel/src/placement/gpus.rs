//! Which GPUs: whole ones by count, a part of one, those that the task names; within a link group, near something.

use super::layout::{Gpu, WHOLE};
use super::{Demand, DeviceShare, Machine, Near, PlacementRequest, Reason};
use std::collections::BTreeMap;

/// Where GPUs should be.
enum Wanted {
    Anywhere,
    /// Near one of these homes.
    Homes(Vec<u32>),
    /// Near one of these network interfaces, by their places.
    Networks(Vec<u32>),
}

impl Machine {
    /// The GPUs of a task whose processing units are in the homes `used`. Cost: linear in GPUs, times the network interfaces.
    pub(super) fn choose_gpus(
        &self,
        demand: &Demand,
        request: &PlacementRequest,
        used: &[u32],
    ) -> Result<Vec<DeviceShare>, Reason> {
        let wanted = self.wanted(request, used)?;
        if request.wants_part() {
            return self.choose_part(request, &wanted).map(|part| vec![part]);
        }
        let mut chosen = self.named(demand)?;
        let places: Vec<usize> = chosen.iter().map(|(place, _)| *place).collect();
        if places.iter().any(|place| self.rank(&self.layout.gpus[*place], &wanted).is_none()) {
            return Err(Reason::DevicesElsewhere("they are not near what they should be near"));
        }
        let mut group = None;
        if request.one_link_group && places.len() + demand.gpus as usize > 1 {
            let groups: Vec<Option<u32>> = places.iter().map(|place| self.layout.gpus[*place].link_group).collect();
            group = groups.first().copied();
            if groups.iter().any(|one| one.is_none() || Some(*one) != group) {
                return Err(Reason::DevicesElsewhere("they are not in one link group"));
            }
        }
        for place in self.choose_whole(demand.gpus, request.one_link_group, group.flatten(), &wanted)? {
            chosen.push((place, self.share_of(place, WHOLE, self.layout.gpus[place].memory_bytes)));
        }
        Ok(chosen.into_iter().map(|(_, share)| share).collect())
    }

    fn wanted(&self, request: &PlacementRequest, used: &[u32]) -> Result<Wanted, Reason> {
        Ok(match &request.gpus_near {
            None => Wanted::Anywhere,
            Some(Near::Cores) => Wanted::Homes(used.to_vec()),
            Some(Near::Units(units)) => Wanted::Homes(self.layout.homes_of(units)),
            Some(Near::AnyNetwork) => Wanted::Networks((0..self.layout.networks.len() as u32).collect()),
            Some(Near::Network(name)) => {
                let place = self.layout.networks.iter().position(|one| one.name == *name);
                Wanted::Networks(vec![place.ok_or_else(|| Reason::NoNetwork(name.clone()))? as u32])
            }
        })
    }

    /// How far a GPU is from where it should be: zero is nearest; `None` is too far, which is near no common NUMA node.
    fn rank(&self, gpu: &Gpu, wanted: &Wanted) -> Option<usize> {
        let meets = |homes: &[u32]| gpu.homes.iter().any(|home| homes.contains(home));
        match wanted {
            Wanted::Anywhere => Some(0),
            Wanted::Homes(homes) => meets(homes).then_some(0),
            Wanted::Networks(places) => {
                let networks = places.iter().map(|place| &self.layout.networks[*place as usize]);
                let near = networks.filter(|network| meets(&network.homes));
                let common =
                    |bridges: &[u32]| gpu.bridges.iter().zip(bridges).take_while(|(one, two)| one == two).count();
                near.map(|network| gpu.bridges.len() - common(&network.bridges)).min()
            }
        }
    }

    /// The devices that the task takes by name, each with what it takes in all.
    fn named(&self, demand: &Demand) -> Result<Vec<(usize, DeviceShare)>, Reason> {
        let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for device in &demand.devices {
            let (share, memory_bytes) = sums.entry(&device.id).or_default();
            *share = share.saturating_add(device.share.into());
            *memory_bytes = memory_bytes.saturating_add(device.memory_bytes);
        }
        let mut chosen = Vec::with_capacity(sums.len());
        for (id, (share, memory_bytes)) in sums {
            let place = self.layout.gpus.iter().position(|gpu| gpu.id == id && gpu.named.is_some());
            let free = place.map(|place| (u64::from(self.gpus[place].share), self.gpus[place].memory_bytes));
            match (place, free) {
                (Some(place), Some(free)) if share <= free.0 && memory_bytes <= free.1 => {
                    chosen.push((place, self.share_of(place, share as u16, memory_bytes)));
                }
                _ => {
                    let (free_share, free_bytes) = free.unwrap_or_default();
                    let (share, free_share) = (u32::try_from(share).unwrap_or(u32::MAX), free_share as u32);
                    return Err(Reason::Device { id: id.to_owned(), share, memory_bytes, free_share, free_bytes });
                }
            }
        }
        Ok(chosen)
    }

    fn is_wholly_free(&self, place: usize) -> bool {
        let gpu = &self.layout.gpus[place];
        gpu.named.is_none() && self.gpus[place].share == WHOLE && self.gpus[place].memory_bytes == gpu.memory_bytes
    }

    /// How many GPUs that are not shared out by name nobody uses.
    pub(super) fn free_whole_gpus(&self) -> u32 {
        (0..self.gpus.len()).filter(|place| self.is_wholly_free(*place)).count() as u32
    }

    /// So many whole GPUs: all of the smallest link group that is enough; without the wish for one group from as few as
    /// possible. GPUs without links are grouped by their homes, as far as that is no wish.
    fn choose_whole(
        &self,
        wanted: u32,
        one_group: bool,
        group: Option<u32>,
        near: &Wanted,
    ) -> Result<Vec<usize>, Reason> {
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let promised = self.layout.counted_gpus - self.whole_gpus;
        let mut groups: BTreeMap<(bool, u32), Vec<(usize, usize)>> = BTreeMap::new();
        for (place, gpu) in self.layout.gpus.iter().enumerate().filter(|(place, _)| self.is_wholly_free(*place)) {
            let Some(rank) = self.rank(gpu, near) else { continue };
            let lonely = if one_group { place as u32 } else { gpu.homes.first().copied().unwrap_or_default() };
            let key = gpu.link_group.map_or((true, lonely), |group| (false, group));
            if group.is_none_or(|group| key == (false, group)) {
                groups.entry(key).or_default().push((rank, place));
            }
        }
        let free = promised.min(groups.values().map(Vec::len).sum::<usize>() as u32);
        if wanted > free {
            return Err(Reason::WholeGpus { wanted, free });
        }
        let best = groups.values().map(Vec::len).max().unwrap_or(0) as u32;
        if one_group && wanted > best {
            return Err(Reason::LinkGroup { wanted, best });
        }
        let mut chosen = Vec::new();
        while chosen.len() < wanted as usize {
            let left = wanted as usize - chosen.len();
            let enough = groups.iter().filter(|(_, one)| one.len() >= left).min_by_key(|(key, one)| (one.len(), **key));
            let largest = || groups.iter().max_by_key(|(key, one)| (one.len(), core::cmp::Reverse(**key)));
            let Some(key) = enough.or_else(largest).map(|(key, _)| *key) else { break };
            let mut group = groups.remove(&key).unwrap_or_default();
            group.sort_unstable();
            chosen.extend(group.into_iter().take(left).map(|(_, place)| place));
        }
        Ok(chosen)
    }

    /// A part of the GPU that has the least left that is enough. One that nobody uses only if it is not promised whole.
    fn choose_part(&self, request: &PlacementRequest, near: &Wanted) -> Result<DeviceShare, Reason> {
        let has_spare = self.free_whole_gpus() > self.layout.counted_gpus - self.whole_gpus;
        let mut best: Option<(u16, usize, usize, DeviceShare)> = None;
        for (place, gpu) in self.layout.gpus.iter().enumerate().filter(|(_, gpu)| gpu.named.is_none()) {
            let Some((share, memory_bytes)) = part_of(gpu, request) else { continue };
            let free = self.gpus[place];
            let is_promised = self.is_wholly_free(place) && !has_spare;
            if is_promised || free.share < share || free.memory_bytes < memory_bytes {
                continue;
            }
            let Some(rank) = self.rank(gpu, near) else { continue };
            if best.as_ref().is_none_or(|one| (free.share, rank, place) < (one.0, one.1, one.2)) {
                best = Some((free.share, rank, place, self.share_of(place, share, memory_bytes)));
            }
        }
        best.map(|(_, _, _, share)| share).ok_or(Reason::GpuPart {
            share: request.gpu_share.unwrap_or_default(),
            memory_bytes: request.gpu_memory_bytes.unwrap_or_default(),
        })
    }
}

/// What a request takes of one GPU: what is not said follows what is said, in proportion. `None` when the GPU is too small
/// or the size of its memory unknown and asked for.
fn part_of(gpu: &Gpu, request: &PlacementRequest) -> Option<(u16, u64)> {
    let all = u128::from(gpu.memory_bytes);
    let of_memory = |bytes: u64| (bytes > 0 && bytes <= gpu.memory_bytes).then_some(bytes);
    let of_share = |share: u32| u16::try_from(share).ok().filter(|share| (1..=WHOLE).contains(share));
    match (request.gpu_share, request.gpu_memory_bytes) {
        (Some(share), None) => {
            let share = of_share(share)?;
            Some((share, u64::try_from(all * u128::from(share) / u128::from(WHOLE)).ok()?))
        }
        (None, Some(bytes)) => {
            let bytes = of_memory(bytes)?;
            let share = (u128::from(bytes) * u128::from(WHOLE)).div_ceil(all);
            Some((u16::try_from(share).ok()?, bytes))
        }
        (Some(share), Some(bytes)) => Some((of_share(share)?, of_memory(bytes)?)),
        (None, None) => None,
    }
}
