//! The rules about dependencies: each is wanted, known, licensed, and there once.
//!
//! Called by `tidy`. Reads manifests, the lock file and `cargo tree`; the rules themselves are pure
//! functions over those texts. Must never reach the network: `cargo deny` does what needs it.

use crate::shell::{Done, cargo, output, read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The only source from which packages may come.
const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Where each dependency is given its reason.
const REASONS: &str = "docs/dependencies.md";

/// All rules.
pub(super) fn check(root: &Path) -> Done<Vec<String>> {
    let mut direct = BTreeSet::new();
    let mut product = BTreeSet::new();
    for manifest in manifests(root)? {
        let names = names_in(&read(&root.join(&manifest))?);
        if !manifest.starts_with("bench/") && !manifest.starts_with("fuzz/") {
            product.extend(names.iter().cloned());
        }
        direct.extend(names);
    }
    let mut faults = reasons(&read(&root.join(REASONS))?, &direct);
    let locks = [
        ("Cargo.lock", &product),
        ("bench/Cargo.lock", &direct),
        ("fuzz/Cargo.lock", &direct),
    ];
    for (file, names) in locks {
        let lock = read(&root.join(file))?;
        faults.extend(sources(file, &lock));
        faults.extend(versions(file, &lock, names));
    }
    let deny = read(&root.join("deny.toml"))?;
    let allowed = allowed_licences(&deny);
    let arguments = [
        "tree",
        "--locked",
        "--workspace",
        "--edges=normal,build,dev",
        "--prefix=none",
    ];
    let tree = output(cargo(&arguments).args(["--no-dedupe", "--format={p}\t{l}"]))?;
    faults.extend(licences(&tree, &allowed));
    Ok(faults)
}

/// The manifests of all members of all workspaces.
fn manifests(root: &Path) -> Done<Vec<String>> {
    let mut found = vec!["xtask/Cargo.toml".to_owned(), "fuzz/Cargo.toml".to_owned()];
    for folder in ["crates", "bench"] {
        for name in super::entries(&root.join(folder))? {
            let manifest = format!("{folder}/{name}/Cargo.toml");
            if root.join(&manifest).is_file() {
                found.push(manifest);
            }
        }
    }
    Ok(found)
}

/// The packages that a manifest asks for from outside; our own begin with `tarae`.
fn names_in(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section.ends_with("dependencies");
            if let Some((_, name)) = section.rsplit_once("dependencies.") {
                names.insert(name.to_owned());
            }
        } else if inside && line.contains('=') && !line.starts_with('#') {
            let end = line.find([' ', '.', '=']).unwrap_or(line.len());
            names.insert(line[..end].trim_matches('"').to_owned());
        }
    }
    names.retain(|name| name != "tarae" && !name.starts_with("tarae-"));
    names
}

/// Every direct dependency has its row, and every row a dependency. A row is
/// `` | `name` | reason | ``.
fn reasons(document: &str, direct: &BTreeSet<String>) -> Vec<String> {
    let rows = document.lines().filter_map(|line| {
        let (name, reason) = line.strip_prefix("| `")?.split_once("` |")?;
        Some((name, reason.trim_matches([' ', '|'])))
    });
    let rows: BTreeMap<&str, &str> = rows.collect();
    let missing = direct
        .iter()
        .filter(|name| rows.get(name.as_str()).is_none_or(|r| r.is_empty()));
    let missing = missing.map(|name| format!("{REASONS}: `{name}` has no row with a reason"));
    let unused = rows.keys().filter(|name| !direct.contains(**name));
    let unused = unused.map(|name| format!("{REASONS}: `{name}` is not a dependency"));
    missing.chain(unused).collect()
}

/// The values of one key in a lock file's packages, each with its package's name.
fn locked<'l>(lock: &'l str, key: &str) -> Vec<(&'l str, &'l str)> {
    let mut name = "";
    let mut found = Vec::new();
    for line in lock.lines() {
        let Some((left, right)) = line.split_once(" = ") else {
            continue;
        };
        let value = right.trim_matches('"');
        if left == "name" {
            name = value;
        } else if left == key {
            found.push((name, value));
        }
    }
    found
}

fn sources(file: &str, lock: &str) -> Vec<String> {
    let strange = locked(lock, "source")
        .into_iter()
        .filter(|(_, source)| *source != SOURCE);
    strange
        .map(|(name, source)| format!("{file}: `{name}` comes from {source}"))
        .collect()
}

