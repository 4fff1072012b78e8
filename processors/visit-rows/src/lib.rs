//! Writes a row for each visit that a form of one kind reports, and keeps the last visit of each case.
//!
//! Two tables show the two ways to write rows. The visits of a form are replaced as a whole whenever the form changes,
//! and removed when it is deleted or archived. The last visit of a case comes from many forms, so it is a row of its
//! own that only a later visit overwrites; it stays when a form is deleted, because nobody knows the one before.
//!
//! With the cargo feature `duration` the visits have one more column, `minutes`: a swap from the one build to the other
//! shows what happens to a table whose processor begins to declare more.

pub mod visit;

use pillowtop_sdk::{
    Absence, Answer, Batch, Change, Column, ColumnKind, Condition, Config, Description, Error, Problem, Processor, Row,
    Table, Value, Write, Writes,
};
use serde::Deserialize;

use visit::{Form, Visit};

pillowtop_sdk::export_processor!(VisitRows);

/// The processor.
#[derive(Debug)]
pub struct VisitRows {
    xmlns: String,
    visits: String,
    last_visits: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// The kind of form.
    xmlns: String,
    /// The name of the table of visits.
    #[serde(default = "default_table")]
    table: String,
    /// The name of the table of last visits; `last_` and the other's name unless given.
    last_table: Option<String>,
}

fn default_table() -> String {
    "visits".to_owned()
}

