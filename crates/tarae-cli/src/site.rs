//! The HTTP handler that serves a folder.
//!
//! The server calls it for every request; it asks the other modules and builds the response. It
//! must never remember anything between requests: each answer comes from the folder as it is, so
//! a changed file is served changed. File system calls are made where the handler runs; a folder
//! on a slow disk or a network file system occupies its worker for that long.

use std::fs::File;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;
use tarae::os::unix::fs::FileExt;
use tarae_http::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tarae_http::{Body, Handler, Head, Plan, Request, Response, date};

use crate::conditional::{Conditions, Decision, ETag, IfRange, Validators, decide};
use crate::path::{Refusal, UrlPath, decode};
use crate::root::{Found, Root};
use crate::{content_type, listing};

/// Serves what is beneath a [`Root`].
#[derive(Debug)]
pub struct Site {
    root: Root,
}

/// Files up to this length are read whole and leave in one write with their head; longer ones are
/// streamed.
const WHOLE_BYTES_MAX: u64 = 64 * 1024;

/// A file changed so recently may be changed again without a new date: clocks of file systems
/// tick as slowly as once in two seconds. Until then its entity tag is weak.
const SETTLED_SECONDS: i64 = 2;

/// The page shown for a folder that has one.
const INDEX: &str = "index.html";

impl Site {
    /// A site over an opened folder.
    pub fn new(root: Root) -> Self {
        Self { root }
    }

    /// Answers a GET or HEAD with this head, at this time.
    pub fn respond(&self, head: &Head, now: SystemTime) -> Response {
        let path = match decode(head.path()) {
            Ok(path) => path,
            Err(Refusal::Malformed) => return plain(StatusCode::BAD_REQUEST),
            Err(Refusal::NotServed) => return plain(StatusCode::NOT_FOUND),
        };
        let answer = match self.root.find(&path.relative()) {
            Ok(Found::File(..)) if path.is_folder() => Ok(plain(StatusCode::NOT_FOUND)),
            Ok(Found::File(file, stat)) => {
                let name = path.components().last().map_or("", String::as_str);
                serve_file(head, name, file, &stat, now)
            }
            Ok(Found::Folder(_)) if !path.is_folder() => Ok(redirect(&path, head.query())),
            Ok(Found::Folder(folder)) => self.serve_folder(head, &path, &folder, now),
            Err(error) => Err(error),
        };
        answer.unwrap_or_else(|error| failure(&path, &error))
    }

