//! The rules that need nothing but a text and its name.
//!
//! Called by `tidy`. Pure functions that give faults; each has a test in which it fires. Words that
//! must not appear are put together from pieces here, or this file would break its own rules.

use super::lexer::{code_only, continues_word};

const COLUMNS_MAX: usize = 100;
const LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 80;

/// The only places where `unsafe` may stand. A name covers the file and the folder of that name.
const UNSAFE_ALLOWED: &[&str] = &[
    "crates/tarae/src/sys",
    "crates/tarae/src/driver",
    "crates/tarae/src/coroutine",
    "crates/tarae/src/stack",
    "crates/tarae/src/sched",
    "crates/tarae/src/completion",
    "crates/tarae/src/scope",
    "crates/tarae/src/offload",
    // An allocator that counts.
    "crates/tarae/tests/completion/allocations",
    // Faults that safe code cannot make, and signal handlers of users.
    "crates/tarae/tests/overflow/faults",
    "crates/tarae/tests/sanitizers/faults",
    // Handing the kernel a buffer: the example beside readiness.
    "crates/tarae/examples/readiness_vs_completion/ring",
    "bench/raw/src/net",
    // The models call the protocols' unsafe functions.
    "crates/tarae-loom/src/lib",
    "crates/tarae-loom/src/models",
];

/// The only crates whose roots need not forbid unsafe code.
const UNSAFE_CRATES: &[&str] = &["tarae", "tarae-loom"];

/// Code that is not finished, or was only to look at something.
const UNFINISHED_CODE: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "#[ignore"];

/// Notes to oneself, in comments too.
const UNFINISHED_WORDS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];

/// Paths that exist on one machine only.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// All rules for one Rust source.
pub(crate) fn check_source(name: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let mut faults = shape(name, text);
    faults.extend(long_functions(name, &code));
    faults.extend(unsafe_code(name, &code));
    for (number, line) in numbered(&code) {
        for word in UNFINISHED_CODE.iter().filter(|word| line.contains(**word)) {
            faults.push(format!("{name}:{number}: `{word}` must not be committed"));
        }
    }
    faults.extend(check_words(name, text));
    faults
}

/// The rules for any text.
pub(crate) fn check_words(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in numbered(text) {
        for word in UNFINISHED_WORDS.iter().filter(|word| has_word(line, word)) {
            faults.push(format!(
                "{name}:{number}: `{word}`: do it, or open an issue"
            ));
        }
        for path in MACHINE_PATHS.iter().filter(|path| starts_path(line, path)) {
            faults.push(format!(
                "{name}:{number}: `{path}…` exists on one machine only"
            ));
        }
    }
    faults
}

/// Opening words, columns and length.
fn shape(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push(format!(
            "{name}:1: must open with `//!`: what it is, who calls it"
        ));
    }
    for (number, line) in numbered(text) {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            faults.push(format!(
                "{name}:{number}: {columns} columns, {COLUMNS_MAX} at most"
            ));
        }
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        faults.push(format!(
            "{name}: {lines} lines, {LINES_MAX} at most: split it by idea"
        ));
    }
    faults
}

/// Functions that do not fit on a screen. Takes code without comments and literals.
fn long_functions(name: &str, code: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for start in words(code, "fn") {
        let Some(length) = body_end(&code[start..]) else {
            continue;
        };
        let lines = code[start..start + length].matches('\n').count() + 1;
        if lines > FUNCTION_LINES_MAX {
            let number = code[..start].matches('\n').count() + 1;
            faults.push(format!(
                "{name}:{number}: a function of {lines} lines, {FUNCTION_LINES_MAX} at most"
            ));
        }
    }
    faults
}

/// From `fn` to the end of its body; none for a declaration or a function type.
fn body_end(code: &str) -> Option<usize> {
    let mut nested = 0;
    let mut braces = 0;
    for (at, character) in code.char_indices() {
        match character {
            '{' => braces += 1,
            '}' if braces == 1 => return Some(at + 1),
            // The end of what the declaration stood in.
            '}' if braces == 0 => return None,
            '}' => braces -= 1,
            '(' | '[' if braces == 0 => nested += 1,
            ')' | ']' if braces == 0 && nested == 0 => return None,
            ')' | ']' if braces == 0 => nested -= 1,
            ';' if braces == 0 && nested == 0 => return None,
            _ => {}
        }
    }
    None
}

fn unsafe_code(name: &str, code: &str) -> Vec<String> {
    if UNSAFE_ALLOWED.iter().any(|place| covers(place, name)) {
        return Vec::new();
    }
    let numbers = words(code, "unsafe").map(|at| code[..at].matches('\n').count() + 1);
    let fault = |number| format!("{name}:{number}: `unsafe` outside its list in {}", file!());
    numbers.map(fault).collect()
}

