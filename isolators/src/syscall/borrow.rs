//! A child that lives in its parent's memory until it becomes another program (`CLONE_VM | CLONE_VFORK` of `clone(2)`).
//!
//! A copy of the memory, however lazy, is most of what a fork costs: the page tables are gone through, and each page that one of the two
//! touches afterwards is a fault. A child that only prepares an exec needs none of its own.

use super::only_thread;
use nix::libc;
use std::io;
use std::ptr;

/// The stack of the child in bytes; only what it touches is there. Its lowest page is a wall.
const STACK_BYTES: usize = 1 << 20;

/// The wall below the stack in bytes: a page, or several.
const WALL_BYTES: usize = 64 << 10;

/// A stack for the time of one call.
struct Stack(*mut libc::c_void);

impl Stack {
    fn new() -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
        // SAFETY: new memory, at a place of the kernel's choice: nothing of ours is touched.
        let lowest = unsafe { libc::mmap(ptr::null_mut(), STACK_BYTES, access, kind, -1, 0) };
        if lowest == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self(lowest);
        // SAFETY: the lowest part of memory that is ours and that nobody uses yet.
        match unsafe { libc::mprotect(lowest, WALL_BYTES, libc::PROT_NONE) } {
            0 => Ok(stack),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Where it begins: it grows downwards.
    fn top(&self) -> *mut libc::c_void {
        self.0.wrapping_byte_add(STACK_BYTES)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped; who used it has ended or become another program.
        let _ = unsafe { libc::munmap(self.0, STACK_BYTES) };
    }
}

/// Forks into new namespaces (flags of `clone(2)`) a child that runs `child` in this very memory, and waits until it has become another
/// program, or has ended with the code that `child` returns. What it changes in memory stays changed; its open files, user, directory
/// and signals are its own. A panic in it is the end of it alone.
///
/// # Errors
/// When this process has more threads: they would go on in the same memory; and those of `clone(2)`.
pub(crate) fn borrow<F: FnMut() -> i32>(namespaces: i32, mut child: F) -> io::Result<i32> {
    /// Where the child begins. It can't unwind out of here: that would be its parent's stack.
    extern "C" fn enter<F: FnMut() -> i32>(child: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the one closure below, which lives until its owner goes on; the owner waits.
        let child = unsafe { &mut *child.cast::<F>() };
        child()
    }
    only_thread()?;
    let stack = Stack::new()?;
    let flags = namespaces | libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: there is one thread (checked), and the kernel lets it go on only when the child uses this memory no more: so the two are
    // as one thread, on two stacks. The child returns to nothing of ours: the C library ends it when `enter` returns.
    match unsafe { libc::clone(enter::<F>, stack.top(), flags, (&raw mut child).cast()) } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_more_threads_lends_its_memory_to_nobody() {
        let waits = std::thread::spawn(std::thread::park);
        assert!(borrow(0, || 0).is_err());
        waits.thread().unpark();
        waits.join().unwrap();
    }
}
