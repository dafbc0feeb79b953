//! A program whose panics abort. The test `abort.rs` runs it; its argument says what it does.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::time::Duration;

use tarae::net::{TcpListener, TcpStream};
use tarae::{Builder, Cancelled, Coroutine, Resumed};

const HOUR: Duration = Duration::from_secs(3600);

fn main() {
    assert!(cfg!(panic = "abort"));
    match std::env::args().nth(1).as_deref() {
        Some("works") => {
            for workers in [1, 2] {
                Builder::new().workers(workers).run(works).unwrap();
                leaves(workers);
            }
        }
        Some("panics") => {
            tarae::run(|| tarae::spawn(|| panic!("the soup is cold")).join())
                .unwrap()
                .unwrap();
        }
        _ => panic!("works or panics?"),
    }
    println!("ended");
}

/// Spawns, joins, cancels, talks, offloads; leaves coroutines for the end to cancel.
fn works() {
    let all: Vec<_> = (0..100).map(|n| tarae::spawn(move || n)).collect();
    let sum: u32 = all.into_iter().map(|one| one.join().unwrap()).sum();
    assert_eq!(sum, 4950);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let echo = tarae::spawn(move || {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        stream.write_all(&byte).unwrap();
    });
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    echo.join().unwrap();

    let acceptor = tarae::spawn(move || listener.accept().map(drop));
    tarae::yield_now();
    acceptor.cancel();
    match acceptor.join() {
        Ok(accepted) => assert!(Cancelled::is(&accepted.unwrap_err())),
        Err(error) => assert!(error.is_cancelled()),
    }

    let text = String::from("borrowed");
    assert_eq!(tarae::offload(|| text.len()).unwrap(), 8);

    // Its frames cannot be unwound here: dropping it leaks them.
    let mut paused = Coroutine::<(), ()>::new(|yielder| yielder.pause(()));
    assert_eq!(paused.resume(), Resumed::Paused(()));
    drop(paused);

    tarae::spawn(|| tarae::time::sleep(HOUR));
    tarae::yield_now();
}

/// One that will not end is named, and whoever joins it is told.
fn leaves(workers: usize) {
    let mut left = None;
    let runtime = Builder::new().workers(workers).grace(Duration::ZERO);
    let result = runtime.run(|| {
        left = Some(tarae::spawn_local(|| {
            loop {
                tarae::time::sleep(HOUR);
            }
        }));
        tarae::yield_now();
    });
    assert_eq!(result.unwrap_err().stragglers().len(), 1);
    assert!(left.unwrap().join().map(|()| ()).unwrap_err().is_leaked());
}
