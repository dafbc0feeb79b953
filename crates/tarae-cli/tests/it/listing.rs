//! `listing`: the page for a folder, as text.

use tarae_cli::listing::render;
use tarae_cli::path::decode;
use tarae_cli::root::{Entries, Entry};

fn entry(name: &str, is_folder: bool, len: u64, modified: i64) -> Entry {
    Entry {
        name: name.to_owned(),
        is_folder,
        len,
        modified,
    }
}

fn page(path: &str, entries: Vec<Entry>) -> String {
    render(
        &decode(path).unwrap(),
        Entries {
            entries,
            is_cut: false,
        },
    )
}

/// The hrefs of the page, in order.
fn links(page: &str) -> Vec<&str> {
    page.split("href=\"")
        .skip(1)
        .map(|rest| rest.split_once('"').unwrap().0)
        .collect()
}

#[test]
fn folders_come_first_then_names_without_case() {
    let names = [
        ("b", false),
        ("Z", true),
        ("a", false),
        ("B", false),
        ("c", true),
        ("A", false),
    ];
    let entries = names
        .map(|(name, is_folder)| entry(name, is_folder, 1, 0))
        .to_vec();
    assert_eq!(links(&page("/", entries)), ["c/", "Z/", "A", "a", "B", "b"]);
}

#[test]
fn names_are_escaped_for_where_they_stand() {
    let name = "<b onload=\"x\">&'\n타래:1.txt";
    let html = page("/", vec![entry(name, false, 1, 0)]);
    let link = "%3Cb%20onload%3D%22x%22%3E%26%27%0A%ED%83%80%EB%9E%98%3A1.txt";
    assert_eq!(links(&html), [link]);
    assert!(html.contains("<bdi>&lt;b onload=&quot;x&quot;&gt;&amp;&#39;\u{FFFD}타래:1.txt</bdi>"));
    assert!(!html.contains("<b ") && !html.contains("<script"));
    let html = page("/%3Cb%3E%26/sub/", Vec::new());
    assert!(
        html.contains("<title>/&lt;b&gt;&amp;/sub/</title>"),
        "{html}"
    );
    assert!(!html.contains("<b>"));
}

#[test]
fn a_folder_links_to_all_above_it() {
    let html = page("/a%20b/%ED%83%80/c/", Vec::new());
    assert_eq!(links(&html), ["/", "/a%20b/", "/a%20b/%ED%83%80/", "../"]);
    assert!(html.contains("This folder is empty."));
    let html = page("/", Vec::new());
    assert_eq!(links(&html), [""; 0]);
    assert!(html.contains("<h1>/</h1>") && html.contains("This folder is empty."));
}

#[test]
fn sizes_are_for_people_with_the_bytes_beside() {
    for (len, want) in [
        (0, "<td title=\"0 bytes\">0 B</td>"),
        (999, ">999 B<"),
        (1_000, ">1.0 KB<"),
        (1_449, ">1.4 KB<"),
        (1_450, ">1.5 KB<"),
        (999_949, ">999.9 KB<"),
        (999_950, ">1.0 MB<"),
        (8_388_608, "<td title=\"8388608 bytes\">8.4 MB</td>"),
        (5_000_000_000, ">5.0 GB<"),
        (u64::MAX, ">18.4 EB<"),
    ] {
        let html = page("/", vec![entry("f", false, len, 0)]);
        assert!(html.contains(want), "{len}: {want}");
    }
    let html = page("/", vec![entry("d", true, 4_096, 0)]);
    assert!(!html.contains("4096") && !html.contains("4.1 KB"));
}

#[test]
fn dates_are_in_utc() {
    for (seconds, want) in [
        (0, "1970-01-01 00:00"),
        (-1, "1969-12-31 23:59"),
        (951_782_399, "2000-02-28 23:59"),
        (951_782_400, "2000-02-29 00:00"),
        (951_868_800, "2000-03-01 00:00"),
        (1_709_210_096, "2024-02-29 12:34"),
        (4_107_542_400, "2100-03-01 00:00"),
        (253_402_300_799, "9999-12-31 23:59"),
    ] {
        let html = page("/", vec![entry("f", false, 1, seconds)]);
        assert!(
            html.contains(&format!("<td>{want}</td>")),
            "{seconds}: {want}"
        );
    }
}

#[test]
fn a_cut_listing_says_so() {
    let entries = vec![entry("f", false, 1, 0)];
    let cut = render(
        &decode("/").unwrap(),
        Entries {
            entries,
            is_cut: true,
        },
    );
    assert!(cut.contains("Only 10000 of the names are shown."));
}

#[test]
fn it_reads_well_in_light_and_dark_and_has_no_script() {
    let html = page("/", vec![entry("f", false, 1, 0)]);
    assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">"));
    assert!(html.contains("color-scheme: light dark") && html.contains("prefers-color-scheme"));
    assert!(!html.contains("<script") && !html.contains("http://") && !html.contains("https://"));
}
