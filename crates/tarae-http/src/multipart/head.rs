//! The header fields of a part, and parameters: those of `Content-Disposition`, and the boundary
//! in a `Content-Type`. Called by `parser` and by handlers; pure.

use super::Error;
use crate::body::is_text;
use crate::framing::{is_token, is_token_byte};

/// The longest boundary there is (RFC 2046, 5.1.1).
pub(super) const BOUNDARY_BYTES_MAX: usize = 70;

const DISPOSITION: &str = "content-disposition";

/// The boundary that a `Content-Type` of `multipart/form-data` names; `None` for any other type
/// and for a boundary that is missing, there twice, or not of the characters allowed.
///
/// ```
/// use tarae_http::multipart::boundary;
///
/// assert_eq!(boundary(b"multipart/form-data; boundary=\"a b\""), Some(&b"a b"[..]));
/// assert_eq!(boundary(b"application/x-www-form-urlencoded"), None);
/// ```
pub fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let (media_type, parameters) = split_at_semicolon(content_type);
    if !media_type.eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let mut found = None;
    for parameter in (Parameters { rest: parameters }) {
        let (name, value) = parameter.ok()?;
        if name.eq_ignore_ascii_case(b"boundary") && found.replace(value).is_some() {
            return None;
        }
    }
    found.filter(|text| {
        (1..=BOUNDARY_BYTES_MAX).contains(&text.len())
            && text.last() != Some(&b' ')
            && text.iter().all(|&byte| is_boundary_byte(byte))
    })
}

fn is_boundary_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte)
}

/// The header fields of one part.
#[derive(Debug, Default)]
pub struct PartHead {
    fields: Vec<(String, Vec<u8>)>,
    name: String,
    file_name: Option<String>,
}

impl PartHead {
    /// Reads whole lines, each with its CRLF, without the empty one.
    pub(super) fn parse(lines: &[u8]) -> Result<Self, Error> {
        let mut head = Self::default();
        let mut rest = lines;
        while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
            head.fields.push(field(&rest[..at])?);
            rest = &rest[at + 2..];
        }
        let is_disposition = |(name, _): &(&str, _)| name.eq_ignore_ascii_case(DISPOSITION);
        let mut dispositions = head.headers().filter(is_disposition);
        let (Some((_, value)), None) = (dispositions.next(), dispositions.next()) else {
            return Err(Error::MALFORMED);
        };
        let (name, file_name) = disposition(value)?;
        drop(dispositions);
        (head.name, head.file_name) = (name, file_name);
        Ok(head)
    }

    /// The name of the form's field. Names may repeat.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the file, if the part is one. It is what the client says, possibly with a path
    /// and of any characters: never open a file by it.
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// The value of the first header field of this name, compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All header fields in the order they came, without the blanks around the values.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let fields = self.fields.iter();
        fields.map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

/// `name ":" value`, as strict as header fields of requests.
fn field(line: &[u8]) -> Result<(String, Vec<u8>), Error> {
    let colon = memchr::memchr(b':', line).ok_or(Error::MALFORMED)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) || !value.iter().all(|&byte| is_text(byte)) {
        return Err(Error::MALFORMED);
    }
    Ok((text(name)?, value.trim_ascii().to_vec()))
}

/// `form-data; name="…"; filename="…"`. The extended form of the file name must not be used
/// (RFC 7578, 4.2), so it is not read.
fn disposition(value: &[u8]) -> Result<(String, Option<String>), Error> {
    let (kind, rest) = split_at_semicolon(value);
    if !kind.eq_ignore_ascii_case(b"form-data") {
        return Err(Error::MALFORMED);
    }
    let (mut name, mut file_name) = (None, None);
    for parameter in (Parameters { rest }) {
        let (key, value) = parameter?;
        let place = match key {
            _ if key.eq_ignore_ascii_case(b"name") => &mut name,
            _ if key.eq_ignore_ascii_case(b"filename") => &mut file_name,
            _ => continue,
        };
        if place.replace(unescaped(value)?).is_some() {
            return Err(Error::MALFORMED);
        }
    }
    Ok((name.ok_or(Error::MALFORMED)?, file_name))
}

fn text(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::MALFORMED)
}

/// Escapes are those of quotes and backslashes. Any other backslash is one: some clients send
/// paths.
fn unescaped(value: &[u8]) -> Result<String, Error> {
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = (byte == b'\\').then(|| bytes.next_if(|&next| b"\"\\".contains(&next)));
        plain.push(escaped.flatten().unwrap_or(byte));
    }
    text(&plain)
}

/// What stands before the first semicolon, trimmed, and all from there on.
fn split_at_semicolon(value: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr::memchr(b';', value).unwrap_or(value.len());
    (value[..at].trim_ascii(), &value[at..])
}

/// `*( OWS ";" OWS name "=" ( token / quoted-string ) )`; a quoted value without its quotes, but
/// with its escapes. An error ends it.
struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.rest.trim_ascii_start();
        while let [b';', after @ ..] = rest {
            rest = after.trim_ascii_start();
            if !rest.is_empty() && rest[0] != b';' {
                let parameter = parameter(&mut rest);
                // What is no semicolon after a value is an error the next time.
                self.rest = if parameter.is_err() { &[] } else { rest };
                return Some(parameter);
            }
        }
        self.rest = &[];
        (!rest.is_empty()).then_some(Err(Error::MALFORMED))
    }
}

