//! Offer constraints by their definition (reference 3.6), with the few expressions that histories use spelled out.

use super::allocator::Agent;
use kaon_kernel::agent::AttributeValue;
use kaon_kernel::constraint::{AttributeConstraint, OfferConstraints, Predicate, Selector};

/// Expressions of histories.
pub(super) const EXPRESSIONS: [&str; 3] = ["rack-.*", "rack", ".*1"];

fn matches(expression: &str, text: &str) -> bool {
    match expression {
        "rack-.*" => text.starts_with("rack-"),
        "rack" => text == "rack",
        ".*1" => text.ends_with('1'),
        other => panic!("{other} is not among the expressions of histories"),
    }
}

/// What a selector finds.
enum Found<'a> {
    Nothing,
    Text(&'a str),
    /// A number or ranges.
    Other,
}

fn find<'a>(selector: &Selector, agent: &'a Agent) -> Found<'a> {
    let domain = agent.domain.as_ref();
    match selector {
        Selector::Hostname => Found::Text(&agent.hostname),
        Selector::Region => domain.map_or(Found::Nothing, |domain| Found::Text(&domain.region)),
        Selector::Zone => domain.map_or(Found::Nothing, |domain| Found::Text(&domain.zone)),
        Selector::Attribute(name) => match agent.attributes.iter().find(|attribute| attribute.name == *name) {
            None => Found::Nothing,
            Some(attribute) => match &attribute.value {
                AttributeValue::Text(text) => Found::Text(text),
                _ => Found::Other,
            },
        },
    }
}

fn is_true(constraint: &AttributeConstraint, agent: &Agent) -> bool {
    let found = find(&constraint.selector, agent);
    match (&constraint.predicate, found) {
        (Predicate::Exists, Found::Nothing) => false,
        (Predicate::Exists, _) => true,
        (Predicate::NotExists, Found::Nothing) => true,
        (Predicate::NotExists, _) => false,
        (_, Found::Other) => true,
        (Predicate::TextEquals(_) | Predicate::TextMatches(_), Found::Nothing) => false,
        (Predicate::TextNotEquals(_) | Predicate::TextNotMatches(_), Found::Nothing) => true,
        (Predicate::TextEquals(wanted), Found::Text(text)) => wanted == text,
        (Predicate::TextNotEquals(wanted), Found::Text(text)) => wanted != text,
        (Predicate::TextMatches(expression), Found::Text(text)) => matches(expression, text),
        (Predicate::TextNotMatches(expression), Found::Text(text)) => !matches(expression, text),
    }
}

/// Whether an agent may be offered.
pub(super) fn holds(constraints: &OfferConstraints, agent: &Agent) -> bool {
    let mut groups = constraints.groups.iter();
    constraints.groups.is_empty() || groups.any(|group| group.0.iter().all(|one| is_true(one, agent)))
}
