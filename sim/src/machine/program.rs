//! The tiny language of simulated commands: what a task does, read from the text of its command.
//!
//! Statements are separated by `;`, `&&` or line ends and are taken one after the other:
//!
//! | statement | what it does |
//! |---|---|
//! | `sleep SECONDS` | takes so long; fractions are allowed, down to a microsecond |
//! | `exit CODE` | ends with this code |
//! | `kill -SIGNAL $$` | ends by this signal, given as a number |
//! | `listen PORT` | from then on connections to this port are accepted, and a GET is answered with 200 |
//! | `deaf` | from then on they are not |
//! | `trap '' TERM` | from the start on: TERM is ignored, only KILL ends it |
//! | `true`, `false`, `echo ...`, `:`, `exec ...`, nothing | as in a shell, in no time; `exec` runs what follows |
//! | anything else | is not found: code 127, as a shell reports it; later statements still run |
//!
//! At the end the code is that of the last statement. `&&` after a code other than zero ends the text.

use kaon_kernel::container::{ExitStatus, Program};
use kaon_kernel::time::Duration;

/// What a command does when nobody ends it earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    /// How long it runs.
    pub(crate) length: Duration,
    /// How it ends.
    pub(crate) status: ExitStatus,
    /// Whether TERM does not end it.
    pub(crate) ignores_term: bool,
    /// Where it listens, and when.
    pub(crate) listens: Option<Listening>,
}

/// A port that a command listens on; times in milliseconds from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    port: u16,
    from_ms: u32,
    until_ms: u32,
}

impl Course {
    /// Whether it listens on a port so long after its start.
    pub(crate) fn is_listening(&self, port: u16, age: Duration) -> bool {
        let age = milliseconds(age);
        self.listens.is_some_and(|one| one.port == port && (one.from_ms..one.until_ms).contains(&age))
    }
}

fn milliseconds(length: Duration) -> u32 {
    u32::try_from(length.0 / 1_000_000).unwrap_or(u32::MAX)
}

/// A command that does nothing, well.
const AT_ONCE: Course =
    Course { length: Duration::ZERO, status: ExitStatus::Code(0), ignores_term: false, listens: None };

/// The code of a command that is not found.
const NOT_FOUND: i32 = 127;

/// Reads a program's text. What is built in is no text and runs until it ends itself.
pub(crate) fn course(program: &Program) -> Course {
    match program {
        Program::Shell(text) => read(text),
        Program::Exec { file, arguments } => {
            let mut text = file.clone();
            for argument in arguments.iter().skip(1) {
                text.push(' ');
                text.push_str(argument);
            }
            read(&text)
        }
        Program::BuiltinExecutor => Course { length: Duration::MAX, ..AT_ONCE },
    }
}

/// Seconds to the nearest microsecond: the text is decimal, and a binary fraction is a little beside it.
fn length(seconds: f64) -> Option<Duration> {
    let length = Duration::from_seconds(seconds)? + Duration::nanos(500);
    Some(Duration(length.0 / 1000 * 1000))
}

fn read(text: &str) -> Course {
    let mut course = AT_ONCE;
    for line in text.split([';', '\n']) {
        for statement in line.split("&&") {
            let words: Vec<&str> = statement.split_whitespace().collect();
            let words = if words.first() == Some(&"exec") { &words[1..] } else { &words[..] };
            let code = match words {
                [] | ["true" | ":" | "echo", ..] => 0,
                ["false", ..] => 1,
                ["sleep", seconds] => match seconds.parse().ok().and_then(length) {
                    Some(length) => {
                        course.length = course.length + length;
                        0
                    }
                    None => 1,
                },
                ["trap", "''", "TERM"] => {
                    course.ignores_term = true;
                    0
                }
                ["listen", port] => match port.parse() {
                    Ok(port) => {
                        let from_ms = milliseconds(course.length);
                        course.listens = Some(Listening { port, from_ms, until_ms: u32::MAX });
                        0
                    }
                    Err(_) => 1,
                },
                ["deaf"] => {
                    if let Some(listens) = &mut course.listens {
                        listens.until_ms = milliseconds(course.length);
                    }
                    0
                }
                ["kill", signal, "$$"] => {
                    let signal = signal.trim_start_matches('-').parse().unwrap_or(15);
                    return Course { status: ExitStatus::Signal(signal), ..course };
                }
                ["exit"] => return course,
                ["exit", code, ..] => {
                    let code = code.parse::<i32>().map_or(2, |code| code & 0xff);
                    return Course { status: ExitStatus::Code(code), ..course };
                }
                _ => NOT_FOUND,
            };
            course.status = ExitStatus::Code(code);
            if code != 0 {
                break;
            }
        }
    }
    course
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(value: f64) -> Duration {
        Duration::from_seconds(value).expect("a length")
    }

    #[test]
    fn the_language_reads_like_a_shell() {
        let table: [(&str, f64, ExitStatus); 9] = [
            ("sleep 12.5", 12.5, ExitStatus::Code(0)),
            ("sleep 1; exit 3", 1.0, ExitStatus::Code(3)),
            ("sleep 1 && sleep 2 && false", 3.0, ExitStatus::Code(1)),
            ("false && sleep 9", 0.0, ExitStatus::Code(1)),
            ("false; sleep 1", 1.0, ExitStatus::Code(0)),
            ("sleep 2; kill -11 $$; sleep 5", 2.0, ExitStatus::Signal(11)),
            ("no-such-thing", 0.0, ExitStatus::Code(127)),
            ("exec sleep 4", 4.0, ExitStatus::Code(0)),
            ("echo hello", 0.0, ExitStatus::Code(0)),
        ];
        for (text, length, status) in table {
            let course = course(&Program::Shell(text.into()));
            assert_eq!((course.length, course.status), (seconds(length), status), "{text}");
        }
        assert!(course(&Program::Shell("trap '' TERM; sleep 1".into())).ignores_term);
        let server = course(&Program::Shell("sleep 2; listen 80; sleep 3; deaf; sleep 9".into()));
        let heard = [1.9, 2.0, 4.9, 5.0].map(|age| server.is_listening(80, seconds(age)));
        assert_eq!((heard, server.is_listening(81, seconds(3.0))), ([false, true, true, false], false));
    }

    #[test]
    fn an_argument_vector_reads_alike() {
        let program = Program::Exec { file: "sleep".into(), arguments: vec!["sleep".into(), "7".into()] };
        assert_eq!(course(&program).length, seconds(7.0));
    }
}
