//! The numbers of the machine that masters and agents show (reference 16, "System"), read off `/proc`.

use kaon_http::Sample;

/// Adds what can be read; a machine without `/proc` shows less.
pub(super) fn add(samples: &mut Vec<Sample>) {
    let mut gauge = |name: &str, value: f64| samples.push(Sample::gauge(format!("system/{name}"), value));
    if let Ok(count) = std::thread::available_parallelism() {
        gauge("cpus_total", count.get() as f64);
    }
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    for (name, load) in ["load_1min", "load_5min", "load_15min"].into_iter().zip(loads.split(' ')) {
        if let Ok(load) = load.parse() {
            gauge(name, load);
        }
    }
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    for (name, line) in [("mem_total_bytes", "MemTotal:"), ("mem_free_bytes", "MemFree:")] {
        let found = memory.lines().find_map(|text| text.strip_prefix(line)?.trim().strip_suffix(" kB")?.parse().ok());
        if let Some(kibibytes) = found {
            let kibibytes: f64 = kibibytes;
            gauge(name, kibibytes * 1024.0);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_has_processors_and_memory() {
        let mut samples = Vec::new();
        super::add(&mut samples);
        for name in ["system/cpus_total", "system/mem_total_bytes", "system/mem_free_bytes"] {
            assert!(samples.iter().any(|sample| sample.name == name && sample.value > 0.0), "{name}");
        }
        assert!(samples.iter().any(|sample| sample.name == "system/load_1min"));
    }
}
