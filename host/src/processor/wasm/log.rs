//! The log of one instance: what the guest says goes to the host's log as fields, in bounded amounts.

use std::sync::Arc;

use tracing::{debug, error, info, warn};

use super::bindings::pillowtop::processor::types::Level;
use super::limits::Limits;
use crate::model::{Change, PillowName, ProcessorName};

/// Whose log lines they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The pillow.
    pub pillow: PillowName,
    /// The processor in it.
    pub processor: ProcessorName,
}

/// Takes the lines of one instance, call after call.
#[derive(Debug)]
pub(super) struct Log {
    names: Names,
    line_limit: usize,
    byte_limit: usize,
    changes: Vec<Arc<Change>>,
    lines: usize,
    last: Option<String>,
}

impl Log {
    pub(super) fn new(names: Names, limits: &Limits) -> Self {
        let (line_limit, byte_limit) = (limits.log_lines, limits.log_line_bytes);
        Self { names, line_limit, byte_limit, changes: Vec::new(), lines: 0, last: None }
    }

    /// A call begins; lines may name one of `changes` by its place.
    pub(super) fn begin(&mut self, changes: impl Iterator<Item = Arc<Change>>) {
        self.changes.clear();
        self.changes.extend(changes);
        self.lines = 0;
        self.last = None;
    }

    /// One line of the guest.
    pub(super) fn line(&mut self, level: Level, change: Option<u32>, text: &str) {
        let text = cut(text, self.byte_limit);
        self.last = Some(text.to_owned());
        self.lines += 1;
        if self.lines > self.line_limit {
            return;
        }
        let (pillow, processor) = (self.names.pillow.as_str(), self.names.processor.as_str());
        let change = change.and_then(|at| self.changes.get(usize::try_from(at).ok()?));
        let document = change.map(|change| change.key.to_string());
        // The guest's text is a field: a subscriber escapes it, and it cannot pass for a line of the host.
        match level {
            Level::Debug => debug!(pillow, processor, document, text, "processor"),
            Level::Info => info!(pillow, processor, document, text, "processor"),
            Level::Warn => warn!(pillow, processor, document, text, "processor"),
            Level::Error => error!(pillow, processor, document, text, "processor"),
        }
    }

    /// The call has ended; gives the last line of it.
    pub(super) fn end(&mut self) -> Option<String> {
        if self.lines > self.line_limit {
            let (pillow, processor) = (self.names.pillow.as_str(), self.names.processor.as_str());
            warn!(pillow, processor, dropped = self.lines - self.line_limit, "processor logs too much in one call");
        }
        self.changes.clear();
        self.last.take()
    }
}

/// The beginning of `text` that has at most `bytes` bytes.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("", 0), "");
    }

    fn log(limits: &Limits) -> Log {
        let names = Names { pillow: PillowName::new("cases"), processor: ProcessorName::new("index") };
        Log::new(names, limits)
    }

    /// What a subscriber writes while `run` runs, one JSON object for each line.
    fn written(run: impl FnOnce()) -> Vec<serde_json::Value> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = std::sync::Mutex::new(file.reopen().unwrap());
        let subscriber = tracing_subscriber::fmt().json().with_writer(writer).finish();
        tracing::subscriber::with_default(subscriber, run);
        let text = std::fs::read_to_string(file.path()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn what_a_guest_says_is_a_field_and_bounded() {
        let message = br#"{"document_id":"a","data_source_name":"forms"}"#;
        let change = Arc::new(Change::decode(message, crate::model::Position::number(0)).unwrap());
        let lines = written(|| {
            let mut log = log(&Limits { log_lines: 2, ..Limits::default() });
            log.begin(std::iter::once(change));
            log.line(Level::Warn, Some(0), "one\nERROR forged {}");
            for text in ["two", "three", "four"] {
                log.line(Level::Error, Some(7), text);
            }
            log.end();
        });
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["level"], "WARN");
        let fields = &lines[0]["fields"];
        assert_eq!((&fields["message"], &fields["text"]), (&"processor".into(), &"one\nERROR forged {}".into()));
        assert_eq!((&fields["pillow"], &fields["processor"]), (&"cases".into(), &"index".into()));
        assert_eq!(fields["document"], "forms/a");
        assert_eq!((&lines[1]["level"], &lines[1]["fields"]["document"]), (&"ERROR".into(), &serde_json::Value::Null));
        assert_eq!(lines[2]["fields"]["dropped"], 2);
    }

    #[test]
    fn the_last_line_is_kept_even_beyond_the_bound() {
        let mut log = log(&Limits { log_lines: 1, log_line_bytes: 3, ..Limits::default() });
        log.begin(std::iter::empty());
        for text in ["one", "two", "three"] {
            log.line(Level::Info, Some(7), text);
        }
        assert_eq!((log.lines, log.end().as_deref()), (3, Some("thr")));
        log.begin(std::iter::empty());
        assert_eq!((log.lines, log.end()), (0, None));
    }
}
