//! What porting a blocking program takes: `use std::` → `use tarae::`, and an attribute on `main`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// How the line begins that makes `main` the first coroutine.
const ATTRIBUTE: &str = "#[tarae::main";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The program as its author would have written it for the standard library.
fn unported(text: &str) -> String {
    let kept = text.split_inclusive('\n');
    let kept = kept.filter(|line| !line.starts_with(ATTRIBUTE));
    kept.collect::<String>().replace("use tarae::", "use std::")
}

/// Without the opening words, which tell the twins apart.
fn code(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.starts_with("//!"))
        .collect()
}

#[test]
fn the_echo_servers_differ_in_their_imports_and_entry_alone() {
    let ported = read(&examples().join("echo.rs"));
    let original = read(&examples().join("echo_std.rs"));
    assert_eq!(code(&unported(&ported)), code(&original));
    let changed = ported
        .lines()
        .filter(|line| line.starts_with("use tarae::"));
    assert_eq!(
        changed.collect::<Vec<_>>(),
        [
            "use tarae::net::{TcpListener, TcpStream};",
            "use tarae::thread;"
        ]
    );
    assert_eq!(ported.matches(ATTRIBUTE).count(), 1);
}

/// Compiles an example as a program for the standard library; it must not need this crate.
fn compile_unported(name: &str, files: &[&str]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("unported-{name}"));
    std::fs::create_dir_all(&folder).expect("cargo's scratch folder can be written to");
    for file in files {
        let text = unported(&read(&examples().join(file)));
        let rest = code(&text).concat();
        assert!(!rest.contains("tarae::"), "{file} uses more than imports");
        let target = folder.join(Path::new(file).file_name().expect("a file's name"));
        std::fs::write(target, text).expect("the folder was made above");
    }
    let first = Path::new(files[0]).file_name().expect("a file's name");
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args([
            "--edition=2024",
            "--emit=metadata",
            "--crate-type=bin",
            "-Dwarnings",
        ])
        .arg("--out-dir")
        .arg(&folder)
        .arg(folder.join(first))
        .env("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the compiler that built this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}:\n{errors}");
}

#[test]
fn the_servers_are_programs_for_the_standard_library_too() {
    compile_unported("chat", &["chat.rs"]);
    compile_unported("book", &["book_server/main.rs", "book_server/pool.rs"]);
}
