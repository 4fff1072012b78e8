//! Write pillowtop processors in Rust.
//!
//! A processor is a pure function in a sandbox: a change and its document in, [`Write`]s out. It performs no I/O; the
//! host fetches the documents and does the writes, in bulk and with retries. Implement [`Processor`], export it with
//! [`export_processor!`], and build the crate as a `cdylib` for `wasm32-unknown-unknown`; the file that comes out is
//! what a manifest names.
//!
//! ```
//! use std::borrow::Cow;
//! use pillowtop_sdk::{Absence, Answer, Batch, Change, Config, Description, Error, Index, Problem, Processor, Write};
//! use serde::{Deserialize, Serialize};
//!
//! struct People;
//!
//! // Borrowed: what the form says is neither copied nor built up as a tree.
//! #[derive(Deserialize, Serialize)]
//! struct Person<'a> {
//!     #[serde(borrow)]
//!     name: Cow<'a, str>,
//! }
//!
//! impl Processor for People {
//!     fn configure(_config: Config<'_>) -> Result<(Self, Description), Vec<Problem>> {
//!         let mapping = br#"{"properties":{"name":{"type":"text"}}}"#;
//!         Ok((Self, Description::new().index(Index::new("people", mapping))))
//!     }
//!
//!     fn process(&mut self, _batch: &Batch<'_>, change: &Change<'_>) -> Result<Answer, Error> {
//!         if change.document() == Err(Absence::Deleted) {
//!             return Ok(Answer::write(Write::delete("people")));
//!         }
//!         let person: Person<'_> = change.parse()?;
//!         Ok(Answer::write(Write::index("people", &person)?))
//!     }
//! }
//!
//! pillowtop_sdk::export_processor!(People);
//! ```
//!
//! # What is not there
//!
//! A processor has no clock and no random numbers, so that a replay answers as the first run did. [`Batch::time`] is
//! the time; `std::time::SystemTime::now` and `Instant::now` panic. Crates that need `getrandom` (`rand`, `ahash` with
//! its default features, `uuid` version 4) do not compile for this target; derive ids from the change instead, for
//! instance by hashing. There are no threads, no files and no environment either.
//!
//! # Features
//!
//! * `allocator` (default): a size-class allocator as the crate's global allocator on wasm32, 13–20 % faster than
//!   Rust's own where trees such as `serde_json::Value` are built. Turn it off to bring your own.
//! * `panic-log` (default): a panic is logged with the change it happened at. It makes the module import `log`, which
//!   the manifest then has to grant. Without it, and without a call of [`log`], the module imports nothing at all.

#![warn(missing_docs)]

// The generated export macro names the crate as its users do, also when it expands in here.
extern crate self as pillowtop_sdk;

mod answer;
#[doc(hidden)]
pub mod bindings;
mod change;
mod describe;
mod error;
pub mod log;
pub mod lookup;
mod rows;
mod runtime;
mod value;
mod write;

#[cfg(any(test, all(target_arch = "wasm32", feature = "allocator")))]
mod allocator;
#[cfg(any(test, target_arch = "wasm32"))]
mod memory;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use answer::{Answer, Writes};
pub use change::{Absence, Batch, Change};
pub use describe::{Column, ColumnKind, Config, Description, Index, Problem, Table, TableChange};
pub use error::{Error, ErrorKind};
pub use rows::Rows;
pub use value::{Row, Value};
pub use write::{Condition, DeleteWrite, IndexWrite, MergeWrite, Write};

/// A processor. One value of it exists per instance; an instance serves one thread and is replaced after a trap, or
/// when it holds too much memory, so state kept in `self` may only ever be a cache.
pub trait Processor: Sized + 'static {
    /// Reads the configuration, which is the `config` table of the manifest as JSON, and says what this processor
    /// reads and writes. Called once, before anything else.
    ///
    /// # Errors
    /// All that is wrong with the configuration, at once. What keeps only one part from running belongs into
    /// [`Description::problem`] instead: the other parts run then.
    fn configure(config: Config<'_>) -> Result<(Self, Description), Vec<Problem>>;

    /// Called before the changes of each batch.
    fn begin(&mut self, batch: &Batch<'_>) {
        let _ = batch;
    }

    /// Answers one change.
    ///
    /// # Errors
    /// The change is parked with what the error says; the other changes of the batch are not touched by it. Any
    /// `std::error::Error` becomes "invalid input" through `?`.
    fn process(&mut self, batch: &Batch<'_>, change: &Change<'_>) -> Result<Answer, Error>;

    /// Called after the changes of each batch.
    fn end(&mut self, batch: &Batch<'_>) {
        let _ = batch;
    }
}

/// Exports a type that implements [`Processor`] as the crate's processor; once per crate. On other targets than wasm32
/// it only checks that the type is one, so that the crate can be tested natively.
#[macro_export]
macro_rules! export_processor {
    ($processor:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Export = $crate::private::Export<$processor>;
            $crate::private::export_bindings!(Export);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = $crate::private::assert_processor::<$processor>();
    };
}

/// What the macro needs; not for anybody else.
#[doc(hidden)]
pub mod private {
    pub use crate::bindings;
    pub use crate::bindings::export_bindings;
    pub use crate::runtime::Export;
    pub use wit_bindgen;

    /// Compiles for a processor and for nothing else.
    pub const fn assert_processor<P: crate::Processor>() {}
}

// Compiles and runs what the guide shows, word for word.
#[cfg(doctest)]
#[doc = include_str!("../../docs/writing-a-processor.md")]
mod guide {}
