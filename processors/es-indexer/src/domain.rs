//! The document of a domain, as the domain index holds it.

use std::borrow::Cow;

use crate::countries;
use crate::lookups::Lookups;
use crate::object::{self, Edit, Object};

/// What the configuration says about domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The look-up for the active subscription of a domain, by the domain's name.
    pub subscription_lookup: Option<String>,
}

/// The document for the index.
pub fn transform(domain: &Object<'_>, settings: &Settings, lookups: &mut Lookups<'_, '_>) -> String {
    let deployment = domain.get("deployment").and_then(|deployment| Object::parse(deployment).ok());
    let codes = deployment.as_ref().and_then(|deployment| deployment.get("countries"));
    let countries = [("countries", Edit::Set(Cow::Owned(countries(codes))))];
    let mut new_deployment = String::new();
    match &deployment {
        Some(deployment) => deployment.write(&countries, &mut new_deployment),
        None => new_deployment.push_str(r#"{"countries":[]}"#),
    }
    let mut edits = vec![("deployment", Edit::Set(Cow::Owned(new_deployment)))];
    if let (Some(lookup), Some(name)) = (settings.subscription_lookup.as_deref(), domain.text("name")) {
        let subscription = lookups.first(lookup, &name);
        if let Some(edition) = subscription.as_ref().and_then(|subscription| subscription.get("edition")) {
            edits.push(("subscription", Edit::Set(Cow::Owned(edition.to_owned()))));
        }
    }
    let mut document = String::new();
    domain.write(&edits, &mut document);
    document
}

/// The names of countries in capitals, by their codes; what is no code stays as it is, in capitals.
fn countries(codes: Option<&str>) -> String {
    let codes = codes.and_then(|codes| object::items(codes).ok()).unwrap_or_default();
    let name = |code: &str| {
        let code = object::text(code)?;
        Some(object::quoted(&countries::name(&code).unwrap_or(&code).to_uppercase()))
    };
    format!("[{}]", codes.into_iter().filter_map(name).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::lookups::{Want, nothing};

    fn indexed(domain: &Value, subscription: Option<&[Vec<u8>]>) -> (Value, Vec<Want>) {
        let settings = Settings { subscription_lookup: Some("subscriptions".to_owned()) };
        let text = domain.to_string();
        let find = |_: &str, _: &str| subscription;
        let mut lookups = Lookups::new(&find);
        let document = transform(&Object::parse(&text).unwrap(), &settings, &mut lookups);
        (serde_json::from_str(&document).unwrap(), lookups.into_wants())
    }

    #[test]
    fn codes_of_countries_become_their_names_in_capitals() {
        let countries = |deployment: Value| indexed(&json!({"deployment": deployment}), None).0["deployment"].clone();
        let deployment = json!({"city": "Accra", "countries": ["GH", "CI", "xx", 7]});
        assert_eq!(countries(deployment), json!({"city": "Accra", "countries": ["GHANA", "CÔTE D'IVOIRE", "XX"]}));
        for none in [Value::Null, json!({}), json!({"countries": null}), json!("text")] {
            assert_eq!(countries(none), json!({"countries": []}));
        }
    }

    #[test]
    fn the_edition_is_that_of_the_active_subscription_if_there_is_one() {
        let domain = json!({"name": "clinic-a"});
        assert_eq!(indexed(&domain, None).1, [Want { lookup: "subscriptions".to_owned(), key: "clinic-a".to_owned() }]);
        let (document, _) = indexed(&domain, Some(&[br#"{"edition":"Pro"}"#.to_vec()]));
        assert_eq!(document["subscription"], "Pro");
        assert_eq!(indexed(&domain, Some(&[])).0.get("subscription"), None);
    }

    #[test]
    fn without_the_look_up_the_document_says_it_or_nobody() {
        let domain = r#"{"name":"d","subscription":"x","deployment":{"countries":[]}}"#;
        let settings = Settings { subscription_lookup: None };
        let document = transform(&Object::parse(domain).unwrap(), &settings, &mut Lookups::new(&nothing));
        assert_eq!(document, domain);
    }
}
