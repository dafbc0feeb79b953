//! Forms with files: RFC 7578 and RFC 2046, 5.1.

use std::io::{self, ErrorKind, Read};

use tarae_http::multipart::{Error, Limits, Multipart};

use crate::harness::PIECES;

/// Gives `rest` in pieces, and interrupts before each.
struct Cut<'a> {
    rest: &'a [u8],
    piece: usize,
    interrupt: bool,
}

impl Read for Cut<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        if self.interrupt {
            return Err(ErrorKind::Interrupted.into());
        }
        let (piece, most) = (self.piece, buf.len());
        self.rest.read(&mut buf[..most.min(piece)])
    }
}

/// Every whole part as `name(file)=content`, joined by blanks, and how it ended.
pub(crate) fn came_of(body: &[u8], boundary: &[u8], piece: usize, limits: &Limits) -> String {
    let cut = Cut {
        rest: body,
        piece,
        interrupt: false,
    };
    let mut form = Multipart::new(cut, boundary, limits.clone());
    let mut text = String::new();
    let end = loop {
        let mut part = match form.next_part() {
            Ok(Some(part)) => part,
            Ok(None) => break "end".to_owned(),
            Err(error) => break described(&error),
        };
        let name = format!("{}{:?}", part.name(), part.file_name());
        let mut content = Vec::new();
        match part.read_to_end(&mut content) {
            Ok(_) => text += &format!("{name}={} ", content.escape_ascii()),
            Err(error) => break described(&error),
        }
        assert_eq!(part.read(&mut [0; 8]).expect("at its end"), 0);
    };
    text + &end
}

fn described(error: &io::Error) -> String {
    let error = Error::of(error).expect("the reader does not fail");
    match (error.is_too_large(), error.is_incomplete()) {
        (true, _) => "too large",
        (_, true) => "incomplete",
        _ => "malformed",
    }
    .to_owned()
}

/// Checks a body with the boundary `x`, in all [`PIECES`]. In `body`, `@` stands for the fields of
/// a part named `a`.
#[track_caller]
fn check(body: &str, want: &str) {
    let body = body.replace('@', "Content-Disposition: form-data; name=a\r\n\r\n");
    for piece in PIECES {
        let limits = Limits::default();
        let got = came_of(body.as_bytes(), b"x", piece, &limits);
        assert_eq!(got, want, "{body:?} in pieces of {piece}");
    }
}

#[test]
fn well_formed() {
    check("--x\r\n@hi\r\n--x--", "aNone=hi end");
    check("--x\r\n@hi\r\n--x--\r\n", "aNone=hi end");
    check("--x\r\n@hi\r\n--x--\r\nepilogue\r\n--x\r\n", "aNone=hi end");
    check("preamble\r\n--x\r\n@hi\r\n--x--", "aNone=hi end");
    check("\r\n--x\r\n@hi\r\n--x--", "aNone=hi end");
    check("--\r\n--x\r\n@hi\r\n--x--", "aNone=hi end");
    check("--x--", "end");
    check("--x\r\n@1\r\n--x\r\n@2\r\n--x--", "aNone=1 aNone=2 end");
    check(
        "--x \t\r\n@hi\r\n--x\t\r\n@\r\n--x--",
        "aNone=hi aNone= end",
    );
    // The CRLF of the empty line is also that of a delimiter.
    check("--x\r\n@--x--", "aNone= end");
    check("--x\r\n@\r\n--x--", "aNone= end");
    check("--x\r\n@\r\n\r\n--x--", "aNone=\\r\\n end");
    let file = "Content-Disposition: form-data; name=f; filename=\"b.c\"\r\nA: b\r\n\r\n";
    check(
        &format!("--x\r\n{file}data\r\n--x--"),
        "fSome(\"b.c\")=data end",
    );
}

