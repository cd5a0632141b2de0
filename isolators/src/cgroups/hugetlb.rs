//! `cgroups/hugetlb`: the huge pages of a container, counted as in Mesos.

use super::hierarchy::Version;
use super::{Controller, Groups};
use kaon_kernel::statistics::Statistics;
use std::fs;

/// The controller.
#[derive(Clone, Copy, Debug)]
pub struct Hugetlb;

impl Controller for Hugetlb {
    fn name(&self) -> &'static str {
        "cgroups/hugetlb"
    }

    fn controllers(&self) -> &'static [&'static str] {
        &["hugetlb"]
    }

    fn read(&self, groups: &Groups, figures: &mut Statistics) {
        let Ok(group) = groups.main() else { return };
        // One file for each size of page: `hugetlb.2MB.current`.
        let end = if group.version == Version::V1 { ".usage_in_bytes" } else { ".current" };
        let Ok(entries) = fs::read_dir(group.path()) else { return };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let files = names.filter(|name| {
            let size = name.strip_prefix("hugetlb.").and_then(|rest| rest.strip_suffix(end));
            size.is_some_and(|size| !size.contains('.'))
        });
        let sizes = files.filter_map(|name| group.number(&name));
        figures.huge_page_bytes = Some(sizes.fold(0, u64::saturating_add));
    }
}
