//! Methods, and answers that have no body because of them or of their status.

use super::{Group, NONE};

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "method",
        rfc: "RFC 9110, 9.1 and 5.6.2",
        around: (b"", b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
        cases: &[
            (b"POST", "POST / | 200 open"),
            (b"PUT", "PUT / | 200 open"),
            (b"TRACE", "TRACE / | 200 open"),
            (b"PATCH", "PATCH / | 200 open"),
            (b"get", "get / | 200 open"),
            (b"GETX", "GETX / | 200 open"),
            (b"G", "G / | 200 open"),
            (b"0", "0 / | 200 open"),
            (b"VERSION-CONTROL", "VERSION-CONTROL / | 200 open"),
            (b"PURGE!#$%&'*+.^_`|~", "PURGE!#$%&'*+.^_`|~ / | 200 open"),
        ],
        refused: &[
            b"G@T",
            b"G(T)",
            b"G\"T",
            b"G,T",
            b"G/T",
            b"G:T",
            b"G;T",
            b"G<T",
            b"G=T",
            b"G[T",
            b"G{T",
            b"G\\T",
            b"G?T",
            b"G\x00T",
            b"G\x7fT",
            b"G\xc3\xa9T",
            b"\xffGET",
        ],
        ..NONE
    },
    Group {
        name: "no body in the answer",
        rfc: "RFC 9110, 9.3.2, 15.3.5, 15.3.6 and 15.4.5; RFC 9112, 6.3",
        around: (
            b"",
            b" HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        cases: &[
            (b"HEAD /", "HEAD /, GET /next | 200 200 open"),
            (b"HEAD /404", "HEAD /404, GET /next | 404 200 open"),
            (b"HEAD /204", "HEAD /204, GET /next | 204 200 open"),
            (b"HEAD /reject", "GET /next | 403 200 open"),
            (b"GET /204", "GET /204, GET /next | 204 200 open"),
            (b"GET /205", "GET /205, GET /next | 205 200 open"),
            (b"GET /304", "GET /304, GET /next | 304 200 open"),
            (b"GET /500", "GET /500, GET /next | 500 200 open"),
            // An interim status is no answer.
            (b"GET /100", "GET /100, GET /next | 500 200 open"),
            (b"GET /101", "GET /101, GET /next | 500 200 open"),
        ],
        ..NONE
    },
    Group {
        name: "body whatever the method",
        rfc: "RFC 9112, 6; RFC 9110, 9.3",
        around: (
            b"",
            b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /next HTTP/1.1\r\n\
              Host: a\r\n\r\n",
        ),
        cases: &[
            (b"GET", "GET / [abc], GET /next | 200 200 open"),
            (b"HEAD", "HEAD / [abc], GET /next | 200 200 open"),
            (b"DELETE", "DELETE / [abc], GET /next | 200 200 open"),
            (b"OPTIONS", "OPTIONS / [abc], GET /next | 200 200 open"),
            (b"X-OWN", "X-OWN / [abc], GET /next | 200 200 open"),
        ],
        ..NONE
    },
];
