//! The header of the PROXY protocol, versions 1 and 2: who is at the other end of a proxy. Parsed
//! from what has arrived so far; `server` reads no more than belongs to it. Pure. Strict: whatever
//! is not exactly as the specification has it is refused, since what follows would be taken for a
//! request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is read. Version 1 allows 107 bytes; in version 2 what a proxy adds to
/// the addresses may take the rest.
pub(crate) const HEADER_BYTES: usize = 2048;
/// The longest line of version 1, its CRLF included.
const LINE_BYTES: usize = 107;
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its length in bytes.
    pub(crate) len: usize,
    /// Who is connected to the proxy; `None` if it speaks for itself, or does not know.
    pub(crate) source: Option<SocketAddr>,
}

/// It is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads the header at the begin of `bytes`. `None`: all of these are its, and there is more.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let is_second = bytes
        .iter()
        .zip(&SIGNATURE)
        .all(|(byte, want)| byte == want);
    if is_second {
        binary(bytes)
    } else {
        line(bytes)
    }
}

fn line(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    const BEGIN: &[u8] = b"PROXY ";
    if !bytes.iter().zip(BEGIN).all(|(byte, want)| byte == want) {
        return Err(Malformed);
    }
    let within = &bytes[..bytes.len().min(LINE_BYTES)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        let is_too_long = within.len() == LINE_BYTES;
        return if is_too_long {
            Err(Malformed)
        } else {
            Ok(None)
        };
    };
    let text = within[..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let text = text.strip_prefix(BEGIN).ok_or(Malformed)?;
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    let source = match text.split_once(' ') {
        // Whatever else stands in the line is to be ignored.
        Some(("UNKNOWN", _)) => None,
        None if text == "UNKNOWN" => None,
        Some(("TCP4", rest)) => Some(addresses::<Ipv4Addr>(rest)?),
        Some(("TCP6", rest)) => Some(addresses::<Ipv6Addr>(rest)?),
        _ => return Err(Malformed),
    };
    let len = end + 1;
    Ok(Some(Header { len, source }))
}

/// `SOURCE DESTINATION PORT PORT`
fn addresses<A>(text: &str) -> Result<SocketAddr, Malformed>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    let mut words = text.split(' ');
    let mut word = || words.next().ok_or(Malformed);
    let address = |word: &str| word.parse::<A>().map_err(|_| Malformed);
    let (source, _) = (address(word()?)?, address(word()?)?);
    let (port, _) = (self::port(word()?)?, self::port(word()?)?);
    match words.next() {
        None => Ok(SocketAddr::new(source.into(), port)),
        Some(_) => Err(Malformed),
    }
}

