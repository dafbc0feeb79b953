//! Whose request it is, behind proxies: `X-Forwarded-For`, the PROXY protocol, and who is believed.

use std::time::Duration;

use tarae::net::TcpListener;
use tarae_http::{Limits, Network, Request, Response, Server};

use crate::host::{Client, GET, GIVE_UP, Host};
use crate::server_stop::Gate;

fn networks<const N: usize>(texts: [&str; N]) -> [Network; N] {
    texts.map(|text| text.parse().expect("a network"))
}

fn who() -> Server<impl tarae_http::Handler> {
    Server::new(|request: &mut Request| {
        Response::text(request.client_ip().expect("known").to_string())
    })
}

#[test]
fn networks_contain_addresses() {
    for (network, inside, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("10.1.2.3/8", "10.0.0.0", "9.255.255.255"),
        ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("0.0.0.0/0", "255.1.2.3", "::1"),
        ("::/0", "2001:db8::1", "192.0.2.1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("::1", "::1", "::2"),
        ("::ffff:10.0.0.0/104", "10.1.1.1", "11.0.0.0"),
        ("127.0.0.0/8", "::ffff:127.0.0.1", "::ffff:128.0.0.1"),
    ] {
        let parsed: Network = network.parse().expect("a network");
        let contains = |text: &str| parsed.contains(text.parse().expect("an address"));
        assert!(contains(inside), "{network} {inside}");
        assert!(!contains(outside), "{network} {outside}");
    }
    for text in [
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/+8",
        "10/8",
        "::/129",
        "a/8",
    ] {
        assert!(text.parse::<Network>().is_err(), "{text}");
    }
}

#[test]
fn the_client_is_whom_the_trusted_name() {
    let host = Host::start(
        1,
        who().trusted_proxies(networks(["127.0.0.1", "10.0.0.0/8"])),
    );
    let mut client = host.client();
    for (fields, want) in [
        ("", "127.0.0.1"),
        ("X-Forwarded-For: 192.0.2.1", "192.0.2.1"),
        ("x-forwarded-FOR:192.0.2.1", "192.0.2.1"),
        ("X-Forwarded-For: 192.0.2.9, 192.0.2.1", "192.0.2.1"),
        ("X-Forwarded-For: 192.0.2.1, 10.0.0.1,10.0.0.2", "192.0.2.1"),
        (
            "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 10.0.0.1",
            "192.0.2.1",
        ),
        ("X-Forwarded-For: 10.0.0.3, 10.0.0.1", "10.0.0.3"),
        ("X-Forwarded-For: 2001:db8::1", "2001:db8::1"),
        ("X-Forwarded-For: [2001:db8::1]", "2001:db8::1"),
        ("X-Forwarded-For: [2001:db8::1]:80", "2001:db8::1"),
        ("X-Forwarded-For: 192.0.2.1:80", "192.0.2.1"),
        ("X-Forwarded-For: ::ffff:192.0.2.1", "192.0.2.1"),
        // Nobody knows what stands where an address should.
        ("X-Forwarded-For:", "127.0.0.1"),
        ("X-Forwarded-For: unknown", "127.0.0.1"),
        ("X-Forwarded-For: 192.0.2.1,", "127.0.0.1"),
        (
            "X-Forwarded-For: 192.0.2.1, 10.0.0.256, 10.0.0.1",
            "127.0.0.1",
        ),
        ("X-Forwarded-For: 192.0.2.1 192.0.2.2", "127.0.0.1"),
        // Left of the one that counts anybody may have written what he likes.
        ("X-Forwarded-For: nonsense, 192.0.2.1", "192.0.2.1"),
        ("Forwarded: for=192.0.2.1", "127.0.0.1"),
    ] {
        let end = if fields.is_empty() { "" } else { "\r\n" };
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}{end}\r\n"));
        let body = client.answer().body;
        assert_eq!(String::from_utf8_lossy(&body), want, "{fields}");
    }
    // From anybody else the field is ignored.
    let mut other = Client::from([127, 0, 0, 2], host.addr);
    other.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert_eq!(other.answer().body, b"127.0.0.2");
}

