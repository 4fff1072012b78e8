//! The embedded search index.

mod extract;
mod index;
mod live;
mod mapping;
pub mod merge;
mod sink;
mod storage;
mod values;

pub use mapping::Mapping;
pub use sink::SearchSink;
mod parse;
