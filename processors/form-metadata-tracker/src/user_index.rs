//! What is merged into the shared index of users: the last submission or sync of the user, of whichever app.
//!
//! A merge has no condition, so what is newer is decided here, against the rows that the tables hold and what was
//! answered since the call began.

use std::collections::{BTreeMap, HashMap};

use commcare::lookups::Lookups;
use commcare::object::Object;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::config::{Config, Profile, UserIndex};
use crate::event::Event;
use crate::moment;
use crate::rule::{self, Entry};

/// The mapping of what is merged for submissions.
const SUBMISSION: &str = include_str!("mappings/submission.json");

/// The mapping of what is merged for syncs.
const SYNC: &str = include_str!("mappings/sync.json");

/// The last entries of a user, by app.
type Entries = BTreeMap<String, Entry>;

/// What was answered in this call, by user: the tables will hold it only later.
#[derive(Debug, Default)]
pub struct Answered(HashMap<String, Entries>);

impl Profile {
    /// The field of the index that is owned, and its mapping.
    pub fn field(self) -> (&'static str, &'static str) {
        match self {
            Self::Form => ("last_submission_for_user", SUBMISSION),
            Self::Sync => ("last_sync_for_user", SYNC),
        }
    }
}

impl Answered {
    /// Forgets all, at the beginning of a call.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether the index is to get `event` as the user's last, by `stored` and what was answered.
    fn is_last(&self, config: &Config, event: &Event, stored: Entries) -> bool {
        let mut entries = stored;
        for (app, entry) in self.0.get(&event.user_id).into_iter().flatten() {
            entries.insert(app.clone(), entry.clone());
        }
        let new = entry_of(event);
        let frequency = match config.profile {
            Profile::Form => config.frequency(),
            Profile::Sync => SignedDuration::ZERO,
        };
        let of_user = entries.values().max_by_key(|entry| entry.submission_date);
        rule::replaces(entries.get(&event.app_id), &new, frequency)
            && rule::replaces(of_user, &new, SignedDuration::ZERO)
    }

    fn remember(&mut self, event: &Event) {
        self.0.entry(event.user_id.clone()).or_default().insert(event.app_id.clone(), entry_of(event));
    }
}

/// The fields to merge for `event`; none when something later is known. While the stored rows are still to be looked
/// up, the answer is none as well, and nothing may be done with it.
pub fn fields(
    config: &Config,
    user_index: &UserIndex,
    event: &Event,
    answered: &mut Answered,
    lookups: &mut Lookups<'_, '_>,
) -> Option<Value> {
    let stored = lookups.first(&user_index.entries_lookup, &event.user_id);
    if lookups.are_wanting() {
        return None;
    }
    if !answered.is_last(config, event, stored.map(|stored| entries(&stored)).unwrap_or_default()) {
        return None;
    }
    answered.remember(event);
    let (field, _) = config.profile.field();
    Some(json!({field: match config.profile {
        Profile::Form => json!({
            "submission_date": moment::stored(event.at), "app_id": event.app_id, "device_id": event.device_id,
            "build_id": event.build_id, "build_version": event.build_version,
            "commcare_version": event.commcare_version,
        }),
        Profile::Sync => json!({
            "sync_date": moment::stored(event.at), "app_id": event.app_id, "device_id": event.device_id,
            "build_version": event.build_version,
        }),
    }}))
}

fn entry_of(event: &Event) -> Entry {
    Entry {
        submission_date: event.at,
        build_version: event.build_version,
        commcare_version: event.commcare_version.clone(),
    }
}

/// The stored rows of a user: an object by app. What has no date is none.
fn entries(stored: &Object<'_>) -> Entries {
    let mut entries = Entries::new();
    for (app, row) in stored.fields() {
        let Ok(row) = Object::parse(row) else { continue };
        let date = row.text("submission_date").or_else(|| row.text("sync_date"));
        let Some(submission_date) = date.and_then(|date| moment::parse(&date)) else { continue };
        let build_version = row.get("build_version").and_then(|version| version.parse().ok());
        let commcare_version = row.text("commcare_version").map(|version| version.into_owned());
        entries.insert(app.as_str().to_owned(), Entry { submission_date, build_version, commcare_version });
    }
    entries
}
