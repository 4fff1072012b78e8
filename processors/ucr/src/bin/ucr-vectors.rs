//! Runs test vectors: `ucr-vectors FILE… [--json]`.

fn main() {}
