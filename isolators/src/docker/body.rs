//! What an engine is asked to make: the body of `POST /containers/create`, of what a task asks for. The rules are those of Mesos's Docker
//! containerizer: variables, sandbox and volumes, networks and ports, processors and memory; further options under the names of
//! Docker's command line. An option that is not known is refused by its name.

use super::DockerConfig;
use crate::images::SANDBOX_DIRECTORY;
use kaon_kernel::container::{LaunchSpec, Program};
use kaon_kernel::container_info::{ContainerInfo, Docker, DockerNetwork, Limit, Propagation, VolumeSource};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::ResourceName;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Weight of one processor, and the least (Mesos's and the kernel's).
const SHARES: u64 = 1024;
const SHARES_MIN: u64 = 2;

/// The period of limits of processors, in microseconds, and the least limit.
const PERIOD_MICROS: u64 = 100_000;
const QUOTA_MIN_MICROS: u64 = 1_000;

/// The least limit of memory in bytes (Mesos's).
const MEMORY_BYTES_MIN: u64 = 32 << 20;

const MIB: u64 = 1 << 20;

/// The driver of logs of containers that name none.
const LOG_DRIVER: &str = "json-file";

/// The body for a container.
pub(super) fn of(
    config: &DockerConfig,
    asked: &ContainerInfo,
    docker: &Docker,
    spec: &LaunchSpec,
    more: &[(String, String)],
    work_directory: &Path,
) -> Result<Value, String> {
    let home = work_directory.join(&spec.sandbox);
    let mut variables: Vec<(String, String)> =
        spec.environment.iter().chain(more).filter(|(name, _)| name != "MESOS_SANDBOX").cloned().collect();
    variables.push(("MESOS_SANDBOX".to_owned(), SANDBOX_DIRECTORY.to_owned()));
    let variables: Vec<String> = variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut body = json!({"Image": docker.image, "Env": variables, "Labels": {}});
    match &spec.program {
        // Whoever wants a shell wants no entry point of the image.
        Program::Shell(text) => {
            body["Entrypoint"] = json!(["/bin/sh"]);
            body["Cmd"] = json!(["-c", text]);
        }
        Program::Exec { file, arguments } => {
            let words: Vec<&String> = Some(file).filter(|file| !file.is_empty()).into_iter().chain(arguments).collect();
            if !words.is_empty() {
                body["Cmd"] = json!(words);
            }
        }
        Program::BuiltinExecutor => return Err("an executor that is built in runs in no image".to_owned()),
    }
    if let Some(hostname) = &asked.hostname {
        body["Hostname"] = json!(hostname);
    }
    let mut host = json!({
        "NetworkMode": match &docker.network {
            DockerNetwork::Host => "host",
            DockerNetwork::Bridge => "bridge",
            DockerNetwork::None => "none",
            DockerNetwork::User(name) => name,
        },
        "Privileged": docker.is_privileged,
        "Binds": binds(asked, &home)?,
    });
    ports(docker, &mut body, &mut host);
    limits(config, spec, &mut host);
    body["HostConfig"] = host;
    for (name, value) in &docker.parameters {
        option(&mut body, name, value)?;
    }
    keep_log_small(&mut body["HostConfig"]["LogConfig"]);
    Ok(body)
}

/// What a container writes is read by us at once: the engine's own copy is small, unless the task says how large. Other drivers than
/// the usual one know none of these options and would refuse them.
fn keep_log_small(log: &mut Value) {
    if log["Type"].is_null() {
        log["Type"] = json!(LOG_DRIVER);
    }
    if log["Type"] == LOG_DRIVER && log["Config"]["max-size"].is_null() {
        log["Config"]["max-size"] = json!("10m");
        if log["Config"]["max-file"].is_null() {
            log["Config"]["max-file"] = json!("2");
        }
    }
}

