//! Policies by their names in flags and scenarios.

use kaon_kernel::nearest::changes;
use thiserror::Error;

/// A name of no policy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no {seat} '{name}'; the nearest is '{nearest}'")]
pub struct UnknownPolicy {
    /// What was to be chosen.
    pub seat: &'static str,
    /// The name that was given, cut to 64 characters.
    pub name: String,
    /// The one that begins so, or that the fewest changes lead to.
    pub nearest: &'static str,
}

/// No name of a policy is as long; what is longer is cut before it is compared or told.
const NAME_CHARS_MAX: usize = 64;

/// The policy of a name.
///
/// # Errors
/// When no policy has it.
///
/// # Panics
/// When there are no policies to choose from.
pub fn named<T>(
    seat: &'static str,
    name: &str,
    policies: impl Iterator<Item = (T, &'static str)>,
) -> Result<T, UnknownPolicy> {
    let name = name.chars().take(NAME_CHARS_MAX).collect::<String>();
    // Half a name is nearer to the whole than to any other.
    let distance = |other: &str| (!other.starts_with(&name), changes(&name, other));
    let nearest = policies.map(|(policy, other)| (distance(other), other, policy)).min_by_key(|one| (one.0, one.1));
    match nearest {
        Some(((_, 0), _, policy)) => Ok(policy),
        Some((_, nearest, _)) => Err(UnknownPolicy { seat, name, nearest }),
        None => panic!("a registry of no policies"),
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn a_wrong_name_is_refused_with_the_nearest() {
        let names = || [(1, "best-fit"), (2, "worst-fit"), (3, "first-fit")].into_iter();
        assert_eq!(named("placement", "worst-fit", names()), Ok(2));
        let refused = named("placement", "wrost-fit", names()).expect_err("no such name");
        assert_eq!(refused.to_string(), "there is no placement 'wrost-fit'; the nearest is 'worst-fit'");
        let long = "x".repeat(1 << 20);
        assert_eq!(named("placement", &long, names()).expect_err("no such name").name.len(), 64);
    }
}
