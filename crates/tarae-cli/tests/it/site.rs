//! `site`: the handler over a folder of its own, without sockets.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tarae_cli::root::Root;
use tarae_cli::site::Site;
use tarae_http::{Handler, Head, Plan, Request, Response};

use crate::client::{Reply, get};
use crate::temp::Temp;

/// `answer` takes its handler for good; this lends it the site.
struct Shared(Arc<Site>);

impl Handler for Shared {
    fn plan(&self, head: &Head) -> Plan {
        self.0.plan(head)
    }

    fn call(&self, request: &mut Request) -> Response {
        self.0.call(request)
    }
}

struct Tester {
    temp: Temp,
    site: Arc<Site>,
}

impl Tester {
    fn new() -> Self {
        let temp = Temp::new();
        temp.folder("root");
        let site = Arc::new(Site::new(Root::open(&temp.join("root")).unwrap()));
        Self { temp, site }
    }

    fn ask(&self, request: &str) -> Reply {
        let request = request.replace('\n', "\r\n");
        Reply::parse(&tarae_http::answer(
            Shared(Arc::clone(&self.site)),
            request.as_bytes(),
        ))
    }

    fn get(&self, path: &str) -> Reply {
        Reply::parse(&tarae_http::answer(
            Shared(Arc::clone(&self.site)),
            get(path).as_bytes(),
        ))
    }

    fn get_with(&self, path: &str, field: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\nHost: test\n{field}\n\n"))
    }
}

#[test]
fn a_file_comes_with_its_type_and_validators() {
    let site = Tester::new();
    site.temp.write("root/a.txt", "hello");
    site.temp.write("root/empty.css", "");
    let reply = site.get("/a.txt?v=1");
    assert_eq!((reply.status, reply.text()), (200, "hello"));
    assert_eq!(
        reply.field("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(reply.field("content-length"), Some("5"));
    assert_eq!(reply.field("accept-ranges"), Some("bytes"));
    assert!(reply.field("last-modified").unwrap().ends_with(" GMT"));
    let etag = reply.field("etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with("-5\""), "{etag}");
    let reply = site.get("/empty.css");
    assert_eq!(
        (reply.status, reply.field("content-length")),
        (200, Some("0"))
    );
    assert_eq!(site.get("/a.txt/").status, 404);
    assert_eq!(site.get("/b.txt").status, 404);
}

#[test]
fn head_is_get_without_the_body() {
    let site = Tester::new();
    site.temp.write("root/a.txt", "hello");
    site.temp.write("root/big", vec![b'x'; 200_000]);
    site.temp.folder("root/sub");
    for path in ["/a.txt", "/big", "/", "/sub", "/none"] {
        let head = site.ask(&format!("HEAD {path} HTTP/1.1\nHost: test\n\n"));
        let whole = site.get(path);
        assert_eq!(head.body, b"", "{path}");
        assert_eq!(head.status, whole.status, "{path}");
        for field in [
            "content-length",
            "content-type",
            "etag",
            "last-modified",
            "location",
        ] {
            assert_eq!(head.field(field), whole.field(field), "{field} of {path}");
        }
        assert_eq!(
            head.field("content-length").unwrap(),
            whole.body.len().to_string()
        );
    }
}

#[test]
fn a_folder_is_its_index_or_a_listing() {
    let site = Tester::new();
    site.temp.write("root/with/index.html", "<p>index");
    site.temp.write("root/without/a.txt", "a");
    site.temp.write("root/odd/index.html/x.txt", "x");
    site.temp.write("secret", "secret");
    site.temp.folder("root/escape");
    site.temp.link("root/escape/index.html", "../../secret");
    let reply = site.get("/with/");
    assert_eq!((reply.status, reply.text()), (200, "<p>index"));
    assert!(reply.field("etag").is_some());
    let reply = site.get("/without/");
    assert!(reply.text().contains("href=\"a.txt\""));
    assert!(
        reply
            .field("content-security-policy")
            .unwrap()
            .starts_with("default-src 'none'")
    );
    assert_eq!(reply.field("etag"), None);
    assert!(site.get("/odd/").text().contains("href=\"index.html/\""));
    assert!(
        site.get("/escape/")
            .text()
            .contains("This folder is empty.")
    );
    let root = site.get("/");
    for link in ["with/", "without/", "odd/", "escape/"] {
        assert!(root.text().contains(&format!("href=\"{link}\"")), "{link}");
    }
}

#[test]
fn a_folder_without_a_slash_is_redirected() {
    let site = Tester::new();
    site.temp.folder("root/a b/타");
    for (path, location) in [
        ("/a%20b", "/a%20b/"),
        ("/a%20b/%ed%83%80", "/a%20b/%ED%83%80/"),
        ("/%61%20b?x=1&y=%2F", "/a%20b/?x=1&y=%2F"),
    ] {
        let reply = site.get(path);
        assert_eq!(
            (reply.status, reply.field("location")),
            (301, Some(location)),
            "{path}"
        );
    }
    assert_eq!(site.get("//a%20b").status, 404);
}

#[test]
fn unchanged_files_are_not_sent_again() {
    let site = Tester::new();
    site.temp.write("root/a.txt", "hello");
    let first = site.get("/a.txt");
    let (etag, date) = (
        first.field("etag").unwrap(),
        first.field("last-modified").unwrap(),
    );
    for (field, want) in [
        (format!("If-None-Match: {etag}"), 304),
        (format!("If-None-Match: W/{etag}"), 304),
        (format!("If-None-Match: \"x\"\nIf-None-Match: {etag}"), 304),
        ("If-None-Match: \"x\"".to_owned(), 200),
        (format!("If-Modified-Since: {date}"), 304),
        (
            "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
            200,
        ),
        ("If-Modified-Since: yesterday".to_owned(), 200),
        (
            format!("If-None-Match: \"x\"\nIf-Modified-Since: {date}"),
            200,
        ),
        (format!("If-Match: {etag}"), 200),
        ("If-Match: \"x\"".to_owned(), 412),
        (format!("If-Unmodified-Since: {date}"), 200),
        (
            "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
            412,
        ),
    ] {
        let reply = site.get_with("/a.txt", &field);
        assert_eq!(reply.status, want, "{field}");
        if want == 304 {
            assert_eq!(reply.body, b"");
            assert_eq!(reply.field("etag"), Some(etag));
            assert_eq!(reply.field("content-type"), None);
        }
    }
    site.temp.write("root/a.txt", "other");
    let changed = site.get_with("/a.txt", &format!("If-None-Match: {etag}"));
    assert_eq!((changed.status, changed.text()), (200, "other"));
}

#[test]
fn a_file_still_changing_has_a_weak_tag() {
    let site = Tester::new();
    let path = site.temp.write("root/a.txt", "hello");
    let file = std::fs::File::options().append(true).open(path).unwrap();
    // A date in the future stands for "just now", whatever the clock does during the test.
    file.set_modified(SystemTime::now() + Duration::from_secs(3_600))
        .unwrap();
    let reply = site.get("/a.txt");
    let etag = reply.field("etag").unwrap();
    assert!(etag.starts_with("W/\""), "{etag}");
    assert_eq!(
        site.get_with("/a.txt", &format!("If-None-Match: {etag}"))
            .status,
        304
    );
    assert_eq!(
        site.get_with("/a.txt", &format!("If-Match: {etag}")).status,
        412
    );
    let modified = reply.field("last-modified").unwrap();
    let now = SystemTime::now();
    assert!(tarae_http::date::parse(modified, now).unwrap() <= now);
}

#[test]
fn a_range_is_sent_alone() {
    let site = Tester::new();
    let big: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    site.temp.write("root/small", b"0123456789");
    site.temp.write("root/big", &big);
    let part = site.get_with("/small", "Range: bytes=2-4");
    assert_eq!((part.status, part.text()), (206, "234"));
    assert_eq!(part.field("content-range"), Some("bytes 2-4/10"));
    assert_eq!(site.get_with("/small", "Range: bytes=-3").text(), "789");
    let part = site.get_with("/big", "Range: bytes=1000-150999");
    assert!(part.status == 206 && part.body == big[1_000..151_000]);
    let none = site.get_with("/small", "Range: bytes=10-");
    assert_eq!(
        (none.status, none.field("content-range")),
        (416, Some("bytes */10"))
    );
    let head = site.ask("HEAD /small HTTP/1.1\nHost: test\nRange: bytes=2-4\n\n");
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("10"))
    );
    let whole = site.get_with("/small", "Range: bytes=2-4\nIf-Range: \"old\"");
    assert_eq!((whole.status, whole.body.len()), (200, 10));
    for name in ["etag", "last-modified"] {
        let validator = whole.field(name).unwrap();
        let fields = format!("Range: bytes=2-4\nIf-Range: {validator}");
        assert_eq!(site.get_with("/small", &fields).status, 206, "{validator}");
    }
}