fn binds(asked: &ContainerInfo, home: &Path) -> Result<Vec<String>, String> {
    let mut binds = vec![format!("{}:{SANDBOX_DIRECTORY}", home.display())];
    for volume in &asked.volumes {
        let to = match volume.container_path.as_str() {
            path if path.starts_with('/') => path.to_owned(),
            path => format!("{SANDBOX_DIRECTORY}/{path}"),
        };
        let mut how = if volume.is_read_only { "ro" } else { "rw" }.to_owned();
        let from = match &volume.source {
            VolumeSource::Host { path, propagation } => {
                match propagation {
                    Propagation::Private => {}
                    Propagation::HostToContainer => how.push_str(",rslave"),
                    Propagation::Bidirectional => {
                        return Err("mounts of a container are never shown to the machine (BIDIRECTIONAL)".to_owned());
                    }
                }
                home.join(path)
            }
            VolumeSource::Sandbox { is_parents: false, path } => home.join(path),
            VolumeSource::Sandbox { .. } => return Err("a Docker container has no other around it".to_owned()),
            VolumeSource::Secret(_) => return Err("a secret can't be shown in a Docker container".to_owned()),
            VolumeSource::Image(_) => return Err("an image can't be a volume of a Docker container".to_owned()),
        };
        let from = from.display().to_string();
        if [&from, &to].iter().any(|path| path.contains(':') || path.split('/').any(|part| part == "..")) {
            return Err(format!("'{}' is no volume for Docker", volume.container_path.escape_default()));
        }
        binds.push(format!("{from}:{to}:{how}"));
    }
    Ok(binds)
}

fn ports(docker: &Docker, body: &mut Value, host: &mut Value) {
    let (mut exposed, mut bindings) = (Map::new(), Map::new());
    for port in &docker.ports {
        let name = format!("{}/{}", port.container, if port.is_udp { "udp" } else { "tcp" });
        exposed.insert(name.clone(), json!({}));
        let all = bindings.entry(name).or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut() {
            all.push(json!({"HostPort": port.host.to_string()}));
        }
    }
    body["ExposedPorts"] = Value::Object(exposed);
    host["PortBindings"] = Value::Object(bindings);
}

fn limits(config: &DockerConfig, spec: &LaunchSpec, host: &mut Value) {
    let (cpus, mem) = (spec.resources.scalar(&ResourceName::Cpus), spec.resources.scalar(&ResourceName::Mem));
    // Quantities are thousandths.
    let bytes = |mem: Quantity| (mem.0.saturating_mul(MIB) / 1000).max(MEMORY_BYTES_MIN);
    if cpus.0 > 0 {
        host["CpuShares"] = json!((cpus.0.saturating_mul(SHARES) / 1000).max(SHARES_MIN));
        if let Some(Limit::Amount(limit)) = spec.limits.cpus.or(config.caps_cpus.then_some(Limit::Amount(cpus))) {
            host["CpuPeriod"] = json!(PERIOD_MICROS);
            host["CpuQuota"] = json!((limit.0.saturating_mul(PERIOD_MICROS) / 1000).max(QUOTA_MIN_MICROS));
        }
    }
    if mem.0 > 0 {
        match spec.limits.mem {
            Some(Limit::Unlimited) => {}
            Some(Limit::Amount(limit)) => host["Memory"] = json!(bytes(limit)),
            None => host["Memory"] = json!(bytes(mem)),
        }
        host["MemoryReservation"] = json!(bytes(mem));
    }
}

