//! How often a refusal is said in the log: whoever reaches the socket can be refused without end, and the log is on a disk.

use crate::reason::CloseReason;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two lines about one reason.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// What was said last, and how much was left unsaid since, for each reason.
#[derive(Default)]
pub(crate) struct Complaints(Mutex<BTreeMap<CloseReason, (Instant, u64)>>);

impl Complaints {
    /// Whether a refusal for `reason` is to be said now; if so, how many before it were not.
    pub(crate) fn next(&self, reason: CloseReason, now: Instant) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&reason) {
            Some((said, unsaid)) if now.saturating_duration_since(*said) < SAID_EVERY => {
                *unsaid += 1;
                None
            }
            Some(known) => Some(core::mem::replace(known, (now, 0)).1),
            None => {
                all.insert(reason, (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_at_once_and_then_now_and_then_with_what_was_left_out() {
        let (complaints, start) = (Complaints::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(complaints.next(CloseReason::Silent, start), Some(0));
        assert_eq!(complaints.next(CloseReason::Certificate, after(1)), Some(0), "another reason is other news");
        for millis in 1..1_000 {
            assert_eq!(complaints.next(CloseReason::Silent, after(millis)), None);
        }
        assert_eq!(complaints.next(CloseReason::Silent, after(10_000)), Some(999));
        assert_eq!(complaints.next(CloseReason::Silent, after(10_001)), None);
        assert_eq!(complaints.next(CloseReason::Silent, after(30_000)), Some(1));
    }
}
