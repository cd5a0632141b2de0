//! Quotas of file systems: of projects on XFS (`quotactl_fd(2)`, Linux 5.14; `ioctl_xfs_fsgetxattr(2)`), of subvolumes on btrfs
//! (`include/uapi/linux/btrfs.h`).

use nix::libc;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct FileAttributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

const FS_IOC_FSGETXATTR: u64 = 0x801c_581f;
const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;
/// What is made in a directory is of its project.
const FS_XFLAG_PROJINHERIT: u32 = 0x200;

/// `struct fs_disk_quota`, zero beyond what is used.
#[repr(C)]
#[derive(Default)]
struct ProjectQuota {
    version: i8,
    kind: i8,
    fields: u16,
    project: u32,
    blocks_hard: u64,
    blocks_soft: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    blocks: u64,
    inodes: u64,
    rest: [u64; 7],
}

const _: () = assert!(size_of::<FileAttributes>() == 28 && size_of::<ProjectQuota>() == 112);

/// A unit of the quotas of XFS, in bytes.
const BASIC_BLOCK_BYTES: u64 = 512;

/// `QCMD(Q_XGETQUOTA, PRJQUOTA)` and `QCMD(Q_XSETQLIM, PRJQUOTA)`.
const GET_PROJECT: u32 = (((b'X' as u32) << 8) + 3) << 8 | 2;
const SET_PROJECT: u32 = (((b'X' as u32) << 8) + 4) << 8 | 2;

/// `FS_DQUOT_VERSION`, `FS_PROJ_QUOTA`, and the fields that are set: hard limits of inodes and blocks.
const VERSION: i8 = 1;
const OF_PROJECT: i8 = 2;
const HARD_LIMITS: u16 = 1 << 1 | 1 << 3;