fn port(word: &str) -> Result<u16, Malformed> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let has_zeros = word.len() > 1 && word.starts_with('0');
    let port = word.parse().ok().filter(|_| is_plain && !has_zeros);
    port.ok_or(Malformed)
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED_BYTES) else {
        return Ok(None);
    };
    let is_local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed),
    };
    let announced = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let least = match fixed[13] {
        // Not said, and sockets in the file system.
        0x00 => 0,
        0x31 => 216,
        0x11 => 12,
        0x21 => 36,
        _ if is_local => 0,
        _ => return Err(Malformed),
    };
    let len = FIXED_BYTES + announced;
    // One that speaks for itself need not say who that is.
    if len > HEADER_BYTES || !is_local && announced < least {
        return Err(Malformed);
    }
    if rest.len() < announced {
        return Ok(None);
    }
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    let source = match (is_local, fixed[13]) {
        (false, 0x11) => rest.first_chunk::<4>().map(|address| {
            let address = Ipv4Addr::from(*address);
            SocketAddr::new(address.into(), port(8))
        }),
        (false, 0x21) => rest.first_chunk::<16>().map(|address| {
            let address = Ipv6Addr::from(*address);
            SocketAddr::new(address.into(), port(32))
        }),
        _ => None,
    };
    Ok(Some(Header { len, source }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads what `parse` would have read off a connection: as much as is its, in pieces.
    fn run(input: &[u8], piece: usize) -> Result<Option<Header>, Malformed> {
        let mut arrived = 0;
        loop {
            arrived = (arrived + piece).min(input.len());
            let found = parse(&input[..arrived]);
            if found != Ok(None) || arrived == input.len() {
                return found;
            }
        }
    }

    type Want = Result<Option<(usize, Option<&'static str>)>, Malformed>;

    #[track_caller]
    fn check(input: impl AsRef<[u8]>, want: Want) {
        let input = input.as_ref();
        let want = want.map(|want| {
            want.map(|(len, source)| Header {
                len,
                source: source.map(|text| text.parse().expect("an address")),
            })
        });
        for piece in [input.len().max(1), 1, 7] {
            assert_eq!(run(input, piece), want, "{input:?} by {piece}");
        }
    }

    fn whole(len: usize, source: &'static str) -> Want {
        Ok(Some((len, Some(source))))
    }

    #[test]
    fn lines() {
        let line = "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n";
        check(line, whole(line.len(), "192.0.2.1:56324"));
        check(format!("{line}GET /"), whole(line.len(), "192.0.2.1:56324"));
        let line = "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n";
        check(line, whole(line.len(), "[2001:db8::1]:1"));
        check("PROXY UNKNOWN\r\n", Ok(Some((15, None))));
        let odd = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
        assert_eq!(odd.len(), LINE_BYTES);
        check(&odd, Ok(Some((LINE_BYTES, None))));
        for begun in ["", "P", "PROXY", "PROXY TCP4 192", "PROXY UNKNOWN\r"] {
            check(begun, Ok(None));
        }
    }

    #[test]
    fn refused_lines() {
        let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(92));
        for input in [
            "GET / HTTP/1.1\r\n",
            "PROXI",
            "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY\r\n",
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 nowhere 1 2\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            long.as_str(),
        ] {
            check(input, Err(Malformed));
        }
    }

    fn second(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    const FOUR: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xDC, 0x04, 0x01, 0xBB];

    #[test]
    fn binary_headers() {
        check(second(0x21, 0x11, &FOUR), whole(28, "192.0.2.1:56324"));
        let added = [&FOUR[..], &[4, 0, 1, 0]].concat();
        let input = [&second(0x21, 0x11, &added)[..], b"GET /"].concat();
        check(input, whole(32, "192.0.2.1:56324"));
        let mut six = [0; 36];
        six[15] = 1;
        six[33] = 80;
        check(second(0x21, 0x21, &six), whole(52, "[::1]:80"));
        check(second(0x20, 0x00, &[]), Ok(Some((16, None))));
        check(second(0x20, 0x11, &FOUR), Ok(Some((28, None))));
        check(second(0x21, 0x00, &[1, 2]), Ok(Some((18, None))));
        check(second(0x21, 0x31, &[0; 216]), Ok(Some((232, None))));
        let most = HEADER_BYTES - FIXED_BYTES;
        check(
            second(0x20, 0x00, &vec![0; most]),
            Ok(Some((HEADER_BYTES, None))),
        );
        check(&second(0x21, 0x11, &FOUR)[..27], Ok(None));
        check(&SIGNATURE[..5], Ok(None));
    }

    #[test]
    fn refused_binary_headers() {
        check(second(0x11, 0x11, &FOUR), Err(Malformed));
        check(second(0x22, 0x11, &FOUR), Err(Malformed));
        check(second(0x21, 0x12, &FOUR), Err(Malformed));
        check(second(0x21, 0x41, &FOUR), Err(Malformed));
        check(second(0x21, 0x11, &FOUR[..11]), Err(Malformed));
        check(second(0x21, 0x21, &[0; 35]), Err(Malformed));
        let most = HEADER_BYTES - FIXED_BYTES;
        check(second(0x20, 0x00, &vec![0; most + 1]), Err(Malformed));
        let mut broken = second(0x21, 0x11, &FOUR);
        broken[11] = b'\r';
        check(broken, Err(Malformed));
    }

    /// Random bytes behind the begin of a header never panic, and never are longer than they are.
    #[test]
    fn whatever_follows() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for round in 0..50_000_usize {
            let mut input =
                [&SIGNATURE[..], b"PROXY TCP4 1.1.1.1 2", b"PROXY TCP6 "][round % 3].to_vec();
            for _ in 0..round % 60 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                input.push(b"\x20\x21\x11\x00 .:1f\r\n2"[(state % 12) as usize]);
            }
            if let Ok(Some(header)) = parse(&input) {
                assert!(header.len <= input.len().min(HEADER_BYTES));
                assert_eq!(parse(&input[..header.len]), Ok(Some(header)));
                assert_eq!(parse(&input[..header.len - 1]), Ok(None));
            }
        }
    }
}
