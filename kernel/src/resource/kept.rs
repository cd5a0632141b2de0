//! What of a machine's resources its agent has to keep by itself: reservations made at run time, and volumes. All else
//! is said anew at each start, by flags.

use crate::resource::{DiskKind, Resource, Resources, ResourcesError};

impl Resource {
    /// Whether only a journal knows of it: it was reserved at run time, or is a persistent volume.
    pub fn is_kept(&self) -> bool {
        let reservations = self.identity.as_ref().map_or(&[][..], |identity| &identity.reservations);
        self.is_persistent_volume() || reservations.iter().any(|reservation| reservation.dynamic)
    }

    /// What the flags of its agent call it: without volume and without reservations made at run time.
    fn into_started(self) -> Self {
        let mut entry = if self.is_persistent_volume() { self.without_volume() } else { self };
        while entry.is_dynamically_reserved() {
            entry = entry.without_last_reservation();
        }
        entry
    }

    /// The directory of a persistent volume, relative to the work directory of its agent or absolute; `None` when it is
    /// none. On a MOUNT disk the volume is the disk; elsewhere `volumes/roles/ROLE/ID`, as in Mesos, where a slash in
    /// the role is a space: roles hold none.
    pub fn volume_directory(&self) -> Option<String> {
        let disk = self.disk()?;
        let (id, role) = (&disk.persistence.as_ref()?.id, self.reservation_role()?);
        let below = ["volumes/roles/", &role.as_str().replace('/', " "), "/", id].concat();
        let Some(source) = &disk.source else { return Some(below) };
        let root = source.root.as_deref().unwrap_or_default().trim_end_matches('/');
        match source.kind {
            DiskKind::Mount => Some(source.root.clone().unwrap_or_default()),
            DiskKind::Path => Some([root, "/", &below].concat()),
            DiskKind::Block | DiskKind::Raw => None,
        }
    }
}

impl Resources {
    /// The part that only a journal knows of ([`Resource::is_kept`]).
    pub fn kept(&self) -> Self {
        self.filter(Resource::is_kept)
    }

    /// The bag that flags tell, with what a journal keeps in place of the amounts under it. Refused when those are not in
    /// the bag: the machine was started with less than is reserved on it.
    pub fn with_kept(&self, kept: &Self) -> Result<Self, ResourcesError> {
        let under = Self::collect(kept.once().cloned().map(Resource::into_started))?;
        self.minus(&under)?.plus(kept)
    }

    /// The bag with one copy of each shared volume: what all of them take up together.
    pub fn without_copies(&self) -> Self {
        if !self.iter().any(Resource::is_shared) {
            return self.clone();
        }
        Self::of_sorted(self.once().cloned().collect())
    }
}
