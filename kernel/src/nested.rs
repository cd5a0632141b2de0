//! Containers that calls ask for (reference 7.2), beside those of the actors: within another one, by themselves, or as
//! sessions. The edge of the agent asks for them (`http/`), the machine makes them (`isolators/`); here is what the two say
//! to each other, and how such containers are named.

use crate::container::Program;
use crate::container_info::{ContainerInfo, Limits, Window};
use crate::id::ContainerId;
use crate::resource::Resources;
use crate::secret::SecretReference;
use crate::task::Uri;

/// The deepest chain of names: what Mesos's own bound on a container's path comes to.
pub const DEPTH_MAX: usize = 32;

/// The name of a nested container is a chain: its own name after those of the containers around it, the outermost first,
/// with dots between.
impl ContainerId {
    /// The names of the chain, the outermost first; never none.
    pub fn chain(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.as_str().split('.')
    }
    /// Its own name: the last of the chain.
    pub fn own_name(&self) -> &str {
        self.as_str().rsplit_once('.').map_or(self.as_str(), |(_, own)| own)
    }
    /// The container around it; none for one by itself.
    pub fn parent(&self) -> Option<Self> {
        self.as_str().rsplit_once('.').map(|(parent, _)| Self::trusted(parent))
    }
    /// Whether it lies within another, however deep.
    pub fn is_within(&self, outer: &str) -> bool {
        self.as_str().strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
    }
}

/// A container that a call asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Its name.
    pub container: ContainerId,
    /// Whether it is a session: in the views of the container around it, until nobody listens.
    pub is_session: bool,
    /// What to start.
    pub program: Program,
    /// Its variables; a session has those of the container around it too.
    pub environment: Vec<(String, String)>,
    /// Variables whose values are looked up when it is launched.
    pub secrets: Vec<(String, SecretReference)>,
    /// Whom to run as; without, whoever the container around it is.
    pub user: Option<String>,
    /// What it asks of its walls.
    pub asked: Option<Box<ContainerInfo>>,
    /// What it has, when it does not share what the container around it has.
    pub resources: Resources,
    /// How far it may go.
    pub limits: Limits,
    /// What is fetched into its sandbox.
    pub uris: Vec<Uri>,
}

/// A piece of what a container writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// From its standard output, or its terminal.
    Out(Vec<u8>),
    /// From its standard error.
    Err(Vec<u8>),
}

/// What a container is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// For its standard input; empty for its end.
    Input(Vec<u8>),
    /// The size of its terminal's window.
    Window(Window),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_chain() {
        let inner = ContainerId::trusted("a.b.c");
        assert!(inner.chain().eq(["a", "b", "c"]));
        assert_eq!(inner.own_name(), "c");
        let around: Vec<ContainerId> = core::iter::successors(inner.parent(), ContainerId::parent).collect();
        assert_eq!(around, [ContainerId::trusted("a.b"), ContainerId::trusted("a")]);
        assert_eq!(around[1].own_name(), "a");
        for (outer, is_within) in [("a", true), ("a.b", true), ("a.b.c", false), ("b", false), ("a.", false)] {
            assert_eq!(inner.is_within(outer), is_within, "{outer}");
        }
        assert!(!ContainerId::trusted("ab.c").is_within("a"));
    }
}
