//! Offer constraints, made ready: expressions compiled, and each agent's verdict remembered (reference 3.6).

use super::Error;
use super::tables::AgentFacts;
use kaon_kernel::agent::AttributeValue;
use kaon_kernel::constraint::{
    CONSTRAINTS_PER_GROUP_MAX, EXPRESSION_BYTES_MAX, GROUPS_MAX, OfferConstraints, Predicate, Selector,
};
use kaon_kernel::id::AgentIndex;
use kaon_kernel::table::Table;
use regex::{Regex, RegexBuilder};

/// A compiled expression takes at most so many bytes, and its caches as many again.
const COMPILED_BYTES_MAX: usize = 1 << 18;

/// Groups of an expression may lie so deep in each other.
const NEST_MAX: u32 = 32;

/// The constraints of one client.
#[derive(Debug)]
pub(super) struct Constrained {
    groups: Vec<Vec<(Selector, Test)>>,
    /// An agent's attributes never change while it is there.
    verdicts: Table<AgentIndex, bool>,
}

#[derive(Debug)]
enum Test {
    Exists,
    NotExists,
    Equals(String),
    NotEquals(String),
    Matches(Regex),
    NotMatches(Regex),
}

/// What a selector finds.
enum Found<'a> {
    Nothing,
    Text(&'a str),
    /// A number or ranges: every predicate about texts holds.
    Other,
}

impl Constrained {
    /// Makes constraints ready; `None` when there are none.
    pub(super) fn new(constraints: &OfferConstraints) -> Result<Option<Self>, Error> {
        if constraints.groups.is_empty() {
            return Ok(None);
        }
        let is_bounded = |constraints: usize| (1..=CONSTRAINTS_PER_GROUP_MAX).contains(&constraints);
        if constraints.groups.len() > GROUPS_MAX || !constraints.groups.iter().all(|group| is_bounded(group.0.len())) {
            return Err(Error::BadConstraints);
        }
        let ready = |group: &kaon_kernel::constraint::ConstraintGroup| {
            group.0.iter().map(|each| Ok((each.selector.clone(), test(&each.predicate)?))).collect()
        };
        let groups = constraints.groups.iter().map(ready).collect::<Result<_, Error>>()?;
        Ok(Some(Self { groups, verdicts: Table::default() }))
    }

    /// Whether an agent may be offered, remembered.
    pub(super) fn allow(&mut self, agent: AgentIndex, facts: &AgentFacts) -> bool {
        let Self { groups, verdicts } = self;
        *verdicts.entry(agent).or_insert_with(|| holds(groups, facts))
    }

    /// Whether an agent may be offered.
    pub(super) fn holds(&self, facts: &AgentFacts) -> bool {
        holds(&self.groups, facts)
    }

    /// An agent is gone.
    pub(super) fn forget(&mut self, agent: AgentIndex) {
        self.verdicts.swap_remove(&agent);
    }
}

fn holds(groups: &[Vec<(Selector, Test)>], facts: &AgentFacts) -> bool {
    groups.iter().any(|group| group.iter().all(|(selector, test)| test.holds(find(selector, facts))))
}

fn find<'a>(selector: &Selector, facts: &'a AgentFacts) -> Found<'a> {
    let domain = facts.domain.as_ref();
    match selector {
        Selector::Hostname => Found::Text(&facts.hostname),
        Selector::Region => domain.map_or(Found::Nothing, |domain| Found::Text(&domain.region)),
        Selector::Zone => domain.map_or(Found::Nothing, |domain| Found::Text(&domain.zone)),
        Selector::Attribute(name) => {
            match facts.attributes.iter().find(|attribute| attribute.name == *name).map(|found| &found.value) {
                None => Found::Nothing,
                Some(AttributeValue::Text(text)) => Found::Text(text),
                Some(AttributeValue::Scalar(_) | AttributeValue::Ranges(_)) => Found::Other,
            }
        }
    }
}

impl Test {
    fn holds(&self, found: Found<'_>) -> bool {
        match (self, found) {
            (Self::Exists, found) => !matches!(found, Found::Nothing),
            (Self::NotExists, found) => matches!(found, Found::Nothing),
            (_, Found::Other) => true,
            (Self::Equals(_) | Self::Matches(_), Found::Nothing) => false,
            (Self::NotEquals(_) | Self::NotMatches(_), Found::Nothing) => true,
            (Self::Equals(wanted), Found::Text(text)) => text == wanted,
            (Self::NotEquals(wanted), Found::Text(text)) => text != wanted,
            (Self::Matches(wanted), Found::Text(text)) => wanted.is_match(text),
            (Self::NotMatches(wanted), Found::Text(text)) => !wanted.is_match(text),
        }
    }
}

fn test(predicate: &Predicate) -> Result<Test, Error> {
    Ok(match predicate {
        Predicate::Exists => Test::Exists,
        Predicate::NotExists => Test::NotExists,
        Predicate::TextEquals(text) => Test::Equals(text.clone()),
        Predicate::TextNotEquals(text) => Test::NotEquals(text.clone()),
        Predicate::TextMatches(text) => Test::Matches(compile(text)?),
        Predicate::TextNotMatches(text) => Test::NotMatches(compile(text)?),
    })
}

/// An expression that must match all of a text. Matching is linear in the text, whatever the expression.
fn compile(text: &str) -> Result<Regex, Error> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(Error::BadConstraints);
    }
    let build = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).nest_limit(NEST_MAX);
        builder.build().map_err(|_| Error::BadConstraints)
    };
    // By itself first: what only makes sense inside the anchors, such as a lone parenthesis, is no expression.
    build(text)?;
    build(&format!(r"\A(?:{text})\z"))
}