impl Processor for VisitRows {
    fn configure(config: Config<'_>) -> Result<(Self, Description), Vec<Problem>> {
        let settings: Settings = config.parse()?;
        let mut problems = Vec::new();
        if settings.xmlns.is_empty() {
            problems.push(Problem::new("xmlns", "must name the kind of form"));
        }
        if settings.table.is_empty() {
            problems.push(Problem::new("table", "must not be empty"));
        }
        let last_visits = settings.last_table.unwrap_or_else(|| format!("last_{}", settings.table));
        if last_visits == settings.table {
            problems.push(Problem::new("last-table", "must differ from the table of visits"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let processor = Self { xmlns: settings.xmlns, visits: settings.table, last_visits };
        let description = Description::new().table(processor.visits_table()).table(processor.last_visits_table());
        Ok((processor, description))
    }

    fn process(&mut self, _batch: &Batch<'_>, change: &Change<'_>) -> Result<Answer, Error> {
        if change.is_deleted() || change.document() == Err(Absence::Deleted) {
            return Ok(Answer::write(Write::delete_rows(&self.visits)));
        }
        let form: Form<'_> = change.parse()?;
        if form.xmlns() != Some(&self.xmlns) {
            return Ok(Answer::skip("another kind of form"));
        }
        if !form.counts() {
            return Ok(Answer::write(Write::delete_rows(&self.visits)));
        }
        let visits = form.visits();
        let rows = visits.iter().map(|visit| visit_row(change.id(), visit)).collect::<Result<Vec<_>, _>>()?;
        let mut writes = Writes::new().with(Write::replace_rows(&self.visits, rows));
        for row in visits.iter().filter_map(|visit| last_visit_row(change.id(), visit)) {
            writes.push(Write::upsert_row(&self.last_visits, row, Condition::Newer("visited_at".to_owned())));
        }
        Ok(writes.into())
    }
}

impl VisitRows {
    fn visits_table(&self) -> Table {
        let mut columns = vec![
            Column::new("form_id", ColumnKind::Text),
            Column::new("number", ColumnKind::Integer),
            Column::new("case_id", ColumnKind::Text).nullable(),
            Column::new("domain", ColumnKind::Text).nullable(),
            Column::new("user_id", ColumnKind::Text).nullable(),
            Column::new("visited_at", ColumnKind::Timestamp).nullable(),
            Column::new("received_at", ColumnKind::Timestamp).nullable(),
        ];
        if cfg!(feature = "duration") {
            columns.push(Column::new("minutes", ColumnKind::Integer).nullable());
        }
        Table::new(&self.visits, columns)
            .key(["form_id", "number"])
            .document_column("form_id")
            .index(["case_id", "visited_at"])
    }

    fn last_visits_table(&self) -> Table {
        let columns = [
            Column::new("case_id", ColumnKind::Text),
            Column::new("form_id", ColumnKind::Text),
            Column::new("user_id", ColumnKind::Text).nullable(),
            Column::new("visited_at", ColumnKind::Timestamp),
        ];
        Table::new(&self.last_visits, columns).key(["case_id"])
    }
}

fn visit_row(form_id: &str, visit: &Visit<'_>) -> Result<Row, Error> {
    let mut row = vec![
        form_id.into(),
        visit.number.into(),
        visit.case_id.into(),
        visit.domain.into(),
        visit.user_id.into(),
        visit.visited_at.map(Value::timestamp).into(),
        visit.received_at.map(Value::timestamp).into(),
    ];
    if cfg!(feature = "duration") {
        row.push(visit.minutes()?.into());
    }
    Ok(row)
}

/// None for a visit of no case, or at no known time.
fn last_visit_row(form_id: &str, visit: &Visit<'_>) -> Option<Row> {
    Some(vec![visit.case_id?.into(), form_id.into(), visit.user_id.into(), Value::timestamp(visit.visited_at?)])
}

#[cfg(test)]
mod tests {
    use pillowtop_sdk::testing::{Fixture, Harness};
    use serde_json::json;

    use super::*;

    const XMLNS: &str = "http://openrosa.example/visit";

    fn harness() -> Harness<VisitRows> {
        Harness::configure(json!({"xmlns": XMLNS})).unwrap()
    }

    fn form(doc_type: &str, xmlns: &str) -> serde_json::Value {
        json!({
            "doc_type": doc_type, "xmlns": xmlns, "domain": "clinic-a", "received_on": "2026-02-03T10:00:01Z",
            "form": {
                "case": [{"@case_id": "c1"}, {"@case_id": "c2"}],
                "meta": {"timeEnd": "2026-02-03T10:00:00Z", "userID": "u1"},
            },
        })
    }

    #[test]
    fn a_form_replaces_its_rows_and_moves_the_last_visit_of_each_case_forward() {
        let row = |number: u32, case_id: &str| {
            let mut row = json!({
                "form_id": "f1", "number": number, "case_id": case_id, "domain": "clinic-a", "user_id": "u1",
                "visited_at": "2026-02-03T10:00:00Z", "received_at": "2026-02-03T10:00:01Z",
            });
            if cfg!(feature = "duration") {
                row["minutes"] = json!(null);
            }
            row
        };
        let upsert = |case_id: &str| {
            let row = json!({
                "case_id": case_id, "form_id": "f1", "user_id": "u1", "visited_at": "2026-02-03T10:00:00Z",
            });
            json!({"upsert_row": {"table": "last_visits", "row": row, "when": {"newer": "visited_at"}}})
        };
        assert_eq!(
            harness().process_one(Fixture::present("f1", form("XFormInstance", XMLNS))),
            json!({"writes": [
                {"replace_rows": {"table": "visits", "rows": [row(0, "c1"), row(1, "c2")]}},
                upsert("c1"),
                upsert("c2"),
            ]})
        );
    }

    #[test]
    fn a_form_without_times_has_rows_without_times_and_is_nobody_s_last_visit() {
        let mut form = form("XFormInstance", XMLNS);
        form["received_on"] = json!("");
        form["form"]["meta"] = json!({"timeStart": "", "timeEnd": ""});
        let answer = harness().process_one(Fixture::present("f1", form));
        let writes = answer["writes"].as_array().unwrap();
        assert_eq!(writes.len(), 1, "{answer}");
        let rows = writes[0]["replace_rows"]["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        for row in rows {
            assert_eq!((&row["visited_at"], &row["received_at"]), (&json!(null), &json!(null)));
        }
    }

    #[test]
    fn the_feature_adds_a_column_with_the_minutes() {
        let mut form = form("XFormInstance", XMLNS);
        form["form"]["meta"]["timeStart"] = json!("2026-02-03T09:48:00Z");
        let answer = harness().process_one(Fixture::present("f1", form));
        let row = &answer["writes"][0]["replace_rows"]["rows"][0];
        let expected = cfg!(feature = "duration").then(|| json!(12));
        assert_eq!(row.get("minutes").cloned(), expected);
    }

    #[test]
    fn a_form_that_is_gone_or_archived_loses_its_rows() {
        let removed = json!({"writes": [{"delete_rows": {"table": "visits"}}]});
        let fixtures = [
            Fixture::deleted("f1"),
            Fixture::present("f1", form("XFormArchived", XMLNS)),
            Fixture::present("f1", form("XFormInstance-Deleted", XMLNS)).marked_deleted(),
        ];
        assert_eq!(harness().process(fixtures), [removed.clone(), removed.clone(), removed]);
    }

    #[test]
    fn other_forms_are_skipped_and_what_is_no_form_fails_alone() {
        let answers = harness().process([
            Fixture::present("f1", form("XFormInstance", "http://openrosa.example/other")),
            Fixture::bytes("f2", "{"),
            Fixture::missing("f3"),
            Fixture::deleted("f4"),
        ]);
        assert_eq!(answers[0], json!({"skip": "another kind of form"}));
        assert_eq!(answers[1]["failed"]["kind"], "invalid-input");
        assert_eq!(answers[1]["failed"]["message"], "EOF while parsing an object at line 1 column 1");
        assert_eq!(answers[2]["failed"]["kind"], "document-missing");
        assert_eq!(answers[2]["failed"]["retry_can_help"], true);
        assert_eq!(answers[3], json!({"writes": [{"delete_rows": {"table": "visits"}}]}));
    }

    #[test]
    fn the_settings_name_the_tables() {
        let harness: Harness<VisitRows> = Harness::configure(json!({"xmlns": XMLNS, "table": "v"})).unwrap();
        let description = harness.description();
        assert_eq!(description["tables"][0]["name"], "v");
        assert_eq!(description["tables"][1]["name"], "last_v");
    }

    #[test]
    fn all_that_is_wrong_with_the_settings_is_said_at_once() {
        let problems = |config| {
            let problems = Harness::<VisitRows>::configure(config).unwrap_err();
            problems.iter().map(|problem| format!("{}: {}", problem.path(), problem.message())).collect::<Vec<_>>()
        };
        assert_eq!(
            problems(json!({"xmlns": "", "table": "t", "last-table": "t"})),
            ["xmlns: must name the kind of form", "last-table: must differ from the table of visits"]
        );
        assert!(problems(json!({"xmlns": XMLNS, "tabel": "t"}))[0].starts_with(": unknown field `tabel`"));
    }
}
