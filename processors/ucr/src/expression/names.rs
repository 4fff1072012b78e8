//! The names that expressions have in configurations.

use super::lists::ListOperation;
use super::lookups::LookUp;
use super::{DateOperation, Expression};

impl Expression {
    /// The name of its type; where several are compiled to the same, that of the plainest.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Constant(_) => "constant",
            Self::Property { .. } | Self::ComputedProperty { .. } => "property_name",
            Self::Path { .. } => "property_path",
            Self::Conditional { .. } => "conditional",
            Self::Switch { .. } => "switch",
            Self::ArrayIndex { .. } => "array_index",
            Self::SplitString { .. } => "split_string",
            Self::Iterator { .. } => "iterator",
            Self::Nested { .. } => "nested",
            Self::Dict { .. } => "dict",
            Self::RootDocument(_) => "root_doc",
            Self::IterationNumber => "base_iteration_number",
            Self::Coalesce { .. } => "coalesce",
            Self::Named(_) => "named",
            Self::Date { operation, .. } => operation.type_name(),
            Self::Now => "utcnow",
            Self::List { operation, .. } => operation.type_name(),
            Self::Evaluator { .. } => "evaluator",
            Self::JsonPath { .. } => "jsonpath",
            Self::LookUp(look_up) => look_up.type_name(),
        }
    }
}

impl DateOperation {
    fn type_name(self) -> &'static str {
        match self {
            Self::AddDays => "add_days",
            Self::AddHours => "add_hours",
            Self::AddMonths => "add_months",
            Self::MonthStart => "month_start_date",
            Self::MonthEnd => "month_end_date",
            Self::DiffDays => "diff_days",
            Self::ToEthiopian => "gregorian_date_to_ethiopian_date",
            Self::FromEthiopian => "ethiopian_date_to_gregorian_date",
        }
    }
}

impl ListOperation {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Filter(_) => "filter_items",
            Self::Map(_) => "map_items",
            Self::Reduce(_) => "reduce_items",
            Self::Flatten => "flatten",
            Self::Sort { .. } => "sort_items",
        }
    }
}

impl LookUp {
    fn type_name(&self) -> &'static str {
        match self {
            Self::RelatedDocument { .. } => "related_doc",
            Self::CaseForms { .. } => "get_case_forms",
            Self::Subcases { .. } => "get_subcases",
            Self::CaseSharingGroups { .. } => "get_case_sharing_groups",
            Self::ReportingGroups { .. } => "get_reporting_groups",
            Self::LocationType { .. } => "location_type_name",
            Self::AncestorLocation { .. } => "ancestor_location",
        }
    }
}
