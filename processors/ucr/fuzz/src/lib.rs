//! What the fuzz targets share: the properties that they try to break, seeds, and a mutator that knows JSON.

pub mod mutate;
pub mod properties;
pub mod seeds;
