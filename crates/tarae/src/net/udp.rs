//! `UdpSocket`: std's surface over `Socket`.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::socket::{Kind, Socket, conversions, data_socket_methods, handle_methods, try_each};
use super::{AsSocket, BorrowedSocket, ToSocketAddrs};
use crate::driver::Direction;
use crate::driver::message::{Receive, ReceiveFrom, SendTo};
use crate::driver::operation::Send;
use crate::sched;
use crate::sys::{self, Address};

/// A UDP socket: [`std::net::UdpSocket`], whose every call parks the coroutine in place of blocking
/// the thread.
///
/// A call gives or takes one datagram, whole: what does not fit into the buffer is lost. It may be
/// used by coroutines of several workers and by plain threads at once; each datagram goes to one of
/// them. A time-out gives [`TimedOut`](io::ErrorKind::TimedOut); a cancellation an error that
/// [`Cancelled::is`](crate::Cancelled::is) recognises.
///
/// # Examples
///
/// ```
/// use tarae::net::UdpSocket;
///
/// tarae::run(|| -> std::io::Result<()> {
///     let server = UdpSocket::bind("127.0.0.1:0")?;
///     let address = server.local_addr()?;
///     tarae::spawn(move || -> std::io::Result<()> {
///         let mut buffer = [0; 1500];
///         let (count, client) = server.recv_from(&mut buffer)?;
///         server.send_to(&buffer[..count], client)?;
///         Ok(())
///     });
///     let client = UdpSocket::bind("127.0.0.1:0")?;
///     client.connect(address)?;
///     client.send(b"echo")?;
///     let mut answer = [0; 1500];
///     let count = client.recv(&mut answer)?;
///     assert_eq!(&answer[..count], b"echo");
///     Ok(())
/// })
/// .unwrap()
/// .unwrap();
/// ```
pub struct UdpSocket {
    socket: Socket,
}

conversions!(UdpSocket, std::net::UdpSocket, Kind::Other);
data_socket_methods!(
    UdpSocket,
    SocketAddr,
    r#"let socket = tarae::net::UdpSocket::bind("127.0.0.1:0")?;"#
);

