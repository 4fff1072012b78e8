//! The examples of the processor's page in the documentation are true.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the exemption for tests does not cover helper functions")]

use cache_invalidation::CacheInvalidation;

#[path = "../../../tests/support/page.rs"]
mod page;

const PAGE: &str = include_str!("../../../docs/processors/cache-invalidation.md");

#[test]
fn the_examples_of_the_page_are_true() {
    page::check_examples::<CacheInvalidation>(PAGE);
}

#[test]
fn the_page_names_every_key_of_the_configuration() {
    let keys = ["cache", "generation_cache", "keys", "generations", "skip_ids"];
    assert_eq!(page::documented_keys(PAGE), keys);
}