fn project_call(at: BorrowedFd<'_>, command: u32, quota: &mut ProjectQuota) -> io::Result<()> {
    // SAFETY: the kernel reads or writes one `fs_disk_quota`, which `quota` is (its size is asserted above) and which lives
    // through the call.
    let answer = unsafe {
        libc::syscall(libc::SYS_quotactl_fd, at.as_raw_fd(), command, quota.project, std::ptr::from_mut(quota))
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The bytes that a project uses on the file system of an open file; zero of one that it does not know.
pub(crate) fn project_used(at: BorrowedFd<'_>, project: u32) -> io::Result<u64> {
    let mut quota = ProjectQuota { project, ..ProjectQuota::default() };
    match project_call(at, GET_PROJECT, &mut quota) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(0),
        other => other.map(|()| quota.blocks.saturating_mul(BASIC_BLOCK_BYTES)),
    }
}

/// Bounds what a project may use; zero is no bound.
pub(crate) fn limit_project(at: BorrowedFd<'_>, project: u32, bytes: u64, inodes: u64) -> io::Result<()> {
    let mut quota = ProjectQuota {
        version: VERSION,
        kind: OF_PROJECT,
        fields: HARD_LIMITS,
        project,
        blocks_hard: bytes / BASIC_BLOCK_BYTES,
        inodes_hard: inodes,
        ..ProjectQuota::default()
    };
    project_call(at, SET_PROJECT, &mut quota)
}

/// Gives an open file to a project, and what will be made in it where it is a directory.
pub(crate) fn set_project(file: BorrowedFd<'_>, project: u32, is_inherited: bool) -> io::Result<()> {
    let mut attributes = FileAttributes::default();
    // SAFETY: the kernel writes one `fsxattr`, which `attributes` is and which lives through the call.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FSGETXATTR, &raw mut attributes) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    attributes.project = project;
    attributes.flags &= !FS_XFLAG_PROJINHERIT;
    if is_inherited && project != 0 {
        attributes.flags |= FS_XFLAG_PROJINHERIT;
    }
    // SAFETY: the kernel only reads it.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FSSETXATTR, &raw const attributes) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What calls of btrfs are told: a page of memory.
const PAGE_BYTES: usize = 4096;

const BTRFS_IOC_SUBVOL_CREATE: u64 = 0x5000_940e;
const BTRFS_IOC_TREE_SEARCH: u64 = 0xd000_9411;
const BTRFS_IOC_INO_LOOKUP: u64 = 0xd000_9412;
const BTRFS_IOC_QUOTA_CTL: u64 = 0xc010_9428;
const BTRFS_IOC_QGROUP_LIMIT: u64 = 0x8030_942b;

/// The root directory of every subvolume.
const FIRST_OBJECT: u64 = 256;
/// The tree of counters, and the kind of its entries that count.
const QUOTA_TREE: u64 = 8;
const COUNTERS: u64 = 242;

fn btrfs_call<T>(at: BorrowedFd<'_>, command: u64, told: &mut T) -> io::Result<()> {
    // SAFETY: every command used here reads and writes as many bytes as its number says (`_IOC_SIZE`), and `told` has as many
    // (asserted); it lives through the call.
    let answer = unsafe {
        assert_eq!(size_of::<T>() as u64, command >> 16 & 0x3fff, "what a call is told has the size that it says");
        libc::ioctl(at.as_raw_fd(), command, std::ptr::from_mut(told))
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A page that begins with these numbers.
fn page(numbers: &[u64]) -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    for (place, number) in page.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
    page
}

fn number(page: &[u8; PAGE_BYTES], at: usize) -> u64 {
    let bytes = page.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_ne_bytes)
}

/// Makes the file system of an open file count what its subvolumes use, if it does not already.
pub(crate) fn count_subvolumes(at: BorrowedFd<'_>) -> io::Result<()> {
    const ENABLE: u64 = 1;
    match btrfs_call(at, BTRFS_IOC_QUOTA_CTL, &mut [ENABLE, 0]) {
        // It counts already.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

/// Makes a subvolume of this name in an open directory.
pub(crate) fn make_subvolume(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mut told = page(&[]);
    let name = name.as_encoded_bytes();
    // Behind a number that is not used here; the name ends with a NUL.
    let place = told.get_mut(8..8 + name.len()).filter(|_| name.len() < 256 && !name.contains(&b'/'));
    place.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?.copy_from_slice(name);
    btrfs_call(directory, BTRFS_IOC_SUBVOL_CREATE, &mut told)
}

/// The number of the subvolume that an open directory is in.
fn subvolume(directory: BorrowedFd<'_>) -> io::Result<u64> {
    let mut told = page(&[0, FIRST_OBJECT]);
    btrfs_call(directory, BTRFS_IOC_INO_LOOKUP, &mut told)?;
    Ok(number(&told, 0))
}

/// Bounds what the subvolume of an open directory may hold; none is no bound.
pub(crate) fn limit_subvolume(directory: BorrowedFd<'_>, bytes: Option<u64>) -> io::Result<()> {
    const MAX_HELD: u64 = 1;
    // The group, then which limits are set and what they are; the largest number takes one away.
    let mut told = [subvolume(directory)?, MAX_HELD, bytes.unwrap_or(u64::MAX), 0, 0, 0];
    btrfs_call(directory, BTRFS_IOC_QGROUP_LIMIT, &mut told)
}

/// The bytes that the subvolume of an open directory holds, as of the last commit.
pub(crate) fn subvolume_used(directory: BorrowedFd<'_>) -> io::Result<u64> {
    let group = subvolume(directory)?;
    // Tree; objects, offsets and generations from and to; kinds from and to (two halves of a number), how many entries.
    let kinds = COUNTERS << 32 | COUNTERS;
    let mut told = page(&[QUOTA_TREE, 0, 0, group, group, 0, u64::MAX, kinds, 1]);
    btrfs_call(directory, BTRFS_IOC_TREE_SEARCH, &mut told)?;
    /// How many were found, and where the first lies: behind 104 bytes of question and 32 of its own heading. It begins with a
    /// generation; what the subvolume holds is the second number.
    const FOUND_AT: usize = 64;
    const HELD_AT: usize = 104 + 32 + 8;
    match number(&told, FOUND_AT) & 0xffff_ffff {
        0 => Ok(0),
        _ => Ok(number(&told, HELD_AT)),
    }
}
