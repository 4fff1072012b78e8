//! The examples of the processor's page in the documentation are true.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the exemption for tests does not cover helper functions")]

use es_indexer::EsIndexer;

#[path = "../../../tests/support/page.rs"]
mod page;

const PAGE: &str = include_str!("../../../docs/processors/es-indexer.md");

#[test]
fn the_examples_of_the_page_are_true() {
    page::check_examples::<EsIndexer>(PAGE);
}

#[test]
fn the_page_names_every_key_of_the_configuration() {
    let keys = [
        "profile",
        "index",
        "backend_id",
        "user_lookup",
        "build_lookup",
        "drop_form_fields",
        "domains",
        "except_domains",
        "domain_lookup",
        "geo_properties",
        "group_lookup",
        "shared",
        "subscription_lookup",
        "fields",
        "dynamic",
    ];
    assert_eq!(page::documented_keys(PAGE), keys);
}
