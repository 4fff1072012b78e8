//! Fuzzes configurations with documents.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use ucr_fuzz::{mutate, properties};

fuzz_target!(|input: &str| properties::rows(input));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::json(data, size, max_size, seed) });
