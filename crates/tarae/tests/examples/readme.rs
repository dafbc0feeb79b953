//! The documents show and link what exists, as it is.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_readme_shows_the_hello_server_as_it_is() {
    let hello = format!("```rust\n{}```\n", read("examples/hello/src/main.rs"));
    assert!(
        read("README.md").contains(&hello),
        "README.md: the program shown is not examples/hello/src/main.rs"
    );
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let mut links = 0;
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "docs/glossary.md",
    ] {
        let text = read(document);
        let folder = root().join(document);
        let folder = folder.parent().expect("a document lies in a folder");
        let targets = text.split("](").skip(1);
        for target in targets.filter_map(|rest| rest.split(')').next()) {
            let outside = target.starts_with("https://") || target.starts_with('#');
            let there = folder.join(target).exists();
            assert!(outside || there, "{document}: {target} is not there");
            links += 1;
        }
    }
    assert!(links > 0, "the documents have no links: this test is blind");
}
