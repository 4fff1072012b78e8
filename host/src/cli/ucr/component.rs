//! The compiled row builder, which answers test vectors.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{
    Change, Clock, Document, DocumentKey, Item, Outcome as Answer, PillowName, Position, ProcessorName, Write,
};
use crate::pipeline::LookupStores;
use crate::processor::wasm::{self, WasmProcessor};
use crate::processor::{Call, Instance, Processor as _, StartError};

/// Where `make guests` puts it, from the folder of the sources.
const BUILT: &str = "target/guests/wasm32-unknown-unknown/guest/ucr_row_builder.wasm";
/// The same, from the folder of the program.
const BESIDE: &str = "../guests/wasm32-unknown-unknown/guest/ucr_row_builder.wasm";

const TOPIC: &str = "answers";

/// An instance, and what a new one is made of when it is spent.
pub(crate) struct Component {
    pub(crate) engine: Arc<wasm::Engine>,
    pub(crate) module: PathBuf,
    processor: WasmProcessor,
    lookups: Arc<LookupStores>,
    instance: Option<Box<dyn Instance>>,
}

/// The module to try: the one that is named, or the one that was built.
///
/// # Errors
/// There is none.
pub(crate) fn find(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let beside = std::env::current_exe().ok().and_then(|program| program.parent().map(|folder| folder.join(BESIDE)));
    let places: Vec<PathBuf> = std::iter::once(PathBuf::from(BUILT)).chain(beside).collect();
    if let Some(found) = places.iter().find(|place| place.is_file()) {
        return Ok(found.clone());
    }
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    anyhow::bail!(
        "there is no row builder at {}: build it with `make guests`, or name its module with --module",
        places.join(" or ")
    )
}

impl Component {
    /// # Errors
    /// It is no row builder, or does not start.
    pub(crate) fn load(module: &Path) -> anyhow::Result<Self> {
        let source = wasm::Source {
            path: module,
            bytes: None,
            names: wasm::Names { pillow: PillowName::new("ucr"), processor: ProcessorName::new("vectors") },
            grants: wasm::Grants { log: true, lookups: Vec::new() },
            config: format!("{{\"vectors\":\"{TOPIC}\"}}").into_bytes(),
            limits: wasm::Limits::default(),
        };
        let engine = Arc::new(wasm::Engine::new()?);
        let processor = wasm::load(&engine, source, None)?;
        let lookups = Arc::new(LookupStores::new(HashMap::new()));
        Ok(Self { engine, module: module.to_owned(), processor, lookups, instance: None })
    }

    /// An answer for each question, or why there is none. What crashes the component is found alone.
    ///
    /// # Errors
    /// The component does not start any more.
    pub(crate) fn ask(&mut self, questions: &[String]) -> Result<Vec<Result<String, String>>, StartError> {
        let items: Vec<Item> = questions.iter().enumerate().map(|(at, question)| item(at, question)).collect();
        let mut instance = match self.instance.take() {
            Some(instance) if !instance.is_spent() => instance,
            _ => self.processor.start(self.lookups.for_instance())?,
        };
        let call = Call { topic: "vectors", time: Clock::System.now(), items: &items };
        match instance.process(&call) {
            Ok(answers) => {
                self.instance = Some(instance);
                Ok(answers.into_iter().map(text).collect())
            }
            Err(fault) if questions.len() == 1 => Ok(vec![Err(fault.to_string())]),
            Err(_) => {
                let (first, second) = questions.split_at(questions.len() / 2);
                let mut answers = self.ask(first)?;
                answers.append(&mut self.ask(second)?);
                Ok(answers)
            }
        }
    }
}

fn item(at: usize, question: &str) -> Item {
    let change = Change::of(DocumentKey::new("vectors", at.to_string()), Position::number(at as u64));
    let document = Document::Present(Bytes::copy_from_slice(question.as_bytes()));
    Item { change: Arc::new(change), document, found: Vec::new() }
}

fn text(answer: Answer) -> Result<String, String> {
    match answer {
        Answer::Done { mut writes, .. } => match (writes.pop(), writes.is_empty()) {
            (Some(Write::Publish(publish)), true) => {
                Ok(String::from_utf8_lossy(&publish.value.unwrap_or_default()).into_owned())
            }
            _ => Err("the module answers with something else than a row builder".to_owned()),
        },
        Answer::Failed(failure) => Err(failure.message.to_string()),
        Answer::Skip(_) | Answer::Need(_) => Err("the module does not answer".to_owned()),
    }
}
