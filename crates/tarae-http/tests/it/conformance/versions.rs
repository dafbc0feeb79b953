//! The protocol version.

use super::{Group, NONE};

pub(super) const GROUPS: &[Group] = &[
    Group {
        // A minor version above 1 exists nowhere; to take it for 1.1 is recommended only.
        name: "version",
        rfc: "RFC 9112, 2.3; RFC 9110, 2.5 and 15.6.6",
        around: (b"GET / ", b"\r\nHost: a\r\n\r\n"),
        cases: &[
            (b"HTTP/0.9", "| 505 closed"),
            (b"HTTP/1.2", "| 505 closed"),
            (b"HTTP/1.9", "| 505 closed"),
            (b"HTTP/2.0", "| 505 closed"),
            (b"HTTP/3.0", "| 505 closed"),
        ],
        refused: &[
            b"http/1.1",
            b"Http/1.1",
            b"HTTP/1",
            b"HTTP/1.",
            b"HTTP/.1",
            b"HTTP/11",
            b"HTTP/1.1.1",
            b"HTTP/1.10",
            b"HTTP/01.1",
            b"HTTP/1.01",
            b"HTTP/1,1",
            b"HTTP/1 .1",
            b"HTTP /1.1",
            b"HTTP/ 1.1",
            b"HTTPS/1.1",
            b"HTTP/x.1",
            b"HTTP/+1.1",
            b"HTTP/-1.1",
            b"HTTP/1.1a",
            b"HTTP\\1.1",
            b"ICE/1.0",
        ],
        ..NONE
    },
    Group {
        name: "another protocol",
        rfc: "RFC 9113, 3.4; RFC 9112, 2.3",
        cases: &[
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "| 505 closed"),
            (b"GET / HTTP/2.0\r\n", "| 505 closed"),
            (b"GET / HTTP/1.0\r\n\r\n", "GET / @ | 200 closed"),
        ],
        ..NONE
    },
];
