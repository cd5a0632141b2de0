//! Powers of one base with exponents between zero and one, the same bits on every machine.
//!
//! The standard library leaves the last bits of `powf` to the platform; a square root and a product are exact by the
//! standard of floats, and make all that is needed.

/// Bits of the exponent in one table, and tables: exponents are rounded to 2^-30.
const BITS: u32 = 10;
const TABLES: usize = 3;

/// `base` to the power of parts of one.
#[derive(Clone, Debug, Default)]
pub(super) struct Powers {
    /// `base^(i / 2^10)`, `base^(i / 2^20)`, `base^(i / 2^30)`.
    tables: [Vec<f64>; TABLES],
    base: f64,
}

impl Powers {
    /// The powers of a base of at least one.
    pub(super) fn of(base: f64) -> Self {
        let mut root = base;
        let mut tables = [const { Vec::new() }; TABLES];
        for table in &mut tables {
            table.push(1.0);
            // From the largest fraction of this table down: each root doubles the entries.
            let mut roots = Vec::new();
            for _ in 0..BITS {
                root = root.sqrt();
                roots.push(root);
            }
            for &step in roots.iter().rev() {
                table.extend_from_within(..);
                let half = table.len() / 2;
                table[half..].iter_mut().for_each(|power| *power *= step);
            }
        }
        Self { tables, base }
    }

    /// `base^(part / whole)`, for a part of at most the whole.
    pub(super) fn at(&self, part: u64, whole: u64) -> f64 {
        if part >= whole {
            return self.base;
        }
        let steps = (part as f64 / whole as f64 * (1u64 << 30) as f64) as usize;
        let digit = |table: usize| steps >> (20 - 10 * table) & 1023;
        self.tables[0][digit(0)] * self.tables[1][digit(1)] * self.tables[2][digit(2)]
    }
}

#[cfg(test)]
mod tests {
    use super::Powers;

    #[test]
    fn powers_are_those_of_the_library_to_nine_digits() {
        for base in [1.0, 2.0, 10_000.0] {
            let powers = Powers::of(base);
            for part in 0..=997 {
                let (ours, theirs) = (powers.at(part, 997), f64::powf(base, part as f64 / 997.0));
                assert!((ours / theirs - 1.0).abs() < 2e-8, "{base}^({part}/997): {ours} {theirs}");
            }
        }
    }
}
