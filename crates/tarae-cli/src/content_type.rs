//! The media type of a file, from the extension of its name.
//!
//! `site` calls `of` for every file it serves. Pure. It must never look at contents: guessing
//! from bytes is how an uploaded picture becomes a script.

/// The value of `Content-Type` for a file of this name.
///
/// Text carries `charset=utf-8`. A name with no or an unknown extension is
/// `application/octet-stream`, which browsers save instead of showing.
///
/// # Examples
///
/// ```
/// assert_eq!(tarae_cli::content_type::of("Index.HTML"), "text/html; charset=utf-8");
/// ```
pub fn of(name: &str) -> &'static str {
    let Some((_, extension)) = name.rsplit_once('.') else {
        return UNKNOWN;
    };
    TABLE
        .iter()
        .find(|(known, _)| {
            known
                .split(' ')
                .any(|one| one.eq_ignore_ascii_case(extension))
        })
        .map_or(UNKNOWN, |(_, media_type)| media_type)
}

const UNKNOWN: &str = "application/octet-stream";

/// Extensions (separated by spaces) and their type, the frequent ones first.
const TABLE: &[(&str, &str)] = &[
    ("html htm", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js mjs", "text/javascript; charset=utf-8"),
    ("png", "image/png"),
    ("jpg jpeg", "image/jpeg"),
    ("svg", "image/svg+xml"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("gif", "image/gif"),
    ("ico", "image/x-icon"),
    ("json map", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("wasm", "application/wasm"),
    ("woff2", "font/woff2"),
    ("woff", "font/woff"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    (
        "txt text log ini conf cfg toml lock yaml yml",
        "text/plain; charset=utf-8",
    ),
    (
        "rs c h cc cpp hpp go py rb java kt sh sql ts tsx",
        "text/plain; charset=utf-8",
    ),
    ("md markdown", "text/markdown; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("ics", "text/calendar; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("xml xsd xsl", "text/xml; charset=utf-8"),
    ("atom", "application/atom+xml"),
    ("rss", "application/rss+xml"),
    ("xhtml", "application/xhtml+xml"),
    ("pdf", "application/pdf"),
    ("epub", "application/epub+zip"),
    ("bmp", "image/bmp"),
    ("tif tiff", "image/tiff"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("ogg oga opus", "audio/ogg"),
    ("flac", "audio/flac"),
    ("wav", "audio/wav"),
    ("mp4 m4v", "video/mp4"),
    ("webm", "video/webm"),
    ("ogv", "video/ogg"),
    ("mov", "video/quicktime"),
    ("zip", "application/zip"),
    ("gz tgz", "application/gzip"),
    ("bz2", "application/x-bzip2"),
    ("xz", "application/x-xz"),
    ("zst", "application/zstd"),
    ("7z", "application/x-7z-compressed"),
    ("tar", "application/x-tar"),
];
