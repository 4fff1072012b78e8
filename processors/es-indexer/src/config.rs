//! The configuration: read strictly, with every problem at once.

use serde_json::{Map, Value};

use crate::mapping::{self, FieldKind};
use crate::{case, case_search, domain, form, plain, user};

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The index that is written.
    pub index: String,
    /// What documents are made into.
    pub profile: Profile,
}

/// The kinds of documents that this processor knows.
#[derive(Debug, Clone, PartialEq)]
pub enum Profile {
    /// Forms.
    Form(form::Settings),
    /// Cases.
    Case(case::Settings),
    /// Cases, to be found by any of their properties.
    CaseSearch(case_search::Settings),
    /// Users.
    User(user::Settings),
    /// Domains.
    Domain(domain::Settings),
    /// Applications and their builds.
    App,
    /// Groups, as they are.
    Group,
    /// Groups, as what they say of their members.
    GroupMembers,
    /// Text messages, as they are.
    Sms,
    /// Anything, as it is.
    Plain(plain::Settings),
}

/// Something wrong in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A path into the configuration; empty for the whole of it.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Keys that every profile has.
const COMMON: [&str; 2] = ["profile", "index"];

/// Profiles with the keys that they add.
const PROFILES: [(&str, &[&str]); 10] = [
    ("form", &["backend_id", "user_lookup", "build_lookup"]),
    ("case", &["backend_id", "user_lookup", "drop_form_fields"]),
    ("case-search", &["domains", "except_domains", "domain_lookup", "geo_properties"]),
    ("user", &["group_lookup", "shared"]),
    ("domain", &["subscription_lookup"]),
    ("app", &[]),
    ("group", &[]),
    ("group-members", &[]),
    ("sms", &[]),
    ("plain", &["fields", "dynamic"]),
];

impl Config {
    /// Reads a configuration from its JSON.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(json: &[u8]) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader { keys: Map::new(), problems: Vec::new() };
        match serde_json::from_slice(json) {
            Ok(Value::Object(keys)) => reader.keys = keys,
            Ok(other) => {
                reader.problem(
                    "",
                    format!("must be an object such as {{\"profile\": \"case\", …}}, not {}", kind(&other)),
                );
            }
            Err(error) => reader.problem("", format!("is no JSON: {error}")),
        }
        if !reader.problems.is_empty() {
            return Err(reader.problems);
        }
        reader.config()
    }

    /// The mapping of the index.
    pub fn mapping(&self) -> String {
        match &self.profile {
            Profile::Form(_) => mapping::FORM.to_owned(),
            Profile::Case(_) => mapping::CASE.to_owned(),
            Profile::CaseSearch(_) => mapping::CASE_SEARCH.to_owned(),
            Profile::User(_) => mapping::USER.to_owned(),
            Profile::Domain(_) => mapping::DOMAIN.to_owned(),
            Profile::App => mapping::APP.to_owned(),
            Profile::Group => mapping::GROUP.to_owned(),
            Profile::GroupMembers => mapping::GROUP_MEMBERS.to_owned(),
            Profile::Sms => mapping::SMS.to_owned(),
            Profile::Plain(settings) => mapping::plain(settings),
        }
    }

    /// The fields of the index that are written, where it is shared with other processors.
    pub fn owned_fields(&self) -> Option<Vec<String>> {
        match &self.profile {
            Profile::User(settings) => settings.owned_fields.clone(),
            Profile::GroupMembers => Some(mapping::top_level(mapping::GROUP_MEMBERS)),
            _ => None,
        }
    }

    /// The look-ups that it asks for.
    pub fn lookups(&self) -> Vec<String> {
        let (users, builds) = match &self.profile {
            Profile::Form(settings) => (&settings.user_lookup, &settings.build_lookup),
            Profile::Case(settings) => (&settings.user_lookup, &None),
            Profile::CaseSearch(settings) => (&settings.domain_lookup, &None),
            Profile::User(settings) => (&settings.group_lookup, &None),
            Profile::Domain(settings) => (&settings.subscription_lookup, &None),
            Profile::App | Profile::Group | Profile::GroupMembers | Profile::Sms | Profile::Plain(_) => (&None, &None),
        };
        let mut lookups: Vec<String> = users.iter().chain(builds).cloned().collect();
        lookups.dedup();
        lookups
    }
}

