//! `docs/limits.md` says what our limits are: its second column is held to the code.

use std::collections::BTreeMap;

use tarae_http::{Handler, Limits, Request, Response, Server};

const DOCUMENT: &str = include_str!("../../../../docs/limits.md");
const WIRE: &str = include_str!("../../src/server/wire.rs");
const INPUT: &str = include_str!("../../src/conn/input.rs");
const DRAIN: &str = include_str!("../../src/server/drain.rs");

#[derive(Debug)]
struct Nothing;

impl Handler for Nothing {
    fn call(&self, _: &mut Request) -> Response {
        Response::text("")
    }
}

/// Our cells of all rows that have one, by what the row is called: the name of the setting, if it
/// has one.
fn rows() -> BTreeMap<&'static str, &'static str> {
    let of_tables = DOCUMENT.lines().filter(|line| line.starts_with("| "));
    let cells = of_tables.map(|line| line.trim_matches('|').split(" | ").map(str::trim));
    let rows = cells.filter_map(|mut cells| {
        let name = cells.next()?;
        let setting = name.split('`').nth(1).filter(|_| name.contains("(`"));
        Some((setting.unwrap_or(name), cells.next()?))
    });
    rows.collect()
}

/// The fields that `Debug` shows of a struct, and their values, as people write them.
fn fields(debug: &str) -> Vec<(&str, String)> {
    let inner = debug.split_once('{').expect("a struct").1;
    let inner = inner.trim_end_matches('}').trim();
    inner
        .split(", ")
        .map(|field| field.split_once(": ").expect("a field"))
        .map(|(name, value)| (name, written(name, value)))
        .collect()
}

fn written(name: &str, value: &str) -> String {
    let value = value.trim_start_matches("Some(").trim_end_matches(')');
    match value.strip_suffix('s') {
        Some(seconds) => format!("{seconds} s"),
        None if name.ends_with("_bytes") => bytes(value.parse().expect("a number")),
        None if name == "rate_min" => format!("{value} bytes/s"),
        None => grouped(value),
    }
}

fn bytes(count: u64) -> String {
    assert_eq!(count % 1024, 0, "{count}");
    match count / 1024 {
        mebi if mebi % 1024 == 0 => format!("{} MiB", mebi / 1024),
        kibi => format!("{kibi} KiB"),
    }
}

/// With a comma before the last three digits.
fn grouped(digits: &str) -> String {
    match digits.len().checked_sub(3) {
        Some(at @ 1..) => format!("{},{}", &digits[..at], &digits[at..]),
        _ => digits.to_owned(),
    }
}

#[test]
fn the_limits_of_a_connection_are_as_documented() {
    let rows = rows();
    let shown = format!("{:?}", Limits::default());
    let fields = fields(&shown);
    assert_eq!(fields.len(), 13, "{fields:?}");
    for (name, want) in fields {
        assert_eq!(rows.get(name), Some(&&*want), "{name}");
    }
}

#[test]
fn the_limits_of_a_server_are_as_documented() {
    let rows = rows();
    let server = format!("{:?}", Server::new(Nothing));
    for (field, setting, cell) in [
        (
            "per_address_max: None",
            "max_connections_per_address",
            "off",
        ),
        ("in_flight_max: None", "max_in_flight", "off"),
        ("trusted: []", "trusted_proxies", "nobody"),
        ("proxy_protocol: false", "proxy_protocol", "off"),
        ("drain_timeout: 30s", "drain_timeout", "30 s"),
    ] {
        assert!(server.contains(field), "{field}: {server}");
        assert_eq!(rows.get(setting), Some(&cell), "{setting}");
    }
    // The rule is in the text below the table.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let room = limit.current.map_or(u64::MAX, |descriptors| {
        let left = (descriptors / 8).clamp(32, 1_024);
        descriptors.saturating_sub(left).max(1)
    });
    let field = format!("connections_max: {room},");
    assert!(
        room == u64::MAX || server.contains(&field),
        "{field} {server}"
    );
    assert_eq!(rows.get("max_connections"), Some(&"from RLIMIT_NOFILE"));
    assert!(DOCUMENT.contains("an eighth of it, at least 32 and at most 1,024"));
}

/// What cannot be set and is not shown anywhere.
#[test]
fn what_is_fixed_is_as_documented() {
    let rows = rows();
    for (source, line, name, cell) in [
        (
            INPUT,
            "const DISCARD_BYTES_MAX: u64 = 64 * 1024;",
            "unread rest of a body",
            "64 KiB",
        ),
        (
            WIRE,
            "const LINGER_BYTES: usize = 256 * 1024;",
            "lingering when it closes: bytes",
            "256 KiB",
        ),
        (
            WIRE,
            "const LINGER_SILENCE: Duration = Duration::from_secs(2);",
            "lingering when it closes: silence",
            "2 s",
        ),
        (
            WIRE,
            "const LINGER_TIME: Duration = Duration::from_secs(5);",
            "lingering when it closes: in all",
            "5 s",
        ),
        (
            DRAIN,
            "const GRACE: Duration = Duration::from_secs(5);",
            "handlers that ignore their cancellation",
            "5 s",
        ),
    ] {
        assert!(source.contains(line), "{line}");
        assert_eq!(rows.get(name), Some(&cell), "{name}");
    }
}
