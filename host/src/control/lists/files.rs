//! Lists in files, of JSON or YAML.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::yaml;

use super::content::{Content, Element, Found};

/// Reads files of lists, and remembers what they said when they were last good.
#[derive(Default)]
pub(in super::super) struct Files {
    files: HashMap<PathBuf, Known>,
    lists: HashMap<Vec<PathBuf>, Arc<Content>>,
}

struct Known {
    text: String,
    elements: Vec<Element>,
}

/// What a look found.
pub(in super::super) struct Look {
    pub(in super::super) found: Found,
    /// What is wrong.
    pub(in super::super) problems: Vec<String>,
    /// Files that matter.
    pub(in super::super) files: BTreeSet<PathBuf>,
    /// Folders of which every file may matter.
    pub(in super::super) folders: BTreeSet<PathBuf>,
}

impl Files {
    /// What the files of these patterns say now. Blocks while it reads.
    pub(in super::super) fn find(&mut self, patterns: &[PathBuf]) -> Look {
        let mut walk = Walk::default();
        for pattern in patterns {
            walk.expand(pattern);
        }
        let mut elements = Vec::new();
        let mut troubles = Vec::new();
        for file in &walk.files {
            match self.read(file) {
                Ok(read) => elements.extend_from_slice(read),
                Err(problem) => {
                    // Half of a file that is being written must not take its elements out of force.
                    elements.extend(self.files.get(file).into_iter().flat_map(|known| known.elements.iter().cloned()));
                    troubles.push(format!("{}: {problem}", file.display()));
                }
            }
        }
        let mut problems = walk.problems;
        let found = if problems.is_empty() {
            match Content::new(elements, troubles.clone()) {
                Ok(content) => {
                    let content = Arc::new(content);
                    self.lists.insert(patterns.to_vec(), Arc::clone(&content));
                    Found::Ready(content)
                }
                Err(problem) => {
                    problems.push(problem);
                    self.last(patterns, &problems)
                }
            }
        } else {
            self.last(patterns, &problems)
        };
        problems.extend(troubles);
        problems.extend(walk.missing);
        Look { found, problems, files: walk.files, folders: walk.folders }
    }

    fn last(&self, patterns: &[PathBuf], problems: &[String]) -> Found {
        self.lists.get(patterns).map_or_else(|| Found::Away(problems.join("; ")), |last| Found::Ready(Arc::clone(last)))
    }

    fn read(&mut self, file: &Path) -> Result<&[Element], String> {
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        let is_known = self.files.get(file).is_some_and(|known| known.text == text);
        if !is_known {
            let elements = parse(file, &text)?;
            self.files.insert(file.to_path_buf(), Known { text, elements });
        }
        Ok(self.files.get(file).map(|known| known.elements.as_slice()).unwrap_or_default())
    }
}

/// A list of elements, or one alone.
fn parse(file: &Path, text: &str) -> Result<Vec<Element>, String> {
    let json = yaml::as_json(file, text).map_err(|error| error.to_string())?;
    let no_json = |error: serde_json::Error| format!("it is no JSON: {error}");
    let raw: &RawValue = serde_json::from_str(&json).map_err(no_json)?;
    if !raw.get().starts_with('[') {
        return Ok(vec![Element { origin: Arc::from(file.to_string_lossy()), json: Arc::from(raw.get()) }]);
    }
    let elements: Vec<&RawValue> = serde_json::from_str(&json).map_err(no_json)?;
    let element = |(at, json): (usize, &&RawValue)| Element {
        origin: Arc::from(format!("{}: [{at}]", file.display())),
        json: Arc::from(json.get()),
    };
    Ok(elements.iter().enumerate().map(element).collect())
}

#[derive(Default)]
struct Walk {
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
    /// Folders that cannot be read: nothing is known of what is in them.
    problems: Vec<String>,
    /// Files that a manifest names and that are not there.
    missing: Vec<String>,
}

impl Walk {
    fn expand(&mut self, pattern: &Path) {
        let components: Vec<Component<'_>> = pattern.components().collect();
        let is_pattern = |component: &Component<'_>| component.as_os_str().to_string_lossy().contains(['*', '?']);
        if !components.iter().any(is_pattern) {
            if !pattern.exists() {
                self.missing.push(format!("could not read {}: it is not there", pattern.display()));
            }
            self.files.insert(pattern.to_path_buf());
            return;
        }
        let mut reached: BTreeSet<PathBuf> = BTreeSet::from([PathBuf::new()]);
        for (at, component) in components.iter().enumerate() {
            if !is_pattern(component) {
                reached = reached.into_iter().map(|path| path.join(component)).collect();
                continue;
            }
            let (is_first, is_last) =
                (components[..at].iter().all(|before| !is_pattern(before)), at + 1 == components.len());
            let mut further = BTreeSet::new();
            for folder in reached {
                let name = component.as_os_str().to_string_lossy();
                match entries(&folder, &name) {
                    Ok(found) => further.extend(found.into_iter().filter(|path| is_last || path.is_dir())),
                    // Below another pattern a folder is only one of those that there may be.
                    Err(_) if !is_first => {}
                    Err(error) => {
                        self.problems.push(format!("could not read the folder {}: {error}", folder.display()));
                    }
                }
                self.folders.insert(folder);
            }
            reached = further;
        }
        self.files.extend(reached.into_iter().filter(|path| !path.is_dir()));
    }
}

