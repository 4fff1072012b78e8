//! Finds the data sources that a document concerns, without asking the others.

use std::collections::HashMap;

use ucr::DataSource;
use ucr::data_source::DOC_TYPES;
use ucr::value::{Reads, Value};

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
    /// What these read of a document, and those of `any` with those of a subtype.
    read_by_any: Reads,
    read_by_subtype: HashMap<String, Reads>,
}

/// What a change says of its document, before that is read: its domain, its type, and its case type or namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced<'a> {
    pub(crate) domain: Option<&'a str>,
    pub(crate) doc_type: Option<&'a str>,
    pub(crate) subtype: Option<&'a str>,
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
        for group in dispatch.domains.values_mut().flat_map(HashMap::values_mut) {
            group.note_reads(sources);
        }
        dispatch
    }

    /// What has to be read of a document; none when it has to be read as a whole, because less is announced of it.
    pub(crate) fn reads(&self, announced: Announced<'_>) -> Option<&Reads> {
        let group = self.domains.get(announced.domain?)?.get(announced.doc_type?)?;
        if !has_subtypes(announced.doc_type) {
            return Some(&group.read_by_any);
        }
        // Where it announces none, all are asked.
        let subtype = announced.subtype.filter(|subtype| !subtype.is_empty())?;
        Some(group.read_by_subtype.get(subtype).unwrap_or(&group.read_by_any))
    }

    /// Whether a document that was read in part is what was announced.
    pub(crate) fn is_as_announced(document: &Value<'_>, announced: Announced<'_>) -> bool {
        let text = |name| document.property(name).and_then(Value::as_str);
        let is_it = text("domain") == announced.domain && text("doc_type") == announced.doc_type;
        is_it && (!has_subtypes(announced.doc_type) || subtype(document, announced.doc_type) == announced.subtype)
    }

    pub(crate) fn has_domain(&self, domain: &str) -> bool {
        self.domains.contains_key(domain)
    }

    /// Those that may take the document, and those that may have rows of it, in their order: of the latter the ones for
    /// the subtype that the change announces, or all where it announces none. The domain is that of the change, also
    /// when the document is of another one by now.
    pub(crate) fn concerned(&self, document: &Value<'_>, announced: Announced<'_>) -> Vec<usize> {
        let text = |name| document.property(name).and_then(Value::as_str);
        let domain = announced.domain.or_else(|| text("domain"));
        let Some(types) = domain.and_then(|domain| self.domains.get(domain)) else { return Vec::new() };
        let doc_type = text("doc_type").map(living).filter(|doc_type| DOC_TYPES.contains(doc_type));
        let groups: Vec<&Group> = match doc_type {
            Some(doc_type) => types.get(doc_type).into_iter().collect(),
            // It may have been of any type.
            None => types.values().collect(),
        };
        let mut concerned = Vec::new();
        for group in groups {
            concerned.extend_from_slice(&group.any);
            match (announced.subtype.filter(|subtype| !subtype.is_empty()), subtype(document, doc_type)) {
                (Some(announced), Some(subtype)) => {
                    concerned.extend([announced, subtype].iter().filter_map(|of| group.by_subtype.get(*of)).flatten());
                }
                // Whatever it was before, it may have had rows.
                _ => concerned.extend(group.by_subtype.values().flatten()),
            }
        }
        concerned.sort_unstable();
        concerned.dedup();
        concerned
    }
}

impl Group {
    fn note_reads(&mut self, sources: &[DataSource]) {
        let of = |indexes: &[usize]| {
            let mut reads = Reads::default();
            for source in indexes.iter().filter_map(|index| sources.get(*index)) {
                reads.merge(&source.reads());
            }
            reads
        };
        self.read_by_any = of(&self.any);
        for (subtype, indexes) in &self.by_subtype {
            let mut reads = of(indexes);
            reads.merge(&self.read_by_any);
            self.read_by_subtype.insert(subtype.clone(), reads);
        }
    }
}

fn has_subtypes(doc_type: Option<&str>) -> bool {
    matches!(doc_type, Some("CommCareCase" | "XFormInstance"))
}

/// The case type or form namespace of a document.
fn subtype<'d>(document: &'d Value<'_>, doc_type: Option<&str>) -> Option<&'d str> {
    let property = match doc_type {
        Some("CommCareCase") => "type",
        Some("XFormInstance") => "xmlns",
        _ => return None,
    };
    document.property(property).and_then(Value::as_str)
}

/// The type that a document has while it is neither archived nor deleted nor replaced.
fn living(doc_type: &str) -> &str {
    match doc_type.trim_end_matches("-Deleted") {
        "XFormArchived" | "XFormDeprecated" | "XFormDuplicate" | "XFormError" | "SubmissionErrorLog" => "XFormInstance",
        other => other,
    }
}
