//! The Dockerfile, tested without a docker engine.
//!
//! A test of this package checks the file against the tree; `soak` copies exactly the files that
//! an engine would see and runs the Dockerfile's own commands on them. Must never know these
//! commands itself: it reads them.

use crate::server::Server;
use crate::shell::{self, Done, read, root};
use crate::smoke;
use std::path::Path;
use std::process::Command;

const PAGE: &str = "<!doctype html><title>Skein</title>";

/// The lines of a Dockerfile that matter here.
#[derive(Debug, Default, PartialEq)]
struct Recipe {
    images: Vec<String>,
    /// From the tree.
    copied: Vec<String>,
    /// From the first stage: what, and to where.
    results: Vec<(String, String)>,
    workdir: String,
    commands: Vec<String>,
    entrypoint: Vec<String>,
}

/// Runs the recipe in a scratch folder and asks the server for a page.
pub(crate) fn run() -> Done {
    let recipe = parse(&read(&root().join("Dockerfile"))?)?;
    let ignored = Ignored::parse(&read(&root().join(".dockerignore"))?)?;
    let folder = shell::scratch("docker")?;
    let source = folder.join("src");
    for name in &recipe.copied {
        copy(&ignored, Path::new(name), &source)?;
    }
    for command in &recipe.commands {
        let mut shell = Command::new("sh");
        shell.args(["-ec", command]).current_dir(&source);
        // As in a fresh image: nothing of ours may lead the build elsewhere.
        shell.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
        shell::run(&mut shell)?;
    }
    let image = folder.join("bin");
    let site = folder.join("site");
    create(&image)?;
    create(&site)?;
    std::fs::write(site.join("index.html"), PAGE).map_err(|error| error.to_string())?;
    for (from, to) in &recipe.results {
        let built = source.join(inside(from, &recipe.workdir)?);
        let name = Path::new(to).file_name().expect("parse checked it");
        std::fs::copy(&built, image.join(name))
            .map_err(|error| format!("{}: {error}", built.display()))?;
    }
    let mut words = recipe.entrypoint.iter();
    let mut command = Command::new(image.join(words.next().expect("parse checked it")));
    // The mounted folder, and any free port.
    command.args(words.map(|word| match word.as_str() {
        "/srv" => site.to_string_lossy().into_owned(),
        word => word.replace(":8080", ":0"),
    }));
    let server = Server::start(&mut command)?;
    smoke::curl(&format!("http://{}/", server.address()), PAGE)
}

fn create(folder: &Path) -> Done {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// A path in the image, relative to the work folder.
fn inside<'p>(path: &'p str, workdir: &str) -> Done<&'p str> {
    let rest = path
        .strip_prefix(workdir)
        .and_then(|rest| rest.strip_prefix('/'));
    rest.ok_or_else(|| format!("Dockerfile: `{path}` is not in the WORKDIR `{workdir}`"))
}

/// Copies a file or folder of the tree, as far as it is not ignored.
fn copy(ignored: &Ignored, name: &Path, to: &Path) -> Done {
    if !ignored.lets_in(&name.to_string_lossy()) {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("{}: {error}", name.display());
    let from = root().join(name);
    if from.is_dir() {
        for entry in std::fs::read_dir(&from).map_err(failed)? {
            copy(ignored, &name.join(entry.map_err(failed)?.file_name()), to)?;
        }
        return Ok(());
    }
    create(to.join(name).parent().expect("below `to`"))?;
    std::fs::copy(&from, to.join(name)).map_err(failed)?;
    Ok(())
}

/// The three forms of line that our `.dockerignore` has; the last line that fits decides.
struct Ignored(Vec<(bool, String)>);

impl Ignored {
    fn parse(text: &str) -> Done<Self> {
        let mut rules = Vec::new();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (lets_in, pattern) = match line.strip_prefix('!') {
                Some(pattern) => (true, pattern),
                None => (false, line),
            };
            let name = pattern.strip_prefix("**/").unwrap_or(pattern);
            if name != "*" && name.contains(['*', '?', '[', '\\']) {
                return Err(format!(
                    ".dockerignore: `{line}`: this test does not know the form"
                ));
            }
            rules.push((lets_in, pattern.to_owned()));
        }
        Ok(Ignored(rules))
    }

    fn lets_in(&self, path: &str) -> bool {
        let fits = |pattern: &str| match pattern.strip_prefix("**/") {
            Some(name) => path.split('/').any(|part| part == name),
            None if pattern == "*" => true,
            None => path
                .strip_prefix(pattern)
                .is_some_and(|r| r.is_empty() || r.starts_with('/')),
        };
        let last = self.0.iter().rev().find(|(_, pattern)| fits(pattern));
        last.is_none_or(|(lets_in, _)| *lets_in)
    }
}

