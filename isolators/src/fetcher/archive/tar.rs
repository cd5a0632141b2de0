//! Tar archives in sandboxes. What is no file, directory or link inside the sandbox is refused: devices, pipes, links out,
//! absolute paths (attack 48). Owners are not looked at: everything is the user's own.

use super::super::bounds::Budget;
use super::super::error::Error;
use super::super::name::shown;
use super::super::tree::Tree;
use super::copy;
use super::tape::{Entry, Kind, Tape};
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use std::io::Read;

/// Unpacks a tar archive.
pub(super) fn unpack(from: &mut impl Read, tree: &mut Tree, budget: &mut Budget) -> Result<(), Error> {
    let mut tape = Tape::new(from);
    while let Some(entry) = tape.next(budget)? {
        put(&entry, &mut tape, tree, budget)?;
    }
    match tape.is_empty() {
        true => Err(Error::Damaged("it is empty".to_owned())),
        false => Ok(()),
    }
}

fn put(entry: &Entry, tape: &mut Tape<impl Read>, tree: &mut Tree, budget: &mut Budget) -> Result<(), Error> {
    let refuse = |what| Err(Error::Entry { path: shown(&entry.path), what });
    match &entry.kind {
        Kind::Directory => tree.directory(&entry.path, entry.mode),
        Kind::File => {
            budget.announced(entry.size)?;
            let mut file = tree.file(&entry.path, entry.mode)?;
            if copy(&mut tape.body(), &mut file, budget)? < entry.size {
                return Err(Error::Damaged("it ends within a file".to_owned()));
            }
            if let Some(seconds) = entry.changed {
                let time = TimeSpec::new(seconds, 0);
                // A time that the file system can't hold is left out.
                let _ = futimens(&file, &time, &time);
            }
            Ok(())
        }
        Kind::HardLink(target) => tree.hard_link(&entry.path, target),
        Kind::SymbolicLink(target) => tree.symbolic_link(&entry.path, target),
        Kind::Device => refuse("a device"),
        Kind::Pipe => refuse("a pipe"),
    }
}
