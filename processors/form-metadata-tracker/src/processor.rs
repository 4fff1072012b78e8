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

#[cfg(test)]
mod tests {
    use pillowtop_sdk::testing::{Fixture, Harness};
    use serde_json::{Value, json};

    use super::*;

    const NEW: &str = "2017-02-05T10:20:00.000000Z";

    fn harness(config: Value) -> Harness<FormMetadataTracker> {
        Harness::configure(config).unwrap()
    }

    fn form(app: &str, received_on: &str) -> Value {
        json!({
            "doc_type": "XFormInstance", "domain": "d", "app_id": app, "version": "2", "received_on": received_on,
            "form": {"meta": {"userID": "u", "deviceID": "device-id"}},
        })
    }

    fn tables(answer: &Value) -> Vec<&str> {
        let writes = answer["writes"].as_array().unwrap_or_else(|| panic!("no writes: {answer}"));
        writes.iter().filter_map(|write| write["upsert_row"]["table"].as_str()).collect()
    }

    #[test]
    fn a_submission_becomes_rows_that_the_database_decides_on() {
        // Acceptance case 76.
        let answer = harness(json!({"profile": "form"})).process_one(Fixture::present("f", form("a", "2017-02-05")));
        let at = "2017-02-05T00:00:00.000000Z";
        let when = |column: &str| {
            json!({"interval": {
                "column": column, "seconds": 900, "or_differs": ["build_version", "commcare_version"],
            }})
        };
        assert_eq!(
            answer,
            json!({"writes": [
                {"upsert_row": {"table": "last_submissions", "when": when("submission_date"), "row": {
                    "domain": "d", "user_id": "u", "app_id": "a", "submission_date": at, "form_id": "f",
                    "device_id": "device-id", "build_id": null, "build_version": 2, "commcare_version": null,
                }}},
                {"upsert_row": {"table": "last_builds", "when": when("build_version_date"), "row": {
                    "domain": "d", "user_id": "u", "app_id": "a", "build_version_date": at, "build_version": 2,
                    "build_id": null, "commcare_version": null,
                }}},
                {"upsert_row": {"table": "user_devices", "when": {"newer": "last_used_day"}, "row": {
                    "domain": "d", "user_id": "u", "device_id": "device-id", "app_id": "a", "event": "submission",
                    "last_used_day": "2017-02-05", "last_used": at, "build_id": null, "build_version": 2,
                    "commcare_version": null,
                }}},
            ]})
        );
    }

    #[test]
    fn a_sync_becomes_rows_of_its_own() {
        let config = json!({"profile": "sync", "table_prefix": "x_"});
        let log = json!({"user_id": "u", "domain": "d", "app_id": "a", "date": NEW, "device_id": "device-id"});
        let answer = harness(config).process_one(Fixture::present("s", log));
        assert_eq!(tables(&answer), ["x_last_syncs", "x_user_devices"]);
        assert_eq!(answer["writes"][0]["upsert_row"]["when"], json!({"newer": "sync_date"}));
        assert_eq!(answer["writes"][0]["upsert_row"]["row"]["sync_date"], NEW);
        assert_eq!(answer["writes"][1]["upsert_row"]["row"]["event"], "sync");
    }

    #[test]
    fn forms_that_tell_nothing_are_skipped_and_broken_ones_fail_alone() {
        let answers = harness(json!({"profile": "form"})).process([
            Fixture::present("f1", form("a", "bad-date")),
            Fixture::deleted("f2"),
            Fixture::present("f3", form("a", NEW)).marked_deleted(),
            Fixture::bytes("f4", "{"),
            Fixture::missing("f5"),
        ]);
        assert_eq!(
            answers[..3],
            [json!({"skip": "received at no date"}), json!({"skip": "deleted"}), json!({"skip": "deleted"})]
        );
        assert_eq!(answers[3]["failed"]["kind"], "invalid-input");
        assert_eq!(answers[4]["failed"]["kind"], "document-missing");
    }

