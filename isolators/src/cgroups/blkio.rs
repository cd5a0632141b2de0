//! `cgroups/blkio`: what a container reads from and writes to block devices; it is counted, not limited, as in Mesos.

use super::hierarchy::Version;
use super::{Controller, Groups, Wish};
use kaon_kernel::statistics::{BlockDevice, Statistics};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::OnceLock;

/// The controller.
#[derive(Debug, Default)]
pub struct Blkio {
    /// Whether the kernel has been told to count.
    counting: OnceLock<()>,
}

impl Controller for Blkio {
    fn name(&self) -> &'static str {
        "cgroups/blkio"
    }

    fn controllers(&self) -> &'static [&'static str] {
        &["blkio"]
    }

    fn set(&self, groups: &Groups, wish: &Wish<'_>) -> io::Result<()> {
        let group = groups.main()?;
        if group.version == Version::V1 && wish.is_launch {
            // Version 1 counts for a device from the first rule on that any group has for it; this one is no limit.
            self.counting.get_or_init(|| {
                for device in block_devices() {
                    let _ = group.write("blkio.throttle.write_bps_device", format_args!("{device} 0"));
                }
            });
        }
        Ok(())
    }

    fn read(&self, groups: &Groups, figures: &mut Statistics) {
        let Ok(group) = groups.main() else { return };
        let text = |name| group.read(name).unwrap_or_default();
        figures.block_devices = match group.version {
            Version::V1 => {
                first(&text("blkio.throttle.io_service_bytes_recursive"), &text("blkio.throttle.io_serviced_recursive"))
            }
            Version::V2 => second(&text("io.stat")),
        };
    }
}

/// The numbers of the machine's block devices that hold something.
fn block_devices() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/block") else { return Vec::new() };
    let read = |entry: &fs::DirEntry, name: &str| fs::read_to_string(entry.path().join(name)).ok();
    let numbers = entries.flatten().filter_map(|entry| {
        let is_there = read(&entry, "size").is_some_and(|size| size.trim() != "0");
        read(&entry, "dev").filter(|_| is_there).map(|number| number.trim().to_owned())
    });
    numbers.collect()
}

type Devices = BTreeMap<(u64, u64), BlockDevice>;

fn device<'a>(devices: &'a mut Devices, name: &str) -> Option<&'a mut BlockDevice> {
    let (major, minor) = name.split_once(':')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    Some(devices.entry((major, minor)).or_insert(BlockDevice { major, minor, ..BlockDevice::default() }))
}

/// Lines such as `254:0 Read 4096`.
fn first(bytes: &str, operations: &str) -> Vec<BlockDevice> {
    let mut devices = Devices::new();
    let mut each = |text: &str, put: fn(&mut BlockDevice, &str, u64)| {
        for line in text.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            if let [name, operation, number] = words[..]
                && let Ok(number) = number.parse()
                && let Some(device) = device(&mut devices, name)
            {
                put(device, operation, number);
            }
        }
    };
    each(bytes, |device, operation, number| match operation {
        "Read" => device.read_bytes = number,
        "Write" => device.written_bytes = number,
        _ => {}
    });
    each(operations, |device, operation, number| match operation {
        "Read" => device.reads = number,
        "Write" => device.writes = number,
        _ => {}
    });
    devices.into_values().collect()
}

/// Lines such as `254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn second(text: &str) -> Vec<BlockDevice> {
    let mut devices = Devices::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(device) = words.next().and_then(|name| device(&mut devices, name)) else { continue };
        for (key, number) in words.filter_map(|word| word.split_once('=')) {
            let Ok(number) = number.parse() else { continue };
            match key {
                "rbytes" => device.read_bytes = number,
                "wbytes" => device.written_bytes = number,
                "rios" => device.reads = number,
                "wios" => device.writes = number,
                _ => {}
            }
        }
    }
    devices.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let bytes = "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 1\n254:0 Total 12288\nTotal 12288\n";
        let operations = "254:0 Read 1\n254:0 Write 2\nTotal 3\n";
        let told = first(bytes, operations);
        assert_eq!(told, second("254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n"));
        assert_eq!((told.len(), told[0].written_bytes, told[0].writes), (1, 8192, 2));
        assert!(first("x y z\n1:b Read 4", "").is_empty() && second("nothing\n:\n").is_empty());
    }
}