/// Reads the instructions we use; an unknown one is an error, for it would go untested.
fn parse(text: &str) -> Done<Recipe> {
    let mut recipe = Recipe::default();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (instruction, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        match (instruction, words.as_slice()) {
            ("FROM", [image] | [image, "AS", _]) => recipe.images.push((*image).to_owned()),
            ("WORKDIR", [folder]) => recipe.workdir = (*folder).to_owned(),
            ("COPY", ["--from=build", from, to]) => {
                recipe.results.push(((*from).to_owned(), (*to).to_owned()));
            }
            ("COPY", [sources @ .., _]) if !sources.is_empty() => {
                recipe
                    .copied
                    .extend(sources.iter().map(|name| (*name).to_owned()));
            }
            ("RUN", _) => recipe.commands.push(rest.to_owned()),
            ("ENTRYPOINT", _) => {
                let list = rest.trim_matches(['[', ']']).split(',');
                recipe.entrypoint = list
                    .map(|word| word.trim().trim_matches('"').into())
                    .collect();
            }
            ("EXPOSE" | "USER", [_]) => {}
            _ => return Err(format!("Dockerfile: `{line}`: this test does not know it")),
        }
    }
    check(&recipe).map(|()| recipe)
}

/// What must hold of any recipe, whatever the tree holds.
fn check(recipe: &Recipe) -> Done {
    for image in &recipe.images {
        let pinned = image.split_once(':').is_some_and(|(_, tag)| {
            tag.split('-')
                .next()
                .is_some_and(|version| version.contains('.'))
        });
        if !pinned {
            return Err(format!("Dockerfile: `{image}` is not pinned to a version"));
        }
    }
    if let Some(command) = recipe
        .commands
        .iter()
        .find(|command| !command.contains("--locked"))
    {
        return Err(format!("Dockerfile: `{command}` must build with --locked"));
    }
    let program = recipe.entrypoint.first().cloned().unwrap_or_default();
    let installed = |(from, to): &(String, String)| {
        from.ends_with(&format!("/{program}")) && *to == format!("/usr/local/bin/{program}")
    };
    if program.is_empty() || !recipe.results.iter().any(installed) {
        return Err(format!(
            "Dockerfile: the entry point `{program}` is not copied to the path"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Recipe {
        parse(&read(&root().join("Dockerfile")).expect("a Dockerfile")).expect("a good one")
    }

    #[test]
    fn the_dockerfile_fits_the_tree() {
        let recipe = ours();
        let text = read(&root().join(".dockerignore")).expect("a .dockerignore");
        let ignored = Ignored::parse(&text).expect("a good one");
        for name in &recipe.copied {
            assert!(root().join(name).exists(), "COPY {name}: is not there");
            assert!(
                ignored.lets_in(name),
                "COPY {name}: .dockerignore keeps it out"
            );
        }
        assert!(!ignored.lets_in("crates/tarae/target/debug/x"));
        assert!(!ignored.lets_in("bench/raw/src/main.rs"));
        let manifest = read(&root().join("crates/tarae-cli/Cargo.toml")).expect("a manifest");
        assert!(manifest.contains(&format!("name = \"{}\"", recipe.entrypoint[0])));
        assert!(
            recipe
                .commands
                .iter()
                .any(|command| command.contains("-p tarae-cli"))
        );
        for (from, _) in &recipe.results {
            let built = inside(from, &recipe.workdir).expect("in the work folder");
            assert!(built.starts_with("target/release/"));
        }
    }

    #[test]
    fn faults_are_found() {
        let good = read(&root().join("Dockerfile")).expect("a Dockerfile");
        let breaks = [
            (":1.95-bookworm", ":latest"),
            (":12.11-slim", ""),
            ("--locked", ""),
            ("[\"tarae\"", "[\"other\""),
            ("USER nobody", "ADD a b"),
        ];
        for (from, to) in breaks {
            assert!(good.contains(from), "`{from}` is not in the Dockerfile");
            assert!(
                parse(&good.replace(from, to)).is_err(),
                "`{to}` for `{from}` was accepted"
            );
        }
    }
}
