//! When a later submission counts, and when it is too soon after the one before.
//!
//! The same rule stands in two places: here, for what is merged into an index, and as the condition of the rows
//! ([`crate::tables`]), where the database decides it.

use jiff::{SignedDuration, Timestamp};

/// What of a submission decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was received.
    pub submission_date: Timestamp,
    /// The version of the app's build.
    pub build_version: Option<i32>,
    /// The version of CommCare.
    pub commcare_version: Option<String>,
}

/// Whether `new` replaces `stored`: never when it is earlier; at once when a version differs; else when it is more than
/// `frequency` later.
pub fn replaces(stored: Option<&Entry>, new: &Entry, frequency: SignedDuration) -> bool {
    let Some(stored) = stored else {
        return true;
    };
    let distance = new.submission_date.duration_since(stored.submission_date);
    !distance.is_negative()
        && (new.build_version != stored.build_version
            || new.commcare_version != stored.commcare_version
            || distance > frequency)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREQUENCY: SignedDuration = SignedDuration::from_mins(15);

    fn entry(date: &str, build_version: Option<i32>, commcare_version: Option<&str>) -> Entry {
        Entry {
            submission_date: date.parse().unwrap(),
            build_version,
            commcare_version: commcare_version.map(str::to_owned),
        }
    }

    fn check(new: &Entry, expected: bool) {
        let stored = entry("2017-02-05T10:00:00Z", Some(2), Some("2.27"));
        assert_eq!(replaces(Some(&stored), new, FREQUENCY), expected, "{new:?}");
    }

    #[test]
    fn the_first_one_counts() {
        assert!(replaces(None, &entry("2017-02-05T10:00:00Z", None, None), FREQUENCY));
    }

    #[test]
    fn the_same_versions_count_only_after_more_than_fifteen_minutes() {
        // Acceptance case 86.
        check(&entry("2017-02-05T10:00:00Z", Some(2), Some("2.27")), false);
        check(&entry("2017-02-05T10:14:59Z", Some(2), Some("2.27")), false);
        check(&entry("2017-02-05T10:15:00Z", Some(2), Some("2.27")), false);
        check(&entry("2017-02-05T10:15:00.000001Z", Some(2), Some("2.27")), true);
    }

    #[test]
    fn another_version_counts_at_once() {
        // Acceptance case 86.
        for date in ["2017-02-05T10:00:00Z", "2017-02-05T10:01:00Z"] {
            check(&entry(date, Some(3), Some("2.27")), true);
            check(&entry(date, None, Some("2.27")), true);
            check(&entry(date, Some(2), Some("2.28")), true);
            check(&entry(date, Some(2), None), true);
        }
    }

    #[test]
    fn an_earlier_one_never_counts() {
        // Acceptance cases 77 and 86.
        check(&entry("2017-02-05T09:59:59.999999Z", Some(2), Some("2.27")), false);
        check(&entry("2017-02-04T10:00:00Z", Some(3), Some("2.28")), false);
    }

    #[test]
    fn without_a_frequency_any_later_one_counts() {
        let stored = entry("2017-02-05T10:00:00Z", Some(2), None);
        let later = entry("2017-02-05T10:00:00.000001Z", Some(2), None);
        assert!(replaces(Some(&stored), &later, SignedDuration::ZERO));
        assert!(!replaces(Some(&stored), &stored, SignedDuration::ZERO));
    }
}
