//! `content_type`: extensions and their media types.

use tarae_cli::content_type::of;

#[test]
fn the_extension_decides() {
    let unknown = "application/octet-stream";
    for (name, want) in [
        ("index.html", "text/html; charset=utf-8"),
        ("A.HTM", "text/html; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("app.mjs", "text/javascript; charset=utf-8"),
        ("notes.타래.txt", "text/plain; charset=utf-8"),
        ("data.json", "application/json"),
        ("logo.svg", "image/svg+xml"),
        ("photo.JPEG", "image/jpeg"),
        ("module.wasm", "application/wasm"),
        ("archive.tar.gz", "application/gzip"),
        ("README", unknown),
        ("html", unknown),
        ("odd.", unknown),
        ("odd.htmlx", unknown),
        ("odd.html htm", unknown),
        ("odd.타래", unknown),
    ] {
        assert_eq!(of(name), want, "{name}");
    }
}

#[test]
fn all_text_names_its_charset() {
    for name in ["a.md", "a.csv", "a.rs", "a.xml", "a.vtt", "a.log", "a.ics"] {
        let media_type = of(name);
        assert!(media_type.starts_with("text/"), "{name}: {media_type}");
        assert!(
            media_type.ends_with("; charset=utf-8"),
            "{name}: {media_type}"
        );
    }
}