#[test]
fn what_is_no_delimiter_is_content() {
    for content in [
        "--x",
        "\r--x",
        "\n--x",
        "\r\n-x",
        "\r\n--",
        "\r\n-",
        "\r\n",
        "\r",
        "\r\r",
        "\r\n\r",
        "\r\n--y",
        "\r\n --x",
        "\r\n--X",
        "\r\n-\r\n-",
        "\r\r\n-",
        "-",
        "--",
        "-\r\n",
        "\0",
    ] {
        let want = format!("aNone=+{} end", content.as_bytes().escape_ascii());
        check(&format!("--x\r\n@+{content}\r\n--x--"), &want);
    }
    check("--x\r\n@-\r\n--x--", "aNone=- end");
    check("--x\r\n@--\r\n--x--", "aNone=-- end");
    check("--x\r\n@--y\r\n--x--", "aNone=--y end");
}

#[test]
fn malformed() {
    for body in [
        "--xy\r\n@hi\r\n--x--",
        "--x\n@hi\r\n--x--",
        "--x\r@hi\r\n--x--",
        "--x-\r\n@hi\r\n--x--",
        "--x --\r\n",
        "--x\r\n\r\nhi\r\n--x--",
        "--x\r\nContent-Type: a\r\n\r\nhi\r\n--x--",
        "--x\r\nContent-Disposition: form-data; name=a\n\nhi\r\n--x--",
        "--x\r\n Content-Disposition: form-data; name=a\r\n\r\nhi\r\n--x--",
        "--x\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\nhi\r\n--x--",
        "--x\r\nContent-Disposition: form-data; name=a\r\nA\r\n\r\nhi\r\n--x--",
        "--x\r\nContent-Disposition: form-data; name=a\r\n: b\r\n\r\nhi\r\n--x--",
        "--x\r\nContent-Disposition: form-data; name=a\r\nA: \0\r\n\r\nhi\r\n--x--",
        "--x\r\nContent-Disposition: attachment; name=a\r\n\r\nhi\r\n--x--",
    ] {
        check(body, "malformed");
    }
    check("--x\r\n@hi\r\n--x\r\n\r\n", "aNone=hi malformed");
    check("--x\r\n@hi\r\n--xhi", "aNone=hi malformed");
}

#[test]
fn incomplete() {
    let whole = "--x\r\n@hi\r\n--x--";
    for end in 0..whole.len() {
        let got = &whole[..end];
        let ended = end > whole.len() - 3;
        // The part ends with its delimiter, the form only with the two dashes.
        check(
            got,
            if ended {
                "aNone=hi incomplete"
            } else {
                "incomplete"
            },
        );
    }
    check("no form at all", "incomplete");
}

#[test]
fn limits() {
    let mut limits = Limits::default();
    (limits.parts, limits.header_bytes, limits.field_bytes) = (2, 60, 5);
    let bounded = |body: &str, want: &str| {
        for piece in PIECES {
            let got = came_of(body.as_bytes(), b"x", piece, &limits);
            assert_eq!(got, want, "{body:?} in pieces of {piece}");
        }
    };
    let part = |fields: &str, content: &str| {
        format!("--x\r\nContent-Disposition: form-data; {fields}\r\n\r\n{content}\r\n")
    };
    let (small, full) = (part("name=a", "12345"), part("name=a", "123456"));
    bounded(&format!("{small}--x--"), "aNone=12345 end");
    bounded(&format!("{full}--x--"), "too large");
    bounded(
        &format!("{small}{small}--x--"),
        "aNone=12345 aNone=12345 end",
    );
    let three = small.repeat(3);
    bounded(
        &format!("{three}--x--"),
        "aNone=12345 aNone=12345 too large",
    );
    let file = part("name=a;filename=b", "0123456789");
    bounded(&format!("{file}--x--"), "aSome(\"b\")=0123456789 end");
    // 37 bytes before the name, four of line ends behind it.
    let named = |bytes: usize| part(&format!("name={}", "n".repeat(bytes)), "");
    let name = "n".repeat(60 - 4 - 37);
    bounded(
        &format!("{}--x--", named(name.len())),
        &format!("{name}None= end"),
    );
    bounded(&format!("{}--x--", named(name.len() + 1)), "too large");
    bounded(&format!("--x\r\n{}", "n".repeat(61)), "too large");
}

