//! The variables that a process was started with, as others read them in `/proc/PID/environ`: text on its stack, which it may
//! write over (what `setproctitle(3)` does with arguments).

use nix::libc;
use std::ffi::CStr;
use std::io;

unsafe extern "C" {
    /// The list of variables of the C library (`environ(7)`).
    static mut environ: *mut *mut libc::c_char;
}

/// The room that the variables of this process take.
#[derive(Debug)]
pub(crate) struct Room {
    first: *mut libc::c_char,
    bytes: usize,
}

impl Room {
    /// Takes it, for ever: from here on this process has no variables. To be called before any thread begins, by who has read
    /// what it needs of them.
    ///
    /// # Errors
    /// When there are more threads, or there were no variables.
    pub(crate) fn take() -> io::Result<Self> {
        if std::fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("only a process with a single thread may change its variables"));
        }
        // SAFETY: the list ends with a null pointer, each entry before it is a text that ends with a NUL, and the one thread
        // that there is (checked) is here: nobody else reads or changes them meanwhile.
        unsafe {
            let list = environ;
            if list.is_null() || (*list).is_null() {
                return Err(io::Error::other("this process was started without variables"));
            }
            let first = *list;
            let (mut at, mut bytes) = (list, 0);
            // As the kernel has laid them out, one behind the other; what lies elsewhere was set later.
            while !(*at).is_null() && *at == first.add(bytes) {
                bytes += CStr::from_ptr(*at).to_bytes_with_nul().len();
                at = at.add(1);
            }
            *list = std::ptr::null_mut();
            Ok(Self { first, bytes })
        }
    }

    /// Shows these variables, each `NAME=value` and a NUL, and nothing else.
    ///
    /// # Errors
    /// When they do not fit.
    pub(crate) fn show(&mut self, variables: &[u8]) -> io::Result<()> {
        if variables.len() > self.bytes {
            return Err(io::Error::other(format!(
                "variables of {} bytes in a room of {}",
                variables.len(),
                self.bytes
            )));
        }
        // SAFETY: the room is so many bytes of this process's own stack, which nothing but this object names any more, and
        // `variables`, which is not in it, fits.
        unsafe {
            let room = self.first.cast::<u8>();
            std::ptr::copy_nonoverlapping(variables.as_ptr(), room, variables.len());
            std::ptr::write_bytes(room.add(variables.len()), 0, self.bytes - variables.len());
        }
        Ok(())
    }
}
