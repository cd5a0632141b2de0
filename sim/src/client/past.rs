//! What a scheduler knows after a fall: its id, its tasks and how far each is, and what it counted.
//!
//! As schedulers do that mean to outlive themselves, it has written all of that down before it said it. So it comes back
//! under its id within its failover timeout, and asks about its tasks (`ask_about_all`); offers and what it had still to say
//! went with its stream. A task that it began and did not get to say is then unknown to the cluster, and launched anew.

use super::{Client, Job, Tally};
use crate::report::Course;
use kaon_kernel::id::FrameworkId;
use std::collections::VecDeque;

/// What one life leaves to the next.
struct Past {
    framework_id: Option<FrameworkId>,
    streams: u32,
    jobs: Vec<Job>,
    queue: VecDeque<u32>,
    submitted: u32,
    open: usize,
    operations: u64,
    tally: Tally,
    courses: Option<Vec<Course>>,
    departed: bool,
    dismissed: Option<String>,
}

impl Client {
    /// Takes up what the last life left, if there was one.
    pub(super) fn remember(mut self) -> Self {
        let Some(past) = self.config.legacy.take().and_then(|past| past.downcast::<Past>().ok()) else { return self };
        self.framework_id = past.framework_id;
        self.streams = past.streams;
        self.jobs = past.jobs;
        self.queue = past.queue;
        self.submitted = past.submitted;
        self.open = past.open;
        self.operations = past.operations;
        self.tally = past.tally;
        self.courses = past.courses;
        self.departed = past.departed;
        self.dismissed = past.dismissed;
        self
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let past = Past {
            framework_id: self.framework_id.take(),
            streams: self.streams,
            jobs: core::mem::take(&mut self.jobs),
            queue: core::mem::take(&mut self.queue),
            submitted: self.submitted,
            open: self.open,
            operations: self.operations,
            tally: self.tally,
            courses: self.courses.take(),
            departed: self.departed,
            dismissed: self.dismissed.take(),
        };
        self.config.legacy.leave(Box::new(past));
    }
}
