//! What the header fields say about the message and the connection: host, length of the body,
//! persistence, expectation (RFC 9110, 7.2 and 10.1.1; RFC 9112, 6 and 9.3). Called by `head`
//! for every complete head; everything doubtful is refused, because two parties that disagree
//! on where a message ends can be played against each other.

use http::{StatusCode, Version};

use crate::head::{BAD_REQUEST, Reject};
use crate::request::{Head, Span};

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Exactly this many bytes; 0 if there is no body.
    Bytes(u64),
    /// Until the last chunk.
    Chunked,
}

/// What the head says about the rest of the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    pub(crate) length: Length,
    /// Whether the client would keep the connection.
    pub(crate) keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
}

impl Framing {
    pub(crate) const NONE: Self = Self {
        length: Length::Bytes(0),
        keep_alive: false,
        expects_continue: false,
    };

    pub(crate) fn has_body(&self) -> bool {
        self.length != Length::Bytes(0)
    }
}

/// What was found while walking over the fields.
#[derive(Default)]
struct Found {
    host: Option<Span>,
    length: Option<u64>,
    /// Whether `Transfer-Encoding` was there, and how many codings it named.
    coded: bool,
    codings: usize,
    unknown_coding: bool,
    last_is_chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

/// Reads the fields of `head`; sets its host.
#[inline]
pub(crate) fn read(head: &mut Head, authority: Option<Span>) -> Result<Framing, Reject> {
    let mut found = Found::default();
    for field in &head.fields {
        let name_len = field.name.len;
        // The length alone rules out almost every field.
        if !matches!(name_len, 4 | 6 | 10 | 14 | 17) {
            continue;
        }
        let name = head.bytes(field.name);
        let value = head.bytes(field.value);
        if is_named_host(name) {
            if found.host.is_some() || !is_host(value) {
                return Err(BAD_REQUEST);
            }
            found.host = Some(field.value);
        } else if name_len > 4 {
            found.other_field(name, value)?;
        }
    }
    let http11 = head.version == Version::HTTP_11;
    if http11 && found.host.is_none() {
        return Err(BAD_REQUEST);
    }
    head.host = authority.or(found.host).unwrap_or_default();
    Ok(Framing {
        length: found.body_length(http11)?,
        keep_alive: !found.close && (http11 || found.keep_alive),
        // A 1.0 client cannot understand an interim answer.
        expects_continue: found.expects_continue && http11,
    })
}

impl Found {
    #[cold]
    fn other_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Reject> {
        if name.eq_ignore_ascii_case(b"connection") {
            for option in list(value) {
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.content_length(value)?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.transfer_encoding(value)?;
        } else if name.eq_ignore_ascii_case(b"expect") {
            for expectation in list(value) {
                if !expectation.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Reject(StatusCode::EXPECTATION_FAILED));
                }
                self.expects_continue = true;
            }
        }
        Ok(())
    }

    /// Several equal lengths are one length; anything else is refused.
    fn content_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        for item in value.split(|&byte| byte == b',') {
            let length = decimal(item.trim_ascii()).ok_or(BAD_REQUEST)?;
            if self.length.is_some_and(|before| before != length) {
                return Err(BAD_REQUEST);
            }
            self.length = Some(length);
        }
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Reject> {
        self.coded = true;
        for item in list(value) {
            let name = item.split(|&byte| byte == b';').next().unwrap_or_default();
            if !is_token(name.trim_ascii()) {
                return Err(BAD_REQUEST);
            }
            let chunked = item.eq_ignore_ascii_case(b"chunked");
            if self.last_is_chunked {
                // Chunked must come last, and once.
                return Err(BAD_REQUEST);
            }
            self.codings += 1;
            self.unknown_coding |= !chunked;
            self.last_is_chunked = chunked;
        }
        Ok(())
    }

    fn body_length(&self, http11: bool) -> Result<Length, Reject> {
        if !self.coded {
            return Ok(Length::Bytes(self.length.unwrap_or(0)));
        }
        // With both there is no telling which one another party on the way has believed.
        if self.length.is_some() || !http11 || !self.last_is_chunked {
            return Err(BAD_REQUEST);
        }
        if self.unknown_coding {
            return Err(Reject(StatusCode::NOT_IMPLEMENTED));
        }
        Ok(Length::Chunked)
    }
}

/// The elements of a comma-separated list; empty ones are to be ignored.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
}

/// Setting the bit in which the cases differ makes two bytes only of each of these letters.
#[inline]
fn is_named_host(name: &[u8]) -> bool {
    let is_host = |name: [u8; 4]| {
        let lower = u32::from_ne_bytes(name) | u32::from_ne_bytes([0x20; 4]);
        lower == u32::from_ne_bytes(*b"host")
    };
    name.try_into().is_ok_and(is_host)
}