/// Sets an option by its name on Docker's command line.
fn option(body: &mut Value, name: &str, value: &str) -> Result<(), String> {
    let refuse = |what: &str| format!("the Docker parameter '{}' {what}", name.escape_default());
    let number = || value.parse::<i64>().map_err(|_| refuse("is no number"));
    let is_set = || match value {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(refuse("is neither true nor false")),
    };
    let pair = || value.split_once('=').ok_or_else(|| refuse("is not NAME=VALUE"));
    let push = |list: &mut Value, one: Value| match list.as_array_mut() {
        Some(list) => list.push(one),
        None => *list = json!([one]),
    };
    match name {
        "env" | "e" => push(&mut body["Env"], json!(value)),
        "label" | "l" => {
            let (key, value) = value.split_once('=').unwrap_or((value, ""));
            if key.starts_with("kaon.") {
                return Err(refuse("is ours"));
            }
            body["Labels"][key] = json!(value);
        }
        "entrypoint" => body["Entrypoint"] = json!([value]),
        "hostname" | "h" => body["Hostname"] = json!(value),
        "domainname" => body["Domainname"] = json!(value),
        "user" | "u" => body["User"] = json!(value),
        "workdir" | "w" => body["WorkingDir"] = json!(value),
        "stop-signal" => body["StopSignal"] = json!(value),
        "tty" | "t" | "interactive" | "i" | "detach" | "d" | "rm" | "restart" => {
            return Err(refuse("can't be set: the agent decides that"));
        }
        "volume" | "v" => push(&mut body["HostConfig"]["Binds"], json!(value)),
        "volumes-from" => push(&mut body["HostConfig"]["VolumesFrom"], json!(value)),
        "volume-driver" => body["HostConfig"]["VolumeDriver"] = json!(value),
        "cap-add" => push(&mut body["HostConfig"]["CapAdd"], json!(value)),
        "cap-drop" => push(&mut body["HostConfig"]["CapDrop"], json!(value)),
        "dns" => push(&mut body["HostConfig"]["Dns"], json!(value)),
        "dns-search" => push(&mut body["HostConfig"]["DnsSearch"], json!(value)),
        "dns-option" | "dns-opt" => push(&mut body["HostConfig"]["DnsOptions"], json!(value)),
        "add-host" => push(&mut body["HostConfig"]["ExtraHosts"], json!(value)),
        "group-add" => push(&mut body["HostConfig"]["GroupAdd"], json!(value)),
        "link" => push(&mut body["HostConfig"]["Links"], json!(value)),
        "security-opt" => push(&mut body["HostConfig"]["SecurityOpt"], json!(value)),
        "device" => {
            let parts: Vec<&str> = value.split(':').collect();
            let inside = parts.get(1).unwrap_or(&parts[0]);
            let rights = parts.get(2).unwrap_or(&"rwm");
            let one = json!({"PathOnHost": parts[0], "PathInContainer": inside, "CgroupPermissions": rights});
            push(&mut body["HostConfig"]["Devices"], one);
        }
        "device-cgroup-rule" => push(&mut body["HostConfig"]["DeviceCgroupRules"], json!(value)),
        "ulimit" => {
            let (name, limits) = pair()?;
            let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
            let number = |text: &str| text.parse::<i64>().map_err(|_| refuse("is no number"));
            let one = json!({"Name": name, "Soft": number(soft)?, "Hard": number(hard)?});
            push(&mut body["HostConfig"]["Ulimits"], one);
        }
        "sysctl" => {
            let (key, value) = pair()?;
            body["HostConfig"]["Sysctls"][key] = json!(value);
        }
        "tmpfs" => {
            let (path, options) = value.split_once(':').unwrap_or((value, ""));
            body["HostConfig"]["Tmpfs"][path] = json!(options);
        }
        "log-driver" => body["HostConfig"]["LogConfig"]["Type"] = json!(value),
        "log-opt" => {
            let (key, value) = pair()?;
            body["HostConfig"]["LogConfig"]["Config"][key] = json!(value);
        }
        "privileged" => body["HostConfig"]["Privileged"] = json!(is_set()?),
        "read-only" => body["HostConfig"]["ReadonlyRootfs"] = json!(is_set()?),
        "init" => body["HostConfig"]["Init"] = json!(is_set()?),
        "publish-all" | "P" => body["HostConfig"]["PublishAllPorts"] = json!(is_set()?),
        "oom-kill-disable" => body["HostConfig"]["OomKillDisable"] = json!(is_set()?),
        "net" | "network" => body["HostConfig"]["NetworkMode"] = json!(value),
        "ipc" => body["HostConfig"]["IpcMode"] = json!(value),
        "pid" => body["HostConfig"]["PidMode"] = json!(value),
        "uts" => body["HostConfig"]["UTSMode"] = json!(value),
        "userns" => body["HostConfig"]["UsernsMode"] = json!(value),
        "runtime" => body["HostConfig"]["Runtime"] = json!(value),
        "isolation" => body["HostConfig"]["Isolation"] = json!(value),
        "cgroup-parent" => body["HostConfig"]["CgroupParent"] = json!(value),
        "cpuset-cpus" => body["HostConfig"]["CpusetCpus"] = json!(value),
        "cpuset-mems" => body["HostConfig"]["CpusetMems"] = json!(value),
        "cpu-shares" | "c" => body["HostConfig"]["CpuShares"] = json!(number()?),
        "cpu-quota" => body["HostConfig"]["CpuQuota"] = json!(number()?),
        "cpu-period" => body["HostConfig"]["CpuPeriod"] = json!(number()?),
        "pids-limit" => body["HostConfig"]["PidsLimit"] = json!(number()?),
        "oom-score-adj" => body["HostConfig"]["OomScoreAdj"] = json!(number()?),
        "memory-swappiness" => body["HostConfig"]["MemorySwappiness"] = json!(number()?),
        "memory" | "m" => body["HostConfig"]["Memory"] = json!(size(value).ok_or_else(|| refuse("is no size"))?),
        "memory-swap" if value == "-1" => body["HostConfig"]["MemorySwap"] = json!(-1),
        "memory-swap" => body["HostConfig"]["MemorySwap"] = json!(size(value).ok_or_else(|| refuse("is no size"))?),
        "shm-size" => body["HostConfig"]["ShmSize"] = json!(size(value).ok_or_else(|| refuse("is no size"))?),
        _ => return Err(refuse("is not known")),
    }
    Ok(())
}

