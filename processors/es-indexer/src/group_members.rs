//! What a group says of its members, as edits of the members' documents in a shared index of users.

use crate::object::{self, Object};

/// The list of the ids of a user's groups.
pub const IDS: &str = "__group_ids";

/// The list of their names.
pub const NAMES: &str = "__group_names";

/// A group to add to, or to remove from, the document of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The user.
    pub user_id: String,
    /// Whether the user is in the group.
    pub state: State,
}

/// Whether a user is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The user is.
    In,
    /// The user is not any more.
    Out,
}

/// A group with its members, in the order in which their documents are to be edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The group's id.
    pub group_id: String,
    /// Its name.
    pub group_name: String,
    /// Its members, and those who were.
    pub memberships: Vec<Membership>,
}

/// The members that `group` names; of a deleted group nobody is a member.
pub fn members(group: &Object<'_>, id: &str, is_deleted: bool) -> Members {
    let state = if is_deleted { State::Out } else { State::In };
    let memberships = users(group, "users", state).chain(users(group, "removed_users", State::Out)).collect();
    let group_name = group.text("name").map(|name| name.into_owned()).unwrap_or_default();
    Members { group_id: id.to_owned(), group_name, memberships }
}

fn users<'g>(group: &Object<'g>, field: &str, state: State) -> impl Iterator<Item = Membership> + use<'g> {
    let ids = group.get(field).and_then(|users| object::items(users).ok()).unwrap_or_default();
    let ids = ids.into_iter().filter_map(object::text).filter(|id| !id.is_empty());
    ids.map(move |id| Membership { user_id: id.into_owned(), state })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(group: &str, is_deleted: bool, expected: &[(&str, State)]) {
        let members = members(&Object::parse(group).unwrap(), "g", is_deleted);
        let found: Vec<_> = members.memberships.iter().map(|one| (one.user_id.as_str(), one.state)).collect();
        assert_eq!(found, expected, "{group}");
    }

    #[test]
    fn users_are_in_and_removed_ones_out_and_of_a_deleted_group_all_are_out() {
        let group = r#"{"name":"n","users":["a","b",null,""],"removed_users":["c"]}"#;
        check(group, false, &[("a", State::In), ("b", State::In), ("c", State::Out)]);
        check(group, true, &[("a", State::Out), ("b", State::Out), ("c", State::Out)]);
        check(r#"{"users":null,"removed_users":"x"}"#, false, &[]);
        check("{}", false, &[]);
    }
}
