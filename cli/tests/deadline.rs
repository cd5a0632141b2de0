//! Waiting for conditions, never for time.

use std::time::{Duration, Instant};

/// How long a condition may take that a user would expect at once. Generous: the machine may have two cores and build
/// something else beside us; what is late is wrong all the same.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Between two looks at something that can't tell by itself that it has changed.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until `look` finds something.
///
/// # Panics
/// When it did not within `limit`, saying what was waited for.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        std::thread::park_timeout(LOOK);
    }
}
