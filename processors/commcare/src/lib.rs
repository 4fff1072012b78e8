//! What processors of CommCare's documents share: reading JSON without building it up, look-ups, and what texts mean.
//!
//! It knows neither the host nor any sink, and does not panic, whatever a document is.

pub mod lookups;
pub mod object;

pub mod build;
pub mod date;
pub mod geo;
pub mod version_text;
