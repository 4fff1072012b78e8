//! Keeps the floors of `host/src/lib.rs`: a room uses the floors above its line only, and through front doors only.
//!
//! It reads words, not syntax trees: comments and literals are blanked, then each path that starts with `crate::` is
//! followed, also into the braces of a `use`. What a macro writes is not seen.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test: helpers outside of test functions are not exempt")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A name, `::` or a single sign, with its place in the text.
type Word<'a> = (usize, &'a str);

/// A path, and the name that `as` gives it.
type Named = (Vec<String>, Option<String>);

/// The rooms of each floor, bottom-up, as `lib.rs` lists them.
fn floors(lib: &str) -> Vec<Vec<String>> {
    let mut floors: Vec<Vec<String>> = vec![Vec::new()];
    for line in lib.lines().map(str::trim) {
        if line.is_empty() {
            floors.push(Vec::new());
        } else if let Some(room) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            floors.last_mut().unwrap().push(room.to_owned());
        }
    }
    floors.retain(|floor| !floor.is_empty());
    floors
}

/// What a room's `mod.rs` offers: public items, re-exports and public modules.
fn front_doors(module: &str) -> BTreeSet<String> {
    let text = blank(module);
    let words = words(&text);
    let mut doors = BTreeSet::new();
    for (index, (at, word)) in words.iter().enumerate() {
        // Only the top level: what an `impl` or a nested module makes public is reached through its owner.
        if *word != "pub" || !(*at == 0 || text[..*at].ends_with('\n')) {
            continue;
        }
        let restricted = is(&words, index + 1, "(");
        let mut next = index + 1;
        while restricted && !is(&words, next - 1, ")") {
            next += 1;
        }
        while matches!(words[next].1, "async" | "unsafe") || (words[next].1 == "const" && is(&words, next + 1, "fn")) {
            next += 1;
        }
        match words[next].1 {
            "use" => {
                let paths = paths(&words, next + 1);
                doors.extend(paths.into_iter().filter_map(|(path, alias)| alias.or_else(|| path.last().cloned())));
            }
            "mod" if restricted => {}
            _ => doors.extend(words.get(next + 1).map(|(_, name)| (*name).to_owned())),
        }
    }
    doors
}

/// Every offence of one file, as `line: what`. `depth` is how deep its module lies: 0 for the room's `mod.rs`.
fn offences(
    room: &str,
    depth: usize,
    text: &str,
    floors: &[Vec<String>],
    doors: &dyn Fn(&str) -> BTreeSet<String>,
) -> Vec<String> {
    let floor_of = |name: &str| floors.iter().position(|floor| floor.iter().any(|other| other == name));
    let own = floor_of(room).unwrap();
    let text = blank(text);
    let words = words(&text);
    let mut found = Vec::new();
    let mut inline_module = 0;
    for (index, (at, word)) in words.iter().enumerate() {
        let line = text[..*at].matches('\n').count() + 1;
        if *word == "mod" && is(&words, index + 2, "{") {
            inline_module = 1;
        }
        let continues = index > 0 && matches!(words[index - 1].1, "::" | "$");
        if continues || !is(&words, index + 1, "::") {
            continue;
        }
        if *word == "crate" {
            for (path, _) in paths(&words, index + 2) {
                let shown = path.join("::");
                let offence = match floor_of(&path[0]) {
                    _ if path[0] == room => continue,
                    None => "is not in a room".to_owned(),
                    Some(floor) if floor == own => format!("is a neighbour of {room}"),
                    Some(floor) if floor > own => format!("is on a later floor than {room}"),
                    Some(_) if path.get(1).is_some_and(|item| item != "self" && !doors(&path[0]).contains(item)) => {
                        "does not come through the front door".to_owned()
                    }
                    Some(_) => continue,
                };
                found.push(format!("{line}: crate::{shown} {offence}"));
            }
        }
        // A chain of `super::` that leaves the room would go round the check above; an inline module is one deeper.
        let chain = words[index..].chunks(2).take_while(|pair| pair[0].1 == "super" && is(pair, 1, "::")).count();
        if chain > depth + inline_module {
            found.push(format!("{line}: {} leaves the room", "super::".repeat(chain)));
        }
    }
    found
}

/// The paths of a `use` tree, or the one plain path, that begins at `words[at]`: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(words: &[Word<'_>], at: usize) -> Vec<Named> {
    fn tree(words: &[Word<'_>], at: &mut usize, before: &[String], found: &mut Vec<Named>) {
        let mut path = before.to_vec();
        loop {
            let word = words.get(*at).map_or("", |(_, word)| word);
            if word == "{" {
                *at += 1;
                while *at < words.len() && !is(words, *at, "}") {
                    let began = *at;
                    tree(words, at, &path, found);
                    *at += usize::from(is(words, *at, ",") || *at == began);
                }
                *at += 1;
                return;
            }
            if word == "*" || is_name(word) {
                path.push(word.to_owned());
                *at += 1;
                if is(words, *at, "::") {
                    *at += 1;
                    continue;
                }
            }
            break;
        }
        let alias = is(words, *at, "as").then(|| words[*at + 1].1.to_owned());
        *at += if alias.is_some() { 2 } else { 0 };
        if path.len() > before.len() {
            found.push((path, alias));
        }
    }

    let mut found = Vec::new();
    tree(words, &mut { at }, &[], &mut found);
    found
}

fn is(words: &[Word<'_>], at: usize, what: &str) -> bool {
    words.get(at).is_some_and(|(_, word)| *word == what)
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            words.push((at, &rest[..length]));
        }
        at += length;
    }
    words
}

