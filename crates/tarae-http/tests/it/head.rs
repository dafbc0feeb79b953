//! What a handler is given of a head.

use std::sync::Mutex;

use tarae_http::{Limits, Request, Response};

use crate::harness::{run, status};

#[test]
fn what_the_handler_sees_of_a_head() {
    let seen = Mutex::new(String::new());
    let handler = move |request: &mut Request| {
        let mut seen = seen.lock().expect("not poisoned");
        *seen = format!(
            "{} {} {:?} {:?} {:?}\n",
            request.method(),
            request.path(),
            request.query(),
            request.host(),
            request.version(),
        );
        for (name, value) in request.headers() {
            *seen += &format!("{name}={}\n", String::from_utf8_lossy(value));
        }
        let cookie = request.header("COOKIE").map(String::from_utf8_lossy);
        *seen += &format!(
            "{cookie:?} {:?} {:?}",
            request.header("none"),
            request.peer_addr()
        );
        // Not a success, which would have no body for CONNECT.
        Response::text(seen.clone()).with_status(status(403))
    };
    let see = |input: &str, want: &str| {
        for piece in [input.len(), 1, 7] {
            let ran = run(
                &handler,
                input.as_bytes().chunks(piece),
                &Limits::default(),
                false,
            );
            let text = String::from_utf8(ran.output).expect("text");
            let body = text.split_once("\r\n\r\n").expect("a body").1;
            assert_eq!(body, want, "in pieces of {piece}");
        }
    };
    see(
        "GET /a%20b?c=d?e HTTP/1.1\r\nHost:x:80\r\nCookie:  1 \t2  \r\ncookie: 3\r\nE:\r\n\r\n",
        "GET /a%20b Some(\"c=d?e\") \"x:80\" HTTP/1.1\nHost=x:80\nCookie=1 \t2\ncookie=3\nE=\n\
         Some(\"1 \\t2\") None None",
    );
    see(
        "GET http://y:1?q HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / Some(\"q\") \"y:1\" HTTP/1.1\nHost=x\nNone None None",
    );
    see(
        "GET /? HTTP/1.0\r\n\r\n",
        "GET / Some(\"\") \"\" HTTP/1.0\nNone None None",
    );
    see(
        "CONNECT b:443 HTTP/1.1\r\nHost: b\r\n\r\n",
        "CONNECT b:443 None \"b:443\" HTTP/1.1\nHost=b\nNone None None",
    );
}

#[test]
fn cookies_of_all_fields_in_order() {
    let handler = |request: &mut Request| {
        let mut text = format!("{:?}", request.cookie("b").map(String::from_utf8_lossy));
        for (name, value) in request.cookies() {
            text += &format!(" {}={}", name.escape_ascii(), value.escape_ascii());
        }
        Response::text(text)
    };
    let input = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; B=2\r\nX-Cookie: no=0\r\n\
        COOKIE: b=3; b=4\r\nCookie:\r\n\r\n";
    let text = String::from_utf8(tarae_http::answer(handler, input)).expect("text");
    assert_eq!(
        text.split_once("\r\n\r\n").expect("a body").1,
        "Some(\"3\") a=1 B=2 b=3 b=4"
    );
}
