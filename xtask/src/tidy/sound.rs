//! The rules of `docs/soundness.md`: what it names exists, and no file with unsafe code is missing.
//!
//! Called by `tidy`. Pure but for the closure that reads a file of the tree.

use super::lexer::code_only;

const DOCUMENT: &str = "docs/soundness.md";

/// Names in backticks, relative to here unless they say otherwise.
const HOME: &str = "crates/tarae/";

/// Every `file.rs::function` of the document must be in the tree.
pub(crate) fn named_tests(document: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut found = 0;
    for (number, line) in document.lines().enumerate() {
        for name in line.split('`').skip(1).step_by(2) {
            let Some((file, function)) = name.split_once(".rs::") else {
                continue;
            };
            found += 1;
            let folder = if file.starts_with("crates/") || file.starts_with("xtask/") {
                ""
            } else {
                HOME
            };
            let defined = read(&format!("{folder}{file}.rs"))
                .is_some_and(|text| text.contains(&format!("fn {function}(")));
            if !defined {
                let number = number + 1;
                faults.push(format!("{DOCUMENT}:{number}: there is no `{name}`"));
            }
        }
    }
    if found == 0 {
        faults.push(format!("{DOCUMENT}: names no test"));
    }
    faults
}

/// A file of the runtime that says `unsafe` must stand in the document's inventory.
pub(crate) fn inventoried(document: &str, file: &str, text: &str) -> Option<String> {
    let code = code_only(text);
    let name = file.strip_prefix("crates/tarae/src/")?;
    let says = code
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word == "unsafe");
    let listed = document
        .lines()
        .any(|line| line.starts_with('#') && line.contains(&format!("`{name}`")));
    (says && !listed)
        .then(|| format!("{DOCUMENT}: `{name}` has unsafe code and no heading that names it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_are_named_exist() {
        let read = |file: &str| {
            let texts = [
                ("crates/tarae/tests/a.rs", "fn one() {}"),
                ("crates/b/src/c.rs", "fn two() {}"),
            ];
            let found = texts.iter().find(|(name, _)| *name == file)?;
            Some(found.1.to_owned())
        };
        let faults = |document| named_tests(document, read);
        assert!(faults("see `tests/a.rs::one`, `crates/b/src/c.rs::two`, `x::y`").is_empty());
        assert_eq!(faults("`tests/a.rs::one`\n`tests/a.rs::on`").len(), 1);
        assert!(faults("\n`tests/b.rs::one`")[0].contains("soundness.md:2: there is no"));
        assert_eq!(faults("nothing").len(), 1);
    }

    #[test]
    fn unsafe_code_is_listed() {
        let document = "### `sched/a.rs`, `sched/b.rs`\nand `sched/c.rs`\n";
        let fault = |file: &str, text| inventoried(document, file, text);
        let bad = "fn a() { unsafe {} }";
        assert_eq!(fault("crates/tarae/src/sched/b.rs", bad), None);
        assert!(fault("crates/tarae/src/sched/c.rs", bad).is_some());
        assert_eq!(fault("crates/tarae/src/sched/c.rs", "// unsafe"), None);
        assert_eq!(fault("crates/tarae/tests/c.rs", bad), None);
    }
}
