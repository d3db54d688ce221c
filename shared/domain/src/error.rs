//! What can be wrong with a value that somebody handed us.

/// A value that is not what it should be; the message names the value's kind and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// An identifier has the wrong form.
    #[error("{kind} must be {expected}")]
    Id {
        /// What the identifier names, for instance `lead id`.
        kind: &'static str,
        /// The form it must have.
        expected: &'static str,
    },
    /// A phone number that is not valid anywhere.
    #[error("the phone number is not valid; give it as +<country code><number>, for instance +919811100001")]
    Phone,
    /// A word that is not in the list of allowed ones.
    #[error("{kind} must be one of {expected}")]
    Word {
        /// What the word chooses.
        kind: &'static str,
        /// The allowed words, comma separated.
        expected: &'static str,
    },
    /// A rule for flows of which a condition cannot be read.
    #[error("condition {condition} of the rule {problem}")]
    Rule {
        /// Which condition, counted from 1.
        condition: usize,
        /// What is wrong with it and what would be right, without what it says.
        problem: &'static str,
    },
}
