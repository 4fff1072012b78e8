//! Fuzzes patterns, searched and replaced.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ucr_fuzz::properties;

fuzz_target!(|input: &str| properties::regex(input));
