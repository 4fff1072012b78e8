//! Says which keys of a cache a changed document makes stale: the copies of the document, and the generations that
//! everything cached of its type belongs to.
//!
//! The core is pure and in [`keys`]; this is the glue.

pub mod config;
pub mod keys;
pub mod template;

use commcare::object::Object;
use pillowtop_sdk::{Answer, Batch, Change, Description, Error, Problem, Processor, Write};

use config::Config;
use keys::Facts;

/// Drops cached copies of documents that changed.
#[derive(Debug)]
pub struct CacheInvalidation {
    config: Config,
}

impl Processor for CacheInvalidation {
    fn configure(config: pillowtop_sdk::Config<'_>) -> Result<(Self, Description), Vec<Problem>> {
        let config = Config::parse(config.bytes()).map_err(|problems| {
            problems.into_iter().map(|problem| Problem::new(problem.path, problem.message)).collect::<Vec<_>>()
        })?;
        let mut description = Description::new().cache(&config.cache);
        if config.generation_cache != config.cache {
            description = description.cache(&config.generation_cache);
        }
        Ok((Self { config }, description))
    }

    fn process(&mut self, _batch: &Batch<'_>, change: &Change<'_>) -> Result<Answer, Error> {
        // Whether the document is there does not matter: what is cached of it is stale either way. One that is no JSON
        // has no type, and that is an answer too.
        let document = change.document().ok().and_then(|bytes| std::str::from_utf8(bytes).ok());
        let document = document.and_then(|document| Object::parse(document).ok());
        let of_document = |name: &str| document.as_ref().and_then(|document| document.text(name));
        let (doc_type, domain) = (of_document("doc_type"), of_document("domain"));
        let facts = Facts {
            id: change.id(),
            source: change.source(),
            document_type: change.document_type().or(doc_type.as_deref()),
            domain: change.domain().or(domain.as_deref()),
        };
        Ok(match keys::stale(&self.config, &facts) {
            Err(reason) => Answer::skip(reason),
            Ok(stale) => Answer::writes(stale.into_iter().map(|stale| Write::invalidate(stale.cache, stale.keys))),
        })
    }
}

pillowtop_sdk::export_processor!(CacheInvalidation);

#[cfg(test)]
mod tests {
    use pillowtop_sdk::testing::{Fixture, Harness};
    use serde_json::json;

    use super::*;

    fn harness() -> Harness<CacheInvalidation> {
        let config = json!({
            "cache": "documents", "keys": ["doc:{id}", "{domain}:{id}"],
            "generations": {"CommCareUser": ["generation:users:{domain}"], "Group": ["generation:groups"]},
        });
        Harness::configure(config).unwrap()
    }

    #[test]
    fn it_describes_its_cache() {
        assert_eq!(harness().description()["caches"], json!(["documents"]));
    }

    #[test]
    fn a_changed_document_loses_its_copies_and_ends_its_generations() {
        let user = json!({"doc_type": "CommCareUser", "domain": "d"});
        let expected = json!({"writes": [{"invalidate": {
            "cache": "documents", "keys": ["generation:users:d", "doc:u", "d:u"],
        }}]});
        assert_eq!(harness().process_one(Fixture::present("u", user)), expected);
    }

    #[test]
    fn a_deletion_without_a_type_ends_every_generation_that_it_can_name() {
        let expected = json!({"writes": [{"invalidate": {
            "cache": "documents", "keys": ["generation:groups", "doc:u"],
        }}]});
        assert_eq!(harness().process_one(Fixture::deleted("u")), expected);
    }

    #[test]
    fn what_is_missing_stale_or_no_json_is_dropped_all_the_same() {
        let answers = harness().process([
            Fixture::missing("a").document_type("Group").domain("d"),
            Fixture::stale("b").document_type("Group").domain("d"),
            Fixture::bytes("c", "{").document_type("Group").domain("d"),
        ]);
        for (answer, id) in answers.iter().zip(["a", "b", "c"]) {
            let keys = json!(["generation:groups", format!("doc:{id}"), format!("d:{id}")]);
            assert_eq!(answer["writes"][0]["invalidate"]["keys"], keys);
        }
    }

    #[test]
    fn the_bookkeeping_of_pillows_is_passed_over() {
        let answer = harness().process_one(Fixture::present("pillowtop_corehq.pillows.case", json!({})));
        assert_eq!(answer, json!({"skip": "an id to skip"}));
    }
}
