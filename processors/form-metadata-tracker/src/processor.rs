//! The tracker as a processor of pillowtop.

use commcare::lookups::Lookups;
use commcare::object::Object;
use pillowtop_sdk::{Absence, Answer, Batch, Change, Description, Error, Index, Problem, Processor, Write, Writes};

use crate::config::Config;
use crate::user_index::{self, Answered};
use crate::{event, tables};

/// Keeps the last submission or sync of each user and app.
#[derive(Debug)]
pub struct FormMetadataTracker {
    config: Config,
    answered: Answered,
}

impl Processor for FormMetadataTracker {
    fn configure(config: pillowtop_sdk::Config<'_>) -> Result<(Self, Description), Vec<Problem>> {
        let config = Config::parse(config.bytes()).map_err(|problems| {
            problems.into_iter().map(|problem| Problem::new(problem.path, problem.message)).collect::<Vec<_>>()
        })?;
        let mut description = tables::declared(&config).into_iter().fold(Description::new(), Description::table);
        if let Some(user_index) = &config.user_index {
            let (field, mapping) = config.profile.field();
            description = description.index(Index::new(&user_index.index, mapping.as_bytes()).owned_fields([field]));
        }
        let description = config.lookups().into_iter().fold(description, Description::lookup);
        Ok((Self { config, answered: Answered::default() }, description))
    }

    fn begin(&mut self, _batch: &Batch<'_>) {
        self.answered.clear();
    }

    fn process(&mut self, _batch: &Batch<'_>, change: &Change<'_>) -> Result<Answer, Error> {
        if change.is_deleted() || change.document() == Err(Absence::Deleted) {
            // What was submitted was submitted: nobody knows the one before.
            return Ok(Answer::skip("deleted"));
        }
        let document = Object::parse(std::str::from_utf8(change.document()?)?)?;
        let find = |lookup: &str, key: &str| change.found(lookup, key);
        let mut lookups = Lookups::new(&find);
        let told = event::read(&document, change.domain(), &self.config, &mut lookups);

        let mut writes = Writes::new();
        let mut is_empty = true;
        if let Some(build) = &told.used_build {
            writes.push(tables::used_build(&self.config, build));
            is_empty = false;
        }
        match &told.event {
            Ok(event) => {
                tables::rows(&self.config, event, change.id()).into_iter().for_each(|write| writes.push(write));
                if let Some(index) = &self.config.user_index
                    && let Some(fields) =
                        user_index::fields(&self.config, index, event, &mut self.answered, &mut lookups)
                {
                    writes.push(Write::merge(&index.index, &fields)?.id(&event.user_id));
                }
                is_empty = false;
            }
            Err(reason) if is_empty && !lookups.are_wanting() => return Ok(Answer::skip(reason)),
            Err(_) => {}
        }
        let wants = lookups.into_wants();
        if wants.is_empty() {
            debug_assert!(!is_empty, "a document that leads to nothing is skipped");
            return Ok(writes.into());
        }
        Ok(Answer::need(wants.into_iter().map(|want| (want.lookup, want.key))))
    }
}

pillowtop_sdk::export_processor!(FormMetadataTracker);
