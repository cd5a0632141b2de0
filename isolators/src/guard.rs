//! What holds for a container that nobody said anything about: one with a view of mounts of its own has only the rights that
//! programs within a machine need, and can't write what changes the kernel. Without it root in a container would be root of the
//! machine: it would leave its control groups, or name a program that the kernel runs (attack 57).
//!
//! Who wants more says so, in the words of Mesos (`--bounding-capabilities`, `LinuxInfo`): who may ever have `SYS_ADMIN` is not
//! guarded at all, since it could take every guard away. Decision 0015.

use crate::isolator::{CapabilitySets, Contribution};

/// What root may ever have by default: the capabilities of `default_capabilities` in `containers.conf(5)`, which are those of
/// Docker without making nodes (`MKNOD`), forging packets (`NET_RAW`) and writing to the audit log. Bit n is the one that Linux
/// numbers n: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP.
pub const USUAL: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 18 | 1 << 31;

/// The one that opens all other doors.
pub(crate) const SYS_ADMIN: u64 = 1 << 21;

/// Adds to what isolators want of a launch what they left open.
pub(crate) fn complete(wanted: &mut Contribution) {
    if !wanted.namespaces.mnt {
        return;
    }
    if wanted.namespaces.user {
        // Its rights count only within.
        wanted.is_guarded = true;
        return;
    }
    let usual = CapabilitySets { effective: None, bounding: USUAL };
    let sets = wanted.capabilities.get_or_insert(usual);
    wanted.is_guarded = sets.bounding & SYS_ADMIN == 0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolator::Namespaces;
    use crate::linux::parse_capabilities;

    fn completed(namespaces: Namespaces, capabilities: Option<u64>) -> Contribution {
        let sets = |bounding| CapabilitySets { effective: Some(bounding), bounding };
        let capabilities = capabilities.map(sets);
        let mut wanted = Contribution { namespaces, capabilities, ..Contribution::default() };
        complete(&mut wanted);
        wanted
    }

    #[test]
    fn who_is_said_nothing_of_is_guarded_and_bounded() {
        let names = "CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,SETGID,SETUID,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,SETFCAP";
        assert_eq!(parse_capabilities(names).unwrap().0, USUAL);
        let apart = Namespaces { mnt: true, ..Namespaces::default() };
        let usual = completed(apart, None);
        assert_eq!(usual.capabilities, Some(CapabilitySets { effective: None, bounding: USUAL }));
        assert!(usual.is_guarded && completed(apart, Some(0)).is_guarded);
        let privileged = completed(apart, Some(SYS_ADMIN));
        assert_eq!(privileged.capabilities.map(|sets| sets.bounding), Some(SYS_ADMIN));
        assert!(!privileged.is_guarded);
        let users = completed(Namespaces { user: true, ..apart }, None);
        assert!(users.is_guarded && users.capabilities.is_none());
        assert_eq!(completed(Namespaces::default(), None), Contribution::default());
    }
}
