//! `kaon logs`: what a task has written, and what it writes on. Files are turned over when they are full (docs/operating.md): a
//! file is known by its tag, so that one that was given another name is read to its end, and the next from its beginning.

use crate::arguments::{Logs, Output};
use crate::client::{Client, encode};
use crate::locate::{self, Located, items, locate};
use anyhow::Result;
use serde_json::Value;
use std::io::Write;
use std::time::{Duration, Instant};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How often the master is asked whether the task has ended.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Shows what a task has written.
pub(crate) async fn logs(options: Logs) -> Result<()> {
    let located = locate(&options.which).await?;
    let mut tails = Vec::new();
    if options.only != Some(Output::Stderr) {
        tails.push(Tail::new(&located, "stdout", Box::new(std::io::stdout())));
    }
    if options.only != Some(Output::Stdout) {
        tails.push(Tail::new(&located, "stderr", Box::new(std::io::stderr())));
    }
    let (mut state, mut asked) = (Some(located.state.clone()), Instant::now());
    loop {
        let is_over = !options.follow || state.as_deref().is_none_or(locate::is_over);
        for tail in &mut tails {
            tail.advance(&located.agent).await?;
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

/// One output, and how far it was shown.
struct Tail {
    directory: String,
    name: &'static str,
    /// The file that is being read; none before there was one.
    tag: Option<String>,
    offset: u64,
    out: Box<dyn Write + Send>,
}

impl Tail {
    fn new(located: &Located, name: &'static str, out: Box<dyn Write + Send>) -> Self {
        Self { directory: located.sandbox.clone(), name, tag: None, offset: 0, out }
    }

    /// Shows what is new. What is not there yet has nothing new.
    async fn advance(&mut self, agent: &Client) -> Result<()> {
        let mut is_lost = false;
        loop {
            let files = self.files(agent).await?;
            let Some((oldest, _)) = files.last() else { return Ok(()) };
            let at = match &self.tag {
                None => files.len() - 1,
                Some(tag) => match files.iter().position(|(theirs, _)| theirs == tag) {
                    Some(at) => at,
                    // Perhaps it was just getting another name.
                    None if !is_lost => {
                        is_lost = true;
                        continue;
                    }
                    None => {
                        eprintln!("kaon logs: {} was turned over faster than it could be read", self.name);
                        (self.tag, self.offset, is_lost) = (Some(oldest.clone()), 0, false);
                        continue;
                    }
                },
            };
            let (tag, path) = &files[at];
            if self.tag.is_none() {
                self.tag = Some(tag.clone());
            }
            let Some((theirs, bytes)) = agent.file(path, self.offset).await? else { continue };
            if theirs != *tag {
                // It has got another name since it was looked for.
                continue;
            }
            self.offset += bytes.len() as u64;
            self.out.write_all(&bytes)?;
            self.out.flush()?;
            match at.checked_sub(1).and_then(|next| files.get(next)) {
                // What has got another name is not written to any more.
                Some((next, _)) => (self.tag, self.offset) = (Some(next.clone()), 0),
                None => return Ok(()),
            }
        }
    }

    /// The files of this output, the newest first: what tells each from every other, and its path.
    async fn files(&self, agent: &Client) -> Result<Vec<(String, String)>> {
        let listed = agent.get(&format!("/files/browse?path={}", encode(&self.directory))).await;
        // A sandbox that is not there yet, or not any more.
        let Ok(listed) = listed else { return Ok(Vec::new()) };
        let listed: Value = serde_json::from_slice(&listed)?;
        let mut files: Vec<(u32, String, String)> = items(&listed)
            .iter()
            .filter_map(|entry| {
                let path = entry["path"].as_str()?;
                let rest = path.rsplit('/').next()?.strip_prefix(self.name)?;
                let number = if rest.is_empty() { 0 } else { rest.strip_prefix('.')?.parse().ok()? };
                Some((number, entry["tag"].as_str()?.to_owned(), path.to_owned()))
            })
            .collect();
        files.sort();
        Ok(files.into_iter().map(|(_, tag, path)| (tag, path)).collect())
    }
}
