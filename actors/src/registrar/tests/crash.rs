//! A crash at every step of one registrar's life, with every number of batches that may have reached the disk.

use super::*;
use crate::testing::{Disk, write};
use kaon_kernel::actor::{Batch, Outcome, Ticket};
use std::collections::VecDeque;

const HOST: HostId = HostId(9);
const OPERATIONS: u64 = 24;

/// A registrar whose disk is kept apart from what it has asked to be written.
struct Life {
    rig: Rig<Registrar>,
    disk: Disk,
    under_way: VecDeque<(Ticket, Batch)>,
    term: u64,
    acknowledged: Vec<u64>,
}

impl Life {
    fn begin(disk: Disk) -> Self {
        let config = RegistrarConfig { snapshot_every: 5, ..RegistrarConfig::single() };
        let mut rig = bench(config, HOST);
        rig.journal = disk.clone();
        let effects = rig.start();
        let mut life = Self { rig, disk, under_way: VecDeque::new(), term: 0, acknowledged: Vec::new() };
        life.take(effects);
        let effects = attach(&mut life.rig, HOST);
        life.take(effects);
        life
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for word in told(&effects) {
            match word {
                ToMaster::Leading { term, .. } => self.term = term.0,
                ToMaster::Applied { number } => self.acknowledged.push(number),
                ToMaster::Refused { number, reason } => panic!("operation {number} is refused: {reason}"),
                ToMaster::Following { .. } => {}
            }
        }
        for effect in effects {
            if let Effect::Persist { ticket, batch } = effect {
                self.under_way.push_back((ticket, batch));
            }
        }
    }

    fn flush_one(&mut self) -> bool {
        let Some((ticket, batch)) = self.under_way.pop_front() else { return false };
        write(&mut self.disk, batch);
        let effects = self.rig.done(ticket, Outcome::Persisted(Ok(())));
        self.take(effects);
        true
    }

    /// One step of the script: operations come in pairs, a flush after each pair.
    fn step(&mut self, step: u64) {
        if step % 3 == 2 {
            self.flush_one();
            return;
        }
        let number = step - step / 3;
        let operation = admit_framework(&format!("f{number:03}"));
        let effects = apply(&mut self.rig, HOST, self.term, number, operation);
        self.take(effects);
    }
}

fn names(rig: &Rig<Registrar>) -> Vec<String> {
    rig.actor().registry().frameworks.into_iter().map(|info| info.name).collect()
}

#[test]
fn nothing_acknowledged_is_lost_wherever_it_crashes() {
    let mut cases = 0;
    let steps = OPERATIONS * 3 / 2;
    for crash in 0..=steps {
        for reached in 0.. {
            let mut life = Life::begin(Disk::new());
            while life.flush_one() {}
            for step in 0..crash {
                life.step(step);
            }
            if reached > life.under_way.len() {
                break;
            }
            let mut disk = life.disk;
            life.under_way.drain(..reached).for_each(|(_, batch)| write(&mut disk, batch));

            // A second crash before anything is flushed must change nothing; then it runs to the end.
            let mut next = Life::begin(Life::begin(disk).disk);
            while next.flush_one() {}
            let names = names(&next.rig);
            let all: Vec<_> = (0..names.len()).map(|number| format!("f{number:03}")).collect();
            assert_eq!(names, all, "crash at {crash}, {reached} batches reached the disk");
            assert!(names.len() >= life.acknowledged.len(), "crash at {crash}, {reached}: {:?}", life.acknowledged);
            assert!(next.term > life.term || life.acknowledged.is_empty());
            cases += 1;
        }
    }
    assert!(cases > steps as usize * 3 / 2, "{cases} cases");
}
