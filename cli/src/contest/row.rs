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

/// What a row bears beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Company {
    /// Any other row.
    Any,
    /// Rows that leave agents, weights and quotas as they are.
    Calm,
    /// Nobody.
    None,
}

type Trial = Arc<dyn Fn(Arena) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// One rule.
#[derive(Clone)]
pub(crate) struct Row {
    /// The section of the reference, `clients` for what known clients lean on, `kaon` for what is ours.
    pub(crate) source: &'static str,
    /// The call, or the request.
    pub(crate) call: String,
    /// What is given before and in the call.
    pub(crate) given: String,
    /// What must come of it.
    pub(crate) answer: String,
    /// The encodings in which it is tried; none when it does not depend on them.
    pub(crate) media: &'static [Media],
    /// What may run beside it.
    pub(crate) company: Company,
    /// Whether it lets virtual time pass: it is tried on a simulated cluster, and only there.
    pub(crate) is_simulated: bool,
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
        company: Company::Any,
        is_simulated: false,
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

    /// Tried in protobuf only.
    pub(crate) fn protobuf(mut self) -> Self {
        self.media = &[Media::Protobuf];
        self
    }

    /// Does not depend on the encoding.
    pub(crate) fn once(mut self) -> Self {
        self.media = &[];
        self
    }

    /// Lets virtual time pass.
    pub(crate) fn simulated(mut self) -> Self {
        self.is_simulated = true;
        self
    }

    /// Changes what others would see: nothing else may run beside it.
    pub(crate) fn alone(mut self) -> Self {
        self.company = Company::None;
        self
    }

    /// Leaves the cluster as it is, and would be spoilt by a row that does not: a reservation drops the filters of its agent,
    /// a weight rescinds offers.
    pub(crate) fn calm(mut self) -> Self {
        self.company = self.company.max(Company::Calm);
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