    #[test]
    fn a_build_is_noted_by_a_row_that_is_nothing_but_its_key() {
        // Acceptance case 80.
        let check = |build: Option<Value>, expected: &[&str]| {
            let mut harness = harness(json!({"profile": "form", "build_lookup": "builds"}));
            harness.answer("builds", "b", build);
            let mut form = form("a", NEW);
            form["build_id"] = json!("b");
            let answer = harness.process_one(Fixture::present("f", form));
            assert_eq!(tables(&answer), expected);
            answer
        };
        let rows = ["last_submissions", "last_builds", "user_devices"];
        let saved = json!({"domain": "d", "copy_of": "a", "version": 5});
        let answer = check(Some(saved), &["builds_with_submissions", rows[0], rows[1], rows[2]]);
        let expected =
            json!({"table": "builds_with_submissions", "row": {"domain": "d", "build_id": "b"}, "when": "always"});
        assert_eq!(answer["writes"][0]["upsert_row"], expected);
        assert_eq!(answer["writes"][1]["upsert_row"]["row"]["build_version"], 5);
        check(None, &rows);
        check(Some(json!({"domain": "other", "copy_of": "a", "version": 5})), &rows);
    }

    fn indexed(stored: Option<Value>, forms: &[(&str, &str)]) -> Vec<bool> {
        let config = json!({"profile": "form", "user_index": "users", "entries_lookup": "entries"});
        let mut harness = harness(config);
        harness.answer("entries", "u", stored);
        let forms = forms
            .iter()
            .enumerate()
            .map(|(at, (app, received_on))| Fixture::present(&format!("f{at}"), form(app, received_on)));
        let answers = harness.process(forms);
        answers
            .iter()
            .map(|answer| answer["writes"].as_array().unwrap().iter().any(|write| write.get("merge").is_some()))
            .collect()
    }

    #[test]
    fn the_index_gets_what_the_rule_lets_through_and_is_the_last_of_the_user() {
        let stored = |app: &str, date: &str| {
            let row = json!({"submission_date": date, "build_version": 2, "commcare_version": null});
            Some(json!({app: row}))
        };
        let check = |stored: Option<Value>, forms: &[(&str, &str)], expected: &[bool]| {
            assert_eq!(indexed(stored.clone(), forms), expected, "{stored:?} {forms:?}");
        };
        check(None, &[("a", NEW)], &[true]);
        check(stored("a", "2017-02-05T10:05:00.000000Z"), &[("a", NEW)], &[false]);
        check(stored("a", "2017-02-05T10:04:59.999999Z"), &[("a", NEW)], &[true]);
        check(stored("a", "2017-02-05T10:30:00.000000Z"), &[("a", NEW)], &[false]);
        check(stored("other", "2017-02-05T10:19:00.000000Z"), &[("a", NEW)], &[true]);
        check(stored("other", "2017-02-05T10:30:00.000000Z"), &[("a", NEW)], &[false]);
        // What was answered before in the same call counts like what is stored.
        check(
            None,
            &[("a", NEW), ("a", "2017-02-05T10:00:00Z"), ("b", NEW), ("b", "2017-02-05T10:20:01Z")],
            &[true, false, false, true],
        );
    }

    #[test]
    fn what_is_merged_is_the_submission_under_the_id_of_the_user() {
        let config = json!({"profile": "form", "user_index": "users", "entries_lookup": "entries"});
        let mut harness = harness(config);
        let index = &harness.description()["indices"][0];
        assert_eq!((&index["name"], &index["owned_fields"]), (&json!("users"), &json!(["last_submission_for_user"])));
        harness.answer("entries", "u", []);
        let answer = harness.process_one(Fixture::present("f", form("a", NEW)));
        let merge = &answer["writes"].as_array().unwrap().last().unwrap()["merge"];
        assert_eq!(
            (&merge["index"], &merge["id"], &merge["if_absent"]),
            (&json!("users"), &json!("u"), &json!("ignore"))
        );
        let expected = json!({"last_submission_for_user": {
            "submission_date": NEW, "app_id": "a", "device_id": "device-id", "build_id": null, "build_version": 2,
            "commcare_version": null,
        }});
        assert_eq!(merge["fields"], expected);
    }
}
