//! `path`: what a request path decodes to, and what it never does.

use tarae_cli::path::{Refusal, decode, encode_into, is_servable_name};

fn check(raw: &str, want: Result<(&[&str], bool), Refusal>) {
    let got = decode(raw);
    let got = got
        .as_ref()
        .map(|path| (path.components(), path.is_folder()));
    let want = want.map(|(names, is_folder)| {
        (
            names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>(),
            is_folder,
        )
    });
    assert_eq!(
        got,
        want.as_ref().map(|(names, f)| (&names[..], *f)),
        "{raw:?}"
    );
}

#[test]
fn servable_paths_decode_to_names() {
    check("/", Ok((&[], true)));
    check("/a", Ok((&["a"], false)));
    check("/a/", Ok((&["a"], true)));
    check("/a/b.txt", Ok((&["a", "b.txt"], false)));
    check("/a%20b", Ok((&["a b"], false)));
    check("/%ED%83%80%EB%9E%98/", Ok((&["타래"], true)));
    check("/타래", Ok((&["타래"], false)));
    check("/a%3Fb%23c", Ok((&["a?b#c"], false)));
    check("/100%25", Ok((&["100%"], false)));
    check("/%252e%252e", Ok((&["%2e%2e"], false)));
    check("/a..b", Ok((&["a..b"], false)));
    check("/a+b:c", Ok((&["a+b:c"], false)));
    check("/%0A", Ok((&["\n"], false)));
}

#[test]
fn what_names_nothing_servable_is_not_found() {
    for raw in [
        "/..",
        "/../",
        "/../etc/passwd",
        "/a/../b",
        "/a/..",
        "/.",
        "/./a",
        "/%2e%2e/etc/passwd",
        "/%2E%2E/",
        "/.%2e/",
        "/%2e/",
        "/..%2fetc",
        "/a%2fb",
        "/a%2Fb",
        "/%2f",
        "/..%5cetc",
        "/a\\b",
        "/a%5Cb",
        "/..\\..\\etc",
        "//",
        "//etc/passwd",
        "/a//b",
        "/a//",
        "/.git/config",
        "/.git",
        "/a/.env",
        "/%2Egit/",
        "/.well-known/x",
        "/...",
        "//evil.example/",
    ] {
        check(raw, Err(Refusal::NotServed));
    }
}

#[test]
fn what_is_not_a_path_is_malformed() {
    for raw in [
        "",
        "a",
        "*",
        "%2f",
        "http://h/",
        "/%",
        "/%2",
        "/%zz",
        "/%2x",
        "/a%00",
        "/%00.txt",
        "/%c0%af",
        "/%c0%ae%c0%ae/",
        "/%e0%80%af",
        "/%f0%80%80%af",
        "/%ff",
        "/%ed%a0%80",
        "/%u002e",
        "/%+1",
    ] {
        check(raw, Err(Refusal::Malformed));
    }
}

#[test]
fn every_servable_name_survives_encoding() {
    for name in [
        "a", "a b", "100%", "%2e", "타래", "a:b", "?q#f", "<&>\"'", "x\n\t", "e\u{301}", "~-_.",
    ] {
        assert!(is_servable_name(name), "{name:?}");
        let mut url = String::from("/");
        encode_into(&mut url, name);
        assert!(
            url.is_ascii() && !url[1..].contains([':', '/', '?', '#', '"', '<', ' ']),
            "{url}"
        );
        assert_eq!(decode(&url).unwrap().components(), [name], "{url}");
    }
}

#[test]
fn a_folder_has_an_address_and_a_relative_path() {
    let path = decode("/a%20b/%ED%83%80").unwrap();
    assert_eq!(path.folder_url(), "/a%20b/%ED%83%80/");
    assert_eq!(path.relative(), "a b/타");
    assert_eq!(decode("/").unwrap().folder_url(), "/");
    assert_eq!(decode("/").unwrap().relative(), ".");
}
