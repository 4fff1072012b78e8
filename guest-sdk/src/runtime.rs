//! Between the exported functions and the author's trait: one outcome per change, and always a note of which change is
//! being processed, so that a panic can say it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::bindings::pillowtop::processor::types as raw;
use crate::{Batch, Config, Processor};

thread_local! {
    static BATCH: RefCell<Option<Rc<raw::Batch>>> = const { RefCell::new(None) };
    static INDEX: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The exports of a processor of type `P`.
#[derive(Debug)]
pub struct Export<P>(std::marker::PhantomData<P>);

/// The change that is being processed, as its place in the batch.
pub(crate) fn current_index() -> Option<u32> {
    INDEX.get()
}

/// Configures a processor.
pub(crate) fn configure<P: Processor>(config: Config<'_>) -> Result<(P, raw::Description), Vec<raw::Problem>> {
    match P::configure(config) {
        Ok((processor, description)) => Ok((processor, description.into_raw())),
        Err(problems) => Err(problems.into_iter().map(crate::Problem::into_raw).collect()),
    }
}

/// Processes a batch: one outcome for each change, in order.
pub(crate) fn process<P: Processor>(processor: &mut P, batch: raw::Batch) -> Vec<raw::Outcome> {
    let shared = Rc::new(batch);
    BATCH.set(Some(Rc::clone(&shared)));
    let batch = Batch::new(&shared);
    processor.begin(&batch);
    let mut outcomes = Vec::with_capacity(batch.len());
    for change in batch.changes() {
        INDEX.set(Some(change.index()));
        outcomes.push(match processor.process(&batch, &change) {
            Ok(answer) => answer.into_raw(),
            Err(error) => raw::Outcome::Failed(error.into_raw()),
        });
    }
    INDEX.set(None);
    processor.end(&batch);
    BATCH.set(None);
    outcomes
}

/// What a panic is logged as: its text and place, and the change it happened at.
#[cfg(any(test, all(target_arch = "wasm32", feature = "panic-log")))]
fn describe_panic(panic: &dyn std::fmt::Display) -> String {
    // A panic inside of the borrow cannot happen: nobody but `process` and this function touches the cell.
    let id = INDEX.get().and_then(|index| {
        let batch = BATCH.with_borrow(Clone::clone)?;
        batch.changes.get(usize::try_from(index).ok()?).map(|change| change.id.clone())
    });
    match (INDEX.get(), id) {
        (Some(index), Some(id)) => format!("{panic}; while processing change {index}, document {id}"),
        _ => format!("{panic}; outside of any change"),
    }
}

#[cfg(target_arch = "wasm32")]
mod wasm {
    use std::any::Any;
    use std::cell::RefCell;

    use super::{Export, raw};
    use crate::bindings::exports::pillowtop::processor::guest::Guest;
    use crate::{Config, Processor};

    thread_local! {
        // `dyn`, because a static cannot be generic; one downcast per batch.
        static PROCESSOR: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    }

    impl<P: Processor> Guest for Export<P> {
        fn configure(config: Vec<u8>, lookups: Vec<String>) -> Result<raw::Description, Vec<raw::Problem>> {
            #[cfg(feature = "panic-log")]
            std::panic::set_hook(Box::new(|panic| {
                // In one line, which the panic's own `Display` is not.
                let place = panic.location().map_or_else(|| "nowhere".to_owned(), ToString::to_string);
                let payload = panic.payload();
                let text = payload.downcast_ref::<&str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
                crate::log::error(super::describe_panic(&format_args!("panicked at {place}: {text}")));
            }));
            let (processor, description) = super::configure::<P>(Config::new(&config, Some(&lookups)))?;
            PROCESSOR.set(Some(Box::new(processor)));
            Ok(description)
        }

        fn process(batch: raw::Batch) -> Vec<raw::Outcome> {
            PROCESSOR.with_borrow_mut(|processor| {
                let processor = processor.as_mut().and_then(|processor| processor.downcast_mut::<P>());
                super::process(processor.expect("the host configures an instance before it calls it"), batch)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_described_with_the_change_it_happened_at() {
        assert_eq!(describe_panic(&"ouch"), "ouch; outside of any change");
        let change = raw::Change {
            id: "doc-7".to_owned(),
            source: 0,
            document_type: None,
            document_subtype: None,
            domain: None,
            revision: None,
            associated_id: None,
            deleted: false,
            attempts: 0,
            published_ms: None,
            document: raw::Document::Missing,
            found: Vec::new(),
        };
        let batch =
            raw::Batch { topic: String::new(), time: String::new(), symbols: Vec::new(), changes: vec![change] };
        BATCH.set(Some(Rc::new(batch)));
        INDEX.set(Some(0));
        assert_eq!(describe_panic(&"ouch"), "ouch; while processing change 0, document doc-7");
    }
}
