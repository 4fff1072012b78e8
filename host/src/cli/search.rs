//! `search`: asks an index, embedded or on a server, also while the engine runs.

use serde_json::{Value, json};

use crate::control::{self, Indices};
use crate::sink::{elasticsearch, search};

use super::args::{Arguments, Search};
use super::output::{say, say_line};
use super::{Outcome, check, table};

pub(crate) async fn run(arguments: &Arguments, wanted: &Search) -> anyhow::Result<Outcome> {
    let loaded = control::load_files(&arguments.settings, &arguments.pipelines)?;
    let Some(settings) = &loaded.settings else {
        check::print(arguments, &loaded)?;
        return Ok(Outcome::WrongInput);
    };
    let (index, query, limit) = (wanted.index.clone(), wanted.query.clone(), wanted.limit);
    let hits = match control::search_indices(settings, wanted.sink.as_deref()).map_err(anyhow::Error::msg)? {
        Indices::Folder(folder) => {
            let folder = folder.to_path_buf();
            tokio::task::spawn_blocking(move || search::search(&folder, &index, &query, limit)).await??
        }
        Indices::Server(server) => elasticsearch::search(server, &index, &query, limit).await?,
    };
    let source = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes);
    if arguments.json {
        let mut rows = Vec::new();
        for hit in &hits.hits {
            rows.push(json!({ "id": hit.id, "score": hit.score, "source": source(&hit.source)? }));
        }
        say_line(&format!("{}", json!({ "total": hits.total, "hits": rows })));
        return Ok(Outcome::Done);
    }
    say_line(&format!("{} found", hits.total));
    if !wanted.fields.is_empty() {
        let mut rows = Vec::new();
        for hit in &hits.hits {
            let source = source(&hit.source)?;
            let cells = wanted.fields.iter().map(|path| cell(&source, path));
            rows.push(std::iter::once(hit.id.clone()).chain(cells).collect());
        }
        let headings: Vec<&str> = std::iter::once("id").chain(wanted.fields.iter().map(String::as_str)).collect();
        say(&table::render(&headings, &rows));
        return Ok(Outcome::Done);
    }
    for hit in &hits.hits {
        let line = source(&hit.source)?.to_string();
        say_line(&format!("{}  {}", hit.id, shorten(&line)));
    }
    Ok(Outcome::Done)
}

/// What stands at a dotted path of the document.
fn cell(source: &Value, path: &str) -> String {
    match path.split('.').try_fold(source, |value, name| value.get(name)) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => shorten(text),
        Some(other) => shorten(&other.to_string()),
    }
}

/// So much of a document as fits a line or two; `--json` has all of it.
fn shorten(text: &str) -> String {
    const CHARACTERS: usize = 240;
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_holds_what_stands_at_the_path() {
        let source = json!({ "a": { "b": "x", "c": [1, "y"] }, "d": null });
        let cells = ["a.b", "a.c", "d", "a.b.c", "z"].map(|path| cell(&source, path));
        assert_eq!(cells, ["x", r#"[1,"y"]"#, "-", "-", "-"]);
    }
}
