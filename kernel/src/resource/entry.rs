//! Questions to one entry of a bag, and its stack of reservations.

use crate::id::RoleName;
use crate::resource::{Disk, DiskKind, Identity, Reservation, Resource, role};

/// Why a reservation can't be put on top of others (reference 10).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReservationError {
    /// Everybody's role.
    #[error("role '*' can't be reserved")]
    Everybody,
    /// A static reservation over another one.
    #[error("only the first reservation can be static")]
    Static,
    /// A refinement that leaves the role it refines.
    #[error("a refined reservation must be for a sub-role of '{outer}', not for '{role}'")]
    NoSubRole {
        /// The role that holds it.
        outer: RoleName,
        /// The role that would.
        role: RoleName,
    },
}

impl Resource {
    /// The role that may use it: that of the innermost reservation; `None` when unreserved.
    pub fn reservation_role(&self) -> Option<&RoleName> {
        self.last_reservation().map(|reservation| &reservation.role)
    }
    /// The innermost reservation.
    pub fn last_reservation(&self) -> Option<&Reservation> {
        self.identity.as_ref()?.reservations.last()
    }
    /// Whether it is reserved to exactly this role.
    pub fn is_reserved_to(&self, role: &RoleName) -> bool {
        self.reservation_role() == Some(role)
    }
    /// Whether its innermost reservation was made at run time.
    pub fn is_dynamically_reserved(&self) -> bool {
        self.last_reservation().is_some_and(|reservation| reservation.dynamic)
    }
    /// Whether it can be taken back at any time.
    pub fn is_revocable(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.revocable)
    }
    /// Whether several tasks may use it at once.
    pub fn is_shared(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.shared)
    }
    /// What kind of disk it is.
    pub fn disk(&self) -> Option<&Disk> {
        self.identity.as_ref()?.disk.as_ref()
    }
    /// Whether it is a volume that outlives its tasks.
    pub fn is_persistent_volume(&self) -> bool {
        self.disk().is_some_and(|disk| disk.persistence.is_some())
    }

    /// Whether it is given whole or not at all: a persistent volume, a MOUNT or BLOCK disk, a RAW disk with an id.
    pub fn is_indivisible(&self) -> bool {
        self.disk().is_some_and(|disk| {
            let source = disk.source.as_ref();
            disk.persistence.is_some()
                || source.is_some_and(|source| match source.kind {
                    DiskKind::Mount | DiskKind::Block => true,
                    DiskKind::Raw => source.id.is_some(),
                    DiskKind::Path => false,
                })
        })
    }

    /// Whether it never adds up with an equal one but lies beside it: what is indivisible, and what is shared, which counts
    /// its copies.
    pub fn stands_alone(&self) -> bool {
        self.identity.is_some() && (self.is_shared() || self.is_indivisible())
    }

    /// The same without its reservations.
    pub fn unreserved(self) -> Self {
        self.with_identity(|identity| identity.reservations.clear())
    }

    /// The same with one more reservation on top.
    pub fn with_reservation(mut self, reservation: Reservation) -> Result<Self, ReservationError> {
        self.identity.get_or_insert_default().push(reservation)?;
        Ok(self)
    }

    /// The same without its innermost reservation; unchanged when it has none.
    pub fn without_last_reservation(self) -> Self {
        self.with_identity(|identity| drop(identity.reservations.pop()))
    }

    /// The disk under a persistent volume: of the same source, not shared, neither volume nor persistence.
    pub(super) fn without_volume(self) -> Self {
        self.with_identity(|identity| {
            identity.shared = false;
            let source = identity.disk.take().and_then(|disk| disk.source);
            identity.disk = source.map(|source| Disk { persistence: None, volume: None, source: Some(source) });
        })
    }

    fn with_identity(mut self, change: impl FnOnce(&mut Identity)) -> Self {
        self.identity = self.identity.and_then(|mut identity| {
            change(&mut identity);
            (!identity.is_plain()).then_some(identity)
        });
        self
    }

    /// The form in which identities are compared.
    pub(super) fn normalised(self) -> Self {
        if self.identity.as_ref().is_none_or(|identity| identity.is_normal()) {
            return self;
        }
        self.with_identity(|identity| {
            for reservation in &mut identity.reservations {
                reservation.labels.sort();
            }
            if let Some(source) = identity.disk.as_mut().and_then(|disk| disk.source.as_mut()) {
                source.metadata.sort();
            }
            identity.disk = identity.disk.take().filter(|disk| !disk.is_plain());
        })
    }
}

impl Identity {
    /// Puts a reservation on top of the stack.
    pub fn push(&mut self, reservation: Reservation) -> Result<(), ReservationError> {
        if reservation.role.as_str() == role::DEFAULT {
            return Err(ReservationError::Everybody);
        }
        if let Some(outer) = self.reservations.last() {
            if !reservation.dynamic {
                return Err(ReservationError::Static);
            }
            if !role::is_below(&reservation.role, &outer.role) {
                return Err(ReservationError::NoSubRole { outer: outer.role.clone(), role: reservation.role });
            }
        }
        self.reservations.push(reservation);
        Ok(())
    }

    fn is_plain(&self) -> bool {
        let Self { reservations, disk, revocable, shared, provider_id } = self;
        reservations.is_empty() && disk.is_none() && !revocable && !shared && provider_id.is_none()
    }

    /// Whether it is in the form in which identities are compared: something is said, labels are sorted.
    pub(super) fn is_normal(&self) -> bool {
        let is_disk_normal =
            |disk: &Disk| !disk.is_plain() && disk.source.as_ref().is_none_or(|source| source.metadata.is_sorted());
        !self.is_plain()
            && self.reservations.iter().all(|reservation| reservation.labels.is_sorted())
            && self.disk.as_ref().is_none_or(is_disk_normal)
    }
}

impl Disk {
    fn is_plain(&self) -> bool {
        self.persistence.is_none() && self.volume.is_none() && self.source.is_none()
    }
}
