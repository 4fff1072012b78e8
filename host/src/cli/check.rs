//! `check`: shows what is wrong in settings, manifests and modules.

use std::io::IsTerminal as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::control;
use crate::manifest::{Loaded, Problem, Source};

use super::Outcome;
use super::args::Arguments;
use super::output::say_line;

/// How problems are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// With colours, for a terminal.
    Colours,
    /// Without.
    Plain,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let loaded = control::load_files(&arguments.settings, &arguments.pipelines)?;
    let modules = match &loaded.settings {
        Some(settings) => control::check_modules(settings, &loaded.manifests).await?,
        None => Vec::new(),
    };
    if arguments.json {
        let modules: Vec<_> = modules.iter().map(|problem| serde_json::json!({ "message": problem })).collect();
        say_line(&format!("{}", serde_json::json!({ "problems": loaded.problems, "modules": modules })));
    } else {
        print(arguments, &loaded)?;
        modules.iter().for_each(|problem| eprintln!("error: {problem}"));
        if loaded.problems.is_empty() && modules.is_empty() {
            say_line(&format!("{} pillows, no problems", loaded.manifests.len()));
        }
    }
    Ok(if loaded.problems.is_empty() && modules.is_empty() { Outcome::Done } else { Outcome::WrongInput })
}

/// Prints the problems: drawn for people, as one object for machines.
pub(crate) fn print(arguments: &Arguments, loaded: &Loaded) -> anyhow::Result<()> {
    if arguments.json {
        eprintln!("{}", serde_json::to_string(&loaded.problems)?);
        return Ok(());
    }
    let style = if std::io::stderr().is_terminal() { Style::Colours } else { Style::Plain };
    eprint!("{}", render(&loaded.problems, &loaded.shown, style));
    Ok(())
}

