//! The examples of the processor's page in the documentation are true.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the exemption for tests does not cover helper functions")]

use form_metadata_tracker::FormMetadataTracker;

#[path = "../../../tests/support/page.rs"]
mod page;

const PAGE: &str = include_str!("../../../docs/processors/form-metadata-tracker.md");

#[test]
fn the_examples_of_the_page_are_true() {
    page::check_examples::<FormMetadataTracker>(PAGE);
}

#[test]
fn the_page_names_every_key_of_the_configuration() {
    let keys = [
        "profile",
        "frequency_minutes",
        "table_prefix",
        "user_lookup",
        "build_lookup",
        "skip_domains",
        "user_index",
        "entries_lookup",
    ];
    assert_eq!(page::documented_keys(PAGE), keys);
}