fn parameter<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Error> {
    let all = *rest;
    let name_len = all.iter().take_while(|&&byte| is_token_byte(byte)).count();
    let (name, after) = all.split_at(name_len);
    let [b'=', after @ ..] = after else {
        return Err(Error::MALFORMED);
    };
    let (value, after) = match after {
        [b'"', after @ ..] => {
            let end = quote_end(after).ok_or(Error::MALFORMED)?;
            (&after[..end], &after[end + 1..])
        }
        _ => {
            let end = after
                .iter()
                .take_while(|&&byte| is_token_byte(byte))
                .count();
            after
                .split_at_checked(end)
                .filter(|_| end > 0)
                .ok_or(Error::MALFORMED)?
        }
    };
    if name.is_empty() {
        return Err(Error::MALFORMED);
    }
    *rest = after;
    Ok((name, value))
}

/// Where a quoted string ends that begins before `text`.
fn quote_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' if matches!(text.get(at + 1), Some(b'"' | b'\\')) => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        let good: [(&str, &str); 9] = [
            ("multipart/form-data; boundary=a", "a"),
            ("multipart/form-data;boundary=a", "a"),
            ("Multipart/Form-Data ; BOUNDARY=a", "a"),
            ("multipart/form-data; boundary=\"a\"", "a"),
            (
                "multipart/form-data; boundary=\"a b'()+_,-./:=?x\"",
                "a b'()+_,-./:=?x",
            ),
            ("multipart/form-data; charset=utf-8; boundary=a", "a"),
            ("multipart/form-data; x=\"; boundary=b\"; boundary=a", "a"),
            ("multipart/form-data;; boundary=a;", "a"),
            (
                "multipart/form-data; boundary=----WebKitFormBoundary0",
                "----WebKitFormBoundary0",
            ),
        ];
        for (value, want) in good {
            assert_eq!(boundary(value.as_bytes()), Some(want.as_bytes()), "{value}");
        }
        let long = |bytes: usize| format!("multipart/form-data; boundary={}", "b".repeat(bytes));
        assert_eq!(boundary(long(70).as_bytes()), Some(&[b'b'; 70][..]));
        assert_eq!(boundary(long(71).as_bytes()), None);
        for value in [
            "",
            "multipart/form-data",
            "multipart/mixed; boundary=a",
            "text/plain; boundary=a",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/form-data; boundary=\"a",
            "multipart/form-data; boundary=\"a \"",
            "multipart/form-data; boundary=\"a\"b",
            "multipart/form-data; boundary=a b",
            "multipart/form-data; boundary =a",
            "multipart/form-data; boundary= a",
            "multipart/form-data; boundary=a; boundary=a",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=\"a\\\"b\"",
            "multipart/form-data; boundary=a*b",
            "multipart/form-data; boundary=\"\u{e9}\"",
            "multipart/form-data; boundary=\"a\tb\"",
            "multipart/form-data, boundary=a",
            "multipart/form-data boundary=a",
            "multipart/form-data; =a; boundary=a",
            "multipart/form-data; x; boundary=a",
        ] {
            assert_eq!(boundary(value.as_bytes()), None, "{value}");
        }
    }

    #[track_caller]
    fn check(lines: &str, want: Option<(&str, Option<&str>)>) {
        let head = PartHead::parse(lines.as_bytes()).ok();
        let got = head.as_ref().map(|head| (head.name(), head.file_name()));
        assert_eq!(got, want, "{lines:?}");
    }

    #[test]
    fn dispositions() {
        let line = |rest: &str| format!("Content-Disposition: {rest}\r\n");
        let good = |rest: &str, name: &str, file: Option<&str>| {
            check(&line(rest), Some((name, file)));
        };
        good("form-data; name=\"a\"", "a", None);
        good("form-data;name=a", "a", None);
        good(
            "Form-Data; NAME=\"a b\"; FileName=\"c.d\"",
            "a b",
            Some("c.d"),
        );
        good("form-data; filename=c; name=\"\"", "", Some("c"));
        good("form-data; name=\"a\"; filename=\"\"", "a", Some(""));
        good("form-data; name=\"\u{d0c0}\"", "\u{d0c0}", None);
        good("form-data; name=\"a;b=\\\"c\\\\\"", "a;b=\"c\\", None);
        good(
            "form-data; name=a; filename=\"C:\\x\\y\"",
            "a",
            Some("C:\\x\\y"),
        );
        good("form-data; name=a; filename=\"b%22\"", "a", Some("b%22"));
        good("form-data; name=a; filename*=utf-8''x", "a", None);
        for rest in [
            "",
            "form-data",
            "form-data; filename=a",
            "attachment; name=a",
            "form-data; name=\"a",
            "form-data; name=\"a\\\"",
            "form-data; name=\"a\"b",
            "form-data; name=",
            "form-data; name",
            "form-data; name=a b",
            "form-data; name=a; name=a",
            "form-data; name=a; filename=b; filename=c",
            "form-data, name=a",
        ] {
            check(&line(rest), None);
        }
        check("Content-Type: a\r\n", None);
        check(&line("form-data; name=a").repeat(2), None);
        check(" Content-Disposition: form-data; name=a\r\n", None);
        check("Content-Disposition : form-data; name=a\r\n", None);
        check("Content-Disposition: form-data; name=a\0\r\n", None);
        check("Content-Disposition: form-data;\r\n name=a\r\n", None);
        let head = PartHead::parse(b"content-disposition: form-data; name=\"\xff\"\r\n");
        assert!(head.is_err_and(|error| error.is_malformed()));
    }
}
