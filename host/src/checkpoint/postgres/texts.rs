//! Texts that may hold a NUL, which PostgreSQL has not: it is escaped, so that every document can be parked under an id
//! of its own.

use std::borrow::Cow;

/// Starts an escape; followed by `0` it is a NUL, by itself again it is itself.
const MARK: char = '\u{2400}';

/// The text as it is stored.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    match text.contains(['\0', MARK]) {
        true => Cow::Owned(text.replace(MARK, "\u{2400}\u{2400}").replace('\0', "\u{2400}0")),
        false => Cow::Borrowed(text),
    }
}

/// The text that [`stored`] made this of.
pub(super) fn read(stored: &str) -> Cow<'_, str> {
    if !stored.contains(MARK) {
        return Cow::Borrowed(stored);
    }
    let mut text = String::with_capacity(stored.len());
    let mut signs = stored.chars();
    while let Some(sign) = signs.next() {
        match sign {
            MARK => text.push(if signs.next() == Some('0') { '\0' } else { MARK }),
            other => text.push(other),
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_comes_back_and_holds_no_nul_meanwhile(text in "[ab0\u{0}\u{2400}]{0,8}") {
            let stored = stored(&text);
            prop_assert!(!stored.contains('\0'));
            prop_assert_eq!(read(&stored), text.as_str());
        }
    }
}