impl UdpSocket {
    /// A socket on the first of `addresses` that can be bound; port 0 asks for a free one.
    ///
    /// A *name* is resolved on the calling thread, which waits meanwhile.
    ///
    /// # Errors
    ///
    /// That of the last address tried.
    ///
    /// # Examples
    ///
    /// ```
    /// let socket = tarae::net::UdpSocket::bind("127.0.0.1:0")?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind(addresses: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        sched::refuse_simulated("a UDP socket")?;
        try_each(addresses, |address| {
            let address = address.to_raw();
            let fd = sys::socket(address.family(), libc::SOCK_DGRAM)?;
            sys::bind(fd.as_raw_fd(), &address)?;
            Ok(UdpSocket {
                socket: Socket::new(fd, Kind::Other),
            })
        })
    }

    /// Sets where [`send`](UdpSocket::send) sends to, and receives from nobody else: the first of
    /// `addresses` that is accepted. Nothing is sent and nothing waited for.
    ///
    /// # Errors
    ///
    /// That of the last address tried.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::net::UdpSocket;
    ///
    /// let server = UdpSocket::bind("127.0.0.1:0")?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(server.local_addr()?)?;
    /// assert_eq!(client.peer_addr()?, server.local_addr()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn connect(&self, addresses: impl ToSocketAddrs) -> io::Result<()> {
        try_each(addresses, |address| {
            self.socket.source().connect(&address.to_raw())
        })
    }

    /// Sends a datagram to the peer. Waits only while the socket's send buffer is full.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` when an earlier datagram found nobody; those of `send(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tarae::net::UdpSocket;
    /// # let server = UdpSocket::bind("127.0.0.1:0")?;
    /// # let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(server.local_addr()?)?;
    /// assert_eq!(client.send(b"hello")?, 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        self.socket.perform(Send(data))
    }

    /// Sends a datagram to the first of `addresses`. Waits only while the socket's send buffer is
    /// full.
    ///
    /// # Errors
    ///
    /// `InvalidInput` without an address; those of `sendto(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tarae::net::UdpSocket;
    /// # let server = UdpSocket::bind("127.0.0.1:0")?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// assert_eq!(client.send_to(b"hello", server.local_addr()?)?, 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn send_to(&self, data: &[u8], addresses: impl ToSocketAddrs) -> io::Result<usize> {
        let Some(address) = addresses.to_socket_addrs()?.next() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no addresses to send data to",
            ));
        };
        let to = &address.to_raw();
        self.socket.perform(SendTo { data, to })
    }

    /// Receives a datagram, of the peer only if there is one. Waits until there is one; it may be
    /// of zero bytes. What does not fit into `buffer` is lost.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` when something sent to the peer found nobody; those of `recv(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tarae::net::UdpSocket;
    /// # let server = UdpSocket::bind("127.0.0.1:0")?;
    /// # let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.send_to(b"hello", server.local_addr()?)?;
    /// let mut buffer = [0; 1500];
    /// let count = server.recv(&mut buffer)?;
    /// assert_eq!(&buffer[..count], b"hello");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.perform(Receive { buffer, flags: 0 })
    }

    /// As [`recv`](UdpSocket::recv), with the sender's address.
    ///
    /// # Errors
    ///
    /// As for [`recv`](UdpSocket::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// # use tarae::net::UdpSocket;
    /// # let server = UdpSocket::bind("127.0.0.1:0")?;
    /// # let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.send_to(b"hello", server.local_addr()?)?;
    /// let (count, sender) = server.recv_from(&mut [0; 1500])?;
    /// assert_eq!((count, sender), (5, client.local_addr()?));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_from(buffer, 0)
    }

    /// Receives without taking: the next call gives the same datagram again.
    ///
    /// # Errors
    ///
    /// As for [`recv`](UdpSocket::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// # use tarae::net::UdpSocket;
    /// # let server = UdpSocket::bind("127.0.0.1:0")?;
    /// # let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.send_to(b"hello", server.local_addr()?)?;
    /// assert_eq!(server.peek(&mut [0; 3])?, 3);
    /// assert_eq!(server.recv(&mut [0; 1500])?, 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let flags = libc::MSG_PEEK;
        self.socket.perform(Receive { buffer, flags })
    }

    /// As [`peek`](UdpSocket::peek), with the sender's address.
    ///
    /// # Errors
    ///
    /// As for [`recv`](UdpSocket::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// # use tarae::net::UdpSocket;
    /// # let server = UdpSocket::bind("127.0.0.1:0")?;
    /// # let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.send_to(b"hello", server.local_addr()?)?;
    /// let (_, sender) = server.peek_from(&mut [])?;
    /// assert_eq!(sender, client.local_addr()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_from(buffer, libc::MSG_PEEK)
    }

    fn receive_from(
        &self,
        buffer: &mut [u8],
        flags: libc::c_int,
    ) -> io::Result<(usize, SocketAddr)> {
        let receive = ReceiveFrom(Receive { buffer, flags });
        let (count, from) = self.socket.perform(receive)?;
        Ok((count, SocketAddr::from_raw(&from)?))
    }

    /// Joins a multicast group on the interface with the address `interface`; the unspecified one
    /// leaves the choice to the system.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: the address is no group's, or no such interface exists.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::net::{Ipv4Addr, UdpSocket};
    ///
    /// let group = Ipv4Addr::new(239, 255, 77, 1);
    /// let socket = UdpSocket::bind((group, 0))?;
    /// socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    /// socket.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        let name = libc::IP_ADD_MEMBERSHIP;
        sys::membership_v4(self.socket.raw(), name, *group, *interface)
    }

    /// Leaves a group; see [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`; `AddrNotAvailable` when it is not a member.
    ///
    /// # Examples
    ///
    /// See [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        let name = libc::IP_DROP_MEMBERSHIP;
        sys::membership_v4(self.socket.raw(), name, *group, *interface)
    }

    /// Joins a multicast group on the interface with that index; 0 leaves the choice to the system.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: the address is no group's, or no such interface exists.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tarae::net::{Ipv6Addr, UdpSocket};
    ///
    /// let group = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0x77, 1);
    /// let socket = UdpSocket::bind((group, 0))?;
    /// socket.join_multicast_v6(&group, 0)?;
    /// socket.leave_multicast_v6(&group, 0)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        let name = libc::IPV6_ADD_MEMBERSHIP;
        sys::membership_v6(self.socket.raw(), name, *group, interface)
    }

    /// Leaves a group; see [`join_multicast_v6`](UdpSocket::join_multicast_v6).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`; `AddrNotAvailable` when it is not a member.
    ///
    /// # Examples
    ///
    /// See [`join_multicast_v6`](UdpSocket::join_multicast_v6).
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        let name = libc::IPV6_DROP_MEMBERSHIP;
        sys::membership_v6(self.socket.raw(), name, *group, interface)
    }
}

