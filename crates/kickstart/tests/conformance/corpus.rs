//! The cases: lines that are a file each, small files with what they include, and whole files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use osmith_kickstart::{Included, Includes};

/// A file, and what it may include.
#[derive(Debug)]
pub(crate) struct Case {
    /// The corpus file and the case in it.
    pub(crate) name: String,
    files: BTreeMap<String, String>,
}

impl Case {
    /// The file itself.
    pub(crate) fn text(&self) -> &str {
        self.files.get("ks.cfg").map_or("", String::as_str)
    }

    /// What reads the others.
    pub(crate) fn includes(&self) -> impl Includes + '_ {
        Files(&self.files)
    }
}

struct Files<'f>(&'f BTreeMap<String, String>);

impl Includes for Files<'_> {
    fn read(&mut self, path: &str, including: &str) -> Result<Included, String> {
        let beside = Path::new(including).with_file_name(path);
        let beside = beside.to_string_lossy();
        [path, &beside]
            .into_iter()
            .find_map(|name| {
                let text = self.0.get(name)?.clone();
                Some(Included {
                    name: name.to_owned(),
                    text,
                })
            })
            .ok_or_else(|| "there is no such file".to_owned())
    }
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (stem, text) in files("corpus", "lines") {
        for line in text.split('\n').filter(|line| !line.trim().is_empty()) {
            cases.push(case(format!("{stem}: {line}"), format!("{line}\n")));
        }
    }
    for (stem, text) in files("corpus", "cases") {
        let text = format!("\n{text}");
        for part in text.split("\n=== ").skip(1) {
            let (name, text) = part.split_once('\n').unwrap_or((part, ""));
            let text = format!("\n{text}");
            let mut parts = text.split("\n--- ");
            let first = parts.next().unwrap_or_default();
            let first = first.strip_prefix('\n').unwrap_or(first);
            let mut case = case(format!("{stem}: {name}"), finished(first));
            for other in parts {
                let (file, text) = other.split_once('\n').unwrap_or((other, ""));
                case.files.insert(file.to_owned(), finished(text));
            }
            cases.push(case);
        }
    }
    for (stem, text) in files("corpus/whole", "ks") {
        cases.push(case(format!("whole: {stem}"), text));
    }
    cases
}

fn case(name: String, text: String) -> Case {
    Case {
        name,
        files: BTreeMap::from([("ks.cfg".to_owned(), text)]),
    }
}

/// Every file ends with a line end; U+240D stands for a carriage return.
fn finished(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{text}{end}").replace('\u{240d}', "\r")
}

/// A file beside this test.
pub(crate) fn read(name: &str) -> String {
    let path = directory().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The files with an extension, by name.
fn files(folder: &str, extension: &str) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(directory().join(folder)).expect("the corpus is there");
    entries
        .map(|entry| entry.expect("the corpus can be read").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| {
            let stem = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let text = std::fs::read_to_string(&path).expect("the corpus is UTF-8");
            (stem, text)
        })
        .collect()
}
