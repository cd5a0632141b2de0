//! `kaon logs`: what a task has written, and what it writes on.

use crate::arguments::{Logs, Output};
use crate::locate::{self, locate};
use crate::tail::Tail;
use anyhow::Result;
use std::io::Write;
use std::time::{Duration, Instant};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How often the master is asked whether the task has ended.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Shows what a task has written.
pub(crate) async fn logs(options: Logs) -> Result<()> {
    let located = locate(&options.which).await?;
    let mut tails: Vec<(Tail, Box<dyn Write + Send>)> = Vec::new();
    if options.only != Some(Output::Stderr) {
        tails.push((Tail::new(&located.sandbox, "stdout"), Box::new(std::io::stdout())));
    }
    if options.only != Some(Output::Stdout) {
        tails.push((Tail::new(&located.sandbox, "stderr"), Box::new(std::io::stderr())));
    }
    let (mut state, mut asked) = (Some(located.state.clone()), Instant::now());
    loop {
        let is_over = !options.follow || state.as_deref().is_none_or(locate::is_over);
        for (tail, out) in &mut tails {
            while let Some(bytes) = tail.next(&located.agent).await? {
                out.write_all(&bytes)?;
                out.flush()?;
            }
        }
        if is_over {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
        if asked.elapsed() >= ASK_EVERY {
            (state, asked) = (locate::state(&options.which, &located).await?, Instant::now());
        }
    }
}
