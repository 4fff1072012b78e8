//! Between the model's values and those of contract 0.1.0. What comes from the guest is checked here, and nowhere else.
//!
//! One bad answer is the failure of its change, or of its part where the write belongs to one; the neighbours keep
//! theirs.

mod block;
mod describe;
mod input;
mod json;
mod outcome;
mod row;
mod write;

pub(super) use describe::{description, problem};
pub(super) use input::with_batch;
pub(super) use outcome::outcome;
pub(super) use write::Declared;

use crate::model::FailureKind;

/// Why a guest's value is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    kind: FailureKind,
    reason: String,
}

impl Refusal {
    /// It is not what the contract or the description allows.
    fn wrong(reason: impl Into<String>) -> Self {
        Self { kind: FailureKind::Rejected, reason: reason.into() }
    }

    /// There is more of it than the limits allow.
    fn too_much(reason: impl Into<String>) -> Self {
        Self { kind: FailureKind::Limit, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests;
