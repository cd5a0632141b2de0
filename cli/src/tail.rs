//! An output of a task, read as it grows. Files are turned over when they are full (docs/operating.md): a file is known by its
//! tag, so that one that was given another name is read to its end, and the next from its beginning.

use crate::client::{Client, encode};
use crate::locate::items;
use anyhow::Result;
use bytes::Bytes;
use serde_json::Value;

/// One output, and how far it was read.
pub(crate) struct Tail {
    directory: String,
    name: &'static str,
    /// The file that is being read; none before there was one.
    tag: Option<String>,
    offset: u64,
}

impl Tail {
    /// `stdout` or `stderr` of the sandbox that an agent shows under `directory`.
    pub(crate) fn new(directory: &str, name: &'static str) -> Self {
        Self { directory: directory.to_owned(), name, tag: None, offset: 0 }
    }

    /// What is new; `None` when nothing is now. What is not there yet has nothing new. Says on stderr what was thrown away
    /// before it was read. Nothing is lost when it is dropped before it is ready.
    pub(crate) async fn next(&mut self, agent: &Client) -> Result<Option<Bytes>> {
        let mut is_lost = false;
        loop {
            let files = self.files(agent).await?;
            let Some((oldest, _)) = files.last() else { return Ok(None) };
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
                        eprintln!(
                            "kaon: {} was written faster than it could be read: what the agent does not keep is not shown \
                             (`kaon agent --log-bytes-max`, `--log-files-max`)",
                            self.name
                        );
                        (self.tag, self.offset, is_lost) = (Some(oldest.clone()), 0, false);
                        continue;
                    }
                },
            };
            let (tag, path) = &files[at];
            self.tag.get_or_insert_with(|| tag.clone());
            let Some((theirs, bytes)) = agent.file(path, self.offset).await? else { continue };
            if theirs != *tag {
                // It has got another name since it was looked for.
                continue;
            }
            self.offset += bytes.len() as u64;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
            match at.checked_sub(1).and_then(|next| files.get(next)) {
                // What has got another name is not written to any more.
                Some((next, _)) => (self.tag, self.offset) = (Some(next.clone()), 0),
                None => return Ok(None),
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