/// What we ask for ourselves must not be there in two versions.
fn versions(file: &str, lock: &str, direct: &BTreeSet<String>) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version) in locked(lock, "version") {
        versions.entry(name).or_default().push(version);
    }
    let doubled = versions
        .iter()
        .filter(|(name, list)| list.len() > 1 && direct.contains(**name));
    doubled
        .map(|(name, list)| {
            format!(
                "{file}: `{name}` in {} versions: {}",
                list.len(),
                list.join(", ")
            )
        })
        .collect()
}

/// The licences that `deny.toml` allows, so that they are listed once.
fn allowed_licences(deny: &str) -> BTreeSet<&str> {
    let section = deny.split("[licenses]").nth(1).unwrap_or_default();
    let list = section
        .split("allow = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next());
    let names = list
        .unwrap_or_default()
        .split(',')
        .map(|text| text.trim().trim_matches('"'));
    // After the last comma comes nothing, which must not allow packages without a licence.
    names.filter(|name| !name.is_empty()).collect()
}

/// Takes `package<tab>licence expression` lines. Errs on the strict side where an expression nests.
fn licences(tree: &str, allowed: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut faults = BTreeSet::new();
    for line in tree.lines().filter(|line| !line.trim().is_empty()) {
        let (package, expression) = line.split_once('\t').unwrap_or((line, ""));
        let expression = expression.trim_end_matches("(*)").replace(['(', ')'], " ");
        let expression = expression.replace('/', " OR ");
        let mut demands = expression.split(" AND ");
        let fine = demands.all(|demand| {
            demand
                .split(" OR ")
                .any(|choice| allowed.contains(choice.trim()))
        });
        if !fine {
            let package = package.split(" (").next().unwrap_or(package);
            faults.insert(format!(
                "deny.toml: licence of `{package}` not allowed: {expression}"
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn manifests_name_what_they_need() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\ntarae.workspace = true\n\
            http.workspace = true\nlibc = \"0.2\"\n[target.'cfg(unix)'.dev-dependencies]\n\
            # none = \"1\"\nregex = { version = \"1\" }\n[dependencies.loom]\nversion = \"1\"\n\
            [lints]\nworkspace = true\n";
        assert_eq!(names_in(manifest), set(&["http", "libc", "loom", "regex"]));
    }

    #[test]
    fn every_dependency_has_a_reason() {
        let document = "| `http` | types |\n| `libc` |  |\n| `gone` | was useful |\n";
        let faults = reasons(document, &set(&["http", "libc", "loom"]));
        assert_eq!(faults.len(), 3, "{faults:?}");
        for (fault, name) in faults
            .iter()
            .zip(["`libc` has no", "`loom` has no", "`gone` is not"])
        {
            assert!(fault.contains(name), "{fault}");
        }
    }

    #[test]
    fn packages_are_there_once_and_from_one_source() {
        let package = |name: &str, version: &str, source: &str| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{source}\"\n"
            )
        };
        let lock = [
            package("http", "1.0.0", SOURCE),
            package("http", "0.2.0", SOURCE),
            package("syn", "1.0.0", SOURCE),
            package("syn", "2.0.0", "git+https://example.org/syn"),
        ]
        .concat();
        let faults = versions("Cargo.lock", &lock, &set(&["http"]));
        assert_eq!(faults, ["Cargo.lock: `http` in 2 versions: 1.0.0, 0.2.0"]);
        let faults = sources("Cargo.lock", &lock);
        assert_eq!(
            faults,
            ["Cargo.lock: `syn` comes from git+https://example.org/syn"]
        );
    }

    #[test]
    fn licences_must_be_allowed() {
        let allowed = allowed_licences("[bans]\n[licenses]\nallow = [\n \"MIT\",\n \"BSD\",\n]\n");
        let tree = "a v1 (proc-macro)\tMIT OR GPL-3.0\nb v1\tMIT/GPL-3.0 (*)\n\
            c v1\t(MIT OR X) AND BSD\nd v1\tMIT AND X\ne v1\tX\nf v1\t\n";
        let faults = licences(tree, &allowed);
        let named: Vec<bool> = "abcdef"
            .chars()
            .map(|name| {
                faults
                    .iter()
                    .any(|fault| fault.contains(&format!("`{name} v1`")))
            })
            .collect();
        assert_eq!(named, [false, false, false, true, true, true]);
    }
}
