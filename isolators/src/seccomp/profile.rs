//! A profile as Docker writes it, in JSON: a default action, and rules by the names of system calls, their arguments, the machine,
//! and the capabilities of the container. A name that this machine does not have is passed over, as Docker does.

use super::calls;
use super::program::{Comparison, Condition, Program, Rule};
use crate::linux::CAPABILITY_NAMES;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The most rules of one profile, each name counted.
const RULES_MAX: usize = 8192;

/// What the kernel answers when an action is an error and names none: EPERM.
const EPERM: u16 = 1;

/// The largest error that the kernel can answer (`MAX_ERRNO`).
const ERRNO_MAX: u16 = 4095;

/// A whole profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile {
    default_action: String,
    #[serde(default)]
    default_errno_ret: Option<u16>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    names: Vec<String>,
    /// The older form: one name an entry.
    #[serde(default)]
    name: Option<String>,
    action: String,
    #[serde(default)]
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    #[serde(default)]
    min_kernel: Option<String>,
}

impl Profile {
    /// The program of the kernel for a container that can have these capabilities; nothing when everything is allowed.
    ///
    /// # Errors
    /// What in the profile is nothing that we know: it is refused rather than guessed at.
    pub(super) fn compile(&self, bounding: u64) -> Result<Option<Vec<u64>>, String> {
        let default = action(&self.default_action, self.default_errno_ret)?;
        let mut rules: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
        let mut count = 0;
        for entry in &self.syscalls {
            if !entry.applies(bounding)? {
                continue;
            }
            let action = action(&entry.action, entry.errno_ret)?;
            let conditions = conditions(entry.args.as_deref().unwrap_or_default())?;
            for name in entry.names.iter().chain(&entry.name) {
                count += conditions.len();
                if count > RULES_MAX {
                    return Err(format!("it has more than {RULES_MAX} rules"));
                }
                let Some(number) = calls::number(name) else { continue };
                let of_call = rules.entry(number).or_default();
                of_call.extend(conditions.iter().map(|all| Rule { conditions: all.clone(), action }));
            }
        }
        Program { default, rules }.assemble()
    }
}

impl Entry {
    fn applies(&self, bounding: u64) -> Result<bool, String> {
        let none = Filter::default();
        let (wanted, unwanted) = (self.includes.as_ref().unwrap_or(&none), self.excludes.as_ref().unwrap_or(&none));
        let has = |name: &String| {
            let bare = name.strip_prefix("CAP_").unwrap_or(name);
            let bit = CAPABILITY_NAMES.iter().position(|known| *known == bare);
            // One that we do not know nobody has.
            bit.is_some_and(|bit| bounding & 1 << bit != 0)
        };
        let is_here = |name: &String| ARCHITECTURES.contains(&name.as_str());
        let is_new_enough = match &wanted.min_kernel {
            Some(least) => kernel()? >= version(least).ok_or_else(|| format!("'{least}' is no version of a kernel"))?,
            None => true,
        };
        Ok(wanted.caps.iter().all(has)
            && (wanted.arches.is_empty() || wanted.arches.iter().any(is_here))
            && is_new_enough
            && !unwanted.caps.iter().any(has)
            && !unwanted.arches.iter().any(is_here))
    }
}

/// What profiles call the machine that this was built for.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [&str; 3] = ["amd64", "x86_64", "SCMP_ARCH_X86_64"];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [&str; 3] = ["arm64", "aarch64", "SCMP_ARCH_AARCH64"];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURES: [&str; 0] = [];

fn kernel() -> Result<(u32, u32), String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").map_err(|error| error.to_string())?;
    version(&text).ok_or_else(|| format!("the kernel's version '{}' does not read", text.trim()))
}

/// The first two numbers of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-', '\n']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The kernel's answer to a system call (`seccomp(2)`).
fn action(name: &str, errno: Option<u16>) -> Result<u32, String> {
    const ERRNO: u32 = 0x0005_0000;
    let with = |action: u32, data: u16| action | u32::from(data);
    Ok(match name {
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_TRACE" => with(0x7ff0_0000, errno.unwrap_or(EPERM)),
        "SCMP_ACT_ERRNO" => match errno.unwrap_or(EPERM) {
            number if number > ERRNO_MAX => return Err(format!("{number} is no error")),
            number => with(ERRNO, number),
        },
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        other => return Err(format!("'{other}' is no action")),
    })
}