    fn serve_folder(
        &self,
        head: &Head,
        path: &UrlPath,
        folder: &File,
        now: SystemTime,
    ) -> io::Result<Response> {
        let relative = path.relative();
        match self.root.find(&format!("{relative}/{INDEX}")) {
            Ok(Found::File(file, stat)) => return serve_file(head, INDEX, file, &stat, now),
            Ok(Found::Folder(_)) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let page = listing::render(path, self.root.entries(folder, &relative)?);
        // The page has no script and needs none, whatever the names in it are.
        let policy = "default-src 'none'; style-src 'unsafe-inline'";
        Ok(Response::html(page)
            .with_header(
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static(policy),
            )
            .with_header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache")))
    }
}

impl Handler for Site {
    fn plan(&self, head: &Head) -> Plan {
        // Methods are refused here, before any body is read, so that `call` never sees them.
        let allowed = HeaderValue::from_static("GET, HEAD, OPTIONS");
        let refusal = match *head.method() {
            // Files may have to be waited for.
            Method::GET | Method::HEAD => return Plan::default().off_loop(),
            Method::OPTIONS => Response::new(StatusCode::NO_CONTENT),
            _ => plain(StatusCode::METHOD_NOT_ALLOWED),
        };
        Plan::reject(refusal.with_header(header::ALLOW, allowed))
    }

    fn call(&self, request: &mut Request) -> Response {
        self.respond(request.head(), SystemTime::now())
    }
}

/// A short page that says the status in words.
fn plain(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    Response::text(format!("{} {reason}\n", status.as_u16())).with_status(status)
}

/// To the same path with a slash, so that the links of the page are relative to the folder.
fn redirect(path: &UrlPath, query: Option<&str>) -> Response {
    let mut location = path.folder_url();
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    match HeaderValue::try_from(location) {
        Ok(location) => {
            plain(StatusCode::MOVED_PERMANENTLY).with_header(header::LOCATION, location)
        }
        // Only a query with control characters is no header value.
        Err(_) => plain(StatusCode::BAD_REQUEST),
    }
}

/// The status for an error of the file system. One that the visitor did not cause is told to
/// whoever runs the server.
fn failure(path: &UrlPath, error: &io::Error) -> Response {
    match error.kind() {
        io::ErrorKind::NotFound => plain(StatusCode::NOT_FOUND),
        io::ErrorKind::PermissionDenied => plain(StatusCode::FORBIDDEN),
        _ => {
            // Escaped, so that a name cannot forge a line. A closed stderr is no reason to stop.
            let _ = writeln!(
                io::stderr(),
                "tarae: cannot read {:?}: {error}",
                path.relative()
            );
            plain(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn serve_file(
    head: &Head,
    name: &str,
    file: File,
    stat: &Stat,
    now: SystemTime,
) -> io::Result<Response> {
    let validators = validators(stat, now);
    let decision = decide(&conditions(head, now), &validators);
    let len = validators.len;
    let response = match decision {
        Decision::PreconditionFailed => return Ok(plain(StatusCode::PRECONDITION_FAILED)),
        Decision::RangeNotSatisfiable => {
            return Ok(plain(StatusCode::RANGE_NOT_SATISFIABLE)
                .with_header(header::CONTENT_RANGE, value(format!("bytes */{len}"))));
        }
        Decision::NotModified => Response::new(StatusCode::NOT_MODIFIED),
        Decision::Part { first, last } => Response::new(StatusCode::PARTIAL_CONTENT)
            .with_body(body(file, first, last - first + 1)?)
            .with_header(
                header::CONTENT_RANGE,
                value(format!("bytes {first}-{last}/{len}")),
            ),
        Decision::Whole => Response::new(StatusCode::OK).with_body(body(file, 0, len)?),
    };
    Ok(with_validators(response, name, decision, &validators))
}

fn with_validators(
    mut response: Response,
    name: &str,
    decision: Decision,
    validators: &Validators,
) -> Response {
    if decision != Decision::NotModified {
        let media_type = HeaderValue::from_static(content_type::of(name));
        response = response
            .with_header(header::CONTENT_TYPE, media_type)
            .with_header(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    response = response.with_header(header::ETAG, value(validators.etag.to_field()));
    if let Some(modified) = validators.modified {
        response = response.with_header(
            header::LAST_MODIFIED,
            value(date::format_unix(modified).to_vec()),
        );
    }
    response
}

/// So many bytes of the file. One that shrank since it was opened ends the connection early if it
/// is large, so that nobody takes what came for the whole.
fn body(file: File, at: u64, len: u64) -> io::Result<Body> {
    let file = tarae::fs::File::from_std(file);
    if len > WHOLE_BYTES_MAX {
        return Ok(Body::from_file(file, at, len));
    }
    let mut contents = vec![0; len as usize];
    file.read_exact_at(&mut contents, at)?;
    Ok(Body::from(contents))
}

/// What identifies the file: its date to the nanosecond and its length make the entity tag.
fn validators(stat: &Stat, now: SystemTime) -> Validators {
    let now = unix_seconds(now) as i64;
    let (seconds, len) = (stat.st_mtime, stat.st_size as u64);
    Validators {
        etag: ETag {
            weak: now.saturating_sub(seconds) < SETTLED_SECONDS,
            opaque: format!("{seconds:x}-{:x}-{len:x}", stat.st_mtime_nsec),
        },
        // A date in the future is replaced by the present: RFC 9110 §8.8.2.1.
        modified: u64::try_from(seconds.min(now)).ok(),
        len,
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn conditions(head: &Head, now: SystemTime) -> Conditions {
    let date_of =
        |name: HeaderName| date::parse(head.header(name.as_str())?, now).map(unix_seconds);
    Conditions {
        if_match: joined(head, header::IF_MATCH),
        if_none_match: joined(head, header::IF_NONE_MATCH),
        if_modified_since: date_of(header::IF_MODIFIED_SINCE),
        if_unmodified_since: date_of(header::IF_UNMODIFIED_SINCE),
        if_range: joined(head, header::IF_RANGE).map(|tag| match date_of(header::IF_RANGE) {
            Some(date) => IfRange::Date(date),
            None => IfRange::Tag(tag),
        }),
        range: joined(head, header::RANGE).filter(|_| head.method() == Method::GET),
    }
}

/// All lines of a field, joined by commas; none if there is no such line.
fn joined(head: &Head, name: HeaderName) -> Option<Vec<u8>> {
    let lines = head
        .headers()
        .filter(|(field, _)| field.eq_ignore_ascii_case(name.as_str()));
    lines
        .map(|(_, value)| value.to_vec())
        .reduce(|mut all, next| {
            all.extend_from_slice(b", ");
            all.extend(next);
            all
        })
}

/// A header value of our own making: numbers, dates and hexadecimal digits.
fn value(text: impl Into<Vec<u8>>) -> HeaderValue {
    HeaderValue::try_from(text.into()).expect("printable ASCII is a header value")
}
