//! `search`: asks an embedded index, also while the engine runs.

use serde_json::json;

use crate::control;
use crate::sink::search;

use super::Outcome;
use super::args::{Arguments, Search};
use super::check;
use super::output::say_line;

pub(crate) async fn run(arguments: &Arguments, wanted: &Search) -> anyhow::Result<Outcome> {
    let loaded = control::load_files(&arguments.settings, &arguments.pipelines)?;
    let Some(settings) = &loaded.settings else {
        check::print(arguments, &loaded)?;
        return Ok(Outcome::WrongInput);
    };
    let folder = control::search_folder(settings, wanted.sink.as_deref()).map_err(anyhow::Error::msg)?.to_path_buf();
    let (index, query, limit) = (wanted.index.clone(), wanted.query.clone(), wanted.limit);
    let hits = tokio::task::spawn_blocking(move || search::search(&folder, &index, &query, limit)).await??;
    let source = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes);
    if arguments.json {
        let mut rows = Vec::new();
        for hit in &hits.hits {
            rows.push(json!({ "id": hit.id, "score": hit.score, "source": source(&hit.source)? }));
        }
        say_line(&format!("{}", json!({ "total": hits.total, "hits": rows })));
        return Ok(Outcome::Done);
    }
    say_line(&format!("{} found", hits.total));
    for hit in &hits.hits {
        let line = source(&hit.source)?.to_string();
        say_line(&format!("{}  {}", hit.id, shorten(&line)));
    }
    Ok(Outcome::Done)
}

/// So much of a document as fits a line or two; `--json` has all of it.
fn shorten(text: &str) -> String {
    const CHARACTERS: usize = 240;
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
