//! The rights of a process and of all that it will ever execute (`capabilities(7)`).

use nix::libc;
use std::io;

/// `struct __user_cap_header_struct` and the version with 64 bits.
const HEADER: [u32; 2] = [0x2008_0522, 0];

fn prctl(option: i32, argument: u64, more: u64) -> io::Result<i32> {
    // SAFETY: the options used here take integers and touch no memory.
    let answer = unsafe { libc::prctl(option, argument, more, 0_u64, 0_u64) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Root is nobody special to `execve` (`SECBIT_NOROOT`), and what is held stays through a change of user, until the next exec
/// (`SECBIT_KEEP_CAPS`).
const NO_ROOT_AND_KEEP: u64 = 1 | 16;

/// Drops from the bounding set all capabilities that the kernel knows but these: none of the others can ever be had again.
pub(crate) fn bound_capabilities(kept: u64) -> io::Result<()> {
    for capability in (0..64).filter(|capability| kept & 1 << capability == 0) {
        match prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            Ok(_) => {}
            // The kernel knows no more.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            // It need not be dropped where it is not.
            Err(_) if prctl(libc::PR_CAPBSET_READ, capability, 0).is_ok_and(|is_there| is_there == 0) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// From here on root gets no capabilities by an exec for being root; files with capabilities of their own still give them, within
/// the bounding set. Needs CAP_SETPCAP, so it comes before that is given up.
pub(crate) fn root_is_nobody() -> io::Result<()> {
    prctl(libc::PR_SET_SECUREBITS, NO_ROOT_AND_KEEP, 0).map(drop)
}

/// What this process holds is not passed on by an exec: what root gets there is what is in the bounding set.
pub(crate) fn inherit_no_capabilities() -> io::Result<()> {
    let [effective_low, permitted_low, _, effective_high, permitted_high, _] = capabilities()?;
    set_capabilities([effective_low, permitted_low, 0, effective_high, permitted_high, 0])
}

/// The capabilities that this process may have.
pub(crate) fn permitted_capabilities() -> io::Result<u64> {
    let [_, low, _, _, high, _] = capabilities()?;
    Ok(u64::from(low) | u64::from(high) << 32)
}

/// Effective, permitted, inheritable of the low half, then of the high one.
fn capabilities() -> io::Result<[u32; 6]> {
    let (mut header, mut held) = (HEADER, [0_u32; 6]);
    // SAFETY: the kernel reads two words of header, which it may write to, and writes six of data.
    let answer = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), held.as_mut_ptr()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(held) }
}

/// Holds exactly these capabilities, through every exec.
pub(crate) fn hold_capabilities(held: u64) -> io::Result<()> {
    let known = (0..64).take_while(|&capability| prctl(libc::PR_CAPBSET_READ, capability, 0).is_ok());
    let known = known.fold(0_u64, |set, capability| set | 1 << capability);
    let held = held & known;
    let (low, high) = ((held & 0xffff_ffff) as u32, (held >> 32) as u32);
    set_capabilities([low, low, low, high, high, high])?;
    for capability in (0..64).filter(|bit| held & 1 << bit != 0) {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability)?;
    }
    Ok(())
}

/// Sets what [`capabilities`] tells.
fn set_capabilities(data: [u32; 6]) -> io::Result<()> {
    let mut header = HEADER;
    // SAFETY: the kernel reads two words of header and six of data, and writes to the header only when it does not know the
    // version, which is why it gets a copy.
    let answer = unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), data.as_ptr()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// No program that this process or its children execute gains rights by it (`PR_SET_NO_NEW_PRIVS`).
pub(crate) fn gain_no_rights() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}
