//! Masters and agents started one by one, as an operator starts them: for what `kaon up` keeps from its members.

use crate::cluster::{Ground, START_WITHIN, STOP_WITHIN, first_line, kaon};
use crate::deadline::wait_for;
use crate::processes;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

/// One host.
pub(crate) struct Host {
    /// Its name, and that of its directory.
    pub(crate) name: String,
    /// Where it answers HTTP; empty before it was ready.
    pub(crate) http: String,
    /// Where it answers QUIC.
    pub(crate) listen: String,
    child: Option<Child>,
}

/// Hosts of one cluster, and its authority.
pub(crate) struct Fleet {
    /// The hosts, in the order in which they started.
    pub(crate) hosts: Vec<Host>,
    ground: Ground,
}

impl Fleet {
    /// An authority, and no host yet.
    pub(crate) fn new() -> Self {
        let mut fleet = Self { hosts: Vec::new(), ground: Ground::take() };
        fleet.ground.executors_outlive = true;
        let made = ca(&["init", "--cluster", "fleet", "--dir", text(&fleet.path("ca"))]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fleet
    }

    /// A path below the directory of this fleet.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.ground.path.join(name)
    }

    /// Where the master answers HTTP.
    pub(crate) fn api(&self) -> String {
        self.hosts.iter().find(|host| host.name.starts_with("master")).expect("a master").http.clone()
    }

    /// What a host wrote to stderr.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name).join("log")).unwrap_or_default()
    }

    /// A certificate of this cluster in the host's own directory.
    pub(crate) fn issue(&self, role: &str, name: &str) {
        let home = self.path(name);
        let made = ca(&[
            "issue",
            "--dir",
            text(&self.path("ca")),
            "--role",
            role,
            "--name",
            name,
            "--address",
            "127.0.0.1",
            "--out",
            text(&home),
        ]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Starts `master-1` and waits until it is ready.
    pub(crate) fn master(&mut self, flags: &[&str]) {
        self.issue("master", "master-1");
        self.start("master", "master-1", flags);
    }

    /// Starts an agent of this name and waits until it is ready.
    pub(crate) fn agent(&mut self, name: &str, flags: &[&str]) {
        self.issue("agent", name);
        self.start("agent", name, flags);
    }

    /// Starts a host on its own directory. One that ran before answers where it answered before.
    pub(crate) fn start(&mut self, role: &str, name: &str, flags: &[&str]) {
        let mut child = self.spawn(role, name, flags);
        let line = first_line(&mut child, START_WITHIN);
        let ready: Option<Value> = line.as_deref().and_then(|line| serde_json::from_str(line).ok());
        let host = self.hosts.iter_mut().find(|host| host.name == name).expect("it was just started");
        host.child = Some(child);
        let Some(ready) = ready else {
            panic!("{name} is not ready; it said {line:?}, and in its log:\n{}", self.log(name))
        };
        let text = |key: &str| ready[key].as_str().expect("an address").to_owned();
        (host.http, host.listen) = (text("http"), text("listen"));
    }

    fn spawn(&mut self, role: &str, name: &str, flags: &[&str]) -> Child {
        let home = self.path(name);
        let any = "127.0.0.1:0".to_owned();
        let (http, listen) = match self.hosts.iter().find(|host| host.name == name) {
            Some(before) => (before.http.clone(), before.listen.clone()),
            None => {
                self.hosts.push(Host { name: name.to_owned(), http: any.clone(), listen: any.clone(), child: None });
                (any.clone(), any)
            }
        };
        let log = File::options().create(true).append(true).open(home.join("log")).expect("a log");
        let mut command = kaon();
        command.args([role, "--http", &http, "--listen", &listen, "--dir", text(&home)]);
        command.arg("--certificate").arg(home.join(format!("{name}.pem")));
        command.arg("--key").arg(home.join(format!("{name}.key")));
        command.arg("--authority").arg(self.path("ca/authority.pem"));
        if role == "agent" {
            let masters = self.hosts.iter().filter(|host| host.name.starts_with("master"));
            let masters: Vec<&str> = masters.map(|host| host.listen.as_str()).collect();
            command.args(["--master", &masters.join(","), "--registration-backoff-factor", "0.05"]);
        }
        command.args(flags).stdout(Stdio::piped()).stderr(log).spawn().expect("kaon starts")
    }

    /// Starts a host that is expected to fail or to be shut out, with arguments of its own; the caller ends it.
    pub(crate) fn stranger(&self, arguments: &[&str], home: &Path) -> Child {
        std::fs::create_dir_all(home).expect("a directory");
        let log = File::create(home.join("log")).expect("a log");
        kaon().args(arguments).arg("--dir").arg(home).stdout(Stdio::piped()).stderr(log).spawn().expect("kaon starts")
    }

    /// Waits until a host has ended by itself.
    pub(crate) fn end(&mut self, name: &str) {
        let host = self.hosts.iter_mut().find(|host| host.name == name).expect("a host of this name");
        let mut child = host.child.take().expect("it runs");
        let status = wait_for("a host to end by itself", START_WITHIN, || child.try_wait().expect("our child"));
        assert!(status.success(), "{name} ended with {status}");
    }

    /// `kill -9` of a host.
    pub(crate) fn kill(&mut self, name: &str) {
        let host = self.hosts.iter_mut().find(|host| host.name == name).expect("a host of this name");
        let mut child = host.child.take().expect("it runs");
        child.kill().expect("our child");
        child.wait().expect("our child");
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        // Agents first, as a careful operator does.
        for host in self.hosts.iter_mut().rev() {
            let Some(mut child) = host.child.take() else { continue };
            if failed {
                let _ = (child.kill(), child.wait());
                continue;
            }
            processes::signal(child.id() as i32, Signal::SIGTERM);
            let status = wait_for("a host to end", STOP_WITHIN, || child.try_wait().expect("our child"));
            assert!(status.success(), "{} ended with {status}", host.name);
        }
    }
}

/// `kaon ca`.
pub(crate) fn ca(arguments: &[&str]) -> Output {
    kaon().arg("ca").args(arguments).output().expect("kaon starts")
}

/// A path of ours as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("our own names are text")
}
