//! The page that shows a folder: plain HTML without scripts, readable in light and dark.
//!
//! `site` calls `render` for a folder without an index page. Pure. It must never put a name into
//! the page that was not escaped for the place it stands in.

use std::cmp::Reverse;
use std::fmt::Write as _;

use crate::path::{UrlPath, encode_into};
use crate::root::{ENTRIES_MAX, Entries, Entry};

/// The page for the folder at this path. Folders come first, then by name without regard to case.
pub fn render(path: &UrlPath, mut found: Entries) -> String {
    found.entries.sort_by_cached_key(|entry| {
        (
            Reverse(entry.is_folder),
            entry.name.to_lowercase(),
            entry.name.clone(),
        )
    });
    let mut page = String::with_capacity(2048 + 256 * found.entries.len());
    page.push_str(HEAD);
    page.push_str("<title>");
    for name in path.components() {
        page.push('/');
        escape_into(&mut page, name);
    }
    page.push_str("/</title>\n<h1>");
    breadcrumbs(&mut page, path.components());
    page.push_str("</h1>\n");
    if found.entries.is_empty() && path.components().is_empty() {
        page.push_str("<p>This folder is empty.</p>\n");
        return page;
    }
    page.push_str(TABLE);
    if !path.components().is_empty() {
        page.push_str(PARENT);
    }
    for entry in &found.entries {
        row(&mut page, entry);
    }
    page.push_str("</tbody>\n</table>\n");
    if found.is_cut {
        let _ = writeln!(page, "<p>Only {ENTRIES_MAX} of the names are shown.</p>");
    } else if found.entries.is_empty() {
        page.push_str("<p>This folder is empty.</p>\n");
    }
    page
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<style>
:root { color-scheme: light dark; --line: #d8dbe0; --soft: #5b6472; --link: #0b57b5;
  --paper: #fff; --ink: #1b1f24; --hover: #f2f5f9 }
@media (prefers-color-scheme: dark) { :root { --line: #343a43; --soft: #9aa4b2;
  --link: #7db4ff; --paper: #15181c; --ink: #e4e7eb; --hover: #1e232a } }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 60rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.25rem; margin: 0 0 1rem; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% }
th, td { padding: .35rem .5rem; text-align: left; border-bottom: 1px solid var(--line) }
th { color: var(--soft); font-size: .875rem; font-weight: 600 }
td:first-child { width: 100%; overflow-wrap: anywhere }
th + th, td + td { color: var(--soft); text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums }
tbody tr:hover { background: var(--hover) }
a { color: var(--link); text-decoration: none }
a:hover, a:focus-visible { text-decoration: underline }
@media (max-width: 30rem) { th:last-child, td:last-child { display: none } }
</style>
";

const TABLE: &str = "<table>
<thead><tr><th scope=\"col\">Name</th><th scope=\"col\">Size</th>\
<th scope=\"col\">Changed (UTC)</th></tr></thead>
<tbody>
";

const PARENT: &str = "<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n";

/// The path as links to each folder above; the folder itself is not a link.
fn breadcrumbs(page: &mut String, names: &[String]) {
    let Some((last, above)) = names.split_last() else {
        page.push('/');
        return;
    };
    let mut url = String::from("/");
    page.push_str("<a href=\"/\">/</a>");
    for name in above {
        encode_into(&mut url, name);
        url.push('/');
        let _ = write!(page, "<a href=\"{url}\"><bdi>");
        escape_into(page, name);
        page.push_str("</bdi>/</a>");
    }
    page.push_str("<bdi>");
    escape_into(page, last);
    page.push_str("</bdi>/");
}

fn row(page: &mut String, entry: &Entry) {
    let slash = if entry.is_folder { "/" } else { "" };
    page.push_str("<tr><td><a href=\"");
    encode_into(page, &entry.name);
    let _ = write!(page, "{slash}\"><bdi>");
    escape_into(page, &entry.name);
    let _ = write!(page, "</bdi>{slash}</a></td>");
    if entry.is_folder {
        page.push_str("<td></td>");
    } else {
        let _ = write!(
            page,
            "<td title=\"{} bytes\">{}</td>",
            entry.len,
            size(entry.len)
        );
    }
    let _ = writeln!(page, "<td>{}</td></tr>", date(entry.modified));
}

/// Escapes text for an element's content or a quoted attribute. Control characters, which HTML
/// has no way to show, become the replacement character.
fn escape_into(out: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            control if control.is_control() => out.push('\u{FFFD}'),
            other => out.push(other),
        }
    }
}

/// A length for people: bytes below 1,000, then one decimal of the next unit (1 KB = 1,000 B).
fn size(len: u64) -> String {
    if len < 1_000 {
        return format!("{len} B");
    }
    let mut tenths = len / 100 + u64::from(len % 100 >= 50);
    for unit in ["KB", "MB", "GB", "TB", "PB"] {
        if tenths < 10_000 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        tenths = tenths / 1_000 + u64::from(tenths % 1_000 >= 500);
    }
    format!("{}.{} EB", tenths / 10, tenths % 10)
}

/// Seconds since 1970 as `2026-07-05 14:03`, in UTC.
fn date(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}",
        second / 3_600,
        second / 60 % 60
    )
}

/// The Gregorian date of a day counted from 1970. Years begin in March here, so that the leap day
/// is the last of its year, and are counted within eras of 400 years, which are equally long.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
