//! What `wit-bindgen` makes of the contract; hidden, so that the SDK's own words are the only ones an author sees.

wit_bindgen::generate!({
    path: "wit",
    world: "processor",
    runtime_path: "::pillowtop_sdk::private::wit_bindgen::rt",
    pub_export_macro: true,
    export_macro_name: "export_bindings",
    default_bindings_module: "::pillowtop_sdk::private::bindings",
});