/// Content made of what almost is a delimiter, longer than the buffer.
#[test]
fn near_delimiters_come_through() {
    let boundary = "-".repeat(70);
    let near = format!("\r\n--{}", "-".repeat(69));
    let mut content = String::from("+");
    for length in 0..400 {
        content += &near[..1 + length % near.len()];
        content += ["", "\r", "\n", "+"][length % 4];
    }
    content = content.replace(&format!("\r\n--{boundary}"), "");
    let head = "Content-Disposition: form-data; name=a; filename=b\r\n\r\n";
    let body = format!("--{boundary}\r\n{head}{content}\r\n--{boundary}--");
    for piece in [usize::MAX, 1, 7, 73, 8191] {
        let got = came_of(
            body.as_bytes(),
            boundary.as_bytes(),
            piece,
            &Limits::default(),
        );
        let want = format!("aSome(\"b\")={} end", content.as_bytes().escape_ascii());
        assert!(got == want, "in pieces of {piece}");
    }
}

/// Counts the bytes that are asked for at a time: the whole is never in memory.
#[test]
fn a_large_file_passes_through_a_small_buffer() {
    struct Large {
        head: &'static [u8],
        left: u64,
        tail: &'static [u8],
        most: usize,
    }
    impl Read for Large {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.most = self.most.max(buf.len());
            match (self.head, self.left) {
                ([], 0) => self.tail.read(buf),
                ([], left) => {
                    let bytes = (buf.len() as u64).min(left) as usize;
                    buf[..bytes].fill(b'\r');
                    self.left -= bytes as u64;
                    Ok(bytes)
                }
                _ => self.head.read(buf),
            }
        }
    }
    let mut large = Large {
        head: b"--x\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n",
        left: 50_000_000,
        tail: b"\r\n--x--",
        most: 0,
    };
    let mut form = Multipart::new(&mut large, b"x", Limits::default());
    let mut part = form.next_part().expect("well-formed").expect("a part");
    let bytes = io::copy(&mut part, &mut io::sink()).expect("well-formed");
    assert_eq!(bytes, 50_000_000);
    assert!(form.next_part().expect("well-formed").is_none());
    assert!(large.most <= 8 * 1024, "{}", large.most);
}

#[test]
fn what_is_not_read_is_skipped_and_errors_stay() {
    let head = "Content-Disposition: form-data; name=a; filename=b\r\n\r\n";
    let long = "+".repeat(20_000);
    let body = format!("--x\r\n{head}{long}\r\n--x\r\n{head}2\r\n--x\r\n{head}3\r\n--x?");
    let mut form = Multipart::new(body.as_bytes(), b"x", Limits::default());
    let mut first = form.next_part().expect("well-formed").expect("a part");
    assert_eq!(first.read(&mut [0; 3]).expect("content"), 3);
    assert!(form.next_part().expect("well-formed").is_some());
    let mut third = form.next_part().expect("well-formed").expect("a part");
    let mut text = String::new();
    third.read_to_string(&mut text).expect("content");
    assert_eq!(text, "3");
    for _ in 0..2 {
        let error = form.next_part().expect_err("malformed");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(Error::of(&error).is_some_and(Error::is_malformed));
    }
    let mut cut = Multipart::new(&body.as_bytes()[..100], b"x", Limits::default());
    let mut part = cut.next_part().expect("well-formed").expect("a part");
    for _ in 0..2 {
        let error = part.read_to_end(&mut Vec::new()).expect_err("cut");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}

#[test]
#[should_panic(expected = "a boundary has 1 to 70 bytes")]
fn an_empty_boundary() {
    Multipart::new(&b""[..], b"", Limits::default());
}
