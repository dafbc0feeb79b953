//! Several requests on one connection: answered in order, and nothing after the last one.

use super::{Group, NONE};

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "pipelining",
        rfc: "RFC 9112, 9.3.2 and 9.6",
        around: (
            b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /z HTTP/1.1\r\nHost: z\r\n\r\n",
        ),
        cases: &[
            (b"", "GET /a, GET /z @z | 200 200 open"),
            (b"\r\n", "GET /a, GET /z @z | 200 200 open"),
            (
                b"HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /a, HEAD /h, GET /z @z | 200 200 200 open",
            ),
            (
                b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
                "GET /a, POST /p [abc], GET /z @z | 200 200 200 open",
            ),
            (
                b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n",
                "GET /a, POST /p [abc], GET /z @z | 200 200 200 open",
            ),
            (
                b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n\
                  0\r\n\r\n",
                "GET /a, POST /p [x], GET /z @z | 200 200 200 open",
            ),
            (
                b"GET /404 HTTP/1.1\r\nHost: a\r\n\r\nGET /204 HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /a, GET /404, GET /204, GET /z @z | 200 404 204 200 open",
            ),
            (
                b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                "GET /a, GET /old @, GET /z @z | 200 200 200 open",
            ),
            // The bytes behind a body are the next request, whatever they are.
            (
                b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcX",
                "GET /a, POST /p [abc], XGET /z @z | 200 200 200 open",
            ),
            (
                b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n",
                "GET /a, POST /p [GET /z HTTP/1.1\r\nHost: z\r\n\r] | 200 200 400 closed",
            ),
            (
                b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n",
                "GET /a, POST /p [GET /z HTTP/1.1\r\nHost: z\r\n\r\n] | 200 200 open",
            ),
            (
                b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n\r\n",
                "GET /a, POST /p [abc] | 200 200 400 closed",
            ),
            (b"\r\n\r\n", "GET /a | 200 400 closed"),
            // After the last one nothing is looked at.
            (
                b"GET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                "GET /a, GET /b | 200 200 closed",
            ),
            (
                b"GET /close HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /a, GET /close | 200 200 closed",
            ),
            (
                b"GET /b HTTP/1.0\r\n\r\n",
                "GET /a, GET /b @ | 200 200 closed",
            ),
            (
                b"CONNECT b:443 HTTP/1.1\r\nHost: b\r\n\r\n",
                "GET /a, CONNECT b:443 @b:443 | 200 200 closed",
            ),
            (b"BAD\r\n\r\n", "GET /a | 200 400 closed"),
            (b"GET /b HTTP/1.1\r\n\r\n", "GET /a | 200 400 closed"),
            (b"GET /b HTTP/9.9\r\n\r\n", "GET /a | 200 505 closed"),
            (b"HEAD /b HTTP/1.1\r\n\r\n", "GET /a | 200 400 closed"),
            (
                b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
                "GET /a | 200 400 closed",
            ),
            (
                b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n",
                "GET /a | 200 413 closed",
            ),
        ],
        ..NONE
    },
    Group {
        name: "the last one is incomplete",
        rfc: "RFC 9112, 9.3.2",
        around: (b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", b""),
        cases: &[
            (b"GET /b", "GET /a | 200 head"),
            (b"\r", "GET /a | 200 head"),
            (
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh",
                "GET /a | 200 body",
            ),
        ],
        ..NONE
    },
];
