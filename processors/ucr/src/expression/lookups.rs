//! Expressions that look outside the document.

use super::Expression;
use crate::value::Value;
use crate::{Context, EvalError, LookUpKind, QueryKind};

#[derive(Debug)]
pub(crate) enum LookUp {
    RelatedDocument {
        /// A document of a type.
        kind: QueryKind,
        id: Expression,
        value: Expression,
    },
    /// Only forms of these namespaces; of any when there are none.
    CaseForms {
        case: Expression,
        xmlns: Vec<Value<'static>>,
    },
    Subcases {
        case: Expression,
    },
    CaseSharingGroups {
        user: Expression,
    },
    ReportingGroups {
        user: Expression,
    },
    LocationType {
        location: Expression,
    },
    AncestorLocation {
        location: Expression,
        location_type: Expression,
        property: Option<String>,
    },
}

/// A chain of more parents than this is taken for a cycle.
const MOST_ANCESTORS: usize = 100;

impl LookUp {
    pub(super) fn kind(&self) -> LookUpKind {
        match self {
            Self::RelatedDocument { .. } => LookUpKind::Documents,
            Self::CaseForms { .. } => LookUpKind::CaseForms,
            Self::Subcases { .. } => LookUpKind::Subcases,
            Self::CaseSharingGroups { .. } => LookUpKind::CaseSharingGroups,
            Self::ReportingGroups { .. } => LookUpKind::ReportingGroups,
            Self::LocationType { .. } | Self::AncestorLocation { .. } => LookUpKind::Locations,
        }
    }

    pub(super) fn evaluate<'a>(&self, item: &Value<'a>, context: &Context<'_, 'a>) -> Result<Value<'a>, EvalError> {
        let nothing = || Ok(Value::list(Vec::new()));
        match self {
            Self::RelatedDocument { kind, id, value } => {
                let id = id.evaluate(item, context)?;
                if !id.is_true() {
                    return Ok(Value::Null);
                }
                let document = of_domain(ask(kind, &id, context)?, context)?;
                value.evaluate(&document, &context.rooted(&document))
            }
            Self::CaseForms { case, xmlns } => {
                let case = case.evaluate(item, context)?;
                if !case.is_true() {
                    return nothing();
                }
                let mut forms = all_of_domain(&QueryKind::CaseForms, &case, context)?;
                if !xmlns.is_empty() {
                    forms.retain(|form| xmlns.contains(form.property("xmlns").unwrap_or(&Value::Null)));
                }
                Ok(Value::list(forms))
            }
            Self::Subcases { case } => {
                let case = case.evaluate(item, context)?;
                if case.is_true() {
                    all_of_domain(&QueryKind::Subcases, &case, context).map(Value::list)
                } else {
                    nothing()
                }
            }
            Self::CaseSharingGroups { user } => groups(&QueryKind::CaseSharingGroups, user, item, context),
            Self::ReportingGroups { user } => groups(&QueryKind::ReportingGroups, user, item, context),
            Self::LocationType { location } => {
                let id = location.evaluate(item, context)?;
                if !id.is_true() {
                    return Ok(Value::Null);
                }
                let location = location_of(&id, context)?;
                Ok(location.property("location_type").cloned().unwrap_or_default())
            }
            Self::AncestorLocation { location, location_type, property } => {
                let id = location.evaluate(item, context)?;
                let wanted = location_type.evaluate(item, context)?;
                let Some(ancestor) = ancestor(&id, &wanted, context)? else { return Ok(Value::Null) };
                Ok(match property {
                    Some(property) => ancestor.property(property).cloned().unwrap_or_default(),
                    None => without_lineage(&ancestor),
                })
            }
        }
    }
}

fn groups<'a>(
    kind: &QueryKind,
    user: &Expression,
    item: &Value<'a>,
    context: &Context<'_, 'a>,
) -> Result<Value<'a>, EvalError> {
    let user = user.evaluate(item, context)?;
    if !user.is_true() {
        return Ok(Value::list(Vec::new()));
    }
    domain(context)?;
    let groups = ask(kind, &user, context)?;
    Ok(if groups.as_list().is_some() { groups } else { Value::list(Vec::new()) })
}