/// Pairs of methods that set and read one option. `$example` is a value, in and out; `$fence` is
/// how the example is treated, since not every machine has IPv6.
macro_rules! options {
    ($($set:ident, $read:ident: $type:ty, $level:ident, $name:ident, $fence:literal,
       $bind:literal, $example:literal, $what:literal;)*) => {
        impl UdpSocket {
            $(
                #[doc = concat!("Sets ", $what, ".")]
                ///
                /// # Errors
                ///
                /// Those of `setsockopt(2)`.
                ///
                /// # Examples
                ///
                #[doc = concat!("```", $fence)]
                #[doc = concat!("let socket = tarae::net::UdpSocket::bind(\"", $bind, "\")?;")]
                #[doc = concat!("socket.", stringify!($set), "(", $example, ")?;")]
                #[doc = concat!("assert_eq!(socket.", stringify!($read), "()?, ", $example, ");")]
                /// # std::io::Result::Ok(())
                /// ```
                pub fn $set(&self, value: $type) -> io::Result<()> {
                    self.socket.set_option(libc::$level, libc::$name, value.into())
                }

                #[doc = concat!("Gives ", $what, ".")]
                ///
                /// # Errors
                ///
                /// Those of `getsockopt(2)`.
                ///
                /// # Examples
                ///
                #[doc = concat!("See [`UdpSocket::", stringify!($set), "`].")]
                pub fn $read(&self) -> io::Result<$type> {
                    self.socket.option(libc::$level, libc::$name).map(Value::of)
                }
            )*
        }
    };
}

/// What an option's `int` means.
trait Value {
    fn of(value: u32) -> Self;
}

impl Value for u32 {
    fn of(value: u32) -> u32 {
        value
    }
}

impl Value for bool {
    fn of(value: u32) -> bool {
        value != 0
    }
}

options! {
    set_broadcast, broadcast: bool, SOL_SOCKET, SO_BROADCAST, "", "127.0.0.1:0", true,
        "whether it may send to broadcast addresses";
    set_ttl, ttl: u32, IPPROTO_IP, IP_TTL, "", "127.0.0.1:0", 4,
        "the time to live of outgoing packets, in hops";
    set_multicast_loop_v4, multicast_loop_v4: bool, IPPROTO_IP, IP_MULTICAST_LOOP,
        "", "127.0.0.1:0", false,
        "whether multicast packets it sends come back to this machine's own members";
    set_multicast_ttl_v4, multicast_ttl_v4: u32, IPPROTO_IP, IP_MULTICAST_TTL, "", "127.0.0.1:0", 0,
        "the time to live of outgoing multicast packets, in hops; 1 unless set";
    set_multicast_loop_v6, multicast_loop_v6: bool, IPPROTO_IPV6, IPV6_MULTICAST_LOOP,
        "no_run", "[::1]:0", false,
        "whether IPv6 multicast packets it sends come back to this machine's own members";
}
