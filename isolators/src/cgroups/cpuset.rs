//! `cgroups/cpuset`: on which processors and memory nodes a container runs. One with a placement gets exactly its own; one
//! without runs wherever the agent may.

use super::{Controller, Groups, Wish};
use kaon_kernel::resource::Ranges;
use std::io;

/// The controller.
#[derive(Clone, Copy, Debug)]
pub struct Cpuset {
    /// The name that it goes by: `cgroups/cpuset`, or `numa`, which does more beside it.
    pub name: &'static str,
}

impl Controller for Cpuset {
    fn name(&self) -> &'static str {
        self.name
    }

    fn controllers(&self) -> &'static [&'static str] {
        &["cpuset"]
    }

    fn set(&self, groups: &Groups, wish: &Wish<'_>) -> io::Result<()> {
        let (Some(placement), group) = (wish.placement, groups.main()?) else { return Ok(()) };
        for (file, numbers) in [("cpuset.cpus", placement.unit_numbers()), ("cpuset.mems", placement.node_numbers())] {
            if !numbers.is_empty() {
                group.write(file, list(&numbers))?;
            }
        }
        Ok(())
    }
}

/// Numbers as the kernel writes them: `0-2,5`.
pub(crate) fn list(numbers: &Ranges) -> String {
    let range = |(begin, end)| if begin == end { format!("{begin}") } else { format!("{begin}-{end}") };
    numbers.iter().map(range).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_the_kernels() {
        assert_eq!(list(&Ranges::new(vec![(0, 2), (5, 5), (7, 8)]).unwrap()), "0-2,5,7-8");
    }
}
