//! The conformance cases: raw bytes, and what RFC 9110, 9112 and 3986 say must come of them.
//!
//! Data without code, so that whatever serves connections can be held to it: the test beside it
//! runs each case through a connection without sockets, the fuzz targets begin with them, servers
//! can be sent them. Compiled by path from outside the tests, so it must name nothing but
//! `tarae_http`.
//!
//! The handler behind the cases answers `ok` with 200. The path `/reject` is refused with 403
//! before its body is read, `/small` takes 4 bytes of body, `/close` closes the connection, and a
//! path that is a number of three digits asks for that status.
//!
//! What must come is written `what the handler saw | statuses state`: the requests as `METHOD
//! target`, then ` @host` unless the host is `a`, then ` [body]` unless it is empty, joined by
//! `, `; the statuses of all answers, interim ones too; and how the connection is left:
//!
//! - `open`: between two requests,
//! - `head`, `body`: in the middle of one, waiting for more,
//! - `closed`: by the server, whatever else may have been sent.
//!
//! Where an RFC leaves a choice, the stricter one was taken: a doubtful message is refused.

mod chunks;
mod connection;
mod expect;
mod fields;
mod host;
mod length;
mod limits;
mod methods;
mod pipelining;
mod request_line;
mod smuggling;
mod target;
mod trailers;
mod transfer;
mod versions;

use tarae_http::Limits;

/// All groups, by file.
const GROUPS: &[&[Group]] = &[
    request_line::GROUPS,
    versions::GROUPS,
    methods::GROUPS,
    target::GROUPS,
    fields::GROUPS,
    host::GROUPS,
    length::GROUPS,
    transfer::GROUPS,
    chunks::GROUPS,
    trailers::GROUPS,
    expect::GROUPS,
    connection::GROUPS,
    pipelining::GROUPS,
    limits::GROUPS,
    smuggling::GROUPS,
];

/// Cases that belong together.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// Where it stands.
    pub(crate) rfc: &'static str,
    /// What is sent before and after the bytes of each case.
    pub(crate) around: (&'static [u8], &'static [u8]),
    /// What is not as in `Limits::default()`.
    pub(crate) bounds: &'static [(Bound, usize)],
    /// Whether the peer ends its side after the bytes.
    pub(crate) end: bool,
    /// Bytes, and what must come of them.
    pub(crate) cases: &'static [(&'static [u8], &'static str)],
    /// Bytes of which `| 400 closed` must come.
    pub(crate) refused: &'static [&'static [u8]],
}

/// A group without cases, to fill in what a group does not say.
pub(crate) const NONE: Group = Group {
    name: "",
    rfc: "",
    around: (b"", b""),
    bounds: &[],
    end: false,
    cases: &[],
    refused: &[],
};

/// The limits that cases set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    RequestLine,
    Head,
    Headers,
    Body,
    Extensions,
    Trailers,
    Requests,
}

/// One case, put together.
#[derive(Debug)]
pub(crate) struct Case {
    /// Group and place, for messages.
    pub(crate) name: String,
    pub(crate) input: Vec<u8>,
    pub(crate) end: bool,
    pub(crate) bounds: &'static [(Bound, usize)],
    pub(crate) want: &'static str,
}

impl Case {
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for &(bound, value) in self.bounds {
            match bound {
                Bound::RequestLine => limits.request_line_bytes = value,
                Bound::Head => limits.head_bytes = value,
                Bound::Headers => limits.headers = value,
                Bound::Body => limits.body_bytes = value,
                Bound::Extensions => limits.chunk_extension_bytes = value,
                Bound::Trailers => limits.trailer_bytes = value,
                Bound::Requests => limits.requests_per_connection = Some(value as u32),
            }
        }
        limits
    }
}

/// All cases.
pub(crate) fn all() -> impl Iterator<Item = Case> {
    GROUPS.iter().copied().flatten().flat_map(|group| {
        let refused = group.refused.iter().map(|&bytes| (bytes, "| 400 closed"));
        let all = group.cases.iter().copied().chain(refused);
        all.enumerate().map(|(number, (bytes, want))| Case {
            name: format!("{} ({}), case {number}", group.name, group.rfc),
            input: [group.around.0, bytes, group.around.1].concat(),
            end: group.end,
            bounds: group.bounds,
            want,
        })
    })
}
