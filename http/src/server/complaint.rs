//! How often a trouble of the listener is said in the log: whoever reaches it can be turned away without end, and the log is
//! on a disk. Sessions between hosts have the same rule (`transport/src/complaints.rs`).

use std::time::{Duration, Instant};

/// The shortest time between two lines about one trouble.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// One kind of trouble.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    said: Option<Instant>,
    unsaid: u64,
}

impl Complaint {
    /// Whether it is to be said now; if so, how many before it were not.
    pub(super) fn next(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < SAID_EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(core::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_said_at_once_and_then_now_and_then_with_what_was_left_out() {
        let (mut complaint, start) = (Complaint::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(complaint.next(start), Some(0));
        for millis in 1..1_000 {
            assert_eq!(complaint.next(after(millis)), None);
        }
        assert_eq!(complaint.next(after(10_000)), Some(999));
        assert_eq!(complaint.next(after(10_001)), None);
        assert_eq!(complaint.next(after(30_000)), Some(1));
    }
}
