//! Trailer fields: checked, bounded, and never taken for header fields.

use super::{Group, NONE};

const HEAD: &[u8] =
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n";

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "trailer syntax",
        rfc: "RFC 9112, 7.1.2 and 5; RFC 9110, 6.5",
        around: (HEAD, b"\r\n"),
        cases: &[
            (b"A: b\r\n", "POST / [hi] | 200 open"),
            (b"A:\r\n", "POST / [hi] | 200 open"),
            (b"A: b\r\nC: \t d \r\n", "POST / [hi] | 200 open"),
            (b"A: \xc3\xa9\r\n", "POST / [hi] | 200 open"),
        ],
        refused: &[
            b"A : b\r\n",
            b"A\r\n",
            b"A b: c\r\n",
            b": b\r\n",
            b" A: b\r\n",
            b"\tA: b\r\n",
            b"A: b\r\n c\r\n",
            b"A: b\n",
            b"A: b\rc\r\n",
            b"A: b\r\r\n",
            b"A: \x00\r\n",
            b"A: \x01\r\n",
            b"A: \x7f\r\n",
            b"A\x00: b\r\n",
            b"A(: b\r\n",
            b"A\xc3\xa9: b\r\n",
            b"\n",
            b"2\r\nhi\r\n",
        ],
        ..NONE
    },
    Group {
        // Host, framing and persistence were settled by the head.
        name: "trailers are not promoted",
        rfc: "RFC 9110, 6.5.1; RFC 9112, 7.1.2",
        around: (HEAD, b"\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n"),
        cases: &[
            (b"Host: b\r\n", "POST / [hi], GET /next | 200 200 open"),
            (
                b"Host: b\r\nHost: c d\r\n",
                "POST / [hi], GET /next | 200 200 open",
            ),
            (
                b"Content-Length: 5\r\n",
                "POST / [hi], GET /next | 200 200 open",
            ),
            (
                b"Content-Length: x\r\n",
                "POST / [hi], GET /next | 200 200 open",
            ),
            (
                b"Transfer-Encoding: chunked\r\n",
                "POST / [hi], GET /next | 200 200 open",
            ),
            (
                b"Connection: close\r\n",
                "POST / [hi], GET /next | 200 200 open",
            ),
            (
                b"Expect: 100-continue\r\n",
                "POST / [hi], GET /next | 200 200 open",
            ),
            (b"Expect: x\r\n", "POST / [hi], GET /next | 200 200 open"),
        ],
        ..NONE
    },
];
