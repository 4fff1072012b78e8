//! Keeps the documentation true: its commands are understood, its links lead somewhere, what it names is there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test: helpers outside of test functions are not exempt")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every file below a folder with this extension, but for what is built or made by the demo.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "demo", "demo-services"].contains(&name.as_str()) {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// README, CHANGELOG and all pages, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let pages: Vec<_> = files(&root(), "md").into_iter().map(|page| (page.clone(), read(&page))).collect();
    assert!(pages.len() >= 8, "found only {pages:?}");
    pages
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

/// The lines of code blocks, fenced or indented.
fn code(page: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            lines.push(line.trim());
        }
    }
    lines
}

/// What stands between single backticks outside of fenced blocks.
fn quoted(page: &str) -> Vec<String> {
    let mut fenced = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose += line;
            prose.push(' ');
        }
    }
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Words as a shell would make them, with simple quotes; what follows a `#`, `|`, `>` or `&` is not the command's.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for sign in line.chars() {
        match (sign, quote) {
            (_, Some(open)) if sign == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(sign);
                word.get_or_insert_default();
            }
            ('#' | '|' | '>' | '&', None) if word.is_none() => break,
            (' ', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(sign),
        }
    }
    words.extend(word);
    words
}

#[test]
fn words_are_split_as_a_shell_does() {
    assert_eq!(words(r#"pillowtop sql 'select "a"' --json   # all"#), ["pillowtop", "sql", r#"select "a""#, "--json"]);
    assert_eq!(words("$ a b | c"), ["$", "a", "b"]);
}

#[test]
fn every_command_of_the_documentation_is_understood() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (page, text) in pages() {
        for line in code(&text) {
            let mut words = words(line.strip_prefix("$ ").unwrap_or(line));
            // Variables that are set for the one command.
            while words.first().is_some_and(|word| word.contains('=') && !word.starts_with('-')) {
                words.remove(0);
            }
            if words.first().is_none_or(|word| word != "pillowtop" && word != "./pillowtop") {
                continue;
            }
            seen += 1;
            if let Err(reason) = pillowtop::cli::parses(&words) {
                wrong.push(format!("{}: {line}\n{reason}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 20, "only {seen} commands were found");
}

#[test]
fn a_wrong_command_would_be_noticed() {
    assert!(pillowtop::cli::parses(&["pillowtop".to_owned(), "serch".to_owned()]).is_err());
    assert!(pillowtop::cli::parses(&["pillowtop".to_owned(), "run".to_owned(), "--help".to_owned()]).is_ok());
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (page, text) in pages() {
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap().split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            seen += 1;
            if !page.parent().unwrap().join(target).exists() {
                wrong.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "no such file:\n{}", wrong.join("\n"));
    assert!(seen >= 10, "only {seen} links were found");
}

#[test]
fn every_file_that_the_documentation_names_is_there() {
    let folders = ["host/", "tests/", "guest-sdk/", "processors/", "pipelines/", "docs/"];
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        for name in quoted(&text) {
            let file = name.split(' ').next().unwrap();
            if folders.iter().any(|folder| file.starts_with(folder))
                && !file.contains('*')
                && !root().join(file).exists()
            {
                wrong.push(format!("{}: {file}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "no such file:\n{}", wrong.join("\n"));
}

/// All Rust code, to look names up in.
fn all_code() -> String {
    let folders = ["host", "guest-sdk", "processors", "tests"].map(|folder| root().join(folder));
    folders.iter().flat_map(|folder| files(folder, "rs")).map(|file| read(&file)).collect()
}

#[test]
fn every_function_on_the_way_of_a_change_is_there() {
    let (page, code) = (read(&root().join("docs/life-of-a-change.md")), all_code());
    let mut seen = 0;
    for name in quoted(&page) {
        let Some((owner, function)) = name.split_once("::") else { continue };
        seen += 1;
        assert!(code.contains(&format!("fn {function}(")), "there is no function of the name of `{name}`");
        assert!(
            ["struct", "trait", "enum", "impl"].iter().any(|kind| code.contains(&format!("{kind} {owner}"))),
            "{name}"
        );
    }
    assert!(seen >= 15, "only {seen} functions were found");
}

#[test]
fn every_promise_has_tests_that_are_there() {
    let (page, code) = (read(&root().join("docs/architecture.md")), all_code());
    let promises = page.split_once("\n## Promises\n").unwrap().1;
    let promises = numbered(promises);
    assert_eq!(promises.len(), 12);
    for promise in promises {
        let tests: Vec<String> = quoted(&promise).into_iter().filter(|name| name.matches('_').count() >= 2).collect();
        assert!(!tests.is_empty(), "no test is named for: {promise}");
        for test in tests {
            assert!(code.contains(&format!("fn {test}")), "there is no test {test}");
        }
    }
}

/// The numbered items of a list, each with its lines.
fn numbered(list: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in list.lines() {
        let is_first = line.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok());
        match items.last_mut() {
            _ if is_first => items.push(line.to_owned()),
            Some(item) => *item += &format!("\n{line}"),
            None => {}
        }
    }
    items
}

#[test]
fn the_tests_that_hold_the_original_s_cases_are_there() {
    let cases = read(&root().join("tests/ucr-cases.md"));
    let sources: String = files(&root(), "rs").iter().map(|file| read(file)).collect();
    let rows: Vec<&str> = cases.lines().filter(|line| line.starts_with("| 1")).collect();
    assert_eq!(rows.len(), 12);
    for row in rows {
        let tests = row.split('|').nth(2).unwrap();
        for test in tests.split('`').skip(1).step_by(2) {
            assert!(sources.contains(&format!("fn {test}(")), "{test}");
        }
    }
}

#[test]
fn the_demo_on_servers_has_the_pillows_of_the_quick_start() {
    let (here, there) = (root().join("pipelines/quickstart"), root().join("pipelines/services"));
    for manifest in ["cases.toml", "forms.toml"] {
        let expected = read(&here.join(manifest)).replace("from = \"log\"", "from = \"changes\"");
        assert_eq!(read(&there.join(manifest)), expected, "{manifest}");
    }
}
