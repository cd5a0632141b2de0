//! What a program outside the cluster leaves to its next life on the same machine.
//!
//! A scheduler of its own making writes down what it knows before it says it, so a new life of it knows as much. What is
//! written and how is its own business: here lies what the last life left.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

/// Where a life leaves what the next one takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Legacy(Arc<Mutex<Option<Box<dyn Any + Send>>>>);

impl Legacy {
    /// Leaves something, in place of what lay there.
    pub(crate) fn leave(&self, what: Box<dyn Any + Send>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }

    /// Takes what the last life left; nothing in a first life.
    pub(crate) fn take(&self) -> Option<Box<dyn Any + Send>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
