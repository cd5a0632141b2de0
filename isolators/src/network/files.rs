//! What a container reads of its network: `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`, as Mesos makes them (reference
//! 12.1). They are made before the container is, mounted into it, and written when its addresses are known.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The files, below `/etc`.
pub(super) const NAMES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// Makes them, empty.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    for name in NAMES {
        let path = directory.join(name);
        fs::write(&path, "")?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Writes them; the same files, since they are mounted already. `servers` are lines of `resolv.conf`; without, it has the machine's.
pub(super) fn write(directory: &Path, hostname: &str, addresses: &[String], servers: Option<&str>) -> io::Result<()> {
    let own = addresses.iter().map(|address| format!("{address} {hostname}\n")).collect::<String>();
    let hosts = format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{own}");
    let machines = || fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = servers.map_or_else(machines, str::to_owned);
    fs::write(directory.join(NAMES[0]), hosts)?;
    fs::write(directory.join(NAMES[1]), format!("{hostname}\n"))?;
    fs::write(directory.join(NAMES[2]), servers)
}
