//! Containers on the real kernel. Run as root for all of it; a plain user's run says aloud what it leaves out.
//!
//! The executable is its own launcher, built-in executor and agent: it starts itself with an argument, and what it is
//! started as is decided before any thread exists. That is why it brings its own `main` and a small runner: tests go one
//! after the other, filtered by the words on the command line (`--exact`, `--skip` and `--list` as in libtest).
#![allow(missing_docs, reason = "a test binary")]

mod attacks;
mod credentials;
mod devices;
mod disk;
mod end;
mod fetch;
mod groups;
mod images;
mod life;
mod nested;
mod network;
mod probe;
mod registry;
mod restart;
mod rig;
mod seccomp;
mod serve;
#[cfg(target_arch = "x86_64")]
mod steps;
mod topology;
mod views;
mod walls;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(kaon_isolators::launcher::ARGUMENT) => return kaon_isolators::launcher::main(),
        Some(kaon_isolators::launcher::EXECUTOR_ARGUMENT) => return walls::executor(),
        Some(kaon_isolators::fetcher::ARGUMENT) => return kaon_isolators::fetcher::main(),
        Some(kaon_isolators::docker::ARGUMENT) => return kaon_isolators::docker::main(),
        Some(kaon_isolators::images::ARGUMENT) => return kaon_isolators::images::main(),
        Some(kaon_isolators::topology::apart::ARGUMENT) => return kaon_isolators::topology::apart::main(),
        Some("terms") => return walls::terms(),
        Some("greet") => return network::greet(arguments.get(1).map_or("0", String::as_str)),
        Some("hog") => return groups::hog(),
        #[cfg(target_arch = "x86_64")]
        Some("launching") => return steps::agent(&arguments[1..]),
        Some("agent") => return restart::agent(&arguments[1..]),
        _ => {}
    }
    let folders = [
        life::TESTS,
        nested::TESTS,
        network::TESTS,
        seccomp::TESTS,
        walls::TESTS,
        groups::TESTS,
        views::TESTS,
        attacks::TESTS,
        devices::TESTS,
        disk::TESTS,
        end::TESTS,
        fetch::TESTS,
        images::TESTS,
        credentials::TESTS,
        restart::TESTS,
        #[cfg(target_arch = "x86_64")]
        steps::TESTS,
        topology::TESTS,
        probe::TESTS,
    ];
    let all: Vec<Test> = folders.concat();
    let (mut words, mut skipped, mut exact, mut list) = (Vec::new(), Vec::new(), false, false);
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--exact" => exact = true,
            "--list" => list = true,
            "--skip" => skipped.extend(rest.next()),
            "--test-threads" | "--format" | "--color" | "-Z" => drop(rest.next()),
            option if option.starts_with('-') => {}
            _ => words.push(argument),
        }
    }
    let fits = |name: &str, word: &String| if exact { name == word } else { name.contains(word.as_str()) };
    let wanted = all.iter().filter(|(name, _)| {
        (words.is_empty() || words.iter().any(|word| fits(name, word))) && !skipped.iter().any(|word| fits(name, word))
    });
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, test) in wanted {
        if list {
            println!("{name}: test");
            continue;
        }
        let began = Instant::now();
        match catch_unwind(AssertUnwindSafe(test)) {
            Ok(()) => passed += 1,
            Err(_) => failed.push(*name),
        }
        let word = if failed.last() == Some(name) { "FAILED" } else { "ok" };
        println!("test {name} ... {word} ({} ms)", began.elapsed().as_millis());
    }
    println!("\ntest result: {passed} passed; {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
