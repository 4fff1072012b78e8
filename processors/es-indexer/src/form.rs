//! The document of a form, as the form index holds it.

use std::borrow::Cow;

use crate::build;
use crate::case_block::{self, WalkError};
use crate::date::is_date;
use crate::geo;
use crate::lookups::Lookups;
use crate::object::{self, Edit, Edits, Object};
use crate::user_type::user_type;
use crate::version_text;

/// What phones send about themselves, not about people.
const DEVICE_REPORT: &str = "http://code.javarosa.org/devicereport";

/// What the configuration says about forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The `backend_id` of a form that names none.
    pub backend_id: String,
    /// The look-up for users by id.
    pub user_lookup: Option<String>,
    /// The look-up for builds of apps by id.
    pub build_lookup: Option<String>,
}

/// Why a form is not indexed at all; none when it is.
pub fn reason_to_skip(document: &Object<'_>) -> Option<&'static str> {
    let is_null = |name| matches!(document.get(name), None | Some("null"));
    if is_null("domain") {
        Some("form without domain")
    } else if is_null("form") {
        Some("form without content")
    } else if document.text("xmlns").as_deref() == Some(DEVICE_REPORT) {
        Some("device report")
    } else {
        None
    }
}

/// The document for the index.
///
/// # Errors
/// When the form is nested too deep.
pub fn transform(
    document: &Object<'_>,
    time: &str,
    settings: &Settings,
    lookups: &mut Lookups<'_, '_>,
) -> Result<String, WalkError> {
    let rewritten = case_block::rewrite(document.get("form").unwrap_or("null"))?;
    let form = Object::parse(&rewritten.form).ok();
    // A form without the usual block about its origin is indexed as it is.
    let meta = form.as_ref().and_then(|form| form.get("meta")).and_then(|meta| Object::parse(meta).ok());
    let user = meta.as_ref().and_then(|meta| meta.get("userID"));
    let user_type = user_type(user, settings.user_lookup.as_deref(), lookups);
    let mut new_form = String::new();
    match (&form, &meta) {
        (Some(form), Some(meta)) => {
            let mut new_meta = String::new();
            meta.write(&meta_edits(meta, document, settings, lookups), &mut new_meta);
            form.write(&[("meta", Edit::Set(Cow::Owned(new_meta)))], &mut new_form);
        }
        _ => new_form.push_str(&rewritten.form),
    }
    let mut edits = vec![
        ("form", Edit::Set(Cow::Owned(new_form))),
        ("user_type", Edit::text(user_type)),
        ("inserted_at", Edit::text(time)),
        ("__retrieved_case_ids", Edit::Set(Cow::Owned(serde_json::Value::from(rewritten.case_ids).to_string()))),
    ];
    if document.get("backend_id").is_none() {
        edits.push(("backend_id", Edit::text(&settings.backend_id)));
    }
    let mut out = String::new();
    document.write(&edits, &mut out);
    Ok(out)
}

fn meta_edits(
    meta: &Object<'_>,
    document: &Object<'_>,
    settings: &Settings,
    lookups: &mut Lookups<'_, '_>,
) -> Edits<'static> {
    let mut edits = Vec::with_capacity(6);
    for name in ["timeStart", "timeEnd"] {
        if !meta.text(name).is_some_and(|time| is_date(&time)) {
            edits.push((name, Edit::NULL));
        }
    }
    let mut app_version = meta.get("appVersion");
    if let Some(Ok(object)) = app_version.filter(|value| value.starts_with('{')).map(Object::parse) {
        app_version = object.get("#text");
        edits.push(("appVersion", Edit::Set(Cow::Owned(app_version.unwrap_or("null").to_owned()))));
    }
    let app_version = app_version.and_then(object::text);
    let commcare_version = app_version.as_deref().and_then(version_text::commcare_version);
    edits.push(("commcare_version", commcare_version.map_or(Edit::NULL, Edit::text)));
    let build_version = build::version(document, app_version.as_deref(), settings.build_lookup.as_deref(), lookups);
    edits.push((
        "app_build_version",
        build_version.map_or(Edit::NULL, |version| Edit::Set(Cow::Owned(version.to_string()))),
    ));
    let point = meta.text("location").and_then(|location| geo::point(&location));
    edits.push(("geo_point", point.map_or(Edit::NULL, |point| Edit::Set(Cow::Owned(point)))));
    edits
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::lookups::{Find, Want, nothing};

    fn settings() -> Settings {
        Settings { backend_id: "sql".to_owned(), user_lookup: None, build_lookup: Some("build".to_owned()) }
    }

    fn indexed_with(document: &Value, find: Find<'_, '_>) -> (Value, Vec<Want>) {
        let text = document.to_string();
        let mut lookups = Lookups::new(find);
        let out = transform(&Object::parse(&text).unwrap(), "T", &settings(), &mut lookups).unwrap();
        (serde_json::from_str(&out).unwrap(), lookups.into_wants())
    }

    fn indexed(document: &Value) -> Value {
        indexed_with(document, &nothing).0
    }

    fn meta_of(meta: &Value) -> Value {
        indexed(&json!({"form": {"meta": meta}}))["form"]["meta"].clone()
    }

    fn check_skip(document: &Value, expected: Option<&str>) {
        let text = document.to_string();
        assert_eq!(reason_to_skip(&Object::parse(&text).unwrap()), expected, "{document}");
    }

    #[test]
    fn device_reports_and_forms_without_domain_or_content_are_skipped() {
        check_skip(&json!({"domain": "d", "form": {}, "xmlns": DEVICE_REPORT}), Some("device report"));
        check_skip(&json!({"domain": null, "form": {}}), Some("form without domain"));
        check_skip(&json!({"form": {}}), Some("form without domain"));
        check_skip(&json!({"domain": "d", "form": null}), Some("form without content"));
        check_skip(&json!({"domain": "d", "form": {}, "xmlns": "x"}), None);
    }

    #[test]
    fn the_text_about_the_app_is_read() {
        // Acceptance case 87.
        let meta = meta_of(&json!({"appVersion": r#"version "2.27.2"(414569). App v56. 2.27. Build 414569"#}));
        assert_eq!((&meta["commcare_version"], &meta["app_build_version"]), (&json!("2.27.2"), &json!(56)));
        let meta = meta_of(&json!({"appVersion": "not an app version"}));
        assert_eq!((&meta["commcare_version"], &meta["app_build_version"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn the_text_about_the_app_may_stand_in_an_object() {
        let meta = meta_of(&json!({"appVersion": {"#text": "version \"2.2.0\"(6121). App v303.", "@xmlns": "x"}}));
        assert_eq!(meta["appVersion"], "version \"2.2.0\"(6121). App v303.");
        assert_eq!((&meta["commcare_version"], &meta["app_build_version"]), (&json!("2.2.0"), &json!(303)));
        assert_eq!(meta_of(&json!({"appVersion": {}}))["appVersion"], Value::Null);
    }

    #[test]
    fn a_location_becomes_a_point() {
        // Acceptance case 89.
        let point = |meta: Value| meta_of(&meta)["geo_point"].clone();
        assert_eq!(point(json!({"location": "42.7 -21 0 0"})), json!({"lat": 42.7, "lon": -21}));
        assert_eq!(point(json!({})), Value::Null);
        assert_eq!(point(json!({"location": "not valid"})), Value::Null);
        assert_eq!(point(json!({"location": {"#text": "42.7 -21 0 0"}})), Value::Null);
    }

    #[test]
    fn times_that_are_none_become_null() {
        let meta = meta_of(&json!({"timeStart": "", "timeEnd": "2013-03-09T06:30:09.007000Z"}));
        assert_eq!((&meta["timeStart"], &meta["timeEnd"]), (&Value::Null, &json!("2013-03-09T06:30:09.007000Z")));
        let meta = meta_of(&json!({"timeStart": "yesterday"}));
        assert_eq!((&meta["timeStart"], &meta["timeEnd"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn the_form_gets_the_fields_of_the_index() {
        let document = json!({"form": {"meta": {"userID": "demo_user"}, "case": [{"@case_id": "é"}]}, "n": 1});
        let indexed = indexed(&document);
        assert_eq!(indexed["user_type"], "demo");
        assert_eq!(indexed["inserted_at"], "T");
        assert_eq!(indexed["backend_id"], "sql");
        assert_eq!(indexed["__retrieved_case_ids"], json!(["é"]));
        assert_eq!(indexed["n"], 1);
    }

    #[test]
    fn a_form_without_meta_or_of_another_shape_is_indexed_as_it_is() {
        for form in [json!({"a": 1}), json!("text"), json!([1]), json!({"meta": "x"}), json!({"meta": [{}]})] {
            let indexed = indexed(&json!({"form": form, "backend_id": "couch"}));
            assert_eq!(indexed["form"], form);
            assert_eq!((&indexed["user_type"], &indexed["backend_id"]), (&json!("unknown"), &json!("couch")));
        }
    }

    #[test]
    fn the_version_of_the_build_wins_over_the_text_and_that_over_the_form() {
        let document = |version: Value, text: &str| json!({"domain": "d", "build_id": "b", "version": version, "form": {"meta": {"appVersion": text}}});
        let version = |build: &str, document: &Value| {
            let builds = [build.as_bytes().to_vec()];
            indexed_with(document, &|lookup, key| ((lookup, key) == ("build", "b")).then_some(&builds)).0["form"]["meta"]["app_build_version"].clone()
        };
        let saved = r#"{"copy_of":"app","domain":"d","version":7}"#;
        assert_eq!(version(saved, &document(json!("2"), "CommCare App v65.")), 7);
        for other in [
            r#"{"copy_of":"app","domain":"other","version":7}"#,
            r#"{"copy_of":null,"domain":"d","version":7}"#,
            r#"{"domain":"d","version":7}"#,
            r#"{"copy_of":"app","domain":"d","version":"seven"}"#,
            "{",
        ] {
            assert_eq!(version(other, &document(json!("2"), "CommCare App v65.")), 65, "{other}");
            assert_eq!(version(other, &document(json!("2"), "")), 2, "{other}");
        }
        for nothing in [json!("1"), json!(1), json!(null), json!(""), json!("x"), json!([2])] {
            assert_eq!(version("{}", &document(nothing, "")), Value::Null);
        }
    }

    #[test]
    fn the_build_and_the_user_are_wanted_once_each_in_one_round() {
        let document = json!({"domain": "d", "build_id": "b", "form": {"meta": {"userID": "u"}}});
        let settings = Settings { user_lookup: Some("user".to_owned()), ..settings() };
        let mut lookups = Lookups::new(&nothing);
        transform(&Object::parse(&document.to_string()).unwrap(), "T", &settings, &mut lookups).unwrap();
        let wants: Vec<_> = lookups.into_wants().into_iter().map(|want| (want.lookup, want.key)).collect();
        assert_eq!(wants, [("user".to_owned(), "u".to_owned()), ("build".to_owned(), "b".to_owned())]);
    }
}
