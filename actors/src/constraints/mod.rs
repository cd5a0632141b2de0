//! Offer constraints, made ready: expressions compiled, and each agent's verdict remembered (reference 3.6).
//!
//! No actor: the master checks with it what a framework says, the allocator decides by it.

mod program;

use kaon_kernel::agent::{Attribute, AttributeValue, Domain};
use kaon_kernel::constraint::{
    CONSTRAINTS_PER_GROUP_MAX, ConstraintGroup, EXPRESSION_BYTES_MAX, GROUPS_MAX, OfferConstraints, Predicate, Selector,
};
use kaon_kernel::id::AgentIndex;
use kaon_kernel::table::Table;
use regex::{Regex, RegexBuilder};

/// A compiled expression takes at most so many bytes, and its caches as many again.
const COMPILED_BYTES_MAX: usize = 1 << 18;

/// Instructions of an expression as RE2 counts them (Mesos: `--offer_constraints_re2_max_program_size`).
const PROGRAM_SIZE_MAX: u64 = 100;

/// Groups of an expression may lie so deep in each other.
const NEST_MAX: u32 = 32;

/// Why constraints can't be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// More groups than are taken.
    #[error("{0} groups of offer constraints, at most {GROUPS_MAX} are taken")]
    Groups(usize),
    /// A group with none, or with more than are taken.
    #[error("a group of {0} offer constraints, it must have 1 to {CONSTRAINTS_PER_GROUP_MAX}")]
    Constraints(usize),
    /// An expression that is too long.
    #[error("a regular expression of {0} bytes, at most {EXPRESSION_BYTES_MAX} are taken")]
    Length(usize),
    /// An expression that is none, or too large once it is compiled.
    #[error("the regular expression '{text}' can't be taken: {reason}")]
    Expression {
        /// The expression.
        text: String,
        /// Why, in one line.
        reason: String,
    },
}

/// What constraints look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The agent's hostname.
    pub hostname: &'a str,
    /// Its attributes.
    pub attributes: &'a [Attribute],
    /// Its fault domain.
    pub domain: Option<&'a Domain>,
}

/// The constraints of one framework in one role.
#[derive(Debug)]
pub struct Constrained {
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
    pub fn new(constraints: &OfferConstraints) -> Result<Option<Self>, ConstraintError> {
        if constraints.groups.is_empty() {
            return Ok(None);
        }
        if constraints.groups.len() > GROUPS_MAX {
            return Err(ConstraintError::Groups(constraints.groups.len()));
        }
        let ready = |ConstraintGroup(group): &ConstraintGroup| {
            if group.is_empty() || group.len() > CONSTRAINTS_PER_GROUP_MAX {
                return Err(ConstraintError::Constraints(group.len()));
            }
            group.iter().map(|each| Ok((each.selector.clone(), test(&each.predicate)?))).collect()
        };
        let groups = constraints.groups.iter().map(ready).collect::<Result<_, ConstraintError>>()?;
        Ok(Some(Self { groups, verdicts: Table::default() }))
    }

    /// Whether an agent may be offered, remembered.
    pub fn allow(&mut self, agent: AgentIndex, facts: Facts<'_>) -> bool {
        let Self { groups, verdicts } = self;
        *verdicts.entry(agent).or_insert_with(|| holds(groups, facts))
    }

    /// Whether an agent may be offered.
    pub fn holds(&self, facts: Facts<'_>) -> bool {
        holds(&self.groups, facts)
    }

    /// An agent is gone.
    pub fn forget(&mut self, agent: AgentIndex) {
        self.verdicts.swap_remove(&agent);
    }
}

fn holds(groups: &[Vec<(Selector, Test)>], facts: Facts<'_>) -> bool {
    groups.iter().any(|group| group.iter().all(|(selector, test)| test.holds(find(selector, facts))))
}

fn find<'a>(selector: &Selector, facts: Facts<'a>) -> Found<'a> {
    let domain = facts.domain;
    match selector {
        Selector::Hostname => Found::Text(facts.hostname),
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

fn test(predicate: &Predicate) -> Result<Test, ConstraintError> {
    Ok(match predicate {
        Predicate::Exists => Test::Exists,
        Predicate::NotExists => Test::NotExists,
        Predicate::TextEquals(text) => Test::Equals(text.clone()),
        Predicate::TextNotEquals(text) => Test::NotEquals(text.clone()),
        Predicate::TextMatches(text) => Test::Matches(compile(text)?),
        Predicate::TextNotMatches(text) => Test::NotMatches(compile(text)?),
    })
}

/// What is wrong with an expression, without the picture of it that the library draws above.
fn reason(error: &regex::Error) -> String {
    let told = error.to_string();
    let last = told.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// An expression that must match all of a text. Matching is linear in the text, whatever the expression.
fn compile(text: &str) -> Result<Regex, ConstraintError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(ConstraintError::Length(text.len()));
    }
    let build = |anchored: &str| {
        let mut builder = RegexBuilder::new(anchored);
        builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).nest_limit(NEST_MAX);
        builder.build().map_err(|error| ConstraintError::Expression { text: text.to_owned(), reason: reason(&error) })
    };
    let parsed = regex_syntax::ParserBuilder::new().nest_limit(NEST_MAX).build().parse(text);
    let size = parsed.map_or(0, |parsed| program::size(&parsed));
    if size > PROGRAM_SIZE_MAX {
        let reason = format!("its program size {size} is larger than the maximum of {PROGRAM_SIZE_MAX}");
        return Err(ConstraintError::Expression { text: text.to_owned(), reason });
    }
    // By itself first: what only makes sense inside the anchors, such as a lone parenthesis, is no expression.
    build(text)?;
    build(&format!(r"\A(?:{text})\z"))
}