#[test]
fn other_methods_are_told_what_is_allowed() {
    let site = Tester::new();
    site.temp.write("root/a.txt", "hello");
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "BREW"] {
        let reply = site.ask(&format!("{method} /a.txt HTTP/1.1\nHost: test\n\n"));
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.field("allow"), Some("GET, HEAD, OPTIONS"), "{method}");
    }
    for target in ["/a.txt", "*"] {
        let reply = site.ask(&format!("OPTIONS {target} HTTP/1.1\nHost: test\n\n"));
        assert_eq!((reply.status, reply.body.len()), (204, 0), "{target}");
        assert_eq!(reply.field("allow"), Some("GET, HEAD, OPTIONS"), "{target}");
    }
}

#[test]
fn hidden_malformed_and_escaping_paths_are_refused() {
    let site = Tester::new();
    site.temp.write("secret", "secret");
    site.temp.write("root/.git/config", "secret");
    site.temp.fifo("root/pipe");
    site.temp.link("root/out", "../secret");
    for (path, want) in [
        ("/.git/config", 404),
        ("/.git/", 404),
        ("/../secret", 404),
        ("/%2e%2e/secret", 404),
        ("/..%2fsecret", 404),
        ("/out", 404),
        ("/pipe", 404),
        ("/%00", 400),
        ("/%c0%ae%c0%ae/secret", 400),
        ("/%", 400),
    ] {
        let reply = site.get(path);
        assert_eq!(reply.status, want, "{path}");
        assert!(!reply.text().contains("secret"), "{path}");
    }
    assert!(!site.get("/").text().contains("git"));
}
