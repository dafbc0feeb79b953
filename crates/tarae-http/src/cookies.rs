//! The cookies of a request (RFC 6265bis, 5.8.3 seen from the server). Views into the head: nothing
//! is copied, decoded or refused here, and the limit of the head bounds it all.

use crate::Head;

impl Head {
    /// All cookies as pairs of name and value, in the order they came.
    ///
    /// Lenient, because clients send what servers of other programs have set: pairs are what
    /// semicolons separate, names end at the first `=`, blanks around both are dropped, empty
    /// pairs skipped. A pair without `=` is a value with an empty name. Quotes and percent signs
    /// are left as they are. The same name may come twice: the cookie with the longer path first.
    ///
    /// ```
    /// use tarae_http::{Request, Response, answer};
    ///
    /// fn list(request: &mut Request) -> Response {
    ///     let cookies = request.head().cookies();
    ///     Response::text(cookies.map(|(name, value)| {
    ///         format!("{}: {}\n", name.escape_ascii(), value.escape_ascii())
    ///     }).collect::<String>())
    /// }
    ///
    /// let request = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: id=7; theme=\"dark\"\r\n\r\n";
    /// assert!(answer(list, request).ends_with(b"id: 7\ntheme: \\\"dark\\\"\n"));
    /// ```
    pub fn cookies(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers()
            .filter(|(name, _)| name.eq_ignore_ascii_case("cookie"))
            .flat_map(|(_, value)| pairs(value))
    }

    /// The value of the first cookie of this name; names differ by case.
    ///
    /// ```
    /// use tarae_http::{Request, Response, answer};
    ///
    /// fn greet(request: &mut Request) -> Response {
    ///     Response::bytes(request.head().cookie("user").unwrap_or(b"nobody").to_vec())
    /// }
    ///
    /// let request = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: User=x; user=me; user=you\r\n\r\n";
    /// assert!(answer(greet, request).ends_with(b"\r\n\r\nme"));
    /// ```
    pub fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.cookies()
            .find(|(found, _)| *found == name.as_bytes())
            .map(|(_, value)| value)
    }
}

fn pairs(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        match pair.iter().position(|&byte| byte == b'=') {
            Some(at) => (
                pair[..at].trim_ascii_end(),
                pair[at + 1..].trim_ascii_start(),
            ),
            None => (&pair[..0], pair),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, want: &[(&str, &str)]) {
        let want = want.iter().map(|(a, b)| (a.as_bytes(), b.as_bytes()));
        assert!(pairs(value.as_bytes()).eq(want), "{value:?}");
    }

    #[test]
    fn pairs_as_clients_send_them() {
        check("", &[]);
        check("a=b", &[("a", "b")]);
        check("a=b; c=d", &[("a", "b"), ("c", "d")]);
        check("a=b;c=d;a=e", &[("a", "b"), ("c", "d"), ("a", "e")]);
        check(" \ta = b \t;", &[("a", "b")]);
        check("a=", &[("a", "")]);
        check("=b", &[("", "b")]);
        check("b", &[("", "b")]);
        check("=", &[("", "")]);
        check("a=b=c", &[("a", "b=c")]);
        check(";; ;a=b;;", &[("a", "b")]);
        check("a=\"b; c\"", &[("a", "\"b"), ("", "c\"")]);
        check("a=%20\u{e9},x", &[("a", "%20\u{e9},x")]);
        check("$Version=1", &[("$Version", "1")]);
    }
}
