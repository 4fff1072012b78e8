//! What a form or a log of a sync says about its user's phone.

use commcare::lookups::Lookups;
use commcare::object::{self, Object};
use commcare::{build, version_text};
use jiff::Timestamp;

use crate::config::{Config, Profile};
use crate::moment;

/// Ids of users that are nobody's: the system, demonstrations, and what old phones sent.
const NOBODY: [&str; 7] =
    ["commtrack-system", "demo_user", "demo_user_group_id", "-", "system", "_archive_", "callcenter-system"];

/// A phone sent a form, or fetched its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The project space.
    pub domain: String,
    /// Whose phone.
    pub user_id: String,
    /// Which app; the empty text for none, so that it can be part of a key.
    pub app_id: String,
    /// When the server heard of it.
    pub at: Timestamp,
    /// The phone.
    pub device_id: Option<String>,
    /// The build of the app.
    pub build_id: Option<String>,
    /// Its version.
    pub build_version: Option<i32>,
    /// The version of CommCare; a sync does not say.
    pub commcare_version: Option<String>,
    /// Whether the user is one who has phones.
    pub has_devices: bool,
}

/// A saved build that forms are sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedBuild {
    /// The project space.
    pub domain: String,
    /// The build.
    pub build_id: String,
}

/// What a document tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The build that is in use, of forms only.
    pub used_build: Option<UsedBuild>,
    /// The event, or why there is none.
    pub event: Result<Event, &'static str>,
}

/// Reads a document.
pub fn read(document: &Object<'_>, domain: Option<&str>, config: &Config, lookups: &mut Lookups<'_, '_>) -> Told {
    let own_domain = document.text("domain");
    let domain = own_domain.as_deref().or(domain).filter(|domain| !domain.is_empty());
    match config.profile {
        Profile::Form => {
            let used_build = used_build(document, domain, config, lookups);
            Told { used_build, event: submission(document, domain, config, lookups) }
        }
        Profile::Sync => Told { used_build: None, event: sync(document, domain, config, lookups) },
    }
}

fn used_build(
    document: &Object<'_>,
    domain: Option<&str>,
    config: &Config,
    lookups: &mut Lookups<'_, '_>,
) -> Option<UsedBuild> {
    let domain = domain?.to_owned();
    build::of_document(document, config.build_lookup.as_deref(), lookups)?;
    Some(UsedBuild { domain, build_id: text(document, "build_id")? })
}

fn submission(
    document: &Object<'_>,
    domain: Option<&str>,
    config: &Config,
    lookups: &mut Lookups<'_, '_>,
) -> Result<Event, &'static str> {
    let form = document.get("form").and_then(|form| Object::parse(form).ok());
    let meta = form.as_ref().and_then(|form| form.get("meta")).and_then(|meta| Object::parse(meta).ok());
    let user_id = meta.as_ref().and_then(|meta| text(meta, "userID")).ok_or("no user")?;
    if NOBODY.contains(&user_id.as_str()) {
        return Err("a user that is nobody's");
    }
    let domain = checked_domain(domain, config)?;
    let received_on = document.text("received_on").filter(|text| !text.is_empty()).ok_or("not received")?;
    let at = moment::parse(&received_on).ok_or("received at no date")?;
    let user = user(&user_id, config, lookups)?;

    let app_version = meta.as_ref().and_then(app_version);
    Ok(Event {
        domain: domain.to_owned(),
        user_id,
        app_id: text(document, "app_id").unwrap_or_default(),
        at,
        device_id: meta.as_ref().and_then(|meta| text(meta, "deviceID")),
        build_id: text(document, "build_id"),
        build_version: build::version(document, app_version.as_deref(), config.build_lookup.as_deref(), lookups),
        commcare_version: app_version.as_deref().and_then(version_text::commcare_version).map(str::to_owned),
        has_devices: user == User::OfPhones,
    })
}

