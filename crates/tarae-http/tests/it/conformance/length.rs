//! `Content-Length`.

use super::{Group, NONE};

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "Content-Length",
        rfc: "RFC 9110, 8.6; RFC 9112, 6.2 and 6.3",
        around: (b"POST / HTTP/1.1\r\nHost: a\r\n", b"\r\n\r\nhi"),
        cases: &[
            (b"Content-Length: 2", "POST / [hi] | 200 open"),
            (b"content-length:2", "POST / [hi] | 200 open"),
            (b"CONTENT-LENGTH: \t2\t ", "POST / [hi] | 200 open"),
            (b"Content-Length: 002", "POST / [hi] | 200 open"),
            (
                b"Content-Length: 00000000000000000000000000000002",
                "POST / [hi] | 200 open",
            ),
            (
                b"Content-Length: 2\r\nContent-Length: 2",
                "POST / [hi] | 200 open",
            ),
            (b"Content-Length: 2, 2", "POST / [hi] | 200 open"),
            (b"Content-Length: 2,2,2", "POST / [hi] | 200 open"),
            (b"Content-Length: 3", "| body"),
            (b"Content-Length: 1048576", "| body"),
            (b"Content-Length: 1048577", "| 413 closed"),
            (b"Content-Length: 4294967298", "| 413 closed"),
            (b"Content-Length: 18446744073709551615", "| 413 closed"),
            (b"Content-Length: 18446744073709551616", "| 413 closed"),
            (b"Content-Length: 18446744073709551618", "| 413 closed"),
            (b"Content-Length: 99999999999999999999999", "| 413 closed"),
        ],
        refused: &[
            b"Content-Length:",
            b"Content-Length: +2",
            b"Content-Length: -2",
            b"Content-Length: -0",
            b"Content-Length: 2 2",
            b"Content-Length: 2a",
            b"Content-Length: 0x2",
            b"Content-Length: 2.0",
            b"Content-Length: 2e0",
            b"Content-Length: 2_0",
            b"Content-Length: 2,3",
            b"Content-Length: 2,",
            b"Content-Length: ,2",
            b"Content-Length: ,",
            b"Content-Length: 2,,2",
            b"Content-Length: 2;2",
            b"Content-Length: 2 bytes",
            b"Content-Length: \"2\"",
            b"Content-Length: (2)",
            b"Content-Length: two",
            b"Content-Length: \xb2",
            b"Content-Length: \xd9\xa2",
            b"Content-Length: 2\x00",
            b"Content-Length: 2\x0b",
            b"Content-Length : 2",
            b"Content-Length\t: 2",
            b"Content-Length: 2\r\nContent-Length: 3",
            b"Content-Length: 3\r\nContent-Length: 2",
            b"Content-Length: 2\r\nContent-Length:",
            b"Content-Length: 2\r\nContent-Length: x",
            b"Content-Length: 3\r\nContent-Length: 2, 3",
            b"Content-Length: 0\r\ncontent-length: 2",
        ],
        ..NONE
    },
    Group {
        // No field that merely looks like it, and no body without it.
        name: "no Content-Length",
        rfc: "RFC 9112, 6.3",
        around: (
            b"POST / HTTP/1.1\r\nHost: a\r\n",
            b"\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        cases: &[
            (b"A: b", "POST /, GET /next | 200 200 open"),
            (b"Content-Length: 0", "POST /, GET /next | 200 200 open"),
            (b"Content-Length: 000", "POST /, GET /next | 200 200 open"),
            (b"Content_Length: 5", "POST /, GET /next | 200 200 open"),
            (b"XContent-Length: 5", "POST /, GET /next | 200 200 open"),
            (b"Content-Lengths: 5", "POST /, GET /next | 200 200 open"),
            (
                b"Content-Type: text/plain",
                "POST /, GET /next | 200 200 open",
            ),
        ],
        ..NONE
    },
    Group {
        name: "the input ends",
        rfc: "RFC 9112, 8 and 9.6",
        end: true,
        cases: &[
            (b"", "| closed"),
            (b"\r\n", "| closed"),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / | 200 closed"),
            (
                b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
                "GET / | 200 closed",
            ),
            (
                b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /, GET /b | 200 200 closed",
            ),
            (
                b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET",
                "GET / | 200 400 closed",
            ),
            (
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
                "POST / [hi] | 200 closed",
            ),
            (
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n\
                  0\r\n\r\n",
                "POST / [x] | 200 closed",
            ),
        ],
        refused: &[
            b"\r",
            b"G",
            b"GET / HT",
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh",
            b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\nh",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\
              A: b\r\n",
        ],
        ..NONE
    },
];
