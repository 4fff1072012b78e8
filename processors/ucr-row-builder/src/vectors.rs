//! The language on trial: each document is a test vector without its expectation, and is answered on a topic.
//!
//! That way tests can try the very module that builds rows, and compare outside of it.

use pillowtop_sdk::{Answer, Change, Error, Write};

/// # Errors
///
/// The document is no JSON.
pub(crate) fn answer(topic: &str, change: &Change<'_>) -> Result<Answer, Error> {
    let question = std::str::from_utf8(change.document()?)?;
    let answer = ucr::vectors::answer(question)?;
    Ok(Answer::write(Write::publish(topic, Some(change.id().into()), Some(answer.into_bytes()))))
}
