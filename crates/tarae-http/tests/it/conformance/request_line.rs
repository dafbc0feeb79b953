//! Request lines and what may come before them.

use super::{Group, NONE};

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "request line",
        rfc: "RFC 9112, 3; RFC 9110, 9.1",
        around: (b"", b"\r\nHost: a\r\n\r\n"),
        cases: &[
            (b"GET / HTTP/1.1", "GET / | 200 open"),
            (b"HEAD / HTTP/1.1", "HEAD / | 200 open"),
            (b"DELETE /x HTTP/1.1", "DELETE /x | 200 open"),
            (b"GET /?a=b&c=%20 HTTP/1.1", "GET /?a=b&c=%20 | 200 open"),
            (b"GET / HTTP/1.0", "GET / | 200 closed"),
        ],
        refused: &[
            b"GET  / HTTP/1.1",
            b"GET /  HTTP/1.1",
            b"GET\t/ HTTP/1.1",
            b"GET /\tHTTP/1.1",
            b"GET\x0b/ HTTP/1.1",
            b"GET\x0c/ HTTP/1.1",
            b"GET /\x0cHTTP/1.1",
            b"GET /\xa0HTTP/1.1",
            b" GET / HTTP/1.1",
            b"\tGET / HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b"GET / HTTP/1.1\t",
            b"GET /",
            b"GET / ",
            b"GET",
            b"GET ",
            b"GET HTTP/1.1",
            b" / HTTP/1.1",
            b"/ HTTP/1.1",
            b"HTTP/1.1 200 OK",
            b"GET / HTTP/1.1 x",
            b"GET /a b HTTP/1.1",
            b"GET / HTTP/1.1\rHost: b",
            b"GET /\r HTTP/1.1",
            b"GET\r/ HTTP/1.1",
            b"GET / HTTP/1.1\r",
            b"GET / HTTP/1.1\x00",
            b"\xef\xbb\xbfGET / HTTP/1.1",
            b"\x16\x03\x01\x02",
        ],
        ..NONE
    },
    Group {
        name: "incomplete head",
        rfc: "RFC 9112, 2.1 and 8",
        cases: &[
            (b"", "| open"),
            (b"G", "| head"),
            (b"GET / HTTP/1.1\r", "| head"),
            (b"GET / HTTP/1.1\r\n", "| head"),
            (b"GET / HTTP/1.1\r\nHost", "| head"),
            (b"GET / HTTP/1.1\r\nHost: a\r\n", "| head"),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r", "| head"),
        ],
        ..NONE
    },
    Group {
        name: "empty line before the request",
        rfc: "RFC 9112, 2.2",
        cases: &[
            (b"\r", "| head"),
            (b"\r\n", "| open"),
            (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / | 200 open"),
            (b"\r\nG", "| head"),
        ],
        refused: &[
            b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\r\n\n",
            b"\r\n GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\0GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
        ..NONE
    },
    Group {
        // What cannot begin a request is refused before its line ends.
        name: "line ends",
        rfc: "RFC 9112, 2.2",
        refused: &[
            b"\x16",
            b" ",
            b"GET / HTTP/1.1\n",
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a \n\n",
            b"GET / HTTP/1.1\n\n",
            b"GET / HTTP/1.0\r\n\n",
            b"GET / HTTP/1.0\n\r\n",
            b"GET / HTTP/1.0\r\r\n\r\n",
            b"GET /\r\n",
            b"GET /\r\n\r\n",
        ],
        ..NONE
    },
];