/// Takes known keys out of the configuration; what is left then is unknown.
struct Reader {
    keys: Map<String, Value>,
    problems: Vec<Problem>,
}

impl Reader {
    fn config(mut self) -> Result<Config, Vec<Problem>> {
        let index = self.index();
        let profile_name = self.profile_name();
        let profile = profile_name.map(|name| match name {
            "form" => Profile::Form(form::Settings {
                backend_id: self.text("backend_id").unwrap_or_else(|| "sql".to_owned()),
                user_lookup: self.text("user_lookup"),
                build_lookup: self.text("build_lookup"),
            }),
            "case" => Profile::Case(case::Settings {
                backend_id: self.text("backend_id").unwrap_or_else(|| "sql".to_owned()),
                user_lookup: self.text("user_lookup"),
                form_fields: match self.flag("drop_form_fields") {
                    true => case::FormFields::Drop,
                    false => case::FormFields::Keep,
                },
            }),
            "case-search" => Profile::CaseSearch(case_search::Settings {
                domains: self.domains(),
                domain_lookup: self.text("domain_lookup"),
                geo_properties: self.texts("geo_properties").unwrap_or_default(),
            }),
            "user" => Profile::User(self.user()),
            "domain" => Profile::Domain(domain::Settings { subscription_lookup: self.text("subscription_lookup") }),
            "app" => Profile::App,
            "group" => Profile::Group,
            "group-members" => Profile::GroupMembers,
            "sms" => Profile::Sms,
            _ => Profile::Plain(plain::Settings {
                fields: self.fields(),
                unlisted: match self.flag("dynamic") {
                    true => plain::Unlisted::Dynamic,
                    false => plain::Unlisted::SourceOnly,
                },
            }),
        });
        self.refuse_the_rest(profile_name);
        match (index, profile) {
            (Some(index), Some(profile)) if self.problems.is_empty() => Ok(Config { index, profile }),
            _ => Err(self.problems),
        }
    }

    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), message: message.into() });
    }

    fn profile_name(&mut self) -> Option<&'static str> {
        let names = || PROFILES.map(|(name, _)| format!("\"{name}\"")).join(", ");
        let Some(value) = self.keys.remove("profile") else {
            self.problem("profile", format!("is missing: it must be one of {}", names()));
            return None;
        };
        let name = PROFILES.iter().find(|(name, _)| value.as_str() == Some(name)).map(|(name, _)| *name);
        if name.is_none() {
            self.problem("profile", format!("must be one of {}, not {value}", names()));
        }
        name
    }

    fn index(&mut self) -> Option<String> {
        if !self.keys.contains_key("index") {
            self.problem("index", "is missing: it must be the name of an index, such as \"cases-20230524\"");
            return None;
        }
        let name = self.text("index")?;
        let is_good = name.len() <= 255
            && !name.starts_with(['-', '_', '+', '.'])
            && !name.contains(|c: char| c.is_uppercase() || c.is_whitespace() || "\\/*?\"<>|,#:".contains(c));
        if !is_good {
            // The rules of Elasticsearch 8 for names of indices.
            self.problem(
                "index",
                format!(
                    "must be lower case, at most 255 bytes, without spaces and \\ / * ? \" < > | , # :, and not start \
                     with - _ + or a dot, not {name:?}"
                ),
            );
        }
        Some(name)
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.keys.remove(key)? {
            Value::String(text) if !text.is_empty() => Some(text),
            Value::String(_) => {
                self.problem(key, "must not be empty");
                None
            }
            other => {
                self.problem(key, format!("must be a text, not {}", kind(&other)));
                None
            }
        }
    }

    /// False when it is not there.
    fn flag(&mut self, key: &str) -> bool {
        match self.keys.remove(key) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(other) => {
                self.problem(key, format!("must be true or false, not {}", kind(&other)));
                false
            }
        }
    }

    fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.keys.remove(key)?;
        let texts = value.as_array().and_then(|items| {
            items.iter().map(|item| item.as_str().filter(|text| !text.is_empty()).map(str::to_owned)).collect()
        });
        if texts.is_none() {
            self.problem(key, "must be a list of texts that are not empty");
        }
        texts
    }

    fn user(&mut self) -> user::Settings {
        let group_lookup = self.text("group_lookup");
        let owned_fields = self.flag("shared").then(|| {
            let mut fields = mapping::top_level(mapping::USER);
            if group_lookup.is_none() {
                // Somebody else may say what groups a user is in.
                fields.retain(|field| !["__group_ids", "__group_names"].contains(&field.as_str()));
            }
            fields
        });
        user::Settings { group_lookup, owned_fields }
    }

    fn domains(&mut self) -> case_search::Domains {
        match (self.texts("domains"), self.texts("except_domains")) {
            (None, None) => case_search::Domains::All,
            (Some(domains), None) => case_search::Domains::Only(domains),
            (None, Some(domains)) => case_search::Domains::Except(domains),
            (Some(_), Some(_)) => {
                self.problem("except_domains", "must not be given beside `domains`");
                case_search::Domains::All
            }
        }
    }

    fn fields(&mut self) -> Vec<(String, FieldKind)> {
        let fields = match self.keys.remove("fields") {
            None => return Vec::new(),
            Some(Value::Object(fields)) => fields,
            Some(other) => {
                let message = format!("must be an object such as {{\"name\": \"text\"}}, not {}", kind(&other));
                self.problem("fields", message);
                return Vec::new();
            }
        };
        let mut known = Vec::with_capacity(fields.len());
        for (name, value) in &fields {
            let path = format!("fields.{name}");
            if name.split('.').any(str::is_empty) {
                self.problem(&path, "must be the name of a field, or names with single dots between them");
            } else if let Some(parent) = fields.keys().find(|parent| is_below(name, parent)) {
                self.problem(&path, format!("stands inside of `{parent}`, which is listed too"));
            }
            match value.as_str().and_then(FieldKind::of_name) {
                Some(field_kind) => known.push((name.clone(), field_kind)),
                None => {
                    let names = FieldKind::ALL.map(|(name, _)| format!("\"{name}\"")).join(", ");
                    self.problem(path, format!("must be one of {names}, not {value}"));
                }
            }
        }
        known
    }

    fn refuse_the_rest(&mut self, profile: Option<&'static str>) {
        for key in std::mem::take(&mut self.keys).into_iter().map(|(key, _)| key) {
            let owners: Vec<_> =
                PROFILES.iter().filter(|(_, keys)| keys.contains(&key.as_str())).map(|(name, _)| *name).collect();
            let message = match (owners.as_slice(), profile) {
                ([], Some(profile)) => format!("is unknown; profile \"{profile}\" has the keys {}", keys_of(profile)),
                ([], None) => "is unknown in every profile".to_owned(),
                // Without a profile nobody can say whether it is right.
                (_, None) => continue,
                (owners, Some(profile)) => {
                    let owners = owners.join("\" and \"");
                    format!("belongs to profile \"{owners}\", not to \"{profile}\"")
                }
            };
            self.problem(key, message);
        }
    }
}

