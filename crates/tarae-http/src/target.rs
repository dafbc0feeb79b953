//! The four forms of a request target (RFC 9112, 3.2). Called by `head`; only looks at the
//! target, never at the header fields.

use http::Method;

use crate::framing::{classes_in, is_host};
use crate::head::{BAD_REQUEST, Reject};
use crate::request::{Head, Span};

const BAD: u8 = 1;
const QUESTION: u8 = 2;
const PERCENT: u8 = 4;

/// 0 for bytes that may stand in a target. `{`, `|`, `}`, `^`, `\` and the backtick are not in
/// the URI grammar, but browsers send them in queries; they cannot be mistaken for a delimiter.
static CLASS: [u8; 256] = {
    let mut table = [BAD; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = 0;
        byte += 1;
    }
    table[b'"' as usize] = BAD;
    table[b'#' as usize] = BAD;
    table[b'<' as usize] = BAD;
    table[b'>' as usize] = BAD;
    table[b'?' as usize] = QUESTION;
    table[b'%' as usize] = PERCENT;
    table
};

/// Checks the target against the method and sets path and query. Gives the authority that an
/// absolute target or `CONNECT` names, as a part of the head.
#[inline]
pub(crate) fn check(head: &mut Head) -> Result<Option<Span>, Reject> {
    let text = head.target.as_bytes();
    let classes = classes_in(text, &CLASS);
    if classes & BAD != 0 {
        return Err(BAD_REQUEST);
    }
    let mut query_at = None;
    if classes & QUESTION != 0 {
        query_at = text.iter().position(|&byte| byte == b'?');
    }
    let path_end = query_at.unwrap_or(text.len());
    let mut path_at = 0;
    let mut authority = None;
    if head.method == Method::CONNECT {
        // The port is not optional here, and has to be one (RFC 9110, 9.3.6).
        let colon = text.iter().rposition(|&byte| byte == b':');
        let port = colon.and_then(|at| head.target[at + 1..].parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) || !is_host(text) {
            return Err(BAD_REQUEST);
        }
        authority = Some(in_head(head, 0, text.len()));
    } else if text[0] != b'/' && !(text == b"*" && head.method == Method::OPTIONS) {
        let at = authority_at(text)?;
        let rest = &text[at..path_end];
        path_at = at
            + rest
                .iter()
                .position(|&byte| byte == b'/')
                .unwrap_or(rest.len());
        let named = &text[at..path_at];
        if named.is_empty() || !is_host(named) {
            return Err(BAD_REQUEST);
        }
        authority = Some(in_head(head, at, path_at));
    }
    if classes & PERCENT != 0 && !are_escapes_whole(&text[path_at..path_end]) {
        return Err(BAD_REQUEST);
    }
    let end = text.len();
    head.path = part(path_at, path_end);
    head.query = query_at.map(|at| part(at + 1, end));
    Ok(authority)
}

/// Whether two hexadecimal digits follow each percent sign (RFC 3986, 2.1). Asked of paths only:
/// browsers send queries such as `?100%` as they are.
#[cold]
fn are_escapes_whole(path: &[u8]) -> bool {
    let mut parts = path.split(|&byte| byte == b'%').skip(1);
    parts.all(|part| matches!(part, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

/// Where the authority of an absolute target begins.
fn authority_at(target: &[u8]) -> Result<usize, Reject> {
    for scheme in [&b"http://"[..], b"https://"] {
        if target
            .get(..scheme.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
        {
            return Ok(scheme.len());
        }
    }
    Err(BAD_REQUEST)
}

fn part(from: usize, to: usize) -> Span {
    Span {
        at: from as u32,
        len: (to - from) as u32,
    }
}

/// A part of the target as a part of the head, where a single space comes before it.
#[cold]
fn in_head(head: &Head, from: usize, to: usize) -> Span {
    let at = head.method.as_str().len() + 1;
    part(at + from, at + to)
}
