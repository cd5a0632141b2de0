//! The entries of a bag, shared between its copies until one of them changes.
//!
//! A bag is copied far more often than it changes: a grant, the offer made of it, the filter of who declined it and the
//! books of who holds it are one and the same bag. A copy counts one up; who changes a copy first gets entries of its own.

use super::Resource;
use core::ops::{Deref, DerefMut};
use rkyv::rancor::{Fallible, Source};
use rkyv::ser::{Allocator, Writer};
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::{Archive, Archived, Deserialize, Place, Serialize};
use std::sync::Arc;

/// A list of entries. None is kept as nothing at all.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries(Option<Arc<Vec<Resource>>>);

static NONE: Vec<Resource> = Vec::new();

impl Entries {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Whether a change would copy them first.
    pub(super) fn is_shared(&self) -> bool {
        self.0.as_ref().is_some_and(|entries| Arc::strong_count(entries) > 1)
    }
}

impl From<Vec<Resource>> for Entries {
    fn from(entries: Vec<Resource>) -> Self {
        Self((!entries.is_empty()).then(|| Arc::new(entries)))
    }
}

impl FromIterator<Resource> for Entries {
    fn from_iter<I: IntoIterator<Item = Resource>>(entries: I) -> Self {
        entries.into_iter().collect::<Vec<_>>().into()
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Resource;
    type IntoIter = core::slice::Iter<'a, Resource>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Deref for Entries {
    type Target = Vec<Resource>;
    fn deref(&self) -> &Vec<Resource> {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for Entries {
    fn deref_mut(&mut self) -> &mut Vec<Resource> {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two) || one == two,
            _ => self.is_empty() && other.is_empty(),
        }
    }
}

impl Eq for Entries {}

/// In a frame it is a list like any other.
impl Archive for Entries {
    type Archived = ArchivedVec<Archived<Resource>>;
    type Resolver = VecResolver;
    fn resolve(&self, resolver: VecResolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_len(self.len(), resolver, out);
    }
}

impl<S: Fallible + Allocator + Writer + ?Sized> Serialize<S> for Entries
where
    Resource: Serialize<S>,
{
    fn serialize(&self, serializer: &mut S) -> Result<VecResolver, S::Error> {
        ArchivedVec::serialize_from_slice(self.as_slice(), serializer)
    }
}

impl<D: Fallible + ?Sized> Deserialize<Entries, D> for ArchivedVec<Archived<Resource>>
where
    Archived<Resource>: Deserialize<Resource, D>,
    D::Error: Source,
{
    fn deserialize(&self, deserializer: &mut D) -> Result<Entries, D::Error> {
        let entries: Vec<Resource> = self.deserialize(deserializer)?;
        Ok(entries.into())
    }
}
