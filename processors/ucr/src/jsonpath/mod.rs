//! Paths into documents, in the dialect of `jsonpath_ng.ext`.
