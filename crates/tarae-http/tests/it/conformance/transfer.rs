//! `Transfer-Encoding`.

use super::{Group, NONE};

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "Transfer-Encoding",
        rfc: "RFC 9112, 6.1, 6.3 and 7; RFC 9110, 5.6.1.2",
        around: (
            b"POST / HTTP/1.1\r\nHost: a\r\n",
            b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ),
        cases: &[
            (b"Transfer-Encoding: chunked", "POST / [hi] | 200 open"),
            (b"transfer-encoding:CHUNKED", "POST / [hi] | 200 open"),
            (b"Transfer-Encoding: \tchunked\t ", "POST / [hi] | 200 open"),
            (b"Transfer-Encoding: , chunked ,", "POST / [hi] | 200 open"),
            (
                b"Transfer-Encoding:\r\nTransfer-Encoding: chunked",
                "POST / [hi] | 200 open",
            ),
            // Understood, but not done here.
            (b"Transfer-Encoding: gzip, chunked", "| 501 closed"),
            (b"Transfer-Encoding: x, deflate, chunked", "| 501 closed"),
            (b"Transfer-Encoding: identity, chunked", "| 501 closed"),
            (b"Transfer-Encoding: x;q=\"1\", chunked", "| 501 closed"),
            (
                b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
                "| 501 closed",
            ),
        ],
        refused: &[
            b"Transfer-Encoding:",
            b"Transfer-Encoding: ,",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding: gzip",
            b"Transfer-Encoding: chunked, gzip",
            b"Transfer-Encoding: chunked, identity",
            b"Transfer-Encoding: chunked, chunked",
            b"Transfer-Encoding: gzip, chunked, chunked",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
            b"Transfer-Encoding: chunked;a=b",
            b"Transfer-Encoding: chunked;",
            b"Transfer-Encoding: \"chunked\"",
            b"Transfer-Encoding: 'chunked'",
            b"Transfer-Encoding: (chunked)",
            b"Transfer-Encoding: chunked chunked",
            b"Transfer-Encoding: xchunked",
            b"Transfer-Encoding: chunkedx",
            b"Transfer-Encoding: chunk",
            b"Transfer-Encoding: chun\xc4\xb7ed",
            b"Transfer-Encoding: \x0bchunked",
            b"Transfer-Encoding: \x0cchunked",
            b"Transfer-Encoding: chunked\x00",
            b"Transfer-Encoding : chunked",
            b"Transfer-Encoding\t: chunked",
            b"Transfer-Encoding:\r\n chunked",
            b"Transfer-Encoding: chunked\r\n x",
            b"Transfer-Encoding: chunked\nA: b",
            b" Transfer-Encoding: chunked",
        ],
        ..NONE
    },
    Group {
        name: "Transfer-Encoding and Content-Length",
        rfc: "RFC 9112, 6.1 and 6.3",
        around: (
            b"POST / HTTP/1.1\r\nHost: a\r\n",
            b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ),
        refused: &[
            b"Transfer-Encoding: chunked\r\nContent-Length: 12",
            b"Content-Length: 12\r\nTransfer-Encoding: chunked",
            b"Content-Length: 0\r\nTransfer-Encoding: chunked",
            b"Content-Length: 12\r\nTransfer-Encoding: gzip",
            b"Content-Length: 12\r\nTransfer-Encoding: identity",
            b"Content-Length: 12\r\nTransfer-Encoding: gzip, chunked",
            b"Transfer-Encoding:\r\nContent-Length: 12",
            b"Content-Length: 12\r\nA: b\r\ntransfer-encoding: chunked",
        ],
        ..NONE
    },
    Group {
        name: "Transfer-Encoding in HTTP/1.0",
        rfc: "RFC 9112, 6.1",
        around: (b"POST / HTTP/1.0\r\nHost: a\r\n", b"\r\n\r\n0\r\n\r\n"),
        refused: &[
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: gzip",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5",
            b"Transfer-Encoding: chunked\r\nConnection: keep-alive",
        ],
        ..NONE
    },
    Group {
        // Fields of similar names frame nothing.
        name: "no Transfer-Encoding",
        rfc: "RFC 9112, 6.3; RFC 9110, 10.1.4",
        around: (b"POST / HTTP/1.1\r\nHost: a\r\n", b"\r\n\r\n"),
        cases: &[
            (b"TE: chunked", "POST / | 200 open"),
            (b"TE: trailers\r\nConnection: TE", "POST / | 200 open"),
            (b"Transfer_Encoding: chunked", "POST / | 200 open"),
            (b"Transfer-Encodin: chunked", "POST / | 200 open"),
            (b"X-Transfer-Encoding: chunked", "POST / | 200 open"),
            (b"Content-Encoding: chunked", "POST / | 200 open"),
            (b"Trailer: A", "POST / | 200 open"),
        ],
        ..NONE
    },
];
