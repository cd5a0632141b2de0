//! Fair shares by the continuous form of dominant resource fairness (policies 1.2), for measuring, not for deciding.

/// Resources in a vector: CPU, memory, GPU.
pub(crate) const RESOURCES: usize = 3;

/// Amounts as parts of the cluster's capacity.
pub(crate) type Parts = [f64; RESOURCES];

/// The dominant share of an amount.
pub(crate) fn dominant(parts: &Parts) -> f64 {
    parts.iter().copied().fold(0.0, f64::max)
}

/// Each tenant's fair dominant share, given all that each would take now. All shares rise at the same rate; a tenant is
/// frozen when it has all it wants or when a resource that it needs is exhausted. Cost: tenants squared.
pub(crate) fn fair_shares(wanted: &[Parts]) -> Vec<f64> {
    const SLACK: f64 = 1e-12;
    let caps: Vec<f64> = wanted.iter().map(dominant).collect();
    let direction = |tenant: usize, resource: usize| wanted[tenant][resource] / caps[tenant];
    let mut shares = vec![0.0; wanted.len()];
    let mut free = [1.0_f64; RESOURCES];
    let mut rising: Vec<usize> = (0..wanted.len()).filter(|&tenant| caps[tenant] > 0.0).collect();
    let mut level = 0.0;
    while !rising.is_empty() {
        let speed: [f64; RESOURCES] =
            core::array::from_fn(|resource| rising.iter().map(|&tenant| direction(tenant, resource)).sum());
        let exhausted = (0..RESOURCES).filter(|&r| speed[r] > SLACK).map(|r| free[r].max(0.0) / speed[r]);
        let satisfied = rising.iter().map(|&tenant| caps[tenant] - level);
        let step = exhausted.chain(satisfied).fold(f64::INFINITY, f64::min).max(0.0);
        level += step;
        for resource in 0..RESOURCES {
            free[resource] -= speed[resource] * step;
        }
        let before = rising.len();
        rising.retain(|&tenant| {
            shares[tenant] = level;
            let starved = (0..RESOURCES).any(|r| free[r] <= SLACK && direction(tenant, r) > SLACK);
            caps[tenant] - level > SLACK && !starved
        });
        if rising.len() == before {
            // Rounding left a crumb that nobody can use.
            break;
        }
    }
    shares
}

/// Jain's index: 1 when all are equal, 1/n when one has all. None without values or when all are zero.
pub(crate) fn jain(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    (squares > 0.0).then(|| sum * sum / (values.len() as f64 * squares))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_paper() {
        // 9 CPUs, 18 GB; (1, 4) and (3, 1), both without end (NSDI 2011, section 4).
        let wanted = [[100.0 / 9.0, 400.0 / 18.0, 0.0], [300.0 / 9.0, 100.0 / 18.0, 0.0]];
        for share in fair_shares(&wanted) {
            assert!((share - 2.0 / 3.0).abs() < 1e-9, "{share}");
        }
        assert_eq!(fair_shares(&[[0.1, 0.2, 0.0], [0.0; 3]]), vec![0.2, 0.0]);
        assert_eq!(jain(&[1.0, 1.0]), Some(1.0));
        assert_eq!(jain(&[1.0, 0.0]), Some(0.5));
    }

    proptest! {
        #[test]
        fn shares_fit_and_nobody_is_below_an_equal_part(wanted in proptest::collection::vec([0.0..2.0_f64, 0.0..2.0_f64, 0.0..2.0_f64], 1..12)) {
            let shares = fair_shares(&wanted);
            for resource in 0..RESOURCES {
                let used: f64 = (0..wanted.len()).filter(|&t| dominant(&wanted[t]) > 0.0)
                    .map(|t| shares[t] * wanted[t][resource] / dominant(&wanted[t])).sum();
                prop_assert!(used <= 1.0 + 1e-9);
            }
            for (share, wanted) in shares.iter().zip(&wanted) {
                let least = dominant(wanted).min(1.0 / shares.len() as f64);
                prop_assert!(*share >= least - 1e-9, "{share} below {least}");
                prop_assert!(*share <= dominant(wanted) + 1e-9);
            }
        }
    }
}
