//! Which processing units: close together or far apart, shared or with whole cores.

use super::layout::WHOLE;
use super::{Machine, Policy, Reason};
use crate::quantity::Quantity;
use std::collections::BTreeMap;

/// Homes that could hold a task.
pub(super) struct Spot<'a> {
    /// Their places.
    pub(super) homes: &'a [u32],
    /// Whether the task takes a little of each, in place of as few as possible.
    pub(super) is_spread: bool,
}

/// Processing units that were found.
pub(super) struct Found {
    /// Their places, with what is taken of each in thousandths.
    pub(super) units: Vec<(u32, u16)>,
    /// What the spot has left then, in thousandths.
    pub(super) rest: u64,
}

/// A core with its wholly free units.
struct FreeCore {
    l3: u32,
    home: u32,
    units: Vec<u32>,
    is_whole: bool,
}

impl Machine {
    /// The units for so many cpus. Cost: linear in the units of the spot, and a sort.
    pub(super) fn choose_units(
        &self,
        spot: &Spot<'_>,
        policy: Policy,
        cpus: Quantity,
        exclusive: bool,
    ) -> Result<Found, Reason> {
        let part = (cpus.0 % 1000) as u16;
        // No machine has so many units; the comparison below refuses.
        let whole = usize::try_from(cpus.0 / 1000).unwrap_or(usize::MAX - 1);
        if exclusive {
            self.check_whole_cores(cpus)?;
        }
        let mut cores: Vec<FreeCore> = self.free_cores(spot);
        if exclusive {
            cores.retain(|core| core.is_whole);
        }
        let free = cores.iter().map(|core| core.units.len()).sum::<usize>();
        let used_unit = (part > 0 && !exclusive).then(|| self.best_used_unit(spot, part)).flatten();
        let need = whole + usize::from(part > 0 && used_unit.is_none());
        let all = self.units_of(spot).map(|unit| u64::from(self.units[unit as usize])).sum::<u64>();
        if need > free {
            let best_part = if exclusive { 0 } else { self.largest_used_unit(spot) };
            let best = Quantity(free as u64 * 1000 + u64::from(best_part));
            return Err(match exclusive {
                true => Reason::ExclusiveCores { wanted: cpus, policy, best },
                false => Reason::Cores { wanted: cpus, policy, best },
            });
        }
        let chosen = match spot.is_spread {
            true => spread(cores, need, exclusive),
            false => packed(cores, need, exclusive),
        };
        let chosen =
            chosen.ok_or(Reason::ExclusiveCores { wanted: cpus, policy, best: Quantity(free as u64 * 1000) })?;
        let mut units: Vec<(u32, u16)> = chosen.into_iter().map(|unit| (unit, WHOLE)).collect();
        match used_unit {
            Some(unit) => units.push((unit, part)),
            None if part > 0 => {
                if let Some(last) = units.last_mut() {
                    last.1 = part;
                }
            }
            None => {}
        }
        Ok(Found { units, rest: all - cpus.0 })
    }

    /// Whether whole cores make up the amount at all.
    fn check_whole_cores(&self, cpus: Quantity) -> Result<(), Reason> {
        let smallest = self.layout.cores.iter().map(|core| core.end - core.start).min().unwrap_or(1);
        match cpus.0.is_multiple_of(u64::from(smallest) * 1000) {
            true => Ok(()),
            false => Err(Reason::NotWholeCores { cpus, threads: smallest }),
        }
    }

    fn units_of(&self, spot: &Spot<'_>) -> impl Iterator<Item = u32> {
        let cores = spot.homes.iter().flat_map(|home| &self.layout.homes[*home as usize].cores);
        cores.flat_map(|core| self.layout.cores[*core as usize].clone())
    }

    fn free_cores(&self, spot: &Spot<'_>) -> Vec<FreeCore> {
        let cores = spot.homes.iter().flat_map(|home| &self.layout.homes[*home as usize].cores);
        let core = |place: &u32| {
            let range = self.layout.cores[*place as usize].clone();
            let first = &self.layout.units[range.start as usize];
            let units: Vec<u32> = range.clone().filter(|unit| self.units[*unit as usize] == WHOLE).collect();
            let is_whole = units.len() == range.len();
            FreeCore { l3: first.l3, home: first.home, units, is_whole }
        };
        cores.map(core).filter(|core| !core.units.is_empty()).collect()
    }

    /// The unit in use with the least left that is enough.
    fn best_used_unit(&self, spot: &Spot<'_>, part: u16) -> Option<u32> {
        let left = |unit: &u32| self.units[*unit as usize];
        self.units_of(spot).filter(|unit| (part..WHOLE).contains(&left(unit))).min_by_key(|unit| (left(unit), *unit))
    }