fn keys_of(profile: &str) -> String {
    let own = PROFILES.iter().find(|(name, _)| *name == profile).map_or(&[][..], |(_, keys)| *keys);
    COMMON.iter().chain(own).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &str, expected: &[&str]) {
        let problems = Config::parse(config.as_bytes()).map_or_else(|problems| problems, |_| Vec::new());
        let problems: Vec<_> = problems.into_iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
        assert_eq!(problems, expected, "{config}");
    }

    #[test]
    fn the_least_configuration_has_the_defaults() {
        let config = Config::parse(br#"{"profile": "case", "index": "cases-1"}"#).unwrap();
        assert_eq!(config.index, "cases-1");
        let settings =
            case::Settings { backend_id: "sql".to_owned(), form_fields: case::FormFields::Keep, user_lookup: None };
        assert_eq!(config.profile, Profile::Case(settings));
        assert_eq!(config.lookups(), Vec::<String>::new());
    }

    #[test]
    fn every_key_is_heard() {
        let config =
            br#"{"profile": "form", "index": "f", "backend_id": "couch", "user_lookup": "u", "build_lookup": "b"}"#;
        let config = Config::parse(config).unwrap();
        assert_eq!(config.lookups(), ["u", "b"]);
        assert!(matches!(config.profile, Profile::Form(settings) if settings.backend_id == "couch"));
        let config = Config::parse(br#"{"profile": "case", "index": "c", "drop_form_fields": true}"#).unwrap();
        assert!(matches!(config.profile, Profile::Case(settings) if settings.form_fields == case::FormFields::Drop));
        let config = br#"{"profile": "plain", "index": "p", "dynamic": true, "fields": {"a.b": "date"}}"#;
        let Profile::Plain(settings) = Config::parse(config).unwrap().profile else { panic!("another profile") };
        assert_eq!(settings.fields, [("a.b".to_owned(), FieldKind::Date)]);
        assert_eq!(settings.unlisted, plain::Unlisted::Dynamic);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        check(
            r#"{"profile": "case", "index": "Cases", "backend_id": 7, "build_lookup": "b", "color": 1, "drop_form_fields": "yes", "user_lookup": ""}"#,
            &[
                "index: must be lower case, at most 255 bytes, without spaces and \\ / * ? \" < > | , # :, and not \
                 start with - _ + or a dot, not \"Cases\"",
                "backend_id: must be a text, not a number",
                "user_lookup: must not be empty",
                "drop_form_fields: must be true or false, not a text",
                "build_lookup: belongs to profile \"form\", not to \"case\"",
                "color: is unknown; profile \"case\" has the keys `profile`, `index`, `backend_id`, `user_lookup`, \
                 `drop_form_fields`",
            ],
        );
    }

    #[test]
    fn the_domains_of_case_search_are_listed_in_one_way() {
        check(
            r#"{"profile": "case-search", "index": "c", "domains": ["a"], "except_domains": [], "geo_properties": [""]}"#,
            &[
                "except_domains: must not be given beside `domains`",
                "geo_properties: must be a list of texts that are not empty",
            ],
        );
        let config = br#"{"profile": "case-search", "index": "c", "except_domains": ["a"], "domain_lookup": "l"}"#;
        let config = Config::parse(config).unwrap();
        assert_eq!(config.lookups(), ["l"]);
        let except = case_search::Domains::Except(vec!["a".to_owned()]);
        assert!(matches!(config.profile, Profile::CaseSearch(settings) if settings.domains == except));
    }

    #[test]
    fn a_shared_index_of_users_has_owned_fields() {
        let config =
            Config::parse(br#"{"profile": "user", "index": "u", "shared": true, "group_lookup": "g"}"#).unwrap();
        assert_eq!(config.lookups(), ["g"]);
        let owned = config.owned_fields().unwrap();
        assert!(owned.contains(&"__group_ids".to_owned()) && owned.contains(&"username".to_owned()), "{owned:?}");
        let config = Config::parse(br#"{"profile": "user", "index": "u", "shared": true}"#).unwrap();
        assert!(!config.owned_fields().unwrap().contains(&"__group_ids".to_owned()), "{config:?}");
        assert_eq!(Config::parse(br#"{"profile": "user", "index": "u"}"#).unwrap().owned_fields(), None);
    }

    #[test]
    fn fields_are_checked_one_by_one() {
        check(
            r#"{"profile": "plain", "index": "p", "fields": {"a": "keyword", "a.b": "date", "c": "string", ".": "date"}}"#,
            &[
                "fields..: must be the name of a field, or names with single dots between them",
                "fields.a.b: stands inside of `a`, which is listed too",
                "fields.c: must be one of \"keyword\", \"text\", \"date\", \"boolean\", \"long\", \"double\", \
                 \"geo_point\", \"object\", \"nested\", not \"string\"",
            ],
        );
        check(
            r#"{"profile": "plain", "index": "p", "fields": ["a"]}"#,
            &["fields: must be an object such as {\"name\": \"text\"}, not a list"],
        );
    }

    #[test]
    fn what_is_missing_is_named_with_what_would_be_right() {
        check(
            r#"{"fields": {}, "colour": 1}"#,
            &[
                "index: is missing: it must be the name of an index, such as \"cases-20230524\"",
                "profile: is missing: it must be one of \"form\", \"case\", \"case-search\", \"user\", \"domain\", \"app\", \"group\", \"group-members\", \"sms\", \"plain\"",
                "colour: is unknown in every profile",
            ],
        );
        check(
            r#"{"profile": "cases", "index": "c"}"#,
            &[
                "profile: must be one of \"form\", \"case\", \"case-search\", \"user\", \"domain\", \"app\", \"group\", \"group-members\", \"sms\", \"plain\", not \"cases\"",
            ],
        );
        check("[]", &[": must be an object such as {\"profile\": \"case\", …}, not a list"]);
        check("{", &[": is no JSON: EOF while parsing an object at line 1 column 1"]);
    }
}