/// Draws each problem with the lines that it is about, and counts them at the end. `sources` are those that
/// [`crate::manifest::Loaded::shown`] hands out: in them secrets are blotted out.
pub fn render(problems: &[Problem], sources: &[Source], style: Style) -> String {
    let renderer = match style {
        Style::Colours => Renderer::styled(),
        Style::Plain => Renderer::plain(),
    };
    let mut out = String::new();
    for problem in problems {
        let Some(source) = sources.iter().find(|source| source.path == problem.file) else {
            out.push_str(&format!("{problem}\n\n"));
            continue;
        };
        let path = source.path.display().to_string();
        let title = Level::ERROR.primary_title(&problem.message).id(problem.code.as_str());
        let snippet =
            Snippet::source(&source.text).path(&path).annotation(AnnotationKind::Primary.span(problem.span.clone()));
        let group = title.element(snippet).elements(problem.help.as_deref().map(|help| Level::HELP.message(help)));
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    match problems.len() {
        0 => {}
        1 => out.push_str("1 problem\n"),
        count => out.push_str(&format!("{count} problems\n")),
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;
    use std::fs;
    use std::io;
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;

    use super::*;
    use crate::manifest::{Code, Feed, Loaded, Lookup, load};

    /// What the test files may take from around them.
    struct Around {
        folder: PathBuf,
    }

    const SECRET: &str = "hunter2";

    const WORDS: &[&str] = &[
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "\r\n",
        " ",
        "#",
        "\"",
        "\"\"\"",
        "'",
        "\\",
        "é",
        "\u{feff}",
        "name",
        "feed",
        "feeds",
        "documents",
        "processors",
        "database",
        "url",
        "url-file",
        "kind",
        "config",
        "options",
        "\"kafka\"",
        "\"sql\"",
        "\"${SECRET}\"",
        "\"${NOPE}é\"",
        "\"${\"",
        "true",
        "1",
        "1.5",
        "nan",
        "1979-05-27",
    ];

    impl Lookup for Around {
        fn variable(&self, name: &str) -> Option<String> {
            match name {
                "SECRET" => Some(SECRET.to_owned()),
                "EMPTY" => Some(String::new()),
                _ => None,
            }
        }

        fn read(&self, path: &Path) -> io::Result<String> {
            // The text of the system's own error differs between systems.
            fs::read_to_string(self.folder.join(path)).map_err(|error| error.kind().into())
        }
    }

    fn folder(kind: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/manifests").join(kind)
    }

    fn source(folder: &Path, path: PathBuf) -> Source {
        let text = fs::read_to_string(&path).unwrap();
        Source { path: path.strip_prefix(folder).unwrap().to_owned(), text }
    }

    /// A case is a manifest, settings (`settings-….toml`), or a folder with several manifests and perhaps
    /// `pillowtop.toml`. What is not given comes from `tests/manifests/pillowtop.toml`.
    fn load_case(folder: &Path, case: &Path) -> Loaded {
        let name = case.file_name().unwrap().to_str().unwrap();
        let shared = folder.parent().unwrap().join("pillowtop.toml");
        let shared = || Source { path: "pillowtop.toml".into(), text: fs::read_to_string(&shared).unwrap() };
        let mut manifests = Vec::new();
        let mut settings = None;
        if case.is_dir() {
            for file in fs::read_dir(case).unwrap().map(|entry| entry.unwrap().path()) {
                match file.file_name().unwrap().to_str().unwrap() {
                    "pillowtop.toml" => settings = Some(source(folder, file)),
                    name if name.ends_with(".toml") => manifests.push(source(folder, file)),
                    _ => {}
                }
            }
        } else if name.starts_with("settings-") {
            settings = Some(source(folder, case.to_owned()));
        } else {
            manifests.push(source(folder, case.to_owned()));
        }
        load(&settings.unwrap_or_else(shared), &manifests, &Around { folder: folder.to_owned() })
    }

    /// Every case of a folder with its text, which must equal the file beside it; `UPDATE=1` writes that file.
    fn check_cases(kind: &str, extension: &str, text: impl Fn(&Loaded) -> String) -> Vec<Loaded> {
        let folder = folder(kind);
        let is_case = |path: &PathBuf| path.is_dir() || path.extension().is_some_and(|found| found == "toml");
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let cases: BTreeSet<PathBuf> = entries.filter(is_case).collect();
        let mut wrong = String::new();
        let mut all = Vec::new();
        for case in &cases {
            let loaded = load_case(&folder, case);
            let found = text(&loaded);
            let beside = case.with_extension(extension);
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&beside, &found).unwrap();
            }
            let expected = fs::read_to_string(&beside).unwrap_or_default();
            if found != expected {
                writeln!(wrong, "{}:\n--- expected\n{expected}\n--- found\n{found}", case.display()).unwrap();
            }
            all.push(loaded);
        }
        assert!(wrong.is_empty(), "{wrong}\nif this is right, run the test with UPDATE=1");
        all
    }

    #[test]
    fn valid_files_load_as_expected() {
        let cases = check_cases("valid", "ok", |loaded| {
            assert_eq!(render(&loaded.problems, &loaded.shown, Style::Plain), "");
            let mut text = format!("{:#?}\n", loaded.settings.as_ref().unwrap());
            for manifest in &loaded.manifests {
                writeln!(text, "{:#?}\n{:?}", manifest.pillow(), manifest.uses()).unwrap();
            }
            assert!(!text.contains(SECRET), "{text}");
            // What is hidden is right, too.
            for (name, database) in loaded.settings.iter().flat_map(|settings| settings.databases()) {
                writeln!(text, "{name}: {}", database.url.reveal()).unwrap();
            }
            for feed in loaded.settings.iter().flat_map(|settings| settings.feeds().values()) {
                let Feed::Kafka { options, .. } = feed else { continue };
                for (option, value) in options {
                    writeln!(text, "{option}: {}", value.reveal()).unwrap();
                }
            }
            for processor in loaded.manifests.iter().flat_map(|manifest| &manifest.pillow().processors) {
                writeln!(text, "{}: {}", processor.name, processor.config.json()).unwrap();
            }
            text
        });
        assert!(cases.iter().any(|loaded| !loaded.manifests.is_empty()));
    }

    /// Both as settings and as a manifest: every problem can be drawn, and lies in its file.
    fn check_anything(text: &str) {
        let around = Around { folder: folder("valid") };
        let source = |path: &str| Source { path: path.into(), text: text.to_owned() };
        let loaded = load(&source("pillowtop.toml"), &[source("a.toml")], &around);
        let drawn = render(&loaded.problems, &loaded.shown, Style::Plain);
        assert!(!drawn.contains(SECRET), "{drawn}");
        render(&loaded.problems, &loaded.shown, Style::Colours);
        for problem in &loaded.problems {
            assert!(text.get(problem.span.clone()).is_some(), "{problem} at {:?} of {text:?}", problem.span);
        }
        assert!(loaded.shown.iter().all(|shown| shown.text.len() == text.len()));
        // No manifest is also the settings of its host.
        assert!(!loaded.problems.is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_its_problems_are_drawn(text in any::<String>()) {
            check_anything(&text);
        }

        #[test]
        fn any_words_of_the_language_are_read_and_their_problems_are_drawn(
            words in proptest::collection::vec(proptest::sample::select(WORDS), 0..40),
        ) {
            check_anything(&words.concat());
        }

        #[test]
        fn any_damage_to_good_files_is_read_and_its_problems_are_drawn(
            file in proptest::sample::select(&["valid/everything.toml", "valid/settings-everything.toml"][..]),
            from in any::<proptest::sample::Index>(),
            length in 0_usize..20,
            with in "[ -~é\\n]{0,4}",
        ) {
            let text = fs::read_to_string(folder(file)).unwrap();
            let from = text.floor_char_boundary(from.index(text.len()));
            let to = text.floor_char_boundary((from + length).min(text.len()));
            check_anything(&[&text[..from], &with, &text[to..]].concat());
        }
    }

    #[test]
    fn every_problem_of_invalid_files_is_shown() {
        let cases = check_cases("invalid", "err", |loaded| {
            assert!(!loaded.problems.is_empty());
            let lines: Vec<String> = loaded.problems.iter().map(|problem| format!("{problem}\n")).collect();
            let text = render(&loaded.problems, &loaded.shown, Style::Plain);
            assert!(!text.contains(SECRET) && !lines.concat().contains(SECRET), "{text}");
            text
        });
        let met: BTreeSet<Code> =
            cases.iter().flat_map(|loaded| &loaded.problems).map(|problem| problem.code).collect();
        let unmet: Vec<&Code> = Code::ALL.iter().filter(|code| !met.contains(code)).collect();
        assert!(unmet.is_empty(), "no case shows {unmet:?}");
    }
}
