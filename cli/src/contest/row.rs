//! A row: one rule that a client can see. Which call, under which precondition, what must come of it, where the rule is
//! written, and a function that tries it.

use super::arena::Arena;
use super::media::Media;
use anyhow::Result;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How long a row may take when it says nothing else.
const WITHIN: Duration = Duration::from_secs(30);

/// How often a row is tried that others can spoil.
const TRIES: u32 = 3;

type Trial = Arc<dyn Fn(Arena) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// One rule.
#[derive(Clone)]
pub(crate) struct Row {
    /// The section of the reference, or `clients` for what known clients lean on.
    pub(crate) source: &'static str,
    /// The call, or the request.
    pub(crate) call: String,
    /// What is given before and in the call.
    pub(crate) given: String,
    /// What must come of it.
    pub(crate) answer: String,
    /// The encodings in which it is tried; none when it does not depend on them.
    pub(crate) media: &'static [Media],
    /// Whether nothing else may run beside it.
    pub(crate) is_alone: bool,
    /// How long it may take.
    pub(crate) within: Duration,
    /// The trial.
    pub(crate) trial: Trial,
}

/// A row that is tried in both encodings.
pub(crate) fn row<T, F>(
    source: &'static str,
    call: impl Into<String>,
    given: impl Into<String>,
    answer: impl Into<String>,
    trial: T,
) -> Row
where
    T: Fn(Arena) -> F + Send + Sync + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    Row {
        source,
        call: call.into(),
        given: given.into(),
        answer: answer.into(),
        media: &[Media::Json, Media::Protobuf],
        is_alone: false,
        within: WITHIN,
        trial: Arc::new(move |arena| Box::pin(trial(arena))),
    }
}

impl Row {
    /// Tried in JSON only.
    pub(crate) fn json(mut self) -> Self {
        self.media = &[Media::Json];
        self
    }

    /// Does not depend on the encoding.
    pub(crate) fn once(mut self) -> Self {
        self.media = &[];
        self
    }

    /// Changes what others would see: nothing else may run beside it.
    pub(crate) fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// What goes on beside it on the cluster can spoil it (a reservation of another row drops the filters of its agent): it
    /// holds when it holds once in [`TRIES`].
    pub(crate) fn disturbed(mut self) -> Self {
        let trial = Arc::clone(&self.trial);
        self.trial = Arc::new(move |arena| {
            let trial = Arc::clone(&trial);
            Box::pin(async move {
                let mut last = trial(arena.clone()).await;
                for _ in 1..TRIES {
                    if last.is_ok() {
                        break;
                    }
                    last = trial(arena.clone()).await;
                }
                last
            })
        });
        self.within *= TRIES;
        self
    }

    /// May take so many seconds.
    pub(crate) fn within(mut self, seconds: u64) -> Self {
        self.within = Duration::from_secs(seconds);
        self
    }

    /// Whether a filter finds it.
    pub(crate) fn is_found_by(&self, text: &str) -> bool {
        let line = format!("{} {} {} {}", self.source, self.call, self.given, self.answer).to_lowercase();
        text.to_lowercase().split_whitespace().all(|word| line.contains(word))
    }
}