/// On a proxy's connection requests count for whoever they are from.
#[test]
fn a_client_behind_a_proxy_has_its_share() {
    let gate = Gate::default();
    let server = gate.server().max_connections_per_address(Some(1));
    let host = Host::start(1, server.trusted_proxies(networks(["127.0.0.1"])));
    let ask = |client: &mut Client, path: &str, of: &str| {
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {of}\r\n\r\n"
        ));
    };
    let mut held = host.client();
    ask(&mut held, "/held", "192.0.2.1");
    gate.until_held(1);
    let mut proxy = host.client();
    for (of, status) in [
        ("192.0.2.1", "429"),
        ("192.0.2.2", "200"),
        ("192.0.2.1", "429"),
        // The proxy's own requests, such as whether the server is well.
        ("127.0.0.1", "200"),
    ] {
        ask(&mut proxy, "/", of);
        assert_eq!(proxy.answer().status, status, "{of}");
    }
    gate.open();
    assert_eq!(held.answer().status, "200");
    ask(&mut proxy, "/", "192.0.2.1");
    assert_eq!(proxy.answer().status, "200");
}

const HEADER: &str = "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n";

fn behind_proxy(set: impl FnOnce(&mut Limits)) -> Server<impl tarae_http::Handler> {
    let mut limits = Limits::default();
    limits.head_timeout = Duration::from_secs(3600);
    set(&mut limits);
    let server = who()
        .limits(limits)
        .trusted_proxies(networks(["127.0.0.1"]));
    server.proxy_protocol(true)
}

#[test]
fn the_proxy_protocol_names_the_client() {
    for workers in [1, 2] {
        let host = Host::start(workers, behind_proxy(|_| {}));
        let second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x02\xc0\0\x02\x03\0\x50\0\x50";
        for (header, want) in [
            (HEADER.as_bytes(), "192.0.2.1"),
            (second, "192.0.2.2"),
            (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
            (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "2001:db8::1"),
        ] {
            for piece in [1, 7, 1000] {
                let mut client = host.client();
                for bytes in [header, GET.as_bytes()].concat().chunks(piece) {
                    client.send(bytes);
                }
                assert_eq!(client.answer().body, want.as_bytes());
                assert_eq!(client.get("/").body, want.as_bytes());
            }
        }
        // What the named one says about others does not count.
        let mut client = host.client();
        client.send(format!(
            "{HEADER}GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ::1\r\n\r\n"
        ));
        assert_eq!(client.answer().body, b"192.0.2.1");
    }
}

#[test]
fn without_a_proper_header_there_is_no_answer() {
    let host = Host::start(1, behind_proxy(|_| {}));
    for bytes in [
        GET,
        "PROXY TCP4 192.0.2.1\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nX",
    ] {
        let mut client = host.client();
        client.send(bytes);
        // What was not read makes the end a reset.
        let ended = std::io::Read::read_to_end(&mut client.stream, &mut Vec::new());
        assert!(!matches!(ended, Ok(1..)), "{bytes:?}");
    }
    let half = host.client();
    half.half_close();
    assert!(half.rest().is_empty());
    // Nobody else may claim to be somebody else.
    let stranger = Client::from([127, 0, 0, 2], host.addr);
    assert!(stranger.rest().is_empty());
    host.until_open(0);
}

#[test]
fn a_header_has_the_time_of_a_head() {
    let short = Duration::from_millis(50);
    let host = Host::start(1, behind_proxy(|limits| limits.head_timeout = short));
    for begun in ["", "P", &HEADER[..HEADER.len() - 1]] {
        let mut client = host.client();
        client.send(begun);
        assert!(client.rest().is_empty());
    }
}

#[test]
fn a_server_stops_while_headers_are_on_their_way() {
    let host = Host::start(1, behind_proxy(|_| {}));
    let mut half = host.client();
    half.send(&HEADER[..9]);
    let silent = host.client();
    host.until(|all| {
        let parked = |one: &&tarae::inspect::Coroutine| one.state == tarae::inspect::State::Parked;
        all.iter().filter(parked).count() == 2
    });
    host.stop().recv_timeout(GIVE_UP).expect("it stops");
    assert!(half.rest().is_empty() && silent.rest().is_empty());
}

/// Whom the PROXY protocol names has a share of his own; the proxy has all that it wants.
#[test]
fn each_that_is_named_has_its_share() {
    let host = Host::start(1, behind_proxy(|_| {}).max_connections_per_address(Some(1)));
    let named = |last: u8| {
        let mut client = host.client();
        client.send(format!(
            "PROXY TCP4 192.0.2.{last} 192.0.2.100 1 2\r\n{GET}"
        ));
        client
    };
    let mut first = named(1);
    assert_eq!(first.answer().status, "200");
    assert_eq!(named(1).answer().status, "429");
    assert_eq!(named(2).answer().status, "200");
    drop(first);
    host.until_open(0);
    assert_eq!(named(1).answer().status, "200");
}

#[test]
fn nobody_trusted_is_a_mistake() {
    let refused = tarae::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        who().proxy_protocol(true).start(listener).map(drop)
    });
    let error = refused.expect("it ends").expect_err("refused");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
