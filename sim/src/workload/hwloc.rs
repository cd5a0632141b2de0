//! Machines as hwloc exports them (`lstopo machine.xml`): how many processing units, how much memory. The rest of a topology is
//! read where tasks ask for places, by the isolators.

use std::io::{self, Read};
use std::path::Path;

/// The longest file in bytes.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// The text of a file, packed or not. Of one that is too long enough is read that [`size`] refuses it.
///
/// # Errors
/// When it can't be read, or is no text.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    super::compressed::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Processing units and bytes of memory of a machine. Each object of type PU counts one; memory is what the NUMA nodes have,
/// or the machine itself in files of hwloc 1.
///
/// # Errors
/// When the text is no export of hwloc, or has no processing unit or no memory, in words.
pub fn size(text: &str) -> Result<(u64, u64), String> {
    if text.len() > FILE_BYTES_MAX || !text.contains("<topology") {
        return Err("this is no topology of hwloc (XML)".to_owned());
    }
    let (mut units, mut nodes, mut machine) = (0, 0_u64, 0_u64);
    for tag in text.split("<object").skip(1) {
        let tag = tag.split_once('>').map_or(tag, |(tag, _)| tag);
        let attribute = |name: &str| {
            let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let memory = attribute("local_memory").and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or(0);
        match attribute("type") {
            Some("PU") => units += 1,
            Some("NUMANode") => nodes = nodes.saturating_add(memory),
            Some("Machine") => machine = machine.saturating_add(memory),
            _ => {}
        }
    }
    let bytes = if nodes > 0 { nodes } else { machine };
    match (units, bytes) {
        (0, _) => Err("the topology has no processing unit".to_owned()),
        (_, 0) => Err("the topology has no memory".to_owned()),
        sound => Ok(sound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_memory_are_counted() {
        let text = "<topology version=\"2.0\"><object type=\"Machine\" os_index=\"0\">\
                    <object type=\"NUMANode\" local_memory=\"1073741824\"/><object type=\"Core\">\
                    <object type=\"PU\" os_index=\"0\"/><object type=\"PU\" os_index=\"1\"/></object></object></topology>";
        assert_eq!(size(text), Ok((2, 1 << 30)));
        let old = "<topology><object type=\"Machine\" local_memory=\"4096\"><object type=\"PU\"/></object></topology>";
        assert_eq!(size(old), Ok((1, 4096)));
        assert!(size("<html>").is_err());
        assert!(size("<topology><object type=\"PU\"/></topology>").is_err());
    }
}
