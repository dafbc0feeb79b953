//! A crawler: follows every link from a page, each page once, so many at a time.
//!
//! Shows fan-out with a bound: a fixed number of coroutines take addresses from one channel and
//! give what they found back through another; one coroutine keeps the books. It serves the site it
//! crawls itself, from memory: page N links to 2N and 2N + 1, and back to page 1.
//!
//! ```text
//! cargo run -p tarae --example crawler -- [PAGES [AT_ONCE]]
//! ```

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tarae::net::{TcpListener, TcpStream};
use tarae::sync::mpmc;

/// How many connections the site has had, and the most it had at once.
#[derive(Default)]
struct Visits {
    all: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

fn page(number: usize, pages: usize) -> String {
    let links = [2 * number, 2 * number + 1, 1];
    let links = links.into_iter().filter(|link| *link <= pages);
    links.map(|link| format!("<a href=\"/{link}\">")).collect()
}

fn serve(stream: &TcpStream, pages: usize) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default();
    let body = match path.trim_start_matches('/').parse() {
        Ok(number) => page(number, pages),
        Err(_) => String::new(),
    };
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = stream;
    stream.write_all((head + &body).as_bytes())
}

fn site(listener: TcpListener, pages: usize, visits: Arc<Visits>) {
    for stream in listener.incoming().flatten() {
        let visits = Arc::clone(&visits);
        tarae::spawn(move || {
            visits.all.fetch_add(1, Ordering::Relaxed);
            let now = visits.now.fetch_add(1, Ordering::Relaxed) + 1;
            visits.most.fetch_max(now, Ordering::Relaxed);
            if let Err(error) = serve(&stream, pages) {
                eprintln!("a visitor was lost: {error}");
            }
            visits.now.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// The paths that a page links to.
fn fetch(address: SocketAddr, path: &str) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let links = answer.split("href=\"").skip(1);
    let links = links.filter_map(|rest| rest.split_once('"'));
    Ok(links.map(|(link, _)| link.to_owned()).collect())
}

/// The argument at `place`, or `default`; an error that names it if it is no number.
fn number(place: usize, default: usize) -> io::Result<usize> {
    std::env::args().nth(place).map_or(Ok(default), |text| {
        text.parse()
            .map_err(|_| io::Error::other(format!("`{text}` is not a number")))
    })
}

#[tarae::main]
fn main() -> io::Result<()> {
    let (pages, at_once) = (number(1, 100)?, number(2, 8)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let visits = Arc::new(Visits::default());
    let theirs = Arc::clone(&visits);
    tarae::spawn(move || site(listener, pages, theirs));

    // Addresses have no bound: as many as the site has. Those being fetched do.
    let (visit, to_visit) = mpmc::channel::<String>();
    let (tell, found) = mpmc::sync_channel(at_once);
    for _ in 0..at_once {
        let (to_visit, tell) = (to_visit.clone(), tell.clone());
        tarae::spawn(move || {
            for path in to_visit {
                if tell.send(fetch(address, &path)).is_err() {
                    return;
                }
            }
        });
    }
    drop(tell);

    let start = "/1".to_owned();
    let mut known = HashSet::from([start.clone()]);
    visit.send(start).map_err(io::Error::other)?;
    let mut open = 1;
    while open > 0 {
        open -= 1;
        for link in found.recv().map_err(io::Error::other)?? {
            if known.insert(link.clone()) {
                visit.send(link).map_err(io::Error::other)?;
                open += 1;
            }
        }
    }
    println!("{} pages found", known.len());
    println!("{} visits", visits.all.load(Ordering::Relaxed));
    println!("{} at once", visits.most.load(Ordering::Relaxed));
    Ok(())
}
