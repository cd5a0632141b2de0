//! Identities, shared between the entries that have one and the same.
//!
//! An identity is written once and copied with its entry ever after: from an agent's total to what is free on it, to an
//! offer, to who holds it. With a stack of reservations and a dozen labels a copy would cost as many allocations; here it
//! counts one up. Who changes a copy first gets one of its own.

use super::Identity;
use core::cmp::Ordering;
use core::ops::{Deref, DerefMut};
use rkyv::boxed::{ArchivedBox, BoxResolver};
use rkyv::rancor::{Fallible, Source};
use rkyv::ser::{Allocator, Writer};
use rkyv::{Archive, Archived, Deserialize, Place, Serialize};
use std::sync::Arc;

/// An identity that several entries may share.
#[derive(Clone, Debug, Default, Eq)]
pub struct SharedIdentity(Arc<Identity>);

impl From<Identity> for SharedIdentity {
    fn from(identity: Identity) -> Self {
        Self(Arc::new(identity))
    }
}

impl Deref for SharedIdentity {
    type Target = Identity;
    fn deref(&self) -> &Identity {
        &self.0
    }
}

impl DerefMut for SharedIdentity {
    fn deref_mut(&mut self) -> &mut Identity {
        Arc::make_mut(&mut self.0)
    }
}

impl PartialEq for SharedIdentity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Ord for SharedIdentity {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for SharedIdentity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// In a frame it is a value in a place of its own, as if it were not shared.
impl Archive for SharedIdentity {
    type Archived = ArchivedBox<Archived<Identity>>;
    type Resolver = BoxResolver;
    fn resolve(&self, resolver: BoxResolver, out: Place<Self::Archived>) {
        ArchivedBox::resolve_from_ref(&*self.0, resolver, out);
    }
}

impl<S: Fallible + Allocator + Writer + ?Sized> Serialize<S> for SharedIdentity
where
    Identity: Serialize<S>,
{
    fn serialize(&self, serializer: &mut S) -> Result<BoxResolver, S::Error> {
        ArchivedBox::serialize_from_ref(&*self.0, serializer)
    }
}

impl<D: Fallible + ?Sized> Deserialize<SharedIdentity, D> for ArchivedBox<Archived<Identity>>
where
    Archived<Identity>: Deserialize<Identity, D>,
    D::Error: Source,
{
    fn deserialize(&self, deserializer: &mut D) -> Result<SharedIdentity, D::Error> {
        let identity: Identity = self.get().deserialize(deserializer)?;
        Ok(identity.into())
    }
}