/// Digits only: no sign, no space. A number beyond `u64` is as good as `u64::MAX`: longer than
/// any limit.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        (digit < 10).then(|| value.saturating_mul(10).saturating_add(digit))
    })
}

/// Not in a token (RFC 9110, 5.6.2).
const NO_TOKEN: u8 = 1;
/// Not in the name of a host (RFC 3986, 3.2.2): neither unreserved nor a sub-delim.
const NO_NAME: u8 = 2;
const COLON: u8 = 4;
const PERCENT: u8 = 8;

static CLASS: [u8; 256] = {
    let mut table = [NO_TOKEN | NO_NAME; 256];
    let token = b"!#$%&'*+-.^_`|~";
    let name = b"-._~!$&'()*+,;=:%";
    let mut at = 0;
    while at < token.len() {
        table[token[at] as usize] &= !NO_TOKEN;
        at += 1;
    }
    at = 0;
    while at < name.len() {
        table[name[at] as usize] &= !NO_NAME;
        at += 1;
    }
    let mut byte: usize = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = 0;
        }
        byte += 1;
    }
    table[b':' as usize] |= COLON;
    table[b'%' as usize] |= PERCENT;
    table
};

#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASS[byte as usize] & NO_TOKEN == 0
}

pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// All classes that occur in the text. Looking at every byte without a branch, four at a time,
/// is quicker than stopping at the first odd one.
#[inline]
pub(crate) fn classes_in(text: &[u8], table: &[u8; 256]) -> u8 {
    let (fours, rest) = text.as_chunks::<4>();
    let mut classes = 0;
    for &[a, b, c, d] in fours {
        classes |= table[a as usize] | table[b as usize] | table[c as usize] | table[d as usize];
    }
    for &byte in rest {
        classes |= table[byte as usize];
    }
    classes
}

/// `uri-host [ ":" port ]`. An empty host is what a client without an authority must send, but
/// then it has no port to name either.
#[inline]
pub(crate) fn is_host(text: &[u8]) -> bool {
    let mut name = text;
    while let [before @ .., b'0'..=b'9'] = name {
        name = before;
    }
    // The digits were a port if a colon stands before them, else the end of the name.
    name = match name {
        [name @ .., b':'] if !name.is_empty() => name,
        _ => text,
    };
    classes_in(name, &CLASS) & (NO_NAME | COLON | PERCENT) == 0 || is_unusual_host(text)
}

/// What follows the first colon.
fn after_colon(text: &[u8]) -> Option<&[u8]> {
    text.iter()
        .position(|&byte| byte == b':')
        .map(|at| &text[at + 1..])
}

/// Hosts with escapes, and addresses in brackets. Never asked for the empty one.
#[cold]
fn is_unusual_host(text: &[u8]) -> bool {
    if text.first() == Some(&b'[') {
        return is_ip_literal(text);
    }
    let port = after_colon(text);
    let name = &text[..text.len() - port.map_or(0, |port| port.len() + 1)];
    let mut parts = name.split(|&byte| byte == b'%');
    let mut is_name = |part: &[u8]| part.iter().all(|&byte| CLASS[byte as usize] & NO_NAME == 0);
    !name.is_empty()
        && parts.next().is_some_and(&mut is_name)
        && parts.all(|part| {
            let escape = part.get(..2).unwrap_or_default();
            escape.len() == 2 && escape.iter().all(u8::is_ascii_hexdigit) && is_name(part)
        })
        && port.is_none_or(is_port)
}

fn is_port(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

/// `[` IPv6 address `]` and a port. Future address versions exist only in the grammar.
fn is_ip_literal(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|&byte| byte == b']') else {
        return false;
    };
    let address = std::str::from_utf8(&text[1..end]).unwrap_or_default();
    let port_is_fine = match &text[end + 1..] {
        [] => true,
        [b':', port @ ..] => is_port(port),
        _ => false,
    };
    port_is_fine && address.parse::<std::net::Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for text in [
            "",
            "a",
            "example.org",
            "example.org:80",
            "127.0.0.1:8080",
            "a:",
            "[::1]",
            "[::1]:8",
            "a%20b",
            "a_b",
            "xn--9d0bm53a",
        ] {
            assert!(is_host(text.as_bytes()), "{text}");
        }
        for text in [
            "a b", "a/b", "a@b", "a:b", "a:1:2", "[::1", "[::g]", "[::1]x", "::1", "a%2", "a%zz",
            "a?b", "a#b", "\u{e9}", "a\tb", "[]", "a\\b", ":", ":80",
        ] {
            assert!(!is_host(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"00012"), Some(12));
        assert_eq!(decimal(b"18446744073709551616"), Some(u64::MAX));
        for text in ["", "+1", "-1", "1a", "0x1", "1 2", " ", "\u{663}"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
    }
}