/// The text with comments and literals blanked, line for line and byte for byte.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(text, at) {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = 2 + hashes;
            rest[body..].find(&close).map_or(rest.len(), |end| body + end + close.len())
        } else if rest.starts_with('"') {
            quoted(rest, '"')
        } else if rest.starts_with('\'') && is_letter(rest) {
            quoted(rest, '\'')
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        for byte in &mut out[at..at + length] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += length;
    }
    String::from_utf8(out).unwrap()
}

/// How many hashes the raw string that begins here has, if one does.
fn raw_string(text: &str, at: usize) -> Option<usize> {
    let before = text[..at].chars().next_back();
    let rest = text[at..].strip_prefix('r')?;
    if before.is_some_and(|letter| (letter.is_alphanumeric() && letter != 'b') || letter == '_') {
        return None;
    }
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// Whether a single quote begins a letter, not a lifetime.
fn is_letter(text: &str) -> bool {
    let mut letters = text.chars().skip(1);
    matches!((letters.next(), letters.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + letter.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The files of a room with the depth of their modules.
fn files(source: &Path, room: &str) -> Vec<(PathBuf, usize)> {
    fn walk(folder: &Path, depth: usize, found: &mut Vec<(PathBuf, usize)>) {
        let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, depth + 1, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let at_door = path.file_name().is_some_and(|name| name == "mod.rs");
                found.push((path, depth + usize::from(!at_door)));
            }
        }
    }

    let folder = source.join(room);
    let mut found = Vec::new();
    let single = source.join(format!("{room}.rs"));
    if single.is_file() {
        found.push((single, 0));
    }
    if folder.is_dir() {
        walk(&folder, 0, &mut found);
    }
    found
}

#[test]
fn rooms_use_the_floors_above_their_line_through_front_doors() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let floors = floors(&fs::read_to_string(source.join("lib.rs")).unwrap());
    let doors = |room: &str| {
        let (file, _) = files(&source, room).into_iter().find(|(_, depth)| *depth == 0).unwrap();
        front_doors(&fs::read_to_string(file).unwrap())
    };
    let mut found = Vec::new();
    for room in floors.iter().flatten() {
        let files = files(&source, room);
        assert!(!files.is_empty(), "lib.rs lists {room}, but there is no such room");
        for (file, depth) in files {
            let text = fs::read_to_string(&file).unwrap();
            let place = file.strip_prefix(&source).unwrap().display().to_string();
            found.extend(offences(room, depth, &text, &floors, &doors).iter().map(|what| format!("{place}:{what}")));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Two neighbours over `model`, below `cli`.
const LIB: &str = "pub mod model;\n\npub mod feed;\npub mod sink;\n\npub mod cli;\n";
const DOORS: &str = "//! pub struct No\nmod inner;\npub mod memory;\npub use inner::{Change, deep::{Batch, Old as New}};\n\
    pub struct Row {\n    pub field: u8,\n}\npub async fn open() {}\npub const LIMIT: usize = 1;\npub(crate) mod hidden;\n";

fn check(room: &str, depth: usize, text: &str, expected: &[&str]) {
    assert_eq!(offences(room, depth, text, &floors(LIB), &|_| front_doors(DOORS)), expected, "{text}");
}

#[test]
fn blank_lines_split_floors() {
    assert_eq!(floors(LIB), [vec!["model"], vec!["feed", "sink"], vec!["cli"]]);
}

#[test]
fn front_doors_are_items_reexports_and_public_modules() {
    let doors: Vec<String> = front_doors(DOORS).into_iter().collect();
    assert_eq!(doors, ["Batch", "Change", "LIMIT", "New", "Row", "memory", "open"]);
}

#[test]
fn what_lies_above_the_line_may_be_used() {
    check(
        "feed",
        0,
        "use crate::model::{Change, deep::Batch as Other};",
        &["1: crate::model::deep::Batch does not come through the front door"],
    );
    check("feed", 0, "use crate::model::{self, Change, memory::{Any, Thing}};\nfn f() -> crate::model::Row {}", &[]);
    check("feed", 1, "use crate::feed::inner::Own;\nuse super::Other;\nuse crate::model;", &[]);
}

#[test]
fn neighbours_and_later_floors_may_not() {
    check("feed", 0, "\nlet sink: crate::sink::Row = 1;", &["2: crate::sink::Row is a neighbour of feed"]);
    check("model", 0, "use crate::{cli::Row, model::Row};", &["1: crate::cli::Row is on a later floor than model"]);
    check("feed", 0, "use crate::nowhere::Row;", &["1: crate::nowhere::Row is not in a room"]);
}

#[test]
fn inner_modules_are_no_front_door() {
    check(
        "cli",
        0,
        "use crate::feed::{Row, inner::Row};",
        &["1: crate::feed::inner::Row does not come through the front door"],
    );
    check(
        "cli",
        0,
        "use crate::feed::hidden::Row;",
        &["1: crate::feed::hidden::Row does not come through the front door"],
    );
}

#[test]
fn supers_do_not_leave_the_room() {
    check("feed", 0, "use super::sink::Row;", &["1: super:: leaves the room"]);
    check("feed", 1, "use super::super::sink::Row;", &["1: super::super:: leaves the room"]);
    check("feed", 0, "mod tests {\n    use super::*;\n}", &[]);
}

#[test]
fn comments_and_literals_say_nothing() {
    check(
        "feed",
        0,
        "// crate::cli::Row\nlet a = \"crate::cli \\\" crate::cli\"; let b = r#\"crate::cli\"#; let c = '\"';",
        &[],
    );
}
