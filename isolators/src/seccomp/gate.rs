//! The gate before views of users: in one of its own, root without `SYS_ADMIN` would have it again, mount the control groups that it is
//! in and raise its own limits (attack 57). Who is never to have that right begins no such view, nor one of control groups: the calls
//! are answered as by a kernel that does not let it. Docker's usual profile does the same.

use super::program::{ALLOW, AND, ARCHITECTURE, ARGUMENTS, JUMP_EQUAL, LOAD, MACHINE, NUMBER, RETURN, instruction};
use nix::libc;

/// Fails with the error in the lower half.
const FAIL: u32 = 0x0005_0000;

/// The views.
const VIEWS: u32 = (libc::CLONE_NEWUSER | libc::CLONE_NEWCGROUP).cast_unsigned();

/// The bit that tells the second numbering of x86-64 from the first.
const NOT_OTHER_NUMBERING: u32 = !0x4000_0000;

/// The calls that begin views, by their numbers: `unshare`, `clone`, `clone3`.
type Calls = [u32; 3];

#[cfg(target_arch = "x86_64")]
const CALLS: (Calls, Calls) = ([272, 56, 435], [310, 120, 435]);
#[cfg(not(target_arch = "x86_64"))]
const CALLS: (Calls, Calls) = ([97, 220, 435], [337, 120, 435]);

/// The instructions of the gate; none for a machine whose numbering is not known here. Those of 32 bits have a numbering of their own.
pub(crate) fn instructions() -> Option<Vec<u64>> {
    let (own, older) = (block(CALLS.0), block(CALLS.1));
    let length = u8::try_from(own.len()).ok().filter(|_| ARCHITECTURE != 0)?;
    let choice = [instruction(LOAD, MACHINE, 0, 0), instruction(JUMP_EQUAL, ARCHITECTURE, 0, length)];
    Some([&choice[..], &own, &older].concat())
}

/// What is answered to the calls of one numbering. What `clone3` is asked for lies in memory, which nobody here can read: it is answered
/// as by a kernel that does not have it, and programs take `clone`.
fn block([unshare, clone, clone3]: Calls) -> [u64; 12] {
    let failing = |errno: i32| instruction(RETURN, FAIL | errno.cast_unsigned(), 0, 0);
    [
        instruction(LOAD, NUMBER, 0, 0),
        instruction(AND, NOT_OTHER_NUMBERING, 0, 0),
        instruction(JUMP_EQUAL, unshare, 3, 0),
        instruction(JUMP_EQUAL, clone, 2, 0),
        instruction(JUMP_EQUAL, clone3, 5, 0),
        instruction(RETURN, ALLOW, 0, 0),
        instruction(LOAD, ARGUMENTS, 0, 0),
        instruction(AND, VIEWS, 0, 0),
        instruction(JUMP_EQUAL, 0, 2, 0),
        failing(libc::EPERM),
        failing(libc::ENOSYS),
        instruction(RETURN, ALLOW, 0, 0),
    ]
}
