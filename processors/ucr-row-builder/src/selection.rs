//! Which data sources a pillow takes, where several pillows or hosts share them.

use std::collections::BTreeSet;

use pillowtop_sdk::Problem;
use ucr::DataSource;
use ucr::names::division;
use ucr::value::Value;

/// The settings that choose among the data sources, as the original has them.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// These table ids alone.
    include: Option<BTreeSet<String>>,
    /// Not these table ids.
    exclude: BTreeSet<String>,
    /// The first and the last digit of the share.
    division: Option<(char, char)>,
    /// Not those of these domains, such as ones that are being migrated.
    exclude_domains: BTreeSet<String>,
    /// Those for these types of documents alone.
    doc_types: Option<BTreeSet<String>>,
}

impl Selection {
    /// # Errors
    ///
    /// Everything that is wrong with the settings.
    pub(crate) fn read(settings: &Value<'_>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut texts = |key: &str| texts(settings, key, &mut problems);
        let include = texts("include-ucrs");
        let exclude = texts("exclude-ucrs").unwrap_or_default();
        let exclude_domains = texts("exclude-domains").unwrap_or_default();
        let doc_types = texts("doc-types");
        let division = match settings.property("ucr-division") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let digits = value.as_str().and_then(range);
                if digits.is_none() {
                    let message = "must be two hexadecimal digits, the first and the last of the share, such as \"07\"";
                    problems.push(Problem::new("ucr-division", message));
                }
                digits
            }
        };
        if include.is_some() && division.is_some() {
            problems.push(Problem::new("ucr-division", "cannot be given together with include-ucrs"));
        }
        if problems.is_empty() {
            Ok(Self { include, exclude, division, exclude_domains, doc_types })
        } else {
            Err(problems)
        }
    }

    pub(crate) fn takes(&self, source: &DataSource) -> bool {
        let digit = division(&source.table_id);
        !self.exclude.contains(&source.table_id)
            && !self.exclude_domains.contains(&source.domain)
            && self.include.as_ref().is_none_or(|include| include.contains(&source.table_id))
            && self.doc_types.as_ref().is_none_or(|types| types.contains(&source.referenced_doc_type))
            && self.division.is_none_or(|(first, last)| (first..=last).contains(&digit))
    }
}

fn texts(settings: &Value<'_>, key: &str, problems: &mut Vec<Problem>) -> Option<BTreeSet<String>> {
    let value = settings.property(key).filter(|value| !matches!(value, Value::Null))?;
    let texts = value.as_list().map(|list| list.iter().map(|text| text.as_str().map(str::to_owned)));
    let texts: Option<BTreeSet<String>> = texts.and_then(Iterator::collect);
    if texts.is_none() {
        problems.push(Problem::new(key, "must be a list of texts"));
    }
    texts
}

/// Digits stand before letters, in this order, as in the original's comparison.
fn range(text: &str) -> Option<(char, char)> {
    let mut digits = text.chars();
    let (first, last) = (digits.next()?, digits.next()?);
    let is_digit = |digit: char| matches!(digit, '0'..='9' | 'a'..='f');
    (digits.next().is_none() && is_digit(first) && is_digit(last) && first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use pillowtop_sdk::testing::{Fixture, Harness};
    use serde_json::{Value, json};

    use crate::UcrRowBuilder;

    fn source(domain: &str, table_id: &str, doc_type: &str) -> Value {
        json!({"domain": domain, "referenced_doc_type": doc_type, "table_id": table_id})
    }

    /// The settings, and the table ids of the data sources that are taken.
    #[track_caller]
    fn check(settings: Value, expected: &[&str]) {
        // The MD5s of their ids begin with 0, 9, 8 and c.
        let mut config = json!({"data-sources": [
            source("d", "a", "XFormInstance"),
            source("d", "b", "XFormInstance"),
            source("e", "d", "XFormInstance"),
            source("d", "case", "CommCareCase"),
        ]});
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let mut harness = Harness::<UcrRowBuilder>::configure(config).unwrap();
        let mut taken = Vec::new();
        let answer = harness.process_one(Fixture::deleted("f"));
        for (domain, table_id) in [("d", "a"), ("d", "b"), ("e", "d"), ("d", "case")] {
            let delete = json!({"delete_rows": {"table": ucr::names::table_name(domain, table_id)}});
            if answer["writes"].as_array().is_some_and(|writes| writes.contains(&delete)) {
                taken.push(table_id);
            }
        }
        assert_eq!(taken, expected, "{settings}");
    }

    #[test]
    fn data_sources_are_included_and_excluded_by_their_table_ids() {
        check(json!({}), &["a", "b", "d", "case"]);
        check(json!({"include-ucrs": null, "exclude-ucrs": []}), &["a", "b", "d", "case"]);
        check(json!({"include-ucrs": ["a", "b", "x"]}), &["a", "b"]);
        check(json!({"include-ucrs": ["a", "b"], "exclude-ucrs": ["b"]}), &["a"]);
        check(json!({"include-ucrs": []}), &[]);
    }

    #[test]
    fn a_division_takes_those_whose_hash_begins_between_its_digits() {
        let digits: String = ["a", "b", "d", "case"].map(ucr::names::division).iter().collect();
        assert_eq!(digits, "098c");
        check(json!({"ucr-division": "08"}), &["a", "d"]);
        check(json!({"ucr-division": "9f"}), &["b", "case"]);
        check(json!({"ucr-division": "cc"}), &["case"]);
        check(json!({"ucr-division": "08", "exclude-ucrs": ["a"]}), &["d"]);
    }

    #[test]
    fn domains_and_types_of_documents_are_chosen() {
        check(json!({"exclude-domains": ["d"]}), &["d"]);
        check(json!({"doc-types": ["CommCareCase"]}), &["case"]);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let check = |settings: Value, expected: &[&str]| {
            let mut config = json!({"data-sources": []});
            config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
            let problems = Harness::<UcrRowBuilder>::configure(config).unwrap_err();
            assert_eq!(problems.iter().map(pillowtop_sdk::Problem::path).collect::<Vec<_>>(), expected, "{settings}");
        };
        check(json!({"include-ucrs": ["a"], "ucr-division": "0f"}), &["ucr-division"]);
        for division in [json!("0"), json!("f0"), json!("0g"), json!("0F"), json!("07f"), json!(7)] {
            check(json!({"ucr-division": division}), &["ucr-division"]);
        }
        check(json!({"include-ucrs": "a", "exclude-ucrs": [1]}), &["include-ucrs", "exclude-ucrs"]);
    }
}
