//! `kaon sim serve`: frameworks that know nothing of it meet a simulated cluster, and time jumps.

use crate::client::{exchange, get};
use crate::cluster::{first_line, kaon};
use crate::deadline::SOON;
use crate::framework::{Framework, info, task};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A served cluster; it is killed at the end of a test that fails.
struct Served {
    child: Child,
    api: String,
}

impl Served {
    fn start(flags: &[&str]) -> Self {
        let mut command = kaon();
        command.args(["sim", "serve", "--http", "127.0.0.1:0"]).args(flags).stdout(Stdio::piped());
        let mut child = command.spawn().expect("kaon starts");
        let line = first_line(&mut child, SOON).expect("it says where it is");
        let ready: Value = serde_json::from_str(&line).expect("one object");
        let api = ready["http"].as_str().expect("an address").to_owned();
        Self { child, api }
    }

    /// Lets virtual time pass; where it is then.
    fn advance(&self, seconds: f64) -> f64 {
        let path = format!("/simulator/advance?seconds={seconds}");
        let answer = exchange(&self.api, "POST", &path, &[], b"").expect("it answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["virtual_seconds"].as_f64().expect("a number")
    }

    fn stop(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("it runs");
        self.child.wait().expect("our child").code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Already over, in a test that passes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_framework_runs_long_tasks_on_simulated_agents_at_once() {
    let served = Served::start(&["--agents", "40"]);
    served.advance(30.0);
    let state = get(&served.api, "/state").json();
    assert_eq!(state["activated_slaves"], 40.0, "{}", state["activated_slaves"]);
    let begun = Instant::now();
    let mut framework = Framework::subscribe(&served.api, info("outside"));
    let tasks =
        |from: u32| (from..from + 20).map(|number| task(&format!("t{number}"), "sleep 600")).collect::<Vec<_>>();
    framework.launch_until(tasks(0), "TASK_RUNNING");
    assert!(served.advance(300.0) >= 330.0);
    assert!(!framework.all_ended(), "half of the time has passed");
    let now = served.advance(400.0);
    assert!(now >= 730.0, "{now}");
    framework.until("every task has finished", Framework::all_ended);
    assert_eq!(framework.latest("t7"), Some("TASK_FINISHED"));
    assert!(begun.elapsed() < Duration::from_secs(120), "ten minutes took {:?}", begun.elapsed());
    let wrong = exchange(&served.api, "POST", "/simulator/advance?seconds=-1", &[], b"").expect("it answers");
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    framework.teardown();
    assert_eq!(served.stop(), Some(0), "every claim held");
}

#[test]
fn every_rule_about_long_times_holds_in_virtual_time() {
    let served = Served::start(&["--agents", "5"]);
    let output = kaon().args(["contest", "--master", &served.api]).output().expect("kaon runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    assert!(output.status.success() && last.ends_with(" passed, 0 failed") && !last.starts_with("0 "), "{said}");
    assert_eq!(served.stop(), Some(0), "every claim held");
}
