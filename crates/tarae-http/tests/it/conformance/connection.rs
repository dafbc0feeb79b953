//! `Connection` and persistence.

use super::{Group, NONE};

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "persistence of HTTP/1.1",
        rfc: "RFC 9112, 9.3 and 9.6; RFC 9110, 7.6.1",
        around: (b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n"),
        cases: &[
            (b"Connection: close\r\n", "GET / | 200 closed"),
            (b"connection:CLOSE\r\n", "GET / | 200 closed"),
            (b"Connection: upgrade, close\r\n", "GET / | 200 closed"),
            (b"Connection: close, upgrade\r\n", "GET / | 200 closed"),
            (b"Connection: keep-alive, , close\r\n", "GET / | 200 closed"),
            (b"Connection: ,close,\r\n", "GET / | 200 closed"),
            (
                b"Connection: keep-alive\r\nConnection: close\r\n",
                "GET / | 200 closed",
            ),
            (
                b"Connection: close\r\nConnection: keep-alive\r\n",
                "GET / | 200 closed",
            ),
            (b"Connection: closed\r\n", "GET / | 200 open"),
            (b"Connection: \"close\"\r\n", "GET / | 200 open"),
            (b"Connection: close x\r\n", "GET / | 200 open"),
            (b"Connection: keep-alive\r\n", "GET / | 200 open"),
            (b"Connection:\r\n", "GET / | 200 open"),
            (b"Proxy-Connection: close\r\n", "GET / | 200 open"),
            (b"Keep-Alive: timeout=0, max=0\r\n", "GET / | 200 open"),
            (b"Connection: host\r\n", "GET / | 200 open"),
        ],
        ..NONE
    },
    Group {
        name: "persistence of HTTP/1.0",
        rfc: "RFC 9112, 9.3 and C.2.2",
        around: (b"GET / HTTP/1.0\r\nHost: a\r\n", b"\r\n"),
        cases: &[
            (b"Connection: keep-alive\r\n", "GET / | 200 open"),
            (b"Connection: Keep-Alive\r\n", "GET / | 200 open"),
            (b"Connection: x, keep-alive\r\n", "GET / | 200 open"),
            (b"Connection: keep-alive, close\r\n", "GET / | 200 closed"),
            (b"Connection: upgrade\r\n", "GET / | 200 closed"),
            (b"Connection: keep-alives\r\n", "GET / | 200 closed"),
            (b"Proxy-Connection: keep-alive\r\n", "GET / | 200 closed"),
            (b"Keep-Alive: timeout=5\r\n", "GET / | 200 closed"),
        ],
        ..NONE
    },
    Group {
        name: "the answer closes",
        rfc: "RFC 9112, 9.6",
        cases: &[
            (
                b"GET /close HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /close | 200 closed",
            ),
            (
                b"GET /close HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                "GET /close @ | 200 closed",
            ),
        ],
        ..NONE
    },
    Group {
        // Nothing is upgraded to here: the request is answered as if the field were not there.
        name: "Upgrade",
        rfc: "RFC 9110, 7.8",
        around: (b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n"),
        cases: &[
            (
                b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
                "GET / | 200 open",
            ),
            (
                b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                  HTTP2-Settings: AAMAAABk\r\n",
                "GET / | 200 open",
            ),
        ],
        ..NONE
    },
];
