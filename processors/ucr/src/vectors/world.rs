//! The world outside the document as a vector describes it.

use crate::value::{Dict, Value};
use crate::{EvalError, QueryKind, World};

/// What exists beside a document: the `related_docs` of a vector.
#[derive(Debug)]
pub struct Related<'c, 'a>(pub &'c Value<'a>);

impl<'a> World<'a> for Related<'_, 'a> {
    fn look_up(&self, kind: &QueryKind, key: &str) -> Result<Value<'a>, EvalError> {
        let table = |name: &str| self.0.property(name).and_then(Value::as_dict);
        let entry = |name: &str, key: &str| table(name).and_then(|table: &Dict<'a>| table.get(key)).cloned();
        let found = match kind {
            QueryKind::Document { doc_type } => entry("documents", &format!("{doc_type}/{key}")).or_else(|| {
                // A related document of this type is a location like any other.
                if doc_type == "Location" { entry("locations", key) } else { None }
            }),
            QueryKind::Location => entry("locations", key),
            QueryKind::CaseForms => entry("case_forms", key),
            QueryKind::Subcases => entry("subcases", key),
            QueryKind::CaseSharingGroups | QueryKind::ReportingGroups if entry("users", key).is_none() => None,
            QueryKind::CaseSharingGroups => entry("case_sharing_groups", key),
            QueryKind::ReportingGroups => entry("reporting_groups", key),
            QueryKind::Ledgers => entry("ledgers", key),
            QueryKind::Products => {
                let products = self.0.property("products").and_then(Value::as_list).unwrap_or_default();
                let of_code = |product: &&Value<'a>| product.property("code").and_then(Value::as_str) == Some(key);
                Some(Value::list(products.iter().filter(of_code).cloned().collect()))
            }
            QueryKind::User => entry("users", key),
        };
        Ok(found.unwrap_or_default())
    }
}
