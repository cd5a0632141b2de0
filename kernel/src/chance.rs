//! Seeded chance. Each actor owns a generator split from its host's seed by its address, so that one more draw in one
//! actor disturbs no other (law L9).

use crate::actor::Address;
use crate::id::Uuid;
use crate::time::Duration;
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

/// A deterministic stream of random numbers. Not for secrets: tokens and keys come from the host's entropy.
#[derive(Clone, Debug)]
pub struct Chance(Pcg64Mcg);

impl Chance {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        let low = mix(seed);
        let high = mix(low ^ 0x9e37_79b9_7f4a_7c15);
        Self(Pcg64Mcg::new(u128::from(high) << 64 | u128::from(low)))
    }

    /// The stream of the actor at `address` on a host with `seed`.
    pub fn for_actor(seed: u64, address: Address) -> Self {
        let place = mix(address.host.0) ^ mix(u64::from(address.kind as u16) << 32 | u64::from(address.index));
        Self::new(mix(seed) ^ place)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`, without bias that matters below 2^32; zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True in `parts` of a million cases.
    pub fn parts_per_million(&mut self, parts: u32) -> bool {
        self.below(1_000_000) < u64::from(parts)
    }

    /// A duration in `[0, bound)`.
    pub fn duration_below(&mut self, bound: Duration) -> Duration {
        Duration(self.below(bound.0))
    }

    /// A random UUID.
    pub fn uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.bits().to_le_bytes());
        bytes[8..].copy_from_slice(&self.bits().to_le_bytes());
        Uuid::random(bytes)
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// The finaliser of SplitMix64: spreads neighbouring seeds apart.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
