//! The version of the app's build that a form was filled in with.

use std::borrow::Cow;

use crate::lookups::Lookups;
use crate::object::{self, Object};
use crate::version_text;

/// The version of the saved build that the form names, where `lookup` finds builds by id; else what the form's text
/// about its software says; else what the form says of itself.
pub fn version(
    form: &Object<'_>,
    text: Option<&str>,
    lookup: Option<&str>,
    lookups: &mut Lookups<'_, '_>,
) -> Option<i32> {
    saved_version(form, lookup, lookups)
        .or_else(|| text.and_then(version_text::build_version))
        .or_else(|| own_version(form))
}

/// The version of the build `build_id` of a document, if that is a saved build of the same domain.
pub fn saved_version(document: &Object<'_>, lookup: Option<&str>, lookups: &mut Lookups<'_, '_>) -> Option<i32> {
    let build = of_document(document, lookup, lookups)?;
    if object::is_empty(build.get("copy_of")) { None } else { version_text::number(build.get("version")?) }
}

/// The build `build_id` of a document, if it is one of the same domain.
pub fn of_document<'a>(
    document: &Object<'_>,
    lookup: Option<&str>,
    lookups: &mut Lookups<'_, 'a>,
) -> Option<Object<'a>> {
    let id = document.text("build_id").filter(|id| !id.is_empty())?;
    let build = lookups.first(lookup?, &id)?;
    (build.text("domain") == document.text("domain")).then_some(build)
}

/// The version that the form itself names; `1` is what forms name that know nothing better.
fn own_version(form: &Object<'_>) -> Option<i32> {
    let version = form.get("version")?;
    let digits = object::text(version).unwrap_or(Cow::Borrowed(version));
    version_text::number(&digits).filter(|_| digits != "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = r#"{"domain":"d","build_id":"b","version":"7"}"#;

    fn check(build: Option<&str>, form: &str, text: Option<&str>, expected: Option<i32>) {
        let documents: Vec<Vec<u8>> = build.iter().map(|build| build.as_bytes().to_vec()).collect();
        let find = |_: &str, _: &str| Some(documents.as_slice());
        let form_object = Object::parse(form).unwrap();
        let found = version(&form_object, text, Some("builds"), &mut Lookups::new(&find));
        assert_eq!(found, expected, "{build:?} {form} {text:?}");
    }

    #[test]
    fn a_saved_build_of_the_domain_comes_before_the_text_and_that_before_the_form() {
        let saved = r#"{"domain":"d","copy_of":"a","version":9}"#;
        check(Some(saved), FORM, Some("foofoo #8 bar"), Some(9));
        check(Some(r#"{"domain":"other","copy_of":"a","version":9}"#), FORM, Some("foofoo #8 bar"), Some(8));
        check(Some(r#"{"domain":"d","copy_of":null,"version":9}"#), FORM, None, Some(7));
        check(None, FORM, None, Some(7));
        check(None, r#"{"domain":"d","build_id":"b","version":"1"}"#, None, None);
        check(None, r#"{"version":3}"#, None, Some(3));
    }
}
