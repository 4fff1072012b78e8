//! A processor from a closure, for tests of everything that calls processors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Call, Fault, FaultKind, Instance, Lookups, Processor, StartError};
use crate::model::{Description, Digest, Item, Outcome};

type Process = dyn Fn(&Call<'_>, &dyn Lookups) -> Result<Vec<Outcome>, Fault> + Send + Sync;

/// A processor that runs in the host's own code. It is trusted: only the number of its outcomes is checked.
#[derive(Clone)]
pub struct NativeProcessor {
    description: Description,
    process: Arc<Process>,
    refuses: Option<String>,
    started: Arc<AtomicUsize>,
}

struct NativeInstance {
    process: Arc<Process>,
    lookups: Arc<dyn Lookups>,
    ended: bool,
}

impl NativeProcessor {
    /// A processor that answers whole calls, and may fault.
    pub fn new(
        description: Description,
        process: impl Fn(&Call<'_>, &dyn Lookups) -> Result<Vec<Outcome>, Fault> + Send + Sync + 'static,
    ) -> Self {
        let started = Arc::new(AtomicUsize::new(0));
        Self { description, process: Arc::new(process), refuses: None, started }
    }

    /// A processor that answers each change by itself; a fault is the whole call's, as a trap is.
    pub fn each(
        description: Description,
        process: impl Fn(&Item) -> Result<Outcome, Fault> + Send + Sync + 'static,
    ) -> Self {
        Self::new(description, move |call, _| call.items.iter().map(&process).collect())
    }

    /// The same, but no instance of it starts, for this reason.
    #[must_use]
    pub fn that_does_not_start(mut self, reason: impl Into<String>) -> Self {
        self.refuses = Some(reason.into());
        self
    }

    /// How many instances were started.
    pub fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }
}

impl Processor for NativeProcessor {
    fn description(&self) -> &Description {
        &self.description
    }

    fn digest(&self) -> Digest {
        Digest([0; 32])
    }

    fn start(&self, lookups: Arc<dyn Lookups>) -> Result<Box<dyn Instance>, StartError> {
        if let Some(reason) = &self.refuses {
            return Err(StartError::Start(reason.clone()));
        }
        self.started.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(NativeInstance { process: Arc::clone(&self.process), lookups, ended: false }))
    }
}

impl Instance for NativeInstance {
    fn process(&mut self, call: &Call<'_>) -> Result<Vec<Outcome>, Fault> {
        if self.ended {
            let message = "this instance ended with a fault before".to_owned();
            return Err(Fault { kind: FaultKind::Trap, message, last_log: None });
        }
        let answered = (self.process)(call, &*self.lookups).and_then(|outcomes| {
            let (asked, found) = (call.items.len(), outcomes.len());
            if found == asked {
                return Ok(outcomes);
            }
            let message = format!("processor gave {found} outcomes for {asked} changes");
            Err(Fault { kind: FaultKind::BadAnswer, message, last_log: None })
        });
        answered.inspect_err(|_| self.ended = true)
    }

    fn is_spent(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Change, Document, Position, Want};

    struct Nothing;

    impl Lookups for Nothing {
        fn fetch(&self, _: &[Want]) -> Result<Vec<Vec<bytes::Bytes>>, String> {
            Err("there is nothing".to_owned())
        }
    }

    fn items(ids: &[&str]) -> Vec<Item> {
        let item = |id: &&str| {
            let message = format!(r#"{{"document_id":"{id}","data_source_name":"s"}}"#);
            let change = Change::decode(message.as_bytes(), Position::number(0)).unwrap();
            Item { change: Arc::new(change), document: Document::Missing, found: Vec::new() }
        };
        ids.iter().map(item).collect()
    }

    fn call(instance: &mut dyn Instance, ids: &[&str]) -> Result<Vec<Outcome>, Fault> {
        let items = items(ids);
        instance.process(&Call { topic: "t", time: jiff::Timestamp::UNIX_EPOCH, items: &items })
    }

    #[test]
    fn a_closure_answers_until_it_faults() {
        let processor = NativeProcessor::each(Description::default(), |item| match &*item.change.key.id {
            "bad" => Err(Fault { kind: FaultKind::Trap, message: "bad".to_owned(), last_log: None }),
            id => Ok(Outcome::Skip(id.to_owned())),
        });
        let mut instance = processor.start(Arc::new(Nothing)).unwrap();
        assert_eq!(call(&mut *instance, &["a", "b"]).unwrap()[1], Outcome::Skip("b".to_owned()));
        assert!(!instance.is_spent());
        assert_eq!(call(&mut *instance, &["a", "bad"]).unwrap_err().message, "bad");
        assert!(instance.is_spent());
        assert!(call(&mut *instance, &["a"]).unwrap_err().message.contains("ended with a fault"));
        assert!(call(&mut *processor.start(Arc::new(Nothing)).unwrap(), &["a"]).is_ok());
        assert_eq!(processor.started(), 2);
    }

    #[test]
    fn a_wrong_number_of_outcomes_is_a_bad_answer() {
        let processor = NativeProcessor::new(Description::default(), |_, _| Ok(Vec::new()));
        let mut instance = processor.start(Arc::new(Nothing)).unwrap();
        assert_eq!(call(&mut *instance, &["a"]).unwrap_err().kind, FaultKind::BadAnswer);
    }

    #[test]
    fn a_processor_may_be_one_that_does_not_start() {
        let sound = NativeProcessor::each(Description::default(), |_| Ok(Outcome::Skip(String::new())));
        let error = sound.that_does_not_start("no").start(Arc::new(Nothing)).err().unwrap();
        assert_eq!(error.to_string(), "processor did not start: no");
    }
}
