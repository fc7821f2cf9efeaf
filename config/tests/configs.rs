//! The files of tests/configs: each one of `valid` compiles, with the warnings that stand beside it as `NAME.warnings`
//! (none without such a file); each one of `invalid` has the problems that stand beside it as `NAME.problems`.
//! `RINGWAY_UPDATE=1 cargo test -p ringway-config` writes both anew: read the difference before you keep it.

use std::fs;
use std::path::{Path, PathBuf};

use ringway_config::{Compiled, Compiler, Problems, Severity, Source};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/configs").join(name)
}

/// The files of a folder in order, at least `least` of them.
fn files(name: &str, least: usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    assert!(files.len() >= least, "{} files in {name}", files.len());
    files
}

fn compile(path: &Path) -> (Result<Compiled, Problems>, impl Fn(&Problems) -> String) {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    let result = Compiler::new().compile(&Source { name: &name, text: &text });
    (result, move |problems: &Problems| problems.render(&Source { name: &name, text: &text }, false))
}

/// Compares `rendered` with the file beside `path`; an empty text has none.
#[track_caller]
fn golden(path: &Path, ending: &str, rendered: &str) {
    let golden = path.with_extension(ending);
    if std::env::var_os("RINGWAY_UPDATE").is_some() {
        let _ = fs::remove_file(&golden);
        if !rendered.is_empty() {
            fs::write(&golden, rendered).unwrap();
        }
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert!(expected == rendered, "{}: expected\n{expected}\nfound\n{rendered}", path.display());
}

#[test]
fn valid_files_compile() {
    for path in files("valid", 5) {
        match compile(&path) {
            (Ok(compiled), render) => golden(&path, "warnings", &render(&compiled.warnings)),
            (Err(problems), render) => panic!("{}", render(&problems)),
        }
    }
}

#[test]
fn invalid_files_have_their_problems() {
    for path in files("invalid", 10) {
        match compile(&path) {
            (Ok(_), _) => panic!("{} compiles", path.display()),
            (Err(problems), render) => {
                assert!(problems.iter().any(|problem| problem.severity == Severity::Error));
                golden(&path, "problems", &render(&problems));
            }
        }
    }
}

#[test]
fn every_place_is_a_json_pointer_into_its_file() {
    for path in files("invalid", 10) {
        let text = fs::read_to_string(&path).unwrap();
        let Ok(file) = toml::from_str::<toml::Value>(&text) else {
            continue;
        };
        let json = serde_json::to_value(file).unwrap();
        let (Err(problems), _) = compile(&path) else { panic!("{} compiles", path.display()) };
        for problem in &problems {
            let parent = problem.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            assert!(json.pointer(parent).is_some(), "{}: {problem:?}", path.display());
            assert!(problem.span.as_ref().is_none_or(|span| text.get(span.clone()).is_some()), "{problem:?}");
        }
    }
}
