//! What changed since: a ring of node numbers, from which any number of readers catch up at their own pace.

use super::NodeIndex;

/// The ring has at least so many places; otherwise as many as there are nodes, since a reader further behind does as well
/// to look at every node.
const PLACES_MIN: usize = 1024;

/// The last changes of a cluster, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// A power of two places.
    ring: Vec<u32>,
    written: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self { ring: vec![0; PLACES_MIN], written: 0 }
    }
}

impl Log {
    /// Makes room for a cluster of so many nodes. What was written before is lost when the ring grows, which readers are
    /// told by [`Log::since`].
    pub(super) fn widen(&mut self, nodes: usize) {
        if nodes > self.ring.len() {
            let places = nodes.next_power_of_two();
            self.ring = vec![0; places];
            self.written += 2 * places as u64;
        }
    }

    pub(super) fn write(&mut self, node: NodeIndex) {
        let place = self.written as usize & (self.ring.len() - 1);
        self.ring[place] = node.0;
        self.written += 1;
    }

    /// Changes ever written: what a reader remembers.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// The nodes that changed after the first `seen` changes, oldest first, repeats included; none when they are not
    /// all there any more.
    pub(super) fn since(&self, seen: u64) -> Option<impl Iterator<Item = NodeIndex>> {
        let missing = self.written.checked_sub(seen)?;
        let mask = self.ring.len() - 1;
        (missing <= self.ring.len() as u64)
            .then(|| (seen..self.written).map(move |at| NodeIndex(self.ring[at as usize & mask])))
    }
}