/// The lowest location above this one whose type has that name.
fn ancestor<'a>(id: &Value<'a>, wanted: &Value<'a>, context: &Context<'_, 'a>) -> Result<Option<Value<'a>>, EvalError> {
    // The original keeps what it finds under both, also for no location.
    hashable(id)?;
    hashable(wanted)?;
    root_domain(context)?;
    if !id.is_true() {
        return Ok(None);
    }
    let mut location = location_of(id, context)?;
    for _ in 0..MOST_ANCESTORS {
        let parent = match location.property("parent_location_id") {
            Some(parent) if parent.is_true() => parent.clone(),
            _ => return Ok(None),
        };
        location = location_of(&parent, context)?;
        if location.is_null() {
            return Ok(None);
        }
        if location.property("location_type").is_some_and(|name| name == wanted) {
            return Ok(Some(location));
        }
    }
    Err(EvalError::limit("a location with too many ancestors"))
}

fn without_lineage<'a>(location: &Value<'a>) -> Value<'a> {
    let Some(dict) = location.as_dict().filter(|dict| dict.get("lineage").is_some()) else { return location.clone() };
    let kept = dict.iter().filter(|(key, _)| key.as_str() != Some("lineage"));
    Value::dict(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// A location; null where there is none, or the root document is of no domain.
fn location_of<'a>(id: &Value<'a>, context: &Context<'_, 'a>) -> Result<Value<'a>, EvalError> {
    hashable(id)?;
    if !root_domain(context)?.is_true() {
        return Ok(Value::Null);
    }
    of_domain(ask(&QueryKind::Location, id, context)?, context)
}

/// The domain of the root document, be it empty.
fn root_domain<'c, 'a>(context: &Context<'c, 'a>) -> Result<&'c Value<'a>, EvalError> {
    let root = context.root.ok_or_else(|| EvalError::Attribute("a look-up needs a root document".into()))?;
    root.property("domain").ok_or_else(|| EvalError::Missing("the root document has no domain".into()))
}

/// The domain of the root document, which every look-up but those of locations needs.
fn domain<'c, 'a>(context: &Context<'c, 'a>) -> Result<&'c Value<'a>, EvalError> {
    let domain = root_domain(context)?;
    if domain.is_true() { Ok(domain) } else { Err(EvalError::Value("the root document's domain is empty".into())) }
}

fn ask<'a>(kind: &QueryKind, key: &Value<'_>, context: &Context<'_, 'a>) -> Result<Value<'a>, EvalError> {
    domain(context)?;
    hashable(key)?;
    context.world.look_up(kind, &key.as_text())
}

/// What is looked up is remembered by its key, which lists and objects cannot be.
fn hashable(key: &Value<'_>) -> Result<(), EvalError> {
    match key {
        Value::List(_) | Value::Dict(_) | Value::Set(_) => {
            Err(EvalError::type_error(format!("a {} is no key of a look-up", key.type_name())))
        }
        _ => Ok(()),
    }
}

/// The document, or null when it belongs to another domain.
fn of_domain<'a>(document: Value<'a>, context: &Context<'_, 'a>) -> Result<Value<'a>, EvalError> {
    let is_ours = document.property("domain") == Some(domain(context)?);
    Ok(if is_ours { document } else { Value::Null })
}

fn all_of_domain<'a>(
    kind: &QueryKind,
    key: &Value<'_>,
    context: &Context<'_, 'a>,
) -> Result<Vec<Value<'a>>, EvalError> {
    let ours = domain(context)?;
    let found = ask(kind, key, context)?;
    let documents = found.as_list().unwrap_or_default();
    Ok(documents.iter().filter(|document| document.property("domain") == Some(ours)).cloned().collect())
}
