//! What the text that a phone sends about its software says: the version of CommCare and that of the app's build.
//!
//! The text changed its shape over the years, for example
//! `CommCare Android, version "2.27.2"(414569). App v56. CommCare Version 2.27. Build 414569`.

/// Texts of at most so many bytes are a bare version of something, such as `2.0`, and say nothing.
const LONGEST_BARE_VERSION: usize = 5;

/// The version of CommCare: what stands in quotes after `version`, else in quotes before a number in parentheses,
/// else in quotes at all.
pub fn commcare_version(text: &str) -> Option<&str> {
    let text = long_enough(text)?;
    let after_the_word = after_each(text, "version \"").find_map(|rest| Some(quoted_version(rest)?.0));
    let before_a_number = || {
        after_each(text, "\"").find_map(|rest| {
            let (version, rest) = quoted_version(rest)?;
            let spaceless = rest.trim_start();
            let (_, end) = split(spaceless.strip_prefix('(')?, |byte| byte.is_ascii_digit())?;
            (spaceless.len() < rest.len() && end.starts_with(')')).then_some(version)
        })
    };
    let in_quotes = || {
        after_each(text, "\"").find_map(|rest| {
            let (version, rest) = split(rest.trim_start(), is_of_a_version)?;
            rest.trim_start().starts_with('"').then_some(version)
        })
    };
    after_the_word.or_else(before_a_number).or_else(in_quotes)
}

/// The version of the app's build: the number in ` #102 `, else in `b[99]`, else in `App v65`.
pub fn build_version(text: &str) -> Option<i32> {
    let text = long_enough(text)?;
    let hash = after_each(text, " #").find_map(|rest| number_before(rest, " "));
    let brackets = || after_each(text, "b[").find_map(|rest| number_before(rest, "]"));
    let word = || after_each(text, "App v").find_map(|rest| number_before(rest, ""));
    hash.or_else(brackets).or_else(word)
}

/// Digits as the number of a build; none for what no index field of 32 bits holds.
pub fn number(digits: &str) -> Option<i32> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}

fn long_enough(text: &str) -> Option<&str> {
    (text.chars().nth(LONGEST_BARE_VERSION).is_some()).then_some(text)
}

/// What follows each occurrence of `start`.
fn after_each<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(start).map(move |(position, _)| &text[position + start.len()..])
}

/// A version and its closing quote, and what follows.
fn quoted_version(text: &str) -> Option<(&str, &str)> {
    let (version, rest) = split(text, is_of_a_version)?;
    Some((version, rest.strip_prefix('"')?))
}

fn number_before(text: &str, end: &str) -> Option<i32> {
    let (digits, rest) = split(text, |byte| byte.is_ascii_digit())?;
    if rest.starts_with(end) { number(digits) } else { None }
}

fn is_of_a_version(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'.'
}

/// The longest start of `text` that is made of such bytes, which must be ASCII, and the rest; none when it is empty.
fn split(text: &str, of: impl Fn(u8) -> bool) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !of(byte)).unwrap_or(text.len());
    if end == 0 { None } else { text.split_at_checked(end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, commcare: Option<&str>, build: Option<i32>) {
        assert_eq!((commcare_version(text), build_version(text)), (commcare, build), "{text}");
    }

    #[test]
    fn the_samples_of_the_original_are_read() {
        // Acceptance cases 87 and 88.
        check(r#"version "2.27.2"(414569). App v56. 2.27. Build 414569"#, Some("2.27.2"), Some(56));
        check("not an app version", None, None);
        check("foofoo #102 barbar", None, Some(102));
        check("foofoo b[99] barbar", None, Some(99));
        check(
            r#"CommCare ODK, version "2.11.0"(29272). App v65. CommCare Version 2.11. Build 29272, built on: February-14-2014"#,
            Some("2.11.0"),
            Some(65),
        );
        check(
            r#"CommCare ODK, version "2.4.1"(10083). App v19.CommCare Version 2.4. Build 10083, built on: March-12-2013"#,
            Some("2.4.1"),
            Some(19),
        );
        check("संस्करण कॉमकेयर \"2.27.8\" (414593)", Some("2.27.8"), None);
    }

    #[test]
    fn the_word_wins_over_a_number_and_that_over_mere_quotes() {
        check(r#"a "1.1" b "2.2" (3) version "3.3" c"#, Some("3.3"), None);
        check(r#"a "1.1" b "2.2" (3) c"#, Some("2.2"), None);
        check(r#"a " 1.1 " b "2.2"(3) c"#, Some("1.1"), None);
        check("App v1 b[2] #3 end", None, Some(3));
        check("App v1 b[2] end", None, Some(2));
    }

    #[test]
    fn a_short_text_says_nothing() {
        check("2.0", None, None);
        check("\"2.1\"", None, None);
        check("\"2.1\" ", Some("2.1"), None);
    }

    #[test]
    fn the_number_of_an_app_may_end_the_text() {
        check("CommCare App v65", None, Some(65));
    }

    #[test]
    fn what_is_no_number_of_a_build_is_passed_over() {
        check("foo #x #12 bar", None, Some(12));
        check("foo #99999999999 bar", None, None);
        check("App v. b[]", None, None);
        check("foo #१२ bar", None, None);
    }
}
