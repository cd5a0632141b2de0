//! The state of a cell, private copies of it, and commits that may conflict.

use kaon_kernel::chance::Chance;

/// What is free on a machine, and how often anything changed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// CPU in thousandths of a core.
    pub cpus_milli: u64,
    /// Memory in MiB.
    pub mem_mib: u64,
    /// Raised by every claim and every release.
    pub sequence: u64,
}

/// Free resources by machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    machines: Vec<Machine>,
}

/// What is a conflict at a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The claim no longer fits.
    Fine,
    /// Anything on the machine changed since the copy was made.
    Sequence,
}

/// What becomes of a commit of which some claims conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The other claims are kept.
    Incremental,
    /// Nothing is kept.
    AllOrNothing,
}

/// One task on one machine of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The machine.
    pub machine: u32,
    /// CPU in thousandths of a core.
    pub cpus_milli: u64,
    /// Memory in MiB.
    pub mem_mib: u64,
    /// The sequence number of the machine in the copy, before the claim.
    pub sequence: u64,
}

impl Cell {
    /// So many machines, all alike, all free.
    pub fn uniform(count: u32, cpus_milli: u64, mem_mib: u64) -> Self {
        Self::new((0..count).map(|_| (cpus_milli, mem_mib)))
    }

    /// Machines of these sizes (thousandths of a core, MiB), all free.
    pub fn new(sizes: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let machine = |(cpus_milli, mem_mib)| Machine { cpus_milli, mem_mib, sequence: 0 };
        Self { machines: sizes.into_iter().map(machine).collect() }
    }

    /// The machines.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    pub(super) fn fits(&self, machine: u32, cpus_milli: u64, mem_mib: u64) -> bool {
        let free = &self.machines[machine as usize];
        free.cpus_milli >= cpus_milli && free.mem_mib >= mem_mib
    }

    /// Takes resources for a task, if they are there.
    pub fn claim(&mut self, machine: u32, cpus_milli: u64, mem_mib: u64) -> Option<Claim> {
        if !self.fits(machine, cpus_milli, mem_mib) {
            return None;
        }
        let free = &mut self.machines[machine as usize];
        let claim = Claim { machine, cpus_milli, mem_mib, sequence: free.sequence };
        free.cpus_milli -= cpus_milli;
        free.mem_mib -= mem_mib;
        free.sequence += 1;
        Some(claim)
    }

    /// Gives back what a task held.
    pub fn release(&mut self, machine: u32, cpus_milli: u64, mem_mib: u64) {
        let free = &mut self.machines[machine as usize];
        free.cpus_milli += cpus_milli;
        free.mem_mib += mem_mib;
        free.sequence += 1;
    }

    /// Commits claims that were made on a copy; true for each that is accepted. Linear in the claims.
    pub fn commit(&mut self, claims: &[Claim], conflict: Conflict, commit: Commit) -> Vec<bool> {
        let mut accepted = Vec::with_capacity(claims.len());
        let mut undo = Vec::new();
        for claim in claims {
            let is_stale = self.machines[claim.machine as usize].sequence != claim.sequence;
            let made = (conflict == Conflict::Fine || !is_stale)
                .then(|| self.claim(claim.machine, claim.cpus_milli, claim.mem_mib))
                .flatten();
            accepted.push(made.is_some());
            undo.extend(made);
        }
        if commit == Commit::AllOrNothing && accepted.contains(&false) {
            for claim in undo.iter().rev() {
                let free = &mut self.machines[claim.machine as usize];
                free.cpus_milli += claim.cpus_milli;
                free.mem_mib += claim.mem_mib;
                free.sequence = claim.sequence;
            }
            accepted.fill(false);
        }
        accepted
    }

    /// Claims up to `count` tasks on random machines: a machine stays a candidate as long as it fits. `candidates` holds
    /// every machine once, in any order, and is left so.
    pub(super) fn scatter(
        &mut self,
        count: u32,
        (cpus_milli, mem_mib): (u64, u64),
        candidates: &mut [u32],
        chance: &mut Chance,
    ) -> Vec<Claim> {
        let mut left = candidates.len();
        let mut claims = Vec::with_capacity(count as usize);
        while claims.len() < count as usize && left > 0 {
            let index = chance.below(left as u64) as usize;
            match self.claim(candidates[index], cpus_milli, mem_mib) {
                Some(claim) => claims.push(claim),
                None => {
                    left -= 1;
                    candidates.swap(index, left);
                }
            }
        }
        claims
    }
}
