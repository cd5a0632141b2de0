//! Resource roles: a tree of names (reference 11.1).

use crate::id::RoleName;

/// The role that everybody has.
pub const DEFAULT: &str = "*";

/// The longest role in bytes; Mesos has no bound, and each component becomes part of a path.
pub const ROLE_BYTES_MAX: usize = 1024;

/// Why a text is not a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// The text is empty.
    #[error("role name must not be empty")]
    Empty,
    /// The text is longer than [`ROLE_BYTES_MAX`].
    #[error("role name has {0} bytes, at most {ROLE_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// A slash at an end, or two together.
    #[error("role '{0}' has an empty component: it must not start or end with a slash or contain two in a row")]
    Slashes(String),
    /// A component that is reserved: `.`, `..`, `*`, or beginning with a dash.
    #[error("role '{role}' has the component '{component}', which is not allowed")]
    Component {
        /// The whole text.
        role: String,
        /// The component.
        component: String,
    },
    /// White space, backspace or delete.
    #[error("role '{role}' contains the disallowed character {character:?}")]
    Character {
        /// The whole text.
        role: String,
        /// The character.
        character: char,
    },
}

/// Takes a role from outside, checked. Constant cost in the length.
pub fn parse(text: &str) -> Result<RoleName, RoleError> {
    if text == DEFAULT {
        return Ok(RoleName::trusted(text));
    }
    if text.is_empty() {
        return Err(RoleError::Empty);
    }
    if text.len() > ROLE_BYTES_MAX {
        return Err(RoleError::TooLong(text.len()));
    }
    let banned = |c: char| matches!(c, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{8}' | '\u{7f}');
    if let Some(character) = text.chars().find(|&character| banned(character)) {
        return Err(RoleError::Character { role: text.to_owned(), character });
    }
    for component in text.split('/') {
        match component {
            "" => return Err(RoleError::Slashes(text.to_owned())),
            "." | ".." | "*" => {}
            dashed if dashed.starts_with('-') => {}
            _ => continue,
        }
        return Err(RoleError::Component { role: text.to_owned(), component: component.to_owned() });
    }
    Ok(RoleName::trusted(text))
}

/// Whether `role` is `ancestor` or lies below it: what is reserved to the one may go to the other.
pub fn is_within(role: &RoleName, ancestor: &RoleName) -> bool {
    role == ancestor || is_below(role, ancestor)
}

/// Whether `role` lies strictly below `ancestor`.
pub fn is_below(role: &RoleName, ancestor: &RoleName) -> bool {
    role.as_str().strip_prefix(ancestor.as_str()).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_the_rules_of_mesos() {
        for good in ["*", "web", "eng/web", "a/b/c", "a-b", "ads.prod"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", ".", "a/..", "*/a", "a/*", "-a", "a/-b", "a b", "a\tb", "a\u{7f}"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_is_not_an_ancestor() {
        let role = |text| RoleName::trusted(text);
        assert!(is_below(&role("a/b"), &role("a")));
        assert!(!is_below(&role("a/bc"), &role("a/b")));
        assert!(is_within(&role("a"), &role("a")) && !is_below(&role("a"), &role("a")));
    }
}
