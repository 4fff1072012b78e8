//! Finds the data sources that a document concerns, without asking the others.

use std::collections::HashMap;

use ucr::DataSource;
use ucr::value::Value;

/// Data sources by domain, type of documents, and case type or form namespace.
#[derive(Debug, Default)]
pub(crate) struct Dispatch {
    domains: HashMap<String, HashMap<String, Group>>,
}

#[derive(Debug, Default)]
struct Group {
    /// Those whose filters do not say which case types or namespaces they want.
    any: Vec<usize>,
    by_subtype: HashMap<String, Vec<usize>>,
}

impl Dispatch {
    pub(crate) fn new(sources: &[DataSource]) -> Self {
        let mut dispatch = Self::default();
        for (index, source) in sources.iter().enumerate() {
            let subtypes =
                source.subtypes().map(|subtypes| subtypes.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
            for domain in source.domains() {
                let types = dispatch.domains.entry(domain.clone()).or_default();
                let group = types.entry(source.referenced_doc_type.clone()).or_default();
                match &subtypes {
                    Some(Some(subtypes)) => {
                        for subtype in subtypes {
                            let of_subtype = group.by_subtype.entry((*subtype).to_owned()).or_default();
                            // A filter may name one twice.
                            if of_subtype.last() != Some(&index) {
                                of_subtype.push(index);
                            }
                        }
                    }
                    _ => group.any.push(index),
                }
            }
        }
        dispatch
    }

    pub(crate) fn has_domain(&self, domain: &str) -> bool {
        self.domains.contains_key(domain)
    }

    /// Those that may take the document, and those that may have rows of it, in their order: of the latter the ones for
    /// the subtype that the change announces, or all where it announces none.
    pub(crate) fn concerned(&self, document: &Value<'_>, announced: Option<&str>) -> Vec<usize> {
        let text = |name| document.property(name).and_then(Value::as_str);
        let types = text("domain").and_then(|domain| self.domains.get(domain));
        let doc_type = text("doc_type").map(living);
        let Some(group) = types.zip(doc_type).and_then(|(types, doc_type)| types.get(doc_type)) else {
            return Vec::new();
        };
        let subtype = match doc_type {
            Some("CommCareCase") => document.property("type"),
            Some("XFormInstance") => document.property("xmlns"),
            _ => None,
        };
        let mut concerned = group.any.clone();
        match (announced.filter(|announced| !announced.is_empty()), subtype.and_then(Value::as_str)) {
            (Some(announced), Some(subtype)) => {
                concerned.extend([announced, subtype].iter().filter_map(|of| group.by_subtype.get(*of)).flatten());
            }
            // Whatever it was before, it may have had rows.
            _ => concerned.extend(group.by_subtype.values().flatten()),
        }
        concerned.sort_unstable();
        concerned.dedup();
        concerned
    }
}

/// The type that a document has while it is neither archived nor deleted nor replaced.
fn living(doc_type: &str) -> &str {
    if let Some(living) = doc_type.strip_suffix("-Deleted") {
        return living;
    }
    match doc_type {
        "XFormArchived" | "XFormDeprecated" | "XFormDuplicate" | "XFormError" | "SubmissionErrorLog" => "XFormInstance",
        other => other,
    }
}