    fn largest_used_unit(&self, spot: &Spot<'_>) -> u16 {
        let left = self.units_of(spot).map(|unit| self.units[unit as usize]);
        left.filter(|left| *left < WHOLE).max().unwrap_or(0)
    }
}

/// As few homes, L3 groups and cores as possible: at each level the smallest that holds the rest, else the largest.
fn packed(cores: Vec<FreeCore>, need: usize, exclusive: bool) -> Option<Vec<u32>> {
    let mut homes: BTreeMap<u32, BTreeMap<u32, Vec<FreeCore>>> = BTreeMap::new();
    for core in cores {
        homes.entry(core.home).or_default().entry(core.l3).or_default().push(core);
    }
    let count = |cores: &[FreeCore]| cores.iter().map(|core| core.units.len()).sum::<usize>();
    let mut chosen = Vec::with_capacity(need);
    while chosen.len() < need {
        let sizes = homes.iter().map(|(home, groups)| (*home, groups.values().map(|one| count(one)).sum::<usize>()));
        let home = best_fit(sizes, need - chosen.len())?;
        let mut groups = homes.remove(&home)?;
        while chosen.len() < need && !groups.is_empty() {
            let sizes = groups.iter().map(|(group, cores)| (*group, count(cores)));
            let group = best_fit(sizes, need - chosen.len())?;
            take(groups.remove(&group)?, need, exclusive, &mut chosen);
        }
    }
    Some(chosen)
}

/// The smallest that is enough, else the largest; the first of equals.
fn best_fit(sizes: impl Iterator<Item = (u32, usize)> + Clone, need: usize) -> Option<u32> {
    let enough = sizes.clone().filter(|(_, size)| *size >= need).min_by_key(|(key, size)| (*size, *key));
    let largest = || sizes.max_by_key(|(key, size)| (*size, core::cmp::Reverse(*key)));
    enough.or_else(largest).map(|(key, _)| key)
}

/// Takes from the cores of one L3 group until `need` are chosen: whole cores while more is needed than they have, then the
/// one with the fewest that is enough.
fn take(cores: Vec<FreeCore>, need: usize, exclusive: bool, chosen: &mut Vec<u32>) {
    let most = cores.iter().map(|core| core.units.len()).max().unwrap_or(0);
    let mut by_size: Vec<Vec<FreeCore>> = (0..=most).map(|_| Vec::new()).collect();
    for core in cores.into_iter().rev() {
        by_size[core.units.len()].push(core);
    }
    while chosen.len() < need {
        let left = need - chosen.len();
        let fits = (1..=most.min(left)).rev().find(|size| !by_size[*size].is_empty());
        let larger = || (left..=most).find(|size| !exclusive && !by_size[*size].is_empty());
        let Some(core) = fits.or_else(larger).and_then(|size| by_size[size].pop()) else { return };
        chosen.extend(core.units.into_iter().take(left));
    }
}

/// One unit of each core before the second of any, taking turns among homes, and within a home among L3 groups. Whole
/// cores are taken whole.
fn spread(cores: Vec<FreeCore>, need: usize, exclusive: bool) -> Option<Vec<u32>> {
    let mut in_group: BTreeMap<u32, u32> = BTreeMap::new();
    let mut keyed: Vec<(u32, u32, FreeCore)> = Vec::with_capacity(cores.len());
    let mut cores = cores;
    cores.sort_by_key(|core| (core.l3, !core.is_whole));
    for core in cores {
        let rank = in_group.entry(core.l3).or_default();
        keyed.push((core.home, *rank, core));
        *rank += 1;
    }
    // The turn of a core within its home: by its turn within its group, then by group.
    keyed.sort_by_key(|(home, rank, core)| (*home, *rank, core.l3));
    let mut turns: BTreeMap<u32, u32> = BTreeMap::new();
    let mut order: Vec<(u32, u32, u32, Vec<u32>)> = Vec::new();
    for (home, _, core) in keyed {
        let turn = turns.entry(home).or_default();
        match exclusive {
            true => order.push((0, *turn, home, core.units)),
            false => order.extend((0..).zip(core.units).map(|(thread, unit)| (thread, *turn, home, vec![unit]))),
        }
        *turn += 1;
    }
    order.sort();
    let mut chosen = Vec::with_capacity(need);
    for (_, _, _, units) in order {
        if chosen.len() + units.len() <= need {
            chosen.extend(units);
        }
    }
    (chosen.len() == need).then_some(chosen)
}
