//! What kind of disk a resource is: persistence, volume, source.

use kaon_kernel::resource::{Disk, DiskKind, DiskSource, Persistence, Volume};

use super::{Error, labels};
use crate::v1::mesos as v1;
use crate::v1::mesos::resource::DiskInfo;
use crate::v1::mesos::resource::disk_info::{self, source};

/// The disk of a resource. What the kernel has no room for is refused, never dropped.
pub(super) fn from_v1(resource: &v1::Resource, info: &DiskInfo, reserved: bool) -> Result<Disk, Error> {
    let bad = |reason| Error::Resource { name: resource.name.clone(), reason };
    if resource.name != "disk" {
        return Err(bad("only 'disk' can have DiskInfo"));
    }
    if info.persistence.is_some() {
        if !reserved || resource.revocable.is_some() {
            return Err(bad("a persistent volume must be of reserved and non-revocable disk"));
        }
        if info.volume.is_none() {
            return Err(bad("a persistent volume needs 'volume'"));
        }
    } else if info.volume.is_some() {
        return Err(bad("a volume must be persistent"));
    } else if info.source.is_none() {
        return Err(bad("DiskInfo is set and empty"));
    }
    let persistence = match &info.persistence {
        None => None,
        Some(persistence) => {
            kaon_kernel::id::check(&persistence.id).map_err(|_| bad("its persistence id is invalid"))?;
            Some(Persistence { id: persistence.id.clone(), principal: persistence.principal.clone() })
        }
    };
    let volume = info.volume.as_ref().map(|volume| {
        if volume.image.is_some() || volume.source.is_some() {
            return Err(bad("a persistent volume has neither image nor source"));
        }
        let writable = match v1::volume::Mode::try_from(volume.mode) {
            Ok(v1::volume::Mode::Rw) => true,
            Ok(v1::volume::Mode::Ro) => false,
            _ => return Err(bad("its volume has no known mode")),
        };
        Ok(Volume { container_path: volume.container_path.clone(), host_path: volume.host_path.clone(), writable })
    });
    let source = info.source.as_ref().map(|source| {
        let (path, mount) = (&source.path, &source.mount);
        let (kind, root) = match source::Type::try_from(source.r#type) {
            Ok(source::Type::Path) if mount.is_none() => {
                (DiskKind::Path, path.as_ref().and_then(|path| path.root.clone()))
            }
            Ok(source::Type::Mount) if path.is_none() => {
                (DiskKind::Mount, mount.as_ref().and_then(|mount| mount.root.clone()))
            }
            Ok(source::Type::Block) if path.is_none() && mount.is_none() => (DiskKind::Block, None),
            Ok(source::Type::Raw) if path.is_none() && mount.is_none() => (DiskKind::Raw, None),
            Ok(source::Type::Unknown) | Err(_) => return Err(bad("its disk source has no known type")),
            Ok(_) => return Err(bad("its disk source has 'path' or 'mount' of another type")),
        };
        Ok(DiskSource {
            kind,
            root,
            id: source.id.clone(),
            profile: source.profile.clone(),
            vendor: source.vendor.clone(),
            metadata: labels::take(&mut source.metadata.clone()),
        })
    });
    Ok(Disk { persistence, volume: volume.transpose()?, source: source.transpose()? })
}

/// The v1 form.
pub(super) fn to_v1(disk: &Disk) -> DiskInfo {
    let persistence = disk.persistence.as_ref().map(|persistence| disk_info::Persistence {
        id: persistence.id.clone(),
        principal: persistence.principal.clone(),
    });
    let volume = disk.volume.as_ref().map(|volume| v1::Volume {
        mode: if volume.writable { v1::volume::Mode::Rw } else { v1::volume::Mode::Ro } as i32,
        container_path: volume.container_path.clone(),
        host_path: volume.host_path.clone(),
        ..v1::Volume::default()
    });
    let source = disk.source.as_ref().map(|from| {
        let mut out = disk_info::Source {
            id: from.id.clone(),
            profile: from.profile.clone(),
            vendor: from.vendor.clone(),
            metadata: labels::to_v1(&from.metadata),
            ..disk_info::Source::default()
        };
        let kind = match from.kind {
            DiskKind::Path => {
                out.path = from.root.clone().map(|root| source::Path { root: Some(root) });
                source::Type::Path
            }
            DiskKind::Mount => {
                out.mount = from.root.clone().map(|root| source::Mount { root: Some(root) });
                source::Type::Mount
            }
            DiskKind::Block => source::Type::Block,
            DiskKind::Raw => source::Type::Raw,
        };
        out.r#type = kind as i32;
        out
    });
    DiskInfo { persistence, volume, source }
}
