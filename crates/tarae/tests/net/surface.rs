//! std's surface: the same calls on std's types, in a coroutine and on a plain thread, and the same
//! answers from all three.
//!
//! Guards that porting is changing `use std::` to `use tarae::`. Left out: the kind of a time-out
//! (`TimedOut` in place of `WouldBlock`, by design; see `wakeups`).

use super::support::guarded;

/// What was asked, and the answer: ports and descriptors left out.
type Row = (&'static str, String);

/// Asks, and notes the answer.
macro_rules! ask {
    ($rows:ident, $what:expr, $answer:expr) => {
        $rows.push(($what, format!("{:?}", $answer.map_err(|e| e.kind()))))
    };
}

/// Defines a module `$name`, which asks everything of the types in module `$net`.
macro_rules! surface {
    ($name:ident, $net:ident) => {
        mod $name {
            use super::Row;
            use std::io::{IoSlice, IoSliceMut, Read, Write};
            use std::time::Duration;
            use $net::net::{Shutdown, TcpListener, TcpStream};

            pub(super) fn everything() -> Vec<Row> {
                let mut rows = options();
                rows.extend(data());
                rows.extend(ends());
                rows
            }

            fn options() -> Vec<Row> {
                let mut rows: Vec<Row> = Vec::new();
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                ask!(rows, "bind taken", TcpListener::bind(address).map(drop));
                ask!(
                    rows,
                    "bind nowhere",
                    TcpListener::bind(&[][..] as &[std::net::SocketAddr]).map(drop)
                );
                ask!(
                    rows,
                    "listener ttl",
                    listener.set_ttl(42).and_then(|()| listener.ttl())
                );
                ask!(
                    rows,
                    "listener error",
                    listener.take_error().map(|error| error.is_none())
                );
                let client = TcpStream::connect(address).unwrap();
                let (server, peer) = listener.accept().unwrap();
                rows.push(("peer", format!("{}", peer == client.local_addr().unwrap())));
                ask!(
                    rows,
                    "peer_addr",
                    client.peer_addr().map(|peer| peer == address)
                );
                ask!(
                    rows,
                    "local_addr",
                    server.local_addr().map(|local| local == address)
                );
                ask!(rows, "nodelay", client.nodelay());
                ask!(
                    rows,
                    "set nodelay",
                    client.set_nodelay(true).and_then(|()| client.nodelay())
                );
                ask!(rows, "ttl", client.set_ttl(7).and_then(|()| client.ttl()));
                ask!(rows, "no ttl", client.set_ttl(0));
                ask!(rows, "read timeout", client.read_timeout());
                let second = Some(Duration::from_secs(1));
                let clone = client.try_clone().unwrap();
                ask!(
                    rows,
                    "set",
                    clone
                        .set_read_timeout(second)
                        .and_then(|()| client.read_timeout())
                );
                ask!(
                    rows,
                    "set",
                    clone
                        .set_write_timeout(second)
                        .and_then(|()| client.write_timeout())
                );
                ask!(rows, "zero", client.set_read_timeout(Some(Duration::ZERO)));
                ask!(rows, "zero", client.set_write_timeout(Some(Duration::ZERO)));
                ask!(rows, "still set", client.read_timeout());
                ask!(
                    rows,
                    "unset",
                    client
                        .set_read_timeout(None)
                        .and_then(|()| client.read_timeout())
                );
                rows
            }

            fn data() -> Vec<Row> {
                let mut rows: Vec<Row> = Vec::new();
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                let mut client = TcpStream::connect(address).unwrap();
                let (mut server, _) = listener.accept().unwrap();
                let mut buffer = [0; 8];
                ask!(rows, "write", client.write(b"abcdef"));
                ask!(rows, "flush", client.flush());
                ask!(
                    rows,
                    "peek",
                    server.peek(&mut buffer[..2]).map(|n| buffer[..n].to_vec())
                );
                ask!(
                    rows,
                    "read",
                    server.read(&mut buffer[..2]).map(|n| buffer[..n].to_vec())
                );
                let (mut one, mut two) = ([0; 3], [0; 3]);
                let mut slices = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
                ask!(rows, "read_vectored", server.read_vectored(&mut slices));
                rows.push(("slices", format!("{one:?} {two:?}")));
                let slices = [IoSlice::new(b"x"), IoSlice::new(b"yz")];
                ask!(rows, "write_vectored", (&client).write_vectored(&slices));
                ask!(
                    rows,
                    "read by reference",
                    (&server).read_exact(&mut buffer[..3])
                );
                ask!(rows, "nothing", server.read_vectored(&mut []));
                ask!(rows, "nothing", client.write(&[]));
                ask!(rows, "nothing", client.write_vectored(&[]));
                rows
            }

            fn ends() -> Vec<Row> {
                let mut rows: Vec<Row> = Vec::new();
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                let mut client = TcpStream::connect(address).unwrap();
                let (mut server, _) = listener.accept().unwrap();
                let mut buffer = [0; 8];
                ask!(rows, "nonblocking", server.set_nonblocking(true));
                ask!(rows, "would block", server.read(&mut buffer));
                ask!(rows, "would block", server.peek(&mut buffer));
                ask!(rows, "nonblocking", listener.set_nonblocking(true));
                ask!(rows, "would block", listener.accept().map(drop));
                ask!(
                    rows,
                    "would block",
                    listener.incoming().next().unwrap().map(drop)
                );
                ask!(rows, "blocking", server.set_nonblocking(false));
                ask!(rows, "shutdown", client.shutdown(Shutdown::Write));
                ask!(rows, "write after it", client.write(b"x"));
                ask!(rows, "end", server.read(&mut buffer));
                ask!(rows, "end", server.peek(&mut buffer));
                ask!(rows, "other way", server.write_all(b"still"));
                ask!(rows, "other way", client.read_exact(&mut buffer[..5]));
                ask!(rows, "shutdown", server.shutdown(Shutdown::Both));
                ask!(rows, "again", server.shutdown(Shutdown::Both));
                ask!(rows, "end", client.read(&mut buffer));
                ask!(
                    rows,
                    "no error",
                    client.take_error().map(|error| error.is_none())
                );
                drop(server);
                drop((client, listener));
                ask!(rows, "refused", TcpStream::connect(address).map(drop));
                rows
            }
        }
    };
}

surface!(of_std, std);
surface!(of_tarae, tarae);

#[test]
fn the_surface_is_that_of_std() {
    guarded("the_surface_is_that_of_std", || {
        let want = of_std::everything();
        let on_a_thread = of_tarae::everything();
        let in_a_coroutine = tarae::Builder::new()
            .workers(1)
            .run(of_tarae::everything)
            .unwrap();
        let on_two = tarae::Builder::new()
            .workers(2)
            .run(|| tarae::spawn(of_tarae::everything).join().unwrap())
            .unwrap();
        for rows in [&on_a_thread, &in_a_coroutine, &on_two] {
            assert_eq!(rows.len(), want.len());
            for (row, want) in rows.iter().zip(&want) {
                assert_eq!(row, want);
            }
        }
    });
}

/// As std prints them, descriptor included.
#[test]
fn the_debug_output_is_that_of_std() {
    super::support::everywhere("the_debug_output_is_that_of_std", || {
        let (client, _server) = super::support::pair();
        let printed = format!("{client:?}");
        assert_eq!(printed, format!("{:?}", client.into_std().unwrap()));
        let listener = tarae::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let printed = format!("{listener:?}");
        assert_eq!(printed, format!("{:?}", listener.into_std().unwrap()));
    });
}

/// A pending error is given once; the stream's next call does not give it again.
#[test]
fn a_pending_error_is_taken_once() {
    super::support::everywhere("a_pending_error_is_taken_once", || {
        let (client, server) = super::support::pair();
        let zero = Some(std::time::Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&client, zero).unwrap();
        drop(client);
        let error = server
            .take_error()
            .unwrap()
            .expect("the connection was reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(server.take_error().unwrap().is_none());
        assert_eq!(std::io::Read::read(&mut &server, &mut [0]).unwrap(), 0);
    });
}