/// A number of bytes as Docker's command line takes it: with `b`, `k`, `m` or `g`.
fn size(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, unit) = match bare.char_indices().last()? {
        (at, 'k') => (&bare[..at], 1 << 10),
        (at, 'm') => (&bare[..at], 1 << 20),
        (at, 'g') => (&bare[..at], 1 << 30),
        _ => (bare, 1),
    };
    digits.parse::<i64>().ok().filter(|number| *number >= 0)?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaon_kernel::container_info::{Limits, PortMapping, Volume};
    use kaon_kernel::resource::parse;

    fn config() -> DockerConfig {
        DockerConfig {
            socket: "/s".into(),
            credentials: None,
            agent: "a".to_owned(),
            owner: None,
            caps_cpus: true,
            kills_orphans: true,
        }
    }

    fn spec(program: Program) -> LaunchSpec {
        LaunchSpec {
            environment: vec![("A".to_owned(), "b".to_owned()), ("MESOS_SANDBOX".to_owned(), "/w/s".to_owned())],
            resources: parse::resources("cpus:0.5;mem:64").unwrap(),
            limits: Limits { cpus: None, mem: Some(Limit::Amount(Quantity::units(128))) },
            join: true,
            ..LaunchSpec::bare(program, "s".to_owned())
        }
    }

    fn docker() -> Docker {
        Docker {
            image: "app".to_owned(),
            network: DockerNetwork::Bridge,
            ports: vec![PortMapping { host: 31_000, container: 80, is_udp: false }],
            is_privileged: false,
            parameters: vec![("ulimit".to_owned(), "nofile=8:16".to_owned()), ("memory".to_owned(), "1g".to_owned())],
            pulls: false,
        }
    }

    #[test]
    fn what_is_asked_for_is_what_mesos_would_ask_for() {
        let host = VolumeSource::Host { path: "/srv".to_owned(), propagation: Propagation::Private };
        let volume = |source| Volume { container_path: "data".to_owned(), is_read_only: true, source };
        let mut asked = ContainerInfo { volumes: vec![volume(host)], ..ContainerInfo::default() };
        let made = |asked: &ContainerInfo, docker: &Docker, program: Program| {
            of(&config(), asked, docker, &spec(program), &[], Path::new("/w"))
        };
        let body = made(&asked, &docker(), Program::Shell("true".to_owned())).unwrap();
        assert_eq!((&body["Entrypoint"], &body["Cmd"]), (&json!(["/bin/sh"]), &json!(["-c", "true"])));
        assert_eq!(body["Env"], json!(["A=b", "MESOS_SANDBOX=/mnt/mesos/sandbox"]));
        let host = &body["HostConfig"];
        assert_eq!(host["Binds"], json!(["/w/s:/mnt/mesos/sandbox", "/srv:/mnt/mesos/sandbox/data:ro"]));
        assert_eq!(host["PortBindings"], json!({"80/tcp": [{"HostPort": "31000"}]}));
        assert_eq!((&host["CpuShares"], &host["CpuQuota"]), (&json!(512), &json!(50_000)));
        assert_eq!((&host["Memory"], &host["MemoryReservation"]), (&json!(1 << 30), &json!(64 << 20)));
        assert_eq!(host["Ulimits"], json!([{"Name": "nofile", "Soft": 8, "Hard": 16}]));
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let exec =
            |file: &str, arguments: &[&str]| Program::Exec { file: file.to_owned(), arguments: words(arguments) };
        let command = |program| made(&asked, &docker(), program).unwrap()["Cmd"].clone();
        assert_eq!(command(exec("", &[])), Value::Null, "the image's own");
        assert_eq!(command(exec("", &["x"])), json!(["x"]));
        assert_eq!(command(exec("v", &["x"])), json!(["v", "x"]), "after the image's entry point");
        for (name, value) in
            [("nothing", "1"), ("rm", "true"), ("ulimit", "x"), ("pids-limit", "x"), ("label", "kaon.agent=x")]
        {
            let mut bad = docker();
            bad.parameters = vec![(name.to_owned(), value.to_owned())];
            let error = made(&asked, &bad, exec("", &[])).unwrap_err();
            assert!(error.contains(&format!("parameter '{name}'")), "{error}");
        }
        asked.volumes = vec![volume(VolumeSource::Sandbox { is_parents: false, path: "../x".to_owned() })];
        assert!(made(&asked, &docker(), exec("", &[])).unwrap_err().contains("is no volume"));
    }

    #[test]
    fn a_driver_of_logs_keeps_the_options_on_either_side() {
        let log = |options: &[(&str, &str)]| {
            let parameters = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            let docker = Docker { parameters, ..docker() };
            let program = spec(Program::Shell("true".to_owned()));
            let body = of(&config(), &ContainerInfo::default(), &docker, &program, &[], Path::new("/w")).unwrap();
            body["HostConfig"]["LogConfig"].clone()
        };
        let (driver, option) = (("log-driver", "syslog"), ("log-opt", "tag=a=b"));
        let both = json!({"Type": "syslog", "Config": {"tag": "a=b"}});
        assert_eq!((log(&[driver, option]), log(&[option, driver])), (both.clone(), both));
        assert!(log(&[driver]).get("Config").is_none_or(Value::is_null), "options of another driver");
        let usual = json!({"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}});
        assert_eq!((log(&[]), log(&[("log-driver", "json-file")])), (usual.clone(), usual));
        let large = json!({"Type": "json-file", "Config": {"max-size": "1g"}});
        assert_eq!(log(&[("log-opt", "max-size=1g")]), large);
    }

    #[test]
    fn sizes_are_dockers() {
        assert_eq!(
            (size("512"), size("1k"), size("2MB"), size("1g")),
            (Some(512), Some(1024), Some(2 << 20), Some(1 << 30))
        );
        assert_eq!((size(""), size("k"), size("-1"), size("9999999999g")), (None, None, None, None));
    }
}
