//! What the agent tells a launcher, and what the launcher answers.

use super::output::Rotation;
use crate::isolator::Contribution;
use crate::record::Known;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::path::PathBuf;

/// The largest description in bytes: above what Linux lets a program have as arguments and environment (2 MiB by
/// default, a quarter of the stack), with room for what JSON adds.
pub(crate) const DESCRIPTION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Everything that a launcher must know. Travels as its length (four bytes, little endian) and JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// The container's runtime directory, absolute.
    pub(crate) runtime_directory: PathBuf,
    /// The machine's work directory, absolute.
    pub(crate) work_directory: PathBuf,
    /// The sandbox, relative to it; made already.
    pub(crate) sandbox: String,
    /// What to start.
    pub(crate) program: File,
    /// Its whole environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Whom to become; `None` to stay.
    pub(crate) user: Option<User>,
    /// Whether its program waits to be let go by the agent; else by its launcher, as soon as the launch is on record.
    pub(crate) is_awaited: bool,
    /// What stands around it; its environment is above.
    pub(crate) walls: Contribution,
    /// How its outputs are kept small; without, they are not.
    #[serde(default)]
    pub(crate) rotation: Option<Rotation>,
    /// How it is talked with while it runs; without, not at all.
    #[serde(default)]
    pub(crate) talk: Option<Talk>,
    /// Whose views of the machine it shares.
    #[serde(default)]
    pub(crate) within: Option<Within>,
}

/// How a container is talked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Talk {
    /// Rows and columns of the terminal that it has.
    pub(crate) terminal: Option<(u16, u16)>,
    /// Whether it is a session: it ends when nobody listens any more, and nothing of it is written down.
    pub(crate) is_session: bool,
}

/// A container around this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Within {
    /// A process of it.
    pub(crate) of: Known,
    /// Which of its namespaces are shared (flags of `clone(2)`), where they differ from the machine's.
    pub(crate) namespaces: i32,
    /// Whether its files are shown, and the working directory there. Without, the sandbox is.
    pub(crate) directory: Option<String>,
}

/// A program file and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum File {
    /// A path, or a name to look up in `PATH`, and all arguments from the zeroth.
    Named {
        /// The path or name.
        file: String,
        /// The arguments.
        arguments: Vec<String>,
    },
    /// The launcher's own executable, whatever lies under its name by now.
    Own {
        /// The arguments.
        arguments: Vec<String>,
    },
}

/// A user by numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    /// User id.
    pub(crate) user_id: u32,
    /// Primary group id.
    pub(crate) group_id: u32,
    /// All groups.
    pub(crate) groups: Vec<u32>,
}

/// What a launcher says, one JSON text a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The program's process is there and waits.
    Forked {
        /// Its number.
        pid: i32,
    },
    /// The program runs.
    Running,
    /// It does not, and nothing is left of it.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Description {
    /// The bytes to send.
    pub(crate) fn write(&self) -> io::Result<Vec<u8>> {
        let body = serde_json::to_vec(self)?;
        if body.len() > DESCRIPTION_BYTES_MAX {
            let text = format!("the launch description has {} bytes, at most {DESCRIPTION_BYTES_MAX} go", body.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        Ok([&length[..], &body].concat())
    }

    /// Reads one.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > DESCRIPTION_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the launch description is too large"));
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body)?;
        Ok(serde_json::from_slice(&body)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolator::{HostAction, Mount, Rlimit};

    fn description() -> Description {
        Description {
            runtime_directory: "/r".into(),
            work_directory: "/w".into(),
            sandbox: "s".into(),
            program: File::Own { arguments: vec!["kaon".into(), "executor".into()] },
            environment: vec![("A".into(), "b\n\"\u{1F600}".into())],
            user: Some(User { user_id: 1, group_id: 2, groups: vec![3] }),
            is_awaited: true,
            walls: Contribution {
                rlimits: vec![Rlimit { name: "RLMT_CORE".into(), soft: Some(0), hard: None }],
                actions: vec![HostAction::Write { path: "/x".into(), text: "0".into() }],
                mounts: vec![Mount::Secret { to: "/s".into(), data: vec![0, 255] }],
                ..Contribution::default()
            },
            rotation: Some(Rotation { bytes_max: 1, files_max: 2 }),
            talk: Some(Talk { terminal: Some((24, 80)), is_session: true }),
            within: Some(Within { of: Known { pid: 1, start_ticks: 2 }, namespaces: 3, directory: Some("/".into()) }),
        }
    }

    #[test]
    fn a_description_comes_back() {
        let bytes = description().write().unwrap();
        assert_eq!(Description::read(&mut &bytes[..]).unwrap(), description());
        for length in 0..bytes.len() {
            assert!(Description::read(&mut &bytes[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn size_is_bounded_on_both_sides() {
        let mut large = description();
        large.environment = vec![("A".into(), "x".repeat(DESCRIPTION_BYTES_MAX))];
        assert!(large.write().is_err());
        let claim = u32::MAX.to_le_bytes();
        assert!(Description::read(&mut io::Cursor::new(claim).chain(io::repeat(b' '))).is_err());
    }
}
