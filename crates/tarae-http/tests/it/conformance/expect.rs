//! `Expect`, and plans that decide before the body.

use super::{Group, NONE};

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "100-continue",
        rfc: "RFC 9110, 10.1.1 and 15.2.1",
        around: (b"POST ", b""),
        cases: &[
            (
                b"/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
                "| 100 body",
            ),
            (
                b"/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
                "POST / [hi] | 100 200 open",
            ),
            (
                b"/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                  Transfer-Encoding: chunked\r\n\r\n",
                "| 100 body",
            ),
            (
                b"/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                  Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "POST / | 100 200 open",
            ),
            // Nothing to wait for.
            (
                b"/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
                "POST / | 200 open",
            ),
            (
                b"/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
                "POST / | 200 open",
            ),
            // A final answer takes the place of the interim one.
            (
                b"/reject HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
                "| 403 closed",
            ),
            (
                b"/small HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
                "| 413 closed",
            ),
            (
                b"/small HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                  Transfer-Encoding: chunked\r\n\r\n5\r\n",
                "| 100 413 closed",
            ),
            (
                b"/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: x\r\n\r\n",
                "| 400 closed",
            ),
            (
                b"/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi\
                  POST /b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                  Content-Length: 2\r\n\r\nho",
                "POST / [hi], POST /b [ho] | 100 200 100 200 open",
            ),
        ],
        ..NONE
    },
    Group {
        name: "expectations",
        rfc: "RFC 9110, 10.1.1 and 15.5.18",
        around: (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n",
            b"\r\n\r\nhi",
        ),
        cases: &[
            (b"expect:100-Continue", "POST / [hi] | 100 200 open"),
            (
                b"Expect: 100-continue\r\nExpect: 100-continue",
                "POST / [hi] | 100 200 open",
            ),
            (
                b"Expect: 100-continue, 100-continue",
                "POST / [hi] | 100 200 open",
            ),
            (b"Expect:", "POST / [hi] | 200 open"),
            (b"Expect: 200-ok", "| 417 closed"),
            (b"Expect: 100-continue=x", "| 417 closed"),
            (b"Expect: 100-continue; x", "| 417 closed"),
            (b"Expect: 100-continue, x", "| 417 closed"),
            (b"Expect: 100-continue\r\nExpect: x", "| 417 closed"),
            (b"Expect: 100", "| 417 closed"),
        ],
        ..NONE
    },
    Group {
        name: "100-continue in HTTP/1.0",
        rfc: "RFC 9110, 10.1.1",
        around: (b"POST / HTTP/1.0\r\nContent-Length: 2\r\n", b"\r\n\r\nhi"),
        cases: &[
            (b"Expect: 100-continue", "POST / @ [hi] | 200 closed"),
            (
                b"Expect: 100-continue\r\nConnection: keep-alive",
                "POST / @ [hi] | 200 open",
            ),
        ],
        ..NONE
    },
    Group {
        // A body that nobody takes is skipped: it must not be taken for the next request.
        name: "refused at head time",
        rfc: "RFC 9112, 9.6; RFC 9110, 15.5.14",
        around: (b"POST ", b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"),
        cases: &[
            (
                b"/reject HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /next | 403 200 open",
            ),
            (
                b"/reject HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
                "GET /next | 403 200 open",
            ),
            (
                b"/reject HTTP/1.1\r\nHost: a\r\nContent-Length: 38\r\n\r\n",
                "| 403 body",
            ),
            (
                b"/reject HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                "| 403 closed",
            ),
            (
                b"/small HTTP/1.1\r\nHost: a\r\nContent-Length: 38\r\n\r\n",
                "| 413 closed",
            ),
            (
                b"/small HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd",
                "POST /small [abcd], GET /next | 200 200 open",
            ),
            (
                b"/small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n\
                  1\r\n",
                "| 413 closed",
            ),
        ],
        ..NONE
    },
];
