//! Documents that are indexed as they are.

use crate::mapping::FieldKind;

/// What the configuration says about plain documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The fields that can be searched, by name; dots lead into objects.
    pub fields: Vec<(String, FieldKind)>,
    /// What happens to the others.
    pub unlisted: Unlisted,
}

/// What happens to fields that the configuration does not list. They are always part of the stored document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlisted {
    /// The index finds out their types from the first document that has them.
    Dynamic,
    /// They cannot be searched.
    SourceOnly,
}
