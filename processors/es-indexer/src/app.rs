//! The document of an application or of one of its builds, as the index of applications holds it.

use crate::object::{Edit, Object};

/// The document for the index.
pub fn transform(app: &Object<'_>, time: &str) -> String {
    let mut document = String::new();
    app.write(&[("@indexed_on", Edit::text(time))], &mut document);
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_says_when_it_was_indexed() {
        let app = Object::parse(r#"{"doc_type":"Application","version":7,"@indexed_on":"before"}"#).unwrap();
        assert_eq!(transform(&app, "T"), r#"{"doc_type":"Application","version":7,"@indexed_on":"T"}"#);
    }
}