fn sync(
    document: &Object<'_>,
    domain: Option<&str>,
    config: &Config,
    lookups: &mut Lookups<'_, '_>,
) -> Result<Event, &'static str> {
    let user_id = text(document, "user_id").ok_or("no user")?;
    let domain = checked_domain(domain, config)?;
    let at = document.text("date").and_then(|date| moment::parse(&date)).ok_or("synced at no date")?;
    let user = user(&user_id, config, lookups)?;
    Ok(Event {
        domain: domain.to_owned(),
        user_id,
        app_id: text(document, "app_id").unwrap_or_default(),
        at,
        device_id: text(document, "device_id"),
        build_id: text(document, "build_id"),
        build_version: build::saved_version(document, config.build_lookup.as_deref(), lookups),
        commcare_version: None,
        has_devices: user == User::OfPhones,
    })
}

fn checked_domain<'d>(domain: Option<&'d str>, config: &Config) -> Result<&'d str, &'static str> {
    let domain = domain.ok_or("no domain")?;
    if config.skip_domains.iter().any(|skipped| skipped == domain) { Err("a domain to skip") } else { Ok(domain) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum User {
    OfPhones,
    OfTheWeb,
}

/// Without a look-up everybody counts.
fn user(id: &str, config: &Config, lookups: &mut Lookups<'_, '_>) -> Result<User, &'static str> {
    let Some(lookup) = config.user_lookup.as_deref() else {
        return Ok(User::OfPhones);
    };
    let Some(user) = lookups.first(lookup, id) else {
        // Also while it is still to be looked up: then nothing is done with this answer.
        return Err("no such user");
    };
    match user.text("doc_type").as_deref() {
        Some("CommCareUser") => Ok(User::OfPhones),
        Some(doc_type) if doc_type.ends_with("-Deleted") => Err("no such user"),
        _ => Ok(User::OfTheWeb),
    }
}

/// The text about the software, which may stand in an object.
fn app_version(meta: &Object<'_>) -> Option<String> {
    let value = meta.get("appVersion")?;
    let inner = Object::parse(value).ok();
    object::text(inner.as_ref().map_or(Some(value), |inner| inner.get("#text"))?).map(|text| text.into_owned())
}

/// A text that is there and not empty.
fn text(object: &Object<'_>, name: &str) -> Option<String> {
    object.text(name).filter(|text| !text.is_empty()).map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use commcare::lookups::{Want, nothing};
    use serde_json::{Value, json};

    use super::*;

    fn config(json: &Value) -> Config {
        Config::parse(json.to_string().as_bytes()).unwrap()
    }

    fn form() -> Value {
        json!({
            "domain": "d", "app_id": "a", "build_id": "b", "version": "2", "received_on": "2017-02-05T00:00:00.000000Z",
            "form": {"meta": {"userID": "u", "deviceID": "device-id", "appVersion": "CommCare \"2.27.8\" (414593)"}},
        })
    }

    fn told(config: &Config, document: &Value) -> Told {
        let text = document.to_string();
        read(&Object::parse(&text).unwrap(), None, config, &mut Lookups::new(&nothing))
    }

    fn check_nothing(change: impl FnOnce(&mut Value), expected: &str) {
        let mut form = form();
        change(&mut form);
        assert_eq!(told(&config(&json!({"profile": "form"})), &form).event, Err(expected), "{form}");
    }

    #[test]
    fn a_form_is_a_submission() {
        // Acceptance case 76.
        let expected = Event {
            domain: "d".to_owned(),
            user_id: "u".to_owned(),
            app_id: "a".to_owned(),
            at: "2017-02-05T00:00:00Z".parse().unwrap(),
            device_id: Some("device-id".to_owned()),
            build_id: Some("b".to_owned()),
            build_version: Some(2),
            commcare_version: Some("2.27.8".to_owned()),
            has_devices: true,
        };
        assert_eq!(told(&config(&json!({"profile": "form"})), &form()).event, Ok(expected));
    }

    #[test]
    fn what_is_nobody_s_or_at_no_time_is_nothing() {
        for nobody in NOBODY {
            check_nothing(|form| form["form"]["meta"]["userID"] = json!(nobody), "a user that is nobody's");
        }
        check_nothing(|form| form["form"]["meta"]["userID"] = Value::Null, "no user");
        check_nothing(|form| form["form"]["meta"] = Value::Null, "no user");
        check_nothing(|form| form["form"] = json!("text"), "no user");
        check_nothing(|form| form["domain"] = Value::Null, "no domain");
        // Acceptance case 78.
        check_nothing(|form| form["received_on"] = json!("bad-date"), "received at no date");
        check_nothing(|form| form["received_on"] = Value::Null, "not received");
    }

    #[test]
    fn a_form_s_domain_may_be_known_from_its_change_alone_and_may_be_skipped() {
        let mut form = form();
        form["domain"] = Value::Null;
        let text = form.to_string();
        let form = Object::parse(&text).unwrap();
        let of = |config: &Config| read(&form, Some("d"), config, &mut Lookups::new(&nothing)).event;
        assert_eq!(of(&config(&json!({"profile": "form"}))).unwrap().domain, "d");
        assert_eq!(of(&config(&json!({"profile": "form", "skip_domains": ["d"]}))), Err("a domain to skip"));
    }

    #[test]
    fn a_user_who_is_not_there_has_no_events_and_one_of_the_web_no_devices() {
        let config = config(&json!({"profile": "form", "user_lookup": "users"}));
        let of = |user: &[Vec<u8>]| {
            let text = form().to_string();
            let find = |_: &str, _: &str| Some(user);
            // The look-up's answers live as long as the form here.
            read(&Object::parse(&text).unwrap(), None, &config, &mut Lookups::new(&find)).event
        };
        assert_eq!(of(&[]), Err("no such user"));
        assert_eq!(of(&[br#"{"doc_type":"CommCareUser-Deleted"}"#.to_vec()]), Err("no such user"));
        assert!(of(&[br#"{"doc_type":"CommCareUser"}"#.to_vec()]).unwrap().has_devices);
        assert!(!of(&[br#"{"doc_type":"WebUser"}"#.to_vec()]).unwrap().has_devices);
    }

    #[test]
    fn all_that_is_to_be_looked_up_is_asked_for_at_once() {
        let config = config(&json!({"profile": "form", "user_lookup": "users", "build_lookup": "builds"}));
        let text = form().to_string();
        let mut lookups = Lookups::new(&nothing);
        let told = read(&Object::parse(&text).unwrap(), None, &config, &mut lookups);
        assert!(told.event.is_err());
        let want = |lookup: &str, key: &str| Want { lookup: lookup.to_owned(), key: key.to_owned() };
        assert_eq!(lookups.into_wants(), [want("builds", "b"), want("users", "u")]);
    }

    #[test]
    fn a_build_counts_as_used_when_it_is_one_of_the_domain_also_for_nobody_s_forms() {
        // Acceptance case 80.
        let config = config(&json!({"profile": "form", "build_lookup": "builds"}));
        let mut form = form();
        form["form"]["meta"]["userID"] = json!("demo_user");
        let text = form.to_string();
        let of = |build: &[Vec<u8>]| {
            let find = |_: &str, _: &str| Some(build);
            read(&Object::parse(&text).unwrap(), None, &config, &mut Lookups::new(&find)).used_build
        };
        let used = Some(UsedBuild { domain: "d".to_owned(), build_id: "b".to_owned() });
        assert_eq!(of(&[br#"{"domain":"d"}"#.to_vec()]), used);
        assert_eq!(of(&[br#"{"domain":"other"}"#.to_vec()]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_log_of_a_sync_is_a_sync() {
        let log = json!({
            "_id": "s", "doc_type": "SimplifiedSyncLog", "user_id": "u", "domain": "d", "app_id": "a",
            "date": "2017-02-05T10:00:00.000000Z", "build_id": "b", "device_id": "x",
        });
        let event = told(&config(&json!({"profile": "sync"})), &log).event.unwrap();
        assert_eq!((event.app_id.as_str(), event.device_id.as_deref()), ("a", Some("x")));
        assert_eq!((event.build_version, event.commcare_version), (None, None));
        for (name, expected) in [("user_id", "no user"), ("domain", "no domain"), ("date", "synced at no date")] {
            let mut log = log.clone();
            log[name] = json!("");
            assert_eq!(told(&config(&json!({"profile": "sync"})), &log).event, Err(expected));
        }
    }
}