/// What has to hold: one of several lists, all of each. Two conditions on one argument are alternatives, as in Docker.
fn conditions(arguments: &[Argument]) -> Result<Vec<Vec<Condition>>, String> {
    let all = arguments.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    let is_twice = |one: &Condition| all.iter().filter(|other| other.index == one.index).count() > 1;
    match all.iter().any(is_twice) {
        true => Ok(all.into_iter().map(|one| vec![one]).collect()),
        false => Ok(vec![all]),
    }
}

fn condition(argument: &Argument) -> Result<Condition, String> {
    let Argument { index, value, value_two, op } = argument;
    if *index > 5 {
        return Err(format!("no system call has an argument {index}"));
    }
    let comparison = match op.as_str() {
        "SCMP_CMP_EQ" => Comparison::Equal(*value),
        "SCMP_CMP_NE" => Comparison::Unequal(*value),
        "SCMP_CMP_GT" => Comparison::Above(*value),
        "SCMP_CMP_GE" => Comparison::AtLeast(*value),
        "SCMP_CMP_LT" => Comparison::Below(*value),
        "SCMP_CMP_LE" => Comparison::AtMost(*value),
        "SCMP_CMP_MASKED_EQ" => Comparison::Masked { mask: *value, equal: *value_two },
        other => return Err(format!("'{other}' is no comparison")),
    };
    Ok(Condition { index: *index, comparison })
}

#[cfg(test)]
mod tests {
    use super::super::program::tests::run;
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;

    fn compiled(text: &str, bounding: u64) -> Vec<u64> {
        serde_json::from_str::<Profile>(text).unwrap().compile(bounding).unwrap().expect("it forbids something")
    }

    fn errno(number: u32) -> u32 {
        0x0005_0000 | number
    }

    #[test]
    fn dockers_words_mean_what_docker_means() {
        let text = r#"{
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "archMap": [],
            "syscalls": [
                {"names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
                {"name": "close", "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {}, "excludes": {}},
                {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
                {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]},
                 "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
                {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
                {"names": ["sync"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
                {"names": ["getpid"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["no_such"]}},
                {"names": ["getppid"], "action": "SCMP_ACT_KILL_PROCESS"}
            ]}"#;
        let number = |name: &str| calls::number(name).unwrap();
        let admin = 1 << CAPABILITY_NAMES.iter().position(|name| *name == "SYS_ADMIN").unwrap();
        let (few, all) = (compiled(text, 0), compiled(text, admin));
        let with = |program: &[u64], name: &str, first: u64| run(program, number(name), [first, 0, 0, 0, 0, 0]);
        for name in ["read", "write", "close", "ptrace"] {
            assert_eq!(with(&few, name, 0), ALLOW, "{name}");
        }
        for name in ["sync", "getpid", "fork", "mount"] {
            assert_eq!(with(&few, name, 0), errno(38), "{name}");
        }
        assert_eq!((with(&few, "personality", 8), with(&few, "personality", 8 | 1 << 40)), (ALLOW, errno(38)));
        assert_eq!([1, 2, 3].map(|family| with(&few, "socket", family)), [ALLOW, ALLOW, errno(38)]);
        assert_eq!((with(&few, "clone", 17), with(&few, "clone", 0x2000_0000)), (ALLOW, errno(38)));
        assert_eq!((with(&all, "mount", 0), with(&all, "clone", 17)), (ALLOW, errno(38)));
        assert_eq!(with(&few, "getppid", 0), 0x8000_0000);
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        let compile = |text: &str| serde_json::from_str::<Profile>(text).map(|profile| profile.compile(0));
        let rule = |rule: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
        for bad in [
            r#"{"defaultAction": "SCMP_ACT_WHATEVER"}"#.to_owned(),
            rule(r#"{"names": ["read"], "action": "NO"}"#),
            rule(r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}"#),
            rule(
                r#"{"names": ["read"], "action": "SCMP_ACT_KILL", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}"#,
            ),
            rule(r#"{"names": ["read"], "action": "SCMP_ACT_KILL", "args": [{"index": 0, "value": 0, "op": "=="}]}"#),
        ] {
            assert!(compile(&bad).unwrap().is_err(), "{bad}");
        }
        assert!(compile("{}").is_err() && compile("[]").is_err());
        assert_eq!(compile(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).unwrap(), Ok(None), "nothing to forbid");
    }
}
