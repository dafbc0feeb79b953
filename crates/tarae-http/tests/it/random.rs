//! Random input from fixed seeds: the same in every run, bounded, and never allowed to panic.

use tarae_http::Limits;

use crate::harness::{Seen, Witness, Xorshift, answers, run};

/// A valid request and what a handler must see of it.
fn request(random: &mut Xorshift) -> (Vec<u8>, Seen) {
    let method = ["GET", "HEAD", "POST", "PUT", "X-OWN"][random.below(5)];
    let target = format!("/{}?{}", "p".repeat(random.below(30)), random.below(1000));
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: example.org\r\n");
    for number in 0..random.below(8) {
        text += &format!("X-{number}:{}\r\n", " v".repeat(random.below(20)));
    }
    let body: Vec<u8> = (0..random.below(4).pow(6))
        .map(|_| random.below(256) as u8)
        .collect();
    let mut bytes;
    if random.below(2) == 0 {
        text += &format!("Content-Length: {}\r\n\r\n", body.len());
        bytes = text.into_bytes();
        bytes.extend_from_slice(&body);
    } else {
        text += "Transfer-Encoding: chunked\r\n\r\n";
        bytes = text.into_bytes();
        let mut rest = body.as_slice();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(1 + random.below(rest.len()));
            bytes.extend_from_slice(format!("{:x};n=v\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
            rest = after;
        }
        bytes.extend_from_slice(b"0\r\nTrailer: dropped\r\n\r\n");
    }
    let seen = Seen {
        line: format!("{method} {target}"),
        host: "example.org".to_owned(),
        body,
    };
    (bytes, seen)
}

/// Cuts `input` at random points.
fn pieces<'a>(input: &'a [u8], random: &mut Xorshift) -> Vec<&'a [u8]> {
    let most = [3, 50, 5000][random.below(3)];
    let (mut rest, mut pieces) = (input, Vec::new());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random.below(most)).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[test]
fn valid_pipelines_cut_anywhere_are_answered_in_order() {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    for _ in 0..300 {
        let (mut input, mut want) = (Vec::new(), Vec::new());
        for _ in 0..1 + random.below(12) {
            let (bytes, seen) = request(&mut random);
            input.extend_from_slice(&bytes);
            want.push(seen);
        }
        let witness = Witness::default();
        let cut = pieces(&input, &mut random);
        let ran = run(&witness, cut.into_iter(), &Limits::default(), false);
        assert_eq!(ran.state, "open");
        let is_head = want.iter().map(|seen| seen.line.starts_with("HEAD "));
        let is_head: Vec<bool> = is_head.collect();
        let found = answers(&ran.output, &is_head);
        assert_eq!(found.len(), want.len());
        assert!(found.iter().all(|answer| answer.status == "200"));
        assert_eq!(*witness.seen.lock().expect("not poisoned"), want);
    }
}

#[test]
fn damaged_pipelines_give_the_same_verdict_however_they_are_cut() {
    let mut random = Xorshift(0x2545_f491_4f6c_dd1d);
    for round in 0..3000 {
        let mut input = Vec::new();
        for _ in 0..1 + random.below(3) {
            input.extend_from_slice(&request(&mut random).0);
        }
        for _ in 0..1 + random.below(3) {
            let at = random.below(input.len());
            match random.below(3) {
                0 => input[at] = b"\r\n\0 \t:;,/?#%[0aZ\x7f\xff"[random.below(18)],
                1 => drop(input.remove(at)),
                _ => input.insert(at, b"\r\n \t:0"[random.below(6)]),
            }
        }
        let whole = verdict([input.as_slice()].into_iter());
        let cut = verdict(pieces(&input, &mut random).into_iter());
        assert!(
            whole == cut,
            "round {round}: {:?}",
            String::from_utf8_lossy(&input)
        );
    }
}

fn verdict<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, &'static str, Vec<Seen>) {
    let witness = Witness::default();
    let ran = run(&witness, pieces, &Limits::default(), false);
    (
        ran.output,
        ran.state,
        witness.seen.into_inner().expect("not poisoned"),
    )
}

#[test]
fn garbage_is_refused_without_a_panic() {
    let mut random = Xorshift(0xda94_2042_e4dd_58b5);
    let words: [&[u8]; 12] = [
        b"GET ",
        b"/ ",
        b"HTTP/1.1",
        b"\r\n",
        b"Host: a",
        b"Transfer-Encoding: chunked",
        b"\n",
        b"Content-Length: 5",
        b"0",
        b"\0",
        b":",
        b"POST / HTTP/1.1\r\nHost: a\r\n",
    ];
    for _ in 0..3000 {
        let mut input = Vec::new();
        for _ in 0..random.below(40) {
            if random.below(4) == 0 {
                input.push(random.below(256) as u8);
            } else {
                input.extend_from_slice(words[random.below(words.len())]);
            }
        }
        let cut = pieces(&input, &mut random);
        let ran = run(
            &Witness::default(),
            cut.into_iter(),
            &Limits::default(),
            true,
        );
        assert_eq!(ran.state, "closed");
    }
}
