//! Messages made to mean different things to two parties. In each, `/hidden` is a request to one
//! reading: it must never reach the handler, except where the RFC's reading says that it is one.

use super::{Group, NONE};

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "framing in doubt",
        rfc: "RFC 9112, 6.1, 6.3 and 11.2",
        around: (b"POST / HTTP/1.1\r\nHost: a\r\n", b""),
        refused: &[
            // One party goes by the length, the other by the chunks.
            b"Content-Length: 43\r\nTransfer-Encoding: chunked\r\n\r\n\
              0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n\
              27\r\nGET /hidden HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n\r\n0\r\n\r\n",
            // One party does not recognise the coding.
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n\
              0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n\
              0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n\
              0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"Transfer-Encoding:\x0bchunked\r\nContent-Length: 5\r\n\r\n\
              0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"Transfer-Encoding: chunked\x00\r\nContent-Length: 5\r\n\r\n\
              0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"A: b\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n\
              0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n\
              0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"A: b\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n\
              0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\0Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            // Two lengths, or one that parsers read differently.
            b"Content-Length: 0\r\nContent-Length: 35\r\n\r\nGET /hidden HTTP/1.1\r\n\
              Host: a\r\n\r\n",
            b"Content-Length: 0, 35\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"Content-Length: +0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"Content-Length: 0x23\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"Content-Length: 3 5\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"Content-Length: 0\r\n 35\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"Content-Length : 35\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"Content-Length: \xa035\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
        ..NONE
    },
    Group {
        name: "chunks in doubt",
        rfc: "RFC 9112, 7.1 and 11.2",
        around: (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n0\r\n\r\n",
        ),
        refused: &[
            // A line end inside an extension, in a quoted string or in place of CRLF.
            b"1;a=\"\r\n\"\r\nx\r\n0\r\n",
            b"1;\nx\r\n0\r\n",
            b"2;a\nxx\r\n0\r\n",
            b"0;\n",
            b"0\n",
            // Two bytes after the data that are not CRLF.
            b"1\r\nxXX0\r\n",
            b"1\r\nx\rX0\r\n",
            b"1\r\nx\n\n0\r\n",
            // Sizes that wrap around to something small.
            b"10000000000000001\r\nx\r\n0\r\n",
            b"100000000000000000\r\n\r\n0\r\n",
            b"-1\r\nx\r\n0\r\n",
            b"0x1\r\nx\r\n0\r\n",
            b"1_0\r\nx\r\n0\r\n",
            // A last chunk that does not look like one to everybody.
            b"0_\r\n",
            b"0 \r\n",
            b" 0\r\n",
            b"0\x00\r\n",
            b"0\r\nA: b\n",
            b"0\r\n\n",
        ],
        ..NONE
    },
    Group {
        name: "what is a request after all",
        rfc: "RFC 9112, 6.3",
        cases: &[
            // No framing: the body has no bytes, so what follows is a request.
            (
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Lenght: 35\r\n\r\n\
                  GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
                "POST /, GET /hidden | 200 200 open",
            ),
            // Framed as a body it is none.
            (
                b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n\
                  GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET / [GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n] | 200 open",
            ),
            (
                b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                  21\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n",
                "GET / [GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n] | 200 open",
            ),
            // What follows the last answer is nothing.
            (
                b"GET / HTTP/1.0\r\n\r\nGET /hidden HTTP/1.0\r\n\r\n",
                "GET / @ | 200 closed",
            ),
            (
                b"CONNECT b:1 HTTP/1.1\r\nHost: a\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
                "CONNECT b:1 @b:1 | 200 closed",
            ),
            (
                b"POST /reject HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n\
                  GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
                "| 403 open",
            ),
        ],
        ..NONE
    },
    Group {
        name: "request line and fields in doubt",
        rfc: "RFC 9112, 2.2, 3.2 and 11.1",
        refused: &[
            b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n",
            b"GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\n\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\rGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /hidden\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\x00\r\n\r\n",
        ],
        ..NONE
    },
];
