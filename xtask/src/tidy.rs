//! The house rules as code: `cargo xtask tidy`, a step of `ci`, and a test of this package.
//!
//! Reads the tree and hands texts to the rules in `text`, `sound` and `deps`, which are pure. Must
//! never change a file.

mod deps;
mod lexer;
mod sound;
mod text;

use crate::shell::{Done, read, root};
use std::path::{Path, PathBuf};

/// Folders that hold no source.
const SKIPPED_FOLDERS: &[&str] = &["target", ".git", "node_modules"];

/// What else is checked for words that must not appear, beside `.rs` files.
const TEXT_ENDINGS: &[&str] = &[
    "toml",
    "md",
    "lua",
    "yml",
    "html",
    "css",
    "js",
    "Dockerfile",
    ".dockerignore",
    "run",
];

/// Checks the whole repository; the error lists every fault with file and line.
pub(crate) fn run() -> Done {
    let mut faults = Vec::new();
    let root = root();
    let soundness = read(&root.join("docs/soundness.md"))?;
    faults.extend(sound::named_tests(&soundness, |name| {
        read(&root.join(name)).ok()
    }));
    for path in files(&root)? {
        let name = path
            .strip_prefix(&root)
            .expect("below the root")
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".rs") {
            let text = read(&path)?;
            faults.extend(text::check_source(&name, &text));
            faults.extend(sound::inventoried(&soundness, &name, &text));
        } else if TEXT_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            faults.extend(text::check_words(&name, &read(&path)?));
        }
    }
    faults.extend(crates(&root)?);
    faults.extend(deps::check(&root)?);
    if !root.join("CHANGELOG.md").is_file() {
        faults.push("CHANGELOG.md: is missing".into());
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} faults against the house rules:\n{}",
        faults.len(),
        faults.join("\n")
    ))
}

/// Every crate forbids unsafe code unless listed, and stands in the map with its modules.
fn crates(root: &Path) -> Done<Vec<String>> {
    let map = read(&root.join("ARCHITECTURE.md"))?;
    let mut faults = Vec::new();
    for name in entries(&root.join("crates"))? {
        faults.extend(text::named_in_map(&map, &name, "crate"));
        for file in ["src/lib.rs", "src/main.rs"] {
            let path = root.join("crates").join(&name).join(file);
            if path.is_file() {
                faults.extend(text::forbids_unsafe(&name, file, &read(&path)?));
            }
        }
    }
    for module in entries(&root.join("crates/tarae/src"))? {
        let module = module.trim_end_matches(".rs");
        if module != "lib" {
            faults.extend(text::named_in_map(&map, module, "module of tarae"));
        }
    }
    Ok(faults)
}

/// All files below a folder, sorted, so that faults come in the same order on every machine.
fn files(folder: &Path) -> Done<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in entries(folder)? {
        let path = folder.join(&name);
        if !path.is_dir() {
            found.push(path);
        } else if !SKIPPED_FOLDERS.contains(&name.as_str()) {
            found.extend(files(&path)?);
        }
    }
    Ok(found)
}

fn entries(folder: &Path) -> Done<Vec<String>> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        names.push(
            entry
                .map_err(failed)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        if let Err(faults) = super::run() {
            panic!("{faults}");
        }
    }
}
