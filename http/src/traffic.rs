//! What a framework and its master have said to each other: counted where it passes, for the metrics of Mesos that bear the
//! framework's name (reference 16).
//!
//! Kept from a framework's first stream to its removal. Cost: an addition for each call, event and operation.

use std::sync::atomic::{AtomicU64, Ordering};

use kaon_kernel::message::event::{ArchivedFrameworkEvent, FrameworkEvent};

use crate::v1::mesos as v1;
use crate::v1::scheduler::{call, event};

/// One more than the largest number of a kind of call, event or operation in Mesos 1.11, and some room.
const KINDS: usize = 24;

/// Counters by the numbers that Mesos gives to kinds.
#[derive(Debug)]
pub(crate) struct Tally([AtomicU64; KINDS]);

impl Default for Tally {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; KINDS])
    }
}

impl Tally {
    fn count(&self, kind: i32) {
        if let Some(counter) = usize::try_from(kind).ok().and_then(|kind| self.0.get(kind)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of(&self, kind: i32) -> u64 {
        let counter = usize::try_from(kind).ok().and_then(|kind| self.0.get(kind));
        counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

/// The counters of one framework.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    calls: Tally,
    events: Tally,
    operations: Tally,
}

/// A kind of thing with a name, in words of Mesos in lower case, and how often it came.
pub(crate) type Counted = (String, u64);

impl Traffic {
    /// A call that is its framework's and is passed on.
    pub(crate) fn call(&self, kind: call::Type) {
        self.calls.count(kind as i32);
    }

    /// The operations of an ACCEPT.
    pub(crate) fn operations(&self, operations: &[v1::offer::Operation]) {
        for operation in operations {
            self.operations.count(operation.r#type.unwrap_or_default());
        }
    }

    /// An event on its stream.
    pub(crate) fn event(&self, frame: &kaon_kernel::frame::Frame) {
        if let Some(event) = frame.body::<FrameworkEvent>() {
            self.events.count(kind_of(event) as i32);
        }
    }

    pub(crate) fn all_calls(&self) -> u64 {
        self.calls.sum()
    }

    pub(crate) fn all_events(&self) -> u64 {
        self.events.sum()
    }

    pub(crate) fn all_operations(&self) -> u64 {
        self.operations.sum()
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = Counted> {
        by_kind(&self.calls, |number| call::Type::try_from(number).map(|kind| kind.as_str_name()))
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = Counted> {
        by_kind(&self.events, |number| event::Type::try_from(number).map(|kind| kind.as_str_name()))
    }

    pub(crate) fn operations_by_kind(&self) -> impl Iterator<Item = Counted> {
        by_kind(&self.operations, |number| v1::offer::operation::Type::try_from(number).map(|kind| kind.as_str_name()))
    }
}

/// Every kind that has a name, UNKNOWN aside.
fn by_kind<E>(tally: &Tally, name: impl Fn(i32) -> Result<&'static str, E>) -> impl Iterator<Item = Counted> {
    (1..KINDS as i32).filter_map(move |number| Some((name(number).ok()?.to_ascii_lowercase(), tally.of(number))))
}

fn kind_of(event: &ArchivedFrameworkEvent) -> event::Type {
    use ArchivedFrameworkEvent as Event;
    match event {
        Event::Subscribed { .. } => event::Type::Subscribed,
        Event::Offers { .. } => event::Type::Offers,
        Event::Rescind { .. } => event::Type::Rescind,
        Event::InverseOffers { .. } => event::Type::InverseOffers,
        Event::RescindInverseOffer { .. } => event::Type::RescindInverseOffer,
        Event::Update { .. } => event::Type::Update,
        Event::OperationUpdated { .. } => event::Type::UpdateOperationStatus,
        Event::Message { .. } => event::Type::Message,
        Event::Failure { .. } => event::Type::Failure,
        Event::Error { .. } => event::Type::Error,
        Event::Heartbeat => event::Type::Heartbeat,
    }
}

/// What all frameworks have asked for, those included that are gone: Mesos's counters of messages that no actor of ours
/// sees as such.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// SUBSCRIBE without a framework's id.
    pub(crate) subscriptions: AtomicU64,
    /// SUBSCRIBE with one.
    pub(crate) resubscriptions: AtomicU64,
    /// TEARDOWN by the framework itself.
    pub(crate) teardowns: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_schema_has_a_counter_of_its_own() {
        let traffic = Traffic::default();
        for number in 0..64 {
            if let Ok(kind) = call::Type::try_from(number) {
                traffic.call(kind);
            }
        }
        let calls: Vec<_> = traffic.calls().collect();
        assert!(calls.len() >= 17, "{calls:?}");
        assert!(calls.iter().all(|(_, count)| *count == 1), "{calls:?}");
        assert!(calls.iter().any(|(name, _)| name == "acknowledge_operation_status"), "{calls:?}");
        let launches = [v1::offer::operation::Type::Launch, v1::offer::operation::Type::Launch];
        let launches = launches.map(|kind| v1::offer::Operation { r#type: Some(kind as i32), ..Default::default() });
        traffic.operations(&launches);
        assert_eq!(traffic.all_operations(), 2);
        assert!(traffic.operations_by_kind().any(|one| one == ("launch".to_owned(), 2)));
        assert!(traffic.operations_by_kind().any(|one| one == ("destroy_disk".to_owned(), 0)));
        assert!(traffic.events().any(|one| one == ("update_operation_status".to_owned(), 0)));
        // A kind that a client made up is nobody's.
        traffic.operations(&[v1::offer::Operation { r#type: Some(i32::MAX), ..Default::default() }]);
        assert_eq!(traffic.all_operations(), 2);
    }
}
