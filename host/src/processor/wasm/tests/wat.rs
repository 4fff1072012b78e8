//! Guests written by hand in the text form of WASM: they do what no SDK would let them do, and compile in no time.

use std::fmt::Write as _;
use std::path::Path;

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A core module with the exports of a processor. As it stands, it declares nothing and skips every change.
pub(super) struct Guest {
    /// Imports beside `log` and `lookup`.
    pub(super) imports: String,
    /// What `configure` does before it answers.
    pub(super) configure: String,
    /// What `process` does before it answers.
    pub(super) process: String,
    /// Bytes at addresses.
    pub(super) data: Vec<(u32, Vec<u8>)>,
    /// The version of the contract that it was built for.
    pub(super) version: &'static str,
}

/// Where the answer of `configure` lies: a `result`, all zero for an empty description.
pub(super) const CONFIGURED: u32 = 1024;
/// Where the outcomes lie, 20 bytes each, all zero for a skip without words.
pub(super) const OUTCOMES: u32 = 4096;
/// From here on nothing of the frame lies, up to 64 KiB.
pub(super) const FREE: u32 = 16384;
/// A text of one mebibyte, full of spaces when a guest fills it.
pub(super) const LARGE: u32 = 1 << 20;

impl Default for Guest {
    fn default() -> Self {
        let text = String::new;
        Self { imports: text(), configure: text(), process: text(), data: Vec::new(), version: "0.1.0" }
    }
}

impl Guest {
    /// A guest whose `process` first does `code`.
    pub(super) fn process(code: &str) -> Self {
        Self { process: code.to_owned(), ..Self::default() }
    }

    /// Little-endian words at an address.
    pub(super) fn words(mut self, at: u32, words: &[u32]) -> Self {
        self.data.push((at, words.iter().flat_map(|word| word.to_le_bytes()).collect()));
        self
    }

    /// Bytes at an address.
    pub(super) fn bytes(mut self, at: u32, bytes: &[u8]) -> Self {
        self.data.push((at, bytes.to_vec()));
        self
    }

    /// Declares one index, named `forms`.
    pub(super) fn with_index(self) -> Self {
        let (index, name, mapping) = (FREE - 1024, FREE - 512, FREE - 256);
        let description = [0, 0, 0, index, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        self.words(CONFIGURED, &description)
            .words(index, &[name, 5, 0, 0, 0, mapping, 2, 0, 0])
            .bytes(name, b"forms")
            .bytes(mapping, b"{}")
    }

    /// Answers the first change with `writes` times the same write of the document at `document` into the index whose
    /// name is at `name`.
    pub(super) fn indexing(self, writes: u32, name: (u32, u32), document: (u32, u32)) -> Self {
        let list = LARGE * 4;
        let write = [0, name.0, name.1, 0, 0, 0, document.0, document.1, 0, 0, 0];
        let all: Vec<u32> = (0..writes).flat_map(|_| write).collect();
        self.words(OUTCOMES, &[1, list, writes, 0, 0]).words(list, &all)
    }

    /// The core module.
    pub(super) fn module(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.text()).unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/wit/processor.wit");
        let contract = std::fs::read_to_string(path).unwrap().replace("@0.1.0", &format!("@{}", self.version));
        let mut resolve = Resolve::default();
        let package = resolve.push_source("processor.wit", &contract).unwrap();
        let world = resolve.select_world(&[package], Some("processor")).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        module
    }

    /// The same without the types of its world, as a compiler writes it that knows nothing of the SDK.
    pub(super) fn untyped(&self) -> Vec<u8> {
        wat::parse_str(self.text()).unwrap()
    }

    fn text(&self) -> String {
        let Self { imports, configure, process, version, .. } = self;
        let mut data = String::new();
        for (at, bytes) in &self.data {
            let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
            writeln!(data, r#"(data (i32.const {at}) "{escaped}")"#).unwrap();
        }
        format!(
            r#"(module
              (import "pillowtop:processor/log@{version}" "write" (func $log (param i32 i32 i32 i32 i32)))
              (import "pillowtop:processor/lookup@{version}" "fetch" (func $fetch (param i32 i32 i32 i32 i32)))
              {imports}
              (memory (export "memory") 128)
              {data}
              ;; Allocation starts behind everything that lies at a fixed place, and never frees.
              (global $next (mut i32) (i32.const {heap}))
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                global.get $next
                global.get $next  local.get 3  i32.add  i32.const 7  i32.add  i32.const -8  i32.and  global.set $next)
              (func $recurse (param i32) (result i32)
                local.get 0  i32.const 1  i32.add  call $recurse  i32.const 1  i32.add)
              (func (export "pillowtop:processor/guest@{version}#configure") (param i32 i32 i32 i32) (result i32)
                {configure}
                i32.const {CONFIGURED})
              (func (export "pillowtop:processor/guest@{version}#process")
                (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                i32.const 2048  i32.const {OUTCOMES}  i32.store
                i32.const 2052  local.get 7  i32.store
                {process}
                i32.const 2048))"#,
            heap = LARGE * 6,
        )
    }
}
