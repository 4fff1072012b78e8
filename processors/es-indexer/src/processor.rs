//! The indexer as a processor of pillowtop: what the host says becomes the core's words, and the other way round.

use pillowtop_sdk::{Absence, Answer, Batch, Change, Description, Error, Index, Problem, Processor, Write};

use serde_json::{Map, Value};

use crate::config::Config;
use crate::group_members::{self, Members, Membership, State};
use crate::indexer::{self, Action, Document, Failure};

/// Keeps one index up to date.
#[derive(Debug)]
pub struct EsIndexer {
    config: Config,
}

impl Processor for EsIndexer {
    fn configure(config: pillowtop_sdk::Config<'_>) -> Result<(Self, Description), Vec<Problem>> {
        let config = Config::parse(config.bytes()).map_err(|problems| {
            problems.into_iter().map(|problem| Problem::new(problem.path, problem.message)).collect::<Vec<_>>()
        })?;
        let mut index = Index::new(&config.index, config.mapping().as_bytes());
        if let Some(fields) = config.owned_fields() {
            index = index.owned_fields(fields);
        }
        let description = config.lookups().into_iter().fold(Description::new().index(index), Description::lookup);
        Ok((Self { config }, description))
    }

    fn process(&mut self, batch: &Batch<'_>, change: &Change<'_>) -> Result<Answer, Error> {
        let document = match change.document() {
            Ok(bytes) => Document::Present(bytes),
            Err(Absence::Deleted) => Document::Deleted,
            Err(Absence::Missing) => Document::Missing,
            Err(Absence::Stale) => Document::Stale,
        };
        let find = |lookup: &str, key: &str| change.found(lookup, key);
        let change = indexer::Change {
            id: change.id(),
            domain: change.domain(),
            deleted: change.is_deleted(),
            document,
            time: batch.time(),
            find: &find,
        };
        let index = self.config.index.as_str();
        Ok(match indexer::action(&self.config, &change)? {
            Action::Skip(reason) => Answer::skip(reason),
            Action::Index(document) => Answer::write(Write::index_json(index, document.into_bytes())),
            Action::EditMembers(members) => Answer::writes(edits(index, &members)?),
            Action::Delete => Answer::write(Write::delete(index)),
            Action::Need(wants) => Answer::need(wants.into_iter().map(|want| (want.lookup, want.key))),
        })
    }
}

/// One merge for each member: nothing but the two lists is touched, and only of users that the index has.
fn edits(index: &str, members: &Members) -> Result<Vec<Write>, Error> {
    let mut writes = Vec::with_capacity(members.memberships.len());
    for Membership { user_id, state } in &members.memberships {
        let mut merge = Write::merge(index, &Map::<String, Value>::new())?.id(user_id);
        for (list, value) in [(group_members::IDS, &members.group_id), (group_members::NAMES, &members.group_name)] {
            let value = [value];
            let (add, remove): (&[_], &[_]) = match state {
                State::In => (&value, &[]),
                State::Out => (&[], &value),
            };
            merge = merge.edit_list(&[list], add, remove)?;
        }
        writes.push(merge.into());
    }
    Ok(writes)
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::InvalidInput(message) => Self::invalid_input(message),
            Failure::DocumentMissing => Absence::Missing.into(),
            Failure::DocumentStale => Absence::Stale.into(),
        }
    }
}

pillowtop_sdk::export_processor!(EsIndexer);

#[cfg(test)]
mod tests {
    use pillowtop_sdk::testing::{Fixture, Harness};
    use serde_json::json;

    use super::*;

    #[test]
    fn it_describes_its_index_and_its_look_ups() {
        let config = json!({"profile": "form", "index": "forms", "user_lookup": "users", "build_lookup": "builds"});
        let description = Harness::<EsIndexer>::configure(config).unwrap().description();
        assert_eq!(description["indices"][0]["name"], "forms");
        assert_eq!(description["indices"][0]["mapping"]["properties"]["domain"]["type"], "keyword");
        assert_eq!(description["lookups"], json!(["users", "builds"]));
    }

    #[test]
    fn it_tells_all_problems_of_its_configuration() {
        let problems = Harness::<EsIndexer>::configure(json!({"profile": "case", "colour": 1})).unwrap_err();
        assert_eq!(problems.iter().map(Problem::path).collect::<Vec<_>>(), ["index", "colour"]);
    }

    #[test]
    fn one_broken_document_does_not_touch_the_others() {
        let mut harness = Harness::<EsIndexer>::configure(json!({"profile": "plain", "index": "i"})).unwrap();
        let answers = harness.process([Fixture::present("a", json!({"n": 1})), Fixture::bytes("b", "{")]);
        assert_eq!(answers[0], json!({"writes": [{"index": {"index": "i", "id": "a", "document": {"n": 1}}}]}));
        assert_eq!(answers[1]["failed"]["kind"], "invalid-input");
        assert_eq!(answers[1]["failed"]["retry_can_help"], false);
    }
}
