//! Request lines: RFC 9112, 2 and 3. Each case ends in `| statuses state`.

use crate::harness::check;

fn line(line: &str, want: &str) {
    check(format!("{line}\r\nHost: a\r\n\r\n"), want);
}

#[test]
fn well_formed() {
    line("GET / HTTP/1.1", "GET / | 200 open");
    line("HEAD / HTTP/1.1", "HEAD / | 200 open");
    line("get / HTTP/1.1", "get / | 200 open");
    line("DELETE /x HTTP/1.1", "DELETE /x | 200 open");
    line(
        "PURGE-ALL!#$%&'*+.^_`|~ / HTTP/1.1",
        "PURGE-ALL!#$%&'*+.^_`|~ / | 200 open",
    );
    line("GET /?a=b&c=%20 HTTP/1.1", "GET /?a=b&c=%20 | 200 open");
    line("GET //x HTTP/1.1", "GET //x | 200 open");
    line("GET /a|{b}^`\\ HTTP/1.1", "GET /a|{b}^`\\ | 200 open");
    line("GET / HTTP/1.0", "GET / | 200 closed");
    check("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / | 200 open");
}

#[test]
fn incomplete() {
    check("", "| open");
    check("G", "| head");
    check("GET / HTTP/1.1\r\n", "| head");
    check("GET / HTTP/1.1\r\nHost: a\r\n", "| head");
    check("GET / HTTP/1.1\r\nHost: a\r\n\r", "| head");
    check("\r", "| head");
    check("\r\n", "| open");
}

#[test]
fn malformed() {
    for text in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.1\t",
        "GET /",
        "GET / ",
        "GET",
        "GET HTTP/1.1",
        " / HTTP/1.1",
        "G@T / HTTP/1.1",
        "G(T) / HTTP/1.1",
        "G\u{e9}T / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/11",
        "GET / HTTP/1.1.1",
        "GET / HTTP/1.10",
        "GET / HTTP /1.1",
        "GET / HTTPS/1.1",
        "GET / HTTP/x.1",
        "GET / HTTP/1.1 x",
        "GET /a b HTTP/1.1",
        "GET /\x00 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET /\x01 HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /#fragment HTTP/1.1",
        "GET /<> HTTP/1.1",
        "GET /\" HTTP/1.1",
        "GET / HTTP/1.1\rHost: b",
        "GET /\r HTTP/1.1",
        "GET\r/ HTTP/1.1",
        "\x16\x03\x01\x02",
    ] {
        line(text, "| 400 closed");
    }
    // What cannot begin a request is refused before its line ends.
    check("\x16", "| 400 closed");
    check(" ", "| 400 closed");
    check("\r\n\n", "| 400 closed");
    check("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "| 400 closed");
    check("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "| 400 closed");
    check("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "| 400 closed");
    check("\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "| 400 closed");
    check(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", "| 400 closed");
    check(b"\xffGET / HTTP/1.1\r\nHost: a\r\n\r\n", "| 400 closed");
    check("GET / HTTP/1.1\nHost: a\r\n\r\n", "| 400 closed");
    check("GET / HTTP/1.1\n", "| 400 closed");
    check("GET /\r\n", "| 400 closed");
    check("HEAD / HTTP/1.1\r\n\r\n", "| 400 closed");
}

#[test]
fn versions() {
    line("GET / HTTP/1.2", "| 505 closed");
    line("GET / HTTP/2.0", "| 505 closed");
    line("GET / HTTP/0.9", "| 505 closed");
    line("GET / HTTP/3.0", "| 505 closed");
    check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "| 505 closed");
    check("GET / HTTP/2.0\r\n", "| 505 closed");
}

#[test]
fn target_forms() {
    line("GET http://b/x?y HTTP/1.1", "GET http://b/x?y | 200 open");
    line(
        "GET HTTPS://b:443/ HTTP/1.1",
        "GET HTTPS://b:443/ | 200 open",
    );
    line("GET http://b HTTP/1.1", "GET http://b | 200 open");
    line("GET http://b?q HTTP/1.1", "GET http://b?q | 200 open");
    line(
        "GET http://[::1]:80/ HTTP/1.1",
        "GET http://[::1]:80/ | 200 open",
    );
    line("OPTIONS * HTTP/1.1", "OPTIONS * | 200 open");
    line("OPTIONS / HTTP/1.1", "OPTIONS / | 200 open");
    line("CONNECT b:443 HTTP/1.1", "CONNECT b:443 | 200 closed");
    line(
        "CONNECT [::1]:443 HTTP/1.1",
        "CONNECT [::1]:443 | 200 closed",
    );
    for text in [
        "GET * HTTP/1.1",
        "OPTIONS ** HTTP/1.1",
        "OPTIONS *? HTTP/1.1",
        "GET b:443 HTTP/1.1",
        "GET b HTTP/1.1",
        "GET x/y HTTP/1.1",
        "GET ?q HTTP/1.1",
        "GET ftp://b/ HTTP/1.1",
        "GET http:/b/ HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://:80/ HTTP/1.1",
        "GET http://u@b/ HTTP/1.1",
        "GET http://u:p@b/ HTTP/1.1",
        "GET http://b:x/ HTTP/1.1",
        "GET http://[::1/ HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT b HTTP/1.1",
        "CONNECT b: HTTP/1.1",
        "CONNECT :443 HTTP/1.1",
        "CONNECT [::1] HTTP/1.1",
        "CONNECT b:443/x HTTP/1.1",
        "CONNECT http://b:443 HTTP/1.1",
        "CONNECT b:443?q HTTP/1.1",
        "CONNECT * HTTP/1.1",
    ] {
        line(text, "| 400 closed");
    }
}
