//! What kind of user an id belongs to.

use std::borrow::Cow;

use crate::lookups::Lookups;
use crate::object::{self, Object};

/// The type of a user nobody knows.
const UNKNOWN: &str = "unknown";

/// `system`, `demo` and `supply` by the id alone; `web` or `mobile` by the user's document, where the look-up for it is
/// configured; else `unknown`. `id` is the JSON of a field.
pub fn user_type(id: Option<&str>, lookup: Option<&str>, lookups: &mut Lookups<'_, '_>) -> &'static str {
    let Some(id) = id.and_then(object::text) else {
        return UNKNOWN;
    };
    match (id.as_ref(), lookup) {
        ("system", _) => "system",
        ("demo_user", _) => "demo",
        ("commtrack-system", _) => "supply",
        ("", _) | (_, None) => UNKNOWN,
        (id, Some(lookup)) => lookups.first(lookup, id).map_or(UNKNOWN, |user| type_of(&user)),
    }
}

/// A user who was deleted since is still of their type.
fn type_of(user: &Object<'_>) -> &'static str {
    let doc_type = user.text("doc_type").unwrap_or(Cow::Borrowed(""));
    match doc_type.strip_suffix("-Deleted").unwrap_or(&doc_type) {
        "WebUser" => "web",
        "CommCareUser" => "mobile",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookups::{Want, nothing};

    fn check(id: &str, expected: &str) {
        let json = serde_json::Value::from(id).to_string();
        let users = [
            ("u-web", r#"{"doc_type":"WebUser"}"#),
            ("u-mobile", r#"{"doc_type":"CommCareUser"}"#),
            ("u-gone", r#"{"doc_type":"CommCareUser-Deleted"}"#),
            ("u-odd", r#"{"doc_type":7}"#),
            ("u-broken", "{"),
        ]
        .map(|(id, user)| (id, [user.as_bytes().to_vec()]));
        let find = |lookup: &str, id: &str| {
            assert_eq!(lookup, "user");
            Some(users.iter().find(|user| user.0 == id).map_or(&[][..], |user| &user.1))
        };
        assert_eq!(user_type(Some(&json), Some("user"), &mut Lookups::new(&find)), expected, "{id}");
    }

    #[test]
    fn known_ids_speak_for_themselves_and_others_are_looked_up() {
        for (id, expected) in [
            ("system", "system"),
            ("demo_user", "demo"),
            ("commtrack-system", "supply"),
            ("u-web", "web"),
            ("u-mobile", "mobile"),
            ("u-gone", "mobile"),
            ("u-odd", "unknown"),
            ("u-broken", "unknown"),
            ("u-nobody", "unknown"),
            ("", "unknown"),
        ] {
            check(id, expected);
        }
    }

    #[test]
    fn without_the_look_up_other_ids_are_unknown() {
        let mut lookups = Lookups::new(&nothing);
        assert_eq!(user_type(Some("\"u-web\""), None, &mut lookups), "unknown");
        assert_eq!(user_type(Some("12"), Some("user"), &mut lookups), "unknown");
        assert_eq!(user_type(None, Some("user"), &mut lookups), "unknown");
        assert!(lookups.into_wants().is_empty());
    }

    #[test]
    fn what_is_not_there_yet_is_wanted() {
        let mut lookups = Lookups::new(&nothing);
        user_type(Some("\"u-1\""), Some("user"), &mut lookups);
        assert_eq!(lookups.into_wants(), [Want { lookup: "user".to_owned(), key: "u-1".to_owned() }]);
    }
}
