//! Bounds: enforced where they are passed, not at the end of what passes them.

use super::{Bound, Group, NONE};

const HEAD: &[(Bound, usize)] = &[(Bound::RequestLine, 40), (Bound::Head, 100)];
const BODY: &[(Bound, usize)] = &[
    (Bound::Body, 10),
    (Bound::Extensions, 8),
    (Bound::Trailers, 10),
];

pub(super) const GROUPS: &[Group] = &[
    Group {
        // 40 bytes of request line without its end, and 100 of head with it.
        name: "request line",
        rfc: "RFC 9112, 3; RFC 9110, 15.5.15",
        bounds: HEAD,
        cases: &[
            (
                b"GET /23456789012345678901234567 HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /23456789012345678901234567 | 200 open",
            ),
            (
                b"GET /234567890123456789012345678 HTTP/1.1\r\nHost: a\r\n\r\n",
                "| 414 closed",
            ),
            // A CR may still be its end.
            (b"01234567890123456789012345678901234567890", "| head"),
            (
                b"012345678901234567890123456789012345678901",
                "| 414 closed",
            ),
            // The first thing wrong decides.
            (
                b"01234567890123456789012345678901234567890\n",
                "| 400 closed",
            ),
            (
                b"012345678901234567890123456789012345678901\n",
                "| 414 closed",
            ),
            (
                b"HEAD /34567890123456789012345678901234567890",
                "| 414 closed",
            ),
        ],
        ..NONE
    },
    Group {
        name: "head",
        rfc: "RFC 6585, 5",
        bounds: HEAD,
        around: (
            b"GET / HTTP/1.1\r\nHost: a\r\nA: 0123456789012345678901234567890123456789",
            b"",
        ),
        cases: &[
            (b"0123456789012345678901234567\r\n\r\n", "GET / | 200 open"),
            (b"01234567890123456789012345678\r\n\r\n", "| 431 closed"),
            (b"01234567890123456789012\r\n", "| head"),
            (b"01234567890123456789012345678901", "| head"),
            (b"012345678901234567890123456789012", "| 431 closed"),
            (
                b"\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA: b",
                "| 431 closed",
            ),
        ],
        ..NONE
    },
    Group {
        name: "number of fields",
        rfc: "RFC 6585, 5",
        bounds: &[(Bound::Headers, 3)],
        around: (b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n"),
        cases: &[
            (b"A: b\r\nA: b\r\n", "GET / | 200 open"),
            (b"A: b\r\nA: b\r\nA: b\r\n", "| 431 closed"),
        ],
        ..NONE
    },
    Group {
        name: "length of the body",
        rfc: "RFC 9110, 15.5.14",
        bounds: BODY,
        around: (b"POST / HTTP/1.1\r\nHost: a\r\n", b""),
        cases: &[
            (
                b"Content-Length: 10\r\n\r\n0123456789",
                "POST / [0123456789] | 200 open",
            ),
            (b"Content-Length: 11\r\n\r\n", "| 413 closed"),
        ],
        ..NONE
    },
    Group {
        name: "length of chunks, extensions and trailers",
        rfc: "RFC 9112, 7.1; RFC 9110, 15.5.14; RFC 6585, 5",
        bounds: BODY,
        around: (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"",
        ),
        cases: &[
            (
                b"a\r\n0123456789\r\n0\r\n\r\n",
                "POST / [0123456789] | 200 open",
            ),
            (b"b\r\n", "| 413 closed"),
            (b"9\r\n012345678\r\n2\r\n", "| 413 closed"),
            (b"a\r\n0123456789\r\n1\r\n", "| 413 closed"),
            (b"0;1234567\r\n\r\n", "POST / | 200 open"),
            (b"0;12345678\r\n", "| 400 closed"),
            (b"1;12\r\nx\r\n1;12345\r\n", "| 400 closed"),
            (b"0\r\nA: 456\r\n\r\n", "POST / | 200 open"),
            (b"0\r\nA: 4567\r\n\r\n", "| 431 closed"),
            (b"0\r\nA: 456789012345", "| 431 closed"),
        ],
        ..NONE
    },
    Group {
        name: "number of requests",
        rfc: "RFC 9112, 9.3 and 9.6",
        bounds: &[(Bound::Requests, 2)],
        around: (b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", b""),
        cases: &[
            (b"", "GET /a | 200 open"),
            (
                b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /a, GET /b | 200 200 closed",
            ),
            (
                b"GET /b HTTP/1.1\r\nHost: a\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /a, GET /b | 200 200 closed",
            ),
        ],
        ..NONE
    },
];
