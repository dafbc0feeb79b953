//! Unix datagrams: whole or cut, none lost, and waits for room at the receiver that the sending
//! socket is not told of.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::Duration;

use tarae::os::unix::net::UnixDatagram;

use super::side::{Folder, abstract_name, everywhere};
use super::support::guarded;

#[test]
fn datagrams_keep_their_bounds() {
    everywhere("datagrams_keep_their_bounds", |_| {
        let (a, b) = UnixDatagram::pair().unwrap();
        let mut buffer = vec![0; 100_000];
        for (sent, room) in [
            (5, 9),
            (9, 5),
            (0, 9),
            (9, 0),
            (0, 0),
            (100_000, 100_000),
            (1, 1),
        ] {
            let data: Vec<u8> = (0..sent).map(|i| i as u8).collect();
            assert_eq!(a.send(&data).unwrap(), sent);
            assert_eq!(b.peek(&mut buffer[..room]).unwrap(), sent.min(room));
            let (count, from) = b.recv_from(&mut buffer[..room]).unwrap();
            assert!(
                count == sent.min(room) && from.is_unnamed(),
                "{sent} into {room}"
            );
            assert_eq!(buffer[..count], data[..count]);
        }
        b.set_nonblocking(true).unwrap();
        assert_eq!(
            b.recv(&mut [0; 9]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

/// Who has a name can be answered, by path as by abstract name.
#[test]
fn senders_with_names_can_be_answered() {
    everywhere("senders_with_names_can_be_answered", |side| {
        let folder = Folder::new();
        let path = folder.path("server");
        let server = UnixDatagram::bind(&path).unwrap();
        let server = side.spawn(move || {
            for _ in 0..2 {
                let mut buffer = [0; 9];
                let (_, seen) = server.peek_from(&mut []).unwrap();
                let (count, from) = server.recv_from(&mut buffer).unwrap();
                assert_eq!(format!("{seen:?}"), format!("{from:?}"));
                server.send_to_addr(&buffer[..count], &from).unwrap();
            }
        });
        let clients = [
            UnixDatagram::bind(folder.path("client")).unwrap(),
            UnixDatagram::bind_addr(&abstract_name()).unwrap(),
        ];
        for client in clients {
            client.send_to(b"ping", &path).unwrap();
            let (count, from) = client.recv_from(&mut [0; 9]).unwrap();
            assert_eq!((count, from.as_pathname()), (4, Some(path.as_path())));
        }
        server.join();
    });
}

/// Fills the queue of the receiver at `name` and gives how many went in.
fn fill(sender: &UnixDatagram, name: &tarae::os::unix::net::SocketAddr) -> usize {
    sender.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let error = loop {
        match sender.send_to_addr(b"filler", name) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    sender.set_nonblocking(false).unwrap();
    sent
}

/// A full queue stops senders, connected or not; each goes on when there is room, and the time-out
/// counts from the beginning. Of room the kernel tells connected sockets only.
#[test]
fn senders_wait_for_the_receivers_queue() {
    everywhere("senders_wait_for_the_receivers_queue", |side| {
        for connected in [false, true] {
            let name = abstract_name();
            let receiver = UnixDatagram::bind_addr(&name).unwrap();
            let sender = UnixDatagram::unbound().unwrap();
            let filled = fill(&sender, &name);
            assert!(filled > 0);
            if connected {
                sender.connect_addr(&name).unwrap();
            }
            let send = move |sender: &UnixDatagram, data: &[u8]| match connected {
                true => sender.send(data),
                false => sender.send_to_addr(data, &name),
            };
            sender
                .set_write_timeout(Some(Duration::from_millis(5)))
                .unwrap();
            let kind = send(&sender, b"late").unwrap_err().kind();
            assert_eq!(kind, ErrorKind::TimedOut);
            sender.set_write_timeout(None).unwrap();
            let other = side.spawn(move || {
                // More than the queue holds: it fills up again and again.
                (0..3 * filled).for_each(|_| assert_eq!(send(&sender, b"more").unwrap(), 4));
                sender
            });
            other.until_waiting();
            let mut sizes = HashMap::new();
            for _ in 0..4 * filled {
                *sizes
                    .entry(receiver.recv(&mut [0; 9]).unwrap())
                    .or_insert(0) += 1;
            }
            assert_eq!(sizes, HashMap::from([(6, filled), (4, 3 * filled)]));
            other.join();
        }
    });
}

/// A sender that waits for room learns that the receiver is gone.
#[test]
fn senders_learn_that_the_receiver_is_gone() {
    everywhere("senders_learn_that_the_receiver_is_gone", |side| {
        for connected in [false, true] {
            let name = abstract_name();
            let receiver = UnixDatagram::bind_addr(&name).unwrap();
            let sender = UnixDatagram::unbound().unwrap();
            fill(&sender, &name);
            let waiting = side.spawn(move || match connected {
                true => {
                    sender.connect_addr(&name).unwrap();
                    sender.send(b"x").unwrap_err().kind()
                }
                false => sender.send_to_addr(b"x", &name).unwrap_err().kind(),
            });
            waiting.until_waiting();
            drop(receiver);
            assert_eq!(waiting.join(), ErrorKind::ConnectionRefused);
        }
    });
}

/// A socket that gave up on one receiver sends to another without waiting: what is known of the one
/// says nothing of the other.
#[test]
fn a_full_receiver_does_not_stop_the_others() {
    everywhere("a_full_receiver_does_not_stop_the_others", |_| {
        let (full, empty) = (abstract_name(), abstract_name());
        let _full = UnixDatagram::bind_addr(&full).unwrap();
        let other = UnixDatagram::bind_addr(&empty).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        fill(&sender, &full);
        sender
            .set_write_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        for _ in 0..3 {
            let kind = sender.send_to_addr(b"x", &full).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::TimedOut);
            sender.send_to_addr(b"there", &empty).unwrap();
            assert_eq!(other.recv(&mut [0; 9]).unwrap(), 5);
        }
        sender.set_write_timeout(None).unwrap();
        sender.connect_addr(&empty).unwrap();
        sender.send(b"there").unwrap();
        assert_eq!(other.recv(&mut [0; 9]).unwrap(), 5);
    });
}

/// A receiver that is connected back has a queue without bound for its peer: the sender waits for
/// room in its own buffer.
#[test]
fn a_pair_waits_for_its_own_buffer() {
    everywhere("a_pair_waits_for_its_own_buffer", |side| {
        const COUNT: usize = 500;
        let names = [abstract_name(), abstract_name()];
        let [a, b] = [0, 1].map(|index| UnixDatagram::bind_addr(&names[index]).unwrap());
        b.connect_addr(&names[0]).unwrap();
        let to = names[1].clone();
        let sender = side.spawn(move || {
            (0..COUNT).for_each(|_| assert_eq!(a.send_to_addr(&[7; 4000], &to).unwrap(), 4000));
        });
        sender.until_waiting();
        (0..COUNT).for_each(|_| assert_eq!(b.recv(&mut [0; 5000]).unwrap(), 4000));
        sender.join();
    });
}

/// What was sent before is still there; afterwards every receiving call says that it is the end, at
/// once and each time, and one that waits is woken.
#[test]
fn shutting_down_ends_receiving() {
    everywhere("shutting_down_ends_receiving", |side| {
        let (a, b) = UnixDatagram::pair().unwrap();
        let clone = b.try_clone().unwrap();
        let waiting = side.spawn(move || clone.recv(&mut [0; 9]).unwrap());
        waiting.until_waiting();
        b.shutdown(Shutdown::Read).unwrap();
        assert_eq!(waiting.join(), 0);
        for _ in 0..3 {
            assert_eq!(b.recv(&mut [0; 9]).unwrap(), 0);
            let (count, from) = b.recv_from(&mut [0; 9]).unwrap();
            assert!(count == 0 && from.is_unnamed());
            assert_eq!(b.peek(&mut [0; 9]).unwrap(), 0);
            let (count, fds) = b.recv_fds(&mut [0; 9], 1).unwrap();
            assert!(count == 0 && fds.is_empty());
        }
        assert_eq!(a.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);

        let (a, b) = UnixDatagram::pair().unwrap();
        a.send(b"before").unwrap();
        b.shutdown(Shutdown::Both).unwrap();
        assert_eq!(b.recv(&mut [0; 9]).unwrap(), 6);
        assert_eq!(b.recv(&mut [0; 9]).unwrap(), 0);
        assert_eq!(b.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// Coroutines of two workers and a plain thread send to one receiver, whose queue is always full:
/// all arrives, once.
#[test]
fn many_senders_one_receiver() {
    use super::support::{join_each, one_on_each};
    guarded("many_senders_one_receiver", || {
        const EACH: usize = 400;
        let name = abstract_name();
        let receiver = UnixDatagram::bind_addr(&name).unwrap();
        let send = move |who: u8| {
            let sender = UnixDatagram::unbound().unwrap();
            (0..EACH).for_each(|_| assert_eq!(sender.send_to_addr(&[who], &name).unwrap(), 1));
        };
        let receiving = std::thread::spawn(move || {
            let mut counts = [0; 3];
            for _ in 0..3 * EACH {
                let mut who = [0];
                assert_eq!(receiver.recv(&mut who).unwrap(), 1);
                counts[usize::from(who[0])] += 1;
            }
            counts
        });
        let thread = std::thread::spawn({
            let send = send.clone();
            move || send(2)
        });
        let runtime = tarae::Builder::new().workers(2);
        let both = runtime.run(move || join_each(one_on_each(2, move |who| send(who as u8))));
        both.unwrap();
        thread.join().unwrap();
        assert_eq!(receiving.join().unwrap(), [EACH; 3]);
    });
}