fn covers(place: &str, name: &str) -> bool {
    name.strip_prefix(place)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// The root of every crate but one must forbid unsafe code.
pub(crate) fn forbids_unsafe(name: &str, file: &str, text: &str) -> Option<String> {
    let fine = UNSAFE_CRATES.contains(&name) || text.contains("#![forbid(unsafe_code)]");
    (!fine).then(|| format!("crates/{name}/{file}: must say `#![forbid(unsafe_code)]`"))
}

/// A crate or module must stand in ARCHITECTURE.md, as code.
pub(crate) fn named_in_map(map: &str, name: &str, kind: &str) -> Option<String> {
    let named = [
        format!("`{name}`"),
        format!("`crates/{name}`"),
        format!("`{name}/`"),
    ];
    let fine = named.iter().any(|form| map.contains(form.as_str()));
    (!fine).then(|| format!("ARCHITECTURE.md: the {kind} `{name}` is not named"))
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// Whether a path begins with that; `a/b/` does not contain the path `/b/`.
fn starts_path(line: &str, path: &str) -> bool {
    let before = |at| line[..at].chars().next_back();
    let inside = |character| continues_word(character) || ".}/~-".contains(character);
    line.match_indices(path)
        .any(|(at, _)| !before(at).is_some_and(inside))
}

fn has_word(text: &str, word: &str) -> bool {
    words(text, word).next().is_some()
}

/// Where a word stands, not as a part of a longer one.
fn words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| {
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            !before.is_some_and(continues_word) && !after.is_some_and(continues_word)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, text: &str, want: &[&str]) {
        let faults = check_source(name, text);
        assert_eq!(faults.len(), want.len(), "{faults:?}");
        for (fault, want) in faults.iter().zip(want) {
            assert!(fault.contains(want), "`{fault}` does not say `{want}`");
        }
    }

    #[test]
    fn good_source_has_no_faults() {
        let text = "//! What.\n#![deny(unsafe_code)]\n// An unsafe thing, todo!( it.\nfn a() {}\n";
        check("crates/a/src/lib.rs", text, &[]);
    }

    #[test]
    fn the_opening_is_required() {
        check("a.rs", "fn a() {}\n", &["a.rs:1: must open"]);
    }

    #[test]
    fn lines_and_files_have_a_limit() {
        check("a.rs", &format!("//! {}\n", "x".repeat(96)), &[]);
        check(
            "a.rs",
            &format!("//! {}\n", "x".repeat(97)),
            &["a.rs:1: 101 columns"],
        );
        check("a.rs", &"//!\n".repeat(800), &[]);
        check("a.rs", &"//!\n".repeat(801), &["801 lines"]);
    }

    #[test]
    fn functions_have_a_limit() {
        let function = |lines: usize| {
            let head = "//!\nfn f<T>(a: [u8; 3], g: fn(u8) -> u8)\nwhere T: Iterator<Item = u8>,\n";
            format!("{head}{{\n{}}}\n", "'}'; \"{\";\n".repeat(lines - 4))
        };
        check("a.rs", &function(80), &[]);
        check("a.rs", &function(81), &["a.rs:2: a function of 81 lines"]);
        let declared = format!("//!\ntrait A {{ fn f(&self);\n{}}}\n", "// x\n".repeat(100));
        check("a.rs", &declared, &[]);
        let field = format!("//!\nstruct A {{ f: fn(u8),\n{}}}\n", "// x\n".repeat(100));
        check("a.rs", &field, &[]);
    }

    #[test]
    fn unsafe_has_its_places() {
        let text = "//! What.\nfn a() {\n    unsafe {}\n}\n";
        check("crates/tarae/src/sys.rs", text, &[]);
        check("crates/tarae/src/driver/epoll.rs", text, &[]);
        check(
            "crates/tarae/src/system.rs",
            text,
            &["system.rs:3: `unsafe`"],
        );
        check(
            "crates/tarae-http/src/sys.rs",
            text,
            &["sys.rs:3: `unsafe`"],
        );
        assert!(forbids_unsafe("tarae-http", "src/lib.rs", "//! What.\n").is_some());
        assert!(forbids_unsafe("tarae-http", "src/lib.rs", "#![forbid(unsafe_code)]").is_none());
        assert!(forbids_unsafe("tarae", "src/lib.rs", "//! What.\n").is_none());
    }

    #[test]
    fn unfinished_code_is_refused() {
        for word in UNFINISHED_CODE {
            check("a.rs", &format!("//!\n    {word}\n"), &[word]);
            check(
                "a.rs",
                &format!("//!\n// {word}\nconst A: &str = \"{word}\";\n"),
                &[],
            );
        }
        for word in UNFINISHED_WORDS {
            check("a.rs", &format!("//!\n// {word}: later\n"), &[word]);
            check("a.rs", &format!("//!\n// {word}S\n"), &[]);
        }
    }

    #[test]
    fn machine_paths_are_refused() {
        for path in MACHINE_PATHS {
            assert_eq!(check_words("a.md", &format!("see {path}a\n")).len(), 1);
            assert_eq!(
                check_words("a.toml", &format!("a = \"{path}a\"\n")).len(),
                1
            );
            assert_eq!(
                check_words("a.rs", &format!("// a{path} and {{}}{path}\n")).len(),
                0
            );
        }
        assert_eq!(check_words("a.md", "see /srv/a, workers/\n").len(), 0);
    }

    #[test]
    fn the_map_names_everything() {
        let map = "- `net`: sockets\n- `crates/tarae-http`: HTTP\n- `driver/`: the seam\n";
        for name in ["net", "tarae-http", "driver"] {
            assert_eq!(named_in_map(map, name, "module"), None);
        }
        assert!(named_in_map(map, "tarae", "crate").is_some());
    }
}
