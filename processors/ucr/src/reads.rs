//! What of a document a data source reads, found from its compiled configuration.
//!
//! It may be more than what is read in the end, never less: whatever looks at a document as a whole, or may do so, makes
//! it be read as a whole.

use crate::expression::{Expression, ListOperation, LookUp};
use crate::filter::Filter;
use crate::indicator::{Indicator, Kind};
use crate::value::Reads;

/// What an expression or filter is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Document,
    /// What another expression gave, which notes itself what it takes from the document.
    Derived,
}

impl Item {
    fn note<N: AsRef<str>>(self, path: &[N], reads: &mut Reads) {
        if self == Self::Document {
            reads.add(path);
        }
    }

    fn note_name(self, name: &str, reads: &mut Reads) {
        self.note(&[name], reads);
    }

    fn note_whole(self, reads: &mut Reads) {
        self.note::<&str>(&[], reads);
    }
}

impl Expression {
    pub(crate) fn note_reads(&self, item: Item, reads: &mut Reads) {
        match self {
            Self::Constant(_) | Self::IterationNumber | Self::Now => {}
            Self::Identity | Self::JsonPath { .. } => item.note_whole(reads),
            Self::Property { name, .. } => item.note_name(name, reads),
            Self::Path { path, .. } => item.note(path, reads),
            Self::ComputedProperty { name, .. } => {
                name.note_reads(item, reads);
                item.note_whole(reads);
            }
            Self::Conditional { test, if_true, if_false } => {
                test.note_reads(item, reads);
                if_true.note_reads(item, reads);
                if_false.note_reads(item, reads);
            }
            Self::Switch { on, cases, default } => {
                on.note_reads(item, reads);
                cases.iter().for_each(|(_, case)| case.note_reads(item, reads));
                default.note_reads(item, reads);
            }
            Self::ArrayIndex { array, index } => {
                array.note_reads(item, reads);
                index.note_reads(item, reads);
            }
            Self::SplitString { text, index, .. } => {
                text.note_reads(item, reads);
                index.iter().for_each(|index| index.note_reads(item, reads));
            }
            Self::Iterator { expressions, test } => {
                expressions.iter().for_each(|expression| expression.note_reads(item, reads));
                test.iter().for_each(|test| test.note_reads(Item::Derived, reads));
            }
            Self::Nested { argument, value } => {
                argument.note_reads(item, reads);
                value.note_reads(Item::Derived, reads);
            }
            Self::Dict { properties } => {
                properties.iter().for_each(|(_, expression)| expression.note_reads(item, reads));
            }
            // Of a related document, too, where the root is another.
            Self::RootDocument(expression) => expression.note_reads(Item::Document, reads),
            Self::Coalesce { expression, default } => {
                expression.note_reads(item, reads);
                default.note_reads(item, reads);
            }
            Self::Named(expression) => expression.note_reads(item, reads),
            Self::Date { arguments, .. } => {
                arguments.iter().for_each(|argument| argument.note_reads(item, reads));
            }
            Self::List { items, operation } => {
                items.note_reads(item, reads);
                match &**operation {
                    ListOperation::Filter(filter) => filter.note_reads(Item::Derived, reads),
                    ListOperation::Map(expression) | ListOperation::Sort { key: expression, .. } => {
                        expression.note_reads(Item::Derived, reads);
                    }
                    ListOperation::Reduce(_) | ListOperation::Flatten => {}
                }
            }
            Self::Evaluator { program, variables, .. } => {
                if variables.is_empty() {
                    item.note_whole(reads);
                }
                variables.iter().for_each(|(_, variable)| variable.note_reads(item, reads));
                if program.may_reach_document() {
                    Item::Document.note_whole(reads);
                }
            }
            Self::LookUp(look_up) => look_up.note_reads(item, reads),
        }
    }
}

impl LookUp {
    fn note_reads(&self, item: Item, reads: &mut Reads) {
        match self {
            Self::RelatedDocument { id, value, .. } => {
                id.note_reads(item, reads);
                value.note_reads(Item::Derived, reads);
            }
            Self::CaseForms { case: key, .. }
            | Self::Subcases { case: key }
            | Self::CaseSharingGroups { user: key }
            | Self::ReportingGroups { user: key }
            | Self::LocationType { location: key } => key.note_reads(item, reads),
            Self::AncestorLocation { location, location_type, .. } => {
                location.note_reads(item, reads);
                location_type.note_reads(item, reads);
            }
        }
    }
}

impl Filter {
    pub(crate) fn note_reads(&self, item: Item, reads: &mut Reads) {
        match self {
            Self::Always(_) => {}
            Self::Compare { input, reference, .. } => {
                input.note_reads(item, reads);
                reference.note_reads(item, reads);
            }
            Self::PropertyEquals { name, .. } => item.note_name(name, reads),
            Self::Search { input, .. } => input.note_reads(item, reads),
            Self::And(filters) | Self::Or(filters) => filters.iter().for_each(|filter| filter.note_reads(item, reads)),
            Self::Not(filter) => filter.note_reads(item, reads),
            Self::Named(filter) => filter.note_reads(item, reads),
        }
    }
}

impl Indicator {
    pub(crate) fn note_reads(&self, item: Item, reads: &mut Reads) {
        match &self.kind {
            Kind::Expression { expression, .. } => expression.note_reads(item, reads),
            Kind::Boolean(filter) => filter.note_reads(item, reads),
            Kind::Choices { property, choices, .. } => {
                property.note_reads(item, reads);
                choices.iter().for_each(|choice| choice.note_reads(item, reads));
            }
            Kind::Ledger { case, .. } => case.note_reads(item, reads),
            Kind::Count | Kind::InsertedAt | Kind::Iteration => {}
        }
    }
}
