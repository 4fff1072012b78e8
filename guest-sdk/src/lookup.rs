//! Look-ups from within a call, for processors that cannot say beforehand what they need.

/// Asks a look-up for several keys at once; one list of documents per key, in order. The call waits for the store, so
/// prefer [`crate::Answer::need`], which the host fetches for the whole batch at once. The look-up has to be declared
/// in the description and granted in the manifest; otherwise the host ends the call.
pub fn fetch(lookup: &str, keys: &[&str]) -> Vec<Vec<Vec<u8>>> {
    imported(lookup, keys)
}

#[cfg(target_arch = "wasm32")]
fn imported(lookup: &str, keys: &[&str]) -> Vec<Vec<Vec<u8>>> {
    let keys: Vec<String> = keys.iter().copied().map(str::to_owned).collect();
    let answers = crate::bindings::pillowtop::processor::lookup::fetch(lookup, &keys);
    answers.into_iter().map(|answer| answer.documents).collect()
}

#[cfg(not(target_arch = "wasm32"))]
fn imported(lookup: &str, keys: &[&str]) -> Vec<Vec<Vec<u8>>> {
    crate::testing::answer(lookup, keys)
}
