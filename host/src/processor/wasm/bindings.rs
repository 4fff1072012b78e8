//! The contract in Rust types, generated from the WIT file. Parameters borrow, so that a document is copied once: from
//! the host's bytes into the guest's memory.

wasmtime::component::bindgen!({
    path: "../guest-sdk/wit",
    world: "processor",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { default: trappable },
});
