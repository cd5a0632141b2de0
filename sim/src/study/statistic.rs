//! Means, percentiles and intervals of confidence, computed in one fixed order so that they are the same everywhere.

use serde::{Deserialize, Serialize};

/// The percentile by nearest rank of ascending values: the smallest value that at least `percent` of them do not exceed.
/// None without values.
pub(crate) fn percentile<T: Copy>(ascending: &[T], percent: u32) -> Option<T> {
    let rank = (ascending.len() * percent as usize).div_ceil(100).max(1);
    ascending.get(rank - 1).copied()
}

/// The mean in the order given; none without values.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A metric over the seeds of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of a sample (n - 1); none with one seed.
    pub sd: Option<f64>,
    /// The interval that holds the true mean with 95 % confidence, by Student's t; none with one seed.
    pub ci95: Option<[f64; 2]>,
}

impl Spread {
    /// Of some values; none without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mean = mean(values)?;
        if values.len() < 2 {
            return Some(Self { mean, sd: None, ci95: None });
        }
        let freedom = values.len() - 1;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let sd = (squares / freedom as f64).sqrt();
        let half = student_975(freedom) * sd / (values.len() as f64).sqrt();
        Some(Self { mean, sd: Some(sd), ci95: Some([mean - half, mean + half]) })
    }
}

/// The 97.5 % quantile of Student's t: from the printed tables up to 30 degrees of freedom, beyond by the
/// Cornish-Fisher expansion around the normal quantile, which is right to four digits there.
fn student_975(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604,
        2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518,
        2.0484, 2.0452, 2.0423,
    ];
    if let Some(value) = TABLE.get(freedom.wrapping_sub(1)) {
        return *value;
    }
    let (z, n) = (1.959_964, freedom as f64);
    let (z3, z5) = (z * z * z, z * z * z * z * z);
    z + (z3 + z) / (4.0 * n) + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * n * n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let values: Vec<u32> = (1..=10).collect();
        let at = |percent| percentile(&values, percent);
        assert_eq!([at(50), at(90), at(95), at(99), at(100), at(1)], [5, 9, 10, 10, 10, 1].map(Some));
        assert_eq!(percentile::<u32>(&[], 50), None);
        assert_eq!(percentile(&[7], 1), Some(7));
    }

    #[test]
    fn a_spread_is_that_of_a_sample() {
        let spread = Spread::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).expect("values");
        assert_eq!(spread.mean, 5.0);
        assert!((spread.sd.expect("several") - 2.138_089_935).abs() < 1e-9);
        let [low, high] = spread.ci95.expect("several");
        assert!((low - 3.212_5).abs() < 1e-3 && (high - 6.787_5).abs() < 1e-3, "{low} {high}");
        assert_eq!(Spread::of(&[3.0]), Some(Spread { mean: 3.0, sd: None, ci95: None }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn the_quantiles_go_on_where_the_table_ends() {
        assert!((student_975(31) - 2.0395).abs() < 1e-3);
        assert!((student_975(60) - 2.0003).abs() < 1e-3);
        assert!((student_975(1_000_000) - 1.959_96).abs() < 1e-4);
    }
}
