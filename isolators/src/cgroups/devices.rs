//! `cgroups/devices`: which devices a container may open (attack 58). Version 1 has a list of its own; version 2 runs a
//! program (`device_program.rs`). The usual ones are Mesos's: what every program expects, and making nodes of any.

use super::device_program;
use super::hierarchy::Version;
use super::{Controller, Groups, Wish};
use crate::gpu::Gpus;
use nix::libc;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

/// Kinds of device nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `b`.
    Block,
    /// `c`.
    Character,
}

/// What may be done with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Opened for reading.
    pub read: bool,
    /// Opened for writing.
    pub write: bool,
    /// Made.
    pub make: bool,
}

/// All of it, and making alone.
const ALL: Access = Access { read: true, write: true, make: true };
const MAKE: Access = Access { read: false, write: false, make: true };

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Of which kind.
    pub kind: Kind,
    /// Which; `None` for every one.
    pub major: Option<u32>,
    /// Which; `None` for every one.
    pub minor: Option<u32>,
    /// What.
    pub access: Access,
}

/// What every container may (reference 12.1): `null`, `zero`, `full`, `random`, `urandom`, `tty`, `console`, `ptmx` and all
/// of `pts`; and nodes of any kind may be made, which says nothing of opening them.
pub const USUAL: [Rule; 10] = [
    Rule { kind: Kind::Character, major: None, minor: None, access: MAKE },
    Rule { kind: Kind::Block, major: None, minor: None, access: MAKE },
    character(5, Some(1)),
    character(4, Some(0)),
    character(5, Some(0)),
    character(1, Some(3)),
    character(1, Some(5)),
    character(1, Some(7)),
    character(5, Some(2)),
    character(136, None),
];

/// The two generators of random numbers.
const RANDOM: [Rule; 2] = [character(1, Some(8)), character(1, Some(9))];

const fn character(major: u32, minor: Option<u32>) -> Rule {
    Rule { kind: Kind::Character, major: Some(major), minor, access: ALL }
}

impl Rule {
    /// A rule for the device at a path, with all access.
    pub fn of_node(path: &Path) -> io::Result<Self> {
        let data = fs::metadata(path)?;
        let kind = match data.file_type() {
            kind if kind.is_char_device() => Kind::Character,
            kind if kind.is_block_device() => Kind::Block,
            _ => return Err(io::Error::other(format!("'{}' is no device", path.display()))),
        };
        let (major, minor) = (libc::major(data.rdev()), libc::minor(data.rdev()));
        Ok(Self { kind, major: Some(major), minor: Some(minor), access: ALL })
    }

    /// As version 1 takes it: `c 1:3 rwm`.
    fn text(&self) -> String {
        let kind = if self.kind == Kind::Block { 'b' } else { 'c' };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let letters = [(self.access.read, "r"), (self.access.write, "w"), (self.access.make, "m")];
        let access: String = letters.iter().filter(|(may, _)| *may).map(|(_, letter)| *letter).collect();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

/// The controller.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    /// What every container may beside the usual (`--allowed-devices`).
    pub more: Vec<Rule>,
    /// Whose GPUs are opened to those that were given them.
    pub gpus: Option<Arc<Gpus>>,
}

impl Controller for Devices {
    fn name(&self) -> &'static str {
        "cgroups/devices"
    }

    fn controllers(&self) -> &'static [&'static str] {
        &["devices"]
    }

    fn set(&self, groups: &Groups, wish: &Wish<'_>) -> io::Result<()> {
        if !wish.is_launch {
            return Ok(());
        }
        let group = groups.main()?;
        let mut rules: Vec<Rule> = USUAL.iter().chain(&RANDOM).chain(&self.more).copied().collect();
        if let (Some(gpus), Some(placement)) = (&self.gpus, wish.placement) {
            rules.extend(gpus.rules(placement)?);
        }
        match group.version {
            Version::V1 => {
                group.write("devices.deny", "a")?;
                group.write_each("devices.allow", rules.iter().map(Rule::text))
            }
            Version::V2 => device_program::attach(group, &rules),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_the_kernel_takes_them() {
        let texts: Vec<String> = USUAL.iter().map(Rule::text).collect();
        assert_eq!(texts[0], "c *:* m");
        assert_eq!(texts[1], "b *:* m");
        assert_eq!(texts[9], "c 136:* rwm");
        assert_eq!(Rule::of_node(Path::new("/dev/null")).unwrap().text(), "c 1:3 rwm");
        assert!(Rule::of_node(Path::new("/proc/self/stat")).unwrap_err().to_string().contains("is no device"));
        assert!(Rule::of_node(Path::new("/no/such")).is_err());
    }
}