fn entries(folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let here = Path::new(".");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(if folder.as_os_str().is_empty() { here } else { folder })? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        // Editors write beside the file, with a leading dot.
        if matches(pattern, &text) && (pattern.starts_with('.') || !text.starts_with('.')) {
            found.push(folder.join(&name));
        }
    }
    Ok(found)
}

/// `*` stands for any letters, `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut of) = (0, 0);
    // Where the last `*` was, and where what it stands for ends.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[of] => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((before, end)) = star else { return false };
                star = Some((before, end + 1));
                at = before + 1;
                of = end + 1;
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Folder {
        folder: tempfile::TempDir,
        files: Files,
    }

    impl Folder {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), files: Files::default() }
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn look(&mut self, pattern: &str) -> Look {
            self.files.find(&[self.folder.path().join(pattern)])
        }

        /// `origin=json` of each element, origins without the folder.
        #[track_caller]
        fn check(&mut self, pattern: &str, expected: &[&str], problems: usize) {
            let look = self.look(pattern);
            let folder = format!("{}/", self.folder.path().display());
            let found = match &look.found {
                Found::Ready(content) => content.elements.as_slice(),
                other => panic!("{other:?}"),
            };
            let shown = |element: &Element| format!("{}={}", element.origin.replace(&folder, ""), element.json);
            let found: Vec<String> = found.iter().map(shown).collect();
            assert_eq!(found, expected, "{:?}", look.problems);
            assert_eq!(look.problems.len(), problems, "{:?}", look.problems);
        }
    }

    #[test]
    fn a_file_holds_an_element_or_a_list_of_them() {
        let mut folder = Folder::new();
        folder.write("a.json", " {\"a\": 1.0}\n");
        folder.write("b.json", "[{\"b\":1}, 12345678901234567890123]");
        folder.write(".c.json", "{}");
        folder.write("d.txt", "{}");
        folder.check(
            "*.json",
            &["a.json={\"a\": 1.0}", "b.json: [0]={\"b\":1}", "b.json: [1]=12345678901234567890123"],
            0,
        );
        folder.check("a.json", &["a.json={\"a\": 1.0}"], 0);
    }

    #[test]
    fn files_of_yaml_stand_beside_those_of_json() {
        let mut folder = Folder::new();
        folder.write("a.yaml", "# one\na: 2015-01-31\nb: yes\n");
        folder.write("b.YML", "- 1\n- {c: ~}\n");
        folder.write("c.json", "3");
        let good = ["a.yaml={\"a\":\"2015-01-31\",\"b\":true}", "b.YML: [0]=1", "b.YML: [1]={\"c\":null}", "c.json=3"];
        folder.check("*", &good, 0);
        // A file that turns bad keeps what it said, and the place is told.
        folder.write("a.yaml", "a: 1\n b: 2\n");
        folder.check("*", &good, 1);
        let problem = &folder.look("*").problems[0];
        assert!(problem.contains("/a.yaml: line 2, column 3: it is no YAML: "), "{problem}");
    }

    #[test]
    fn folders_may_be_patterns_too() {
        let mut folder = Folder::new();
        folder.write("one/sources/a.json", "1");
        folder.write("two/sources/b.json", "2");
        folder.write("three/other/c.json", "3");
        folder.write("four", "4");
        folder.check("*/sources/?.json", &["one/sources/a.json=1", "two/sources/b.json=2"], 0);
    }

    #[test]
    fn a_file_that_turns_bad_keeps_what_it_said() {
        let mut folder = Folder::new();
        folder.write("a.json", "1");
        folder.write("b.json", "{");
        folder.check("*.json", &["a.json=1"], 1);
        folder.write("a.json", "[");
        folder.write("b.json", "2");
        folder.check("*.json", &["a.json=1", "b.json=2"], 1);
        folder.write("a.json", "[]");
        folder.check("*.json", &["b.json=2"], 0);
    }

    #[test]
    fn a_file_that_is_gone_takes_its_elements_along_and_a_folder_that_is_gone_does_not() {
        let mut folder = Folder::new();
        folder.write("sources/a.json", "1");
        folder.write("sources/b.json", "2");
        folder.check("sources/*.json", &["sources/a.json=1", "sources/b.json=2"], 0);
        fs::remove_file(folder.folder.path().join("sources/b.json")).unwrap();
        folder.check("sources/*.json", &["sources/a.json=1"], 0);
        fs::remove_dir_all(folder.folder.path().join("sources")).unwrap();
        folder.check("sources/*.json", &["sources/a.json=1"], 1);
        // Who begins then waits.
        let look = Files::default().find(&[folder.folder.path().join("sources/*.json")]);
        assert!(matches!(&look.found, Found::Away(reason) if reason.contains("could not read the folder")));
    }

    #[test]
    fn names_match_patterns_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.json", "a.json", true),
            ("*.json", "a.json~", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("?", "é", true),
            ("?", "ab", false),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
