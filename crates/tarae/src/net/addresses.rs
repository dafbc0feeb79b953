//! `ToSocketAddrs`: std's trait, whose names are looked up without holding up the worker.
//!
//! Used by `socket::try_each`, and by programs. std's own trait cannot be given to another thread:
//! its values need not be `Send`. Names are, so the implementations for names offload themselves.

use std::array;
use std::io;
use std::iter;
use std::net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::option;
use std::slice;
use std::vec;

use crate::driver::sim;
use crate::offload::Pool;
use crate::sched;

/// What can be turned into addresses: [`std::net::ToSocketAddrs`], implemented for the same types,
/// and for arrays.
///
/// A *name* is looked up on a thread of [`Pool::Dns`] while the coroutine is parked; a plain thread
/// does it itself. An address written as text is only parsed. Something that implements std's trait
/// alone is passed as `&value.to_socket_addrs()?.collect::<Vec<_>>()[..]`. A [simulated
/// run](crate::sim) knows no name but `localhost`.
///
/// # Examples
///
/// ```
/// use tarae::net::ToSocketAddrs;
///
/// tarae::run(|| -> std::io::Result<()> {
///     assert!("localhost:80".to_socket_addrs()?.all(|found| found.ip().is_loopback()));
///     assert_eq!(("127.0.0.1", 80).to_socket_addrs()?.count(), 1);
///     Ok(())
/// })
/// .unwrap()
/// .unwrap();
/// ```
pub trait ToSocketAddrs {
    /// The addresses, one after the other.
    type Iter: Iterator<Item = SocketAddr>;

    /// Gives the addresses; waits where there is a name to look up.
    ///
    /// # Errors
    ///
    /// When the text is no address, or the name is not found; an error that
    /// [`Cancelled::is`](crate::Cancelled::is) recognises when cancelled while other look-ups were
    /// in front.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;
}

type Addresses = io::Result<vec::IntoIter<SocketAddr>>;

/// Looks a name up, away from the worker.
fn look_up(host: &str, port: u16, f: impl FnOnce() -> Addresses + Send) -> Addresses {
    if sched::simulation().is_some() {
        return match host {
            "localhost" => Ok(vec![(Ipv4Addr::LOCALHOST, port).into()].into_iter()),
            _ => Err(sim::unsupported(&format!("the look-up of {host}"))),
        };
    }
    Pool::Dns.system_call(f)
}

/// What std would have to look up, rather than parse or refuse: the name and the port.
fn name_in(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let looked_up = text.parse::<SocketAddr>().is_err() && is_name(host);
    Some((host, port.parse().ok()?)).filter(|_| looked_up)
}

fn is_name(host: &str) -> bool {
    host.parse::<IpAddr>().is_err()
}

impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        match name_in(self) {
            Some((host, port)) => look_up(host, port, || net::ToSocketAddrs::to_socket_addrs(self)),
            None => net::ToSocketAddrs::to_socket_addrs(self),
        }
    }
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        self.as_str().to_socket_addrs()
    }
}

impl ToSocketAddrs for (&str, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        if is_name(self.0) {
            look_up(self.0, self.1, || net::ToSocketAddrs::to_socket_addrs(self))
        } else {
            net::ToSocketAddrs::to_socket_addrs(self)
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (self.0.as_str(), self.1).to_socket_addrs()
    }
}

/// Those with nothing to look up.
macro_rules! plain {
    ($($type:ty),*) => {
        $(impl ToSocketAddrs for $type {
            type Iter = option::IntoIter<SocketAddr>;

            fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
                net::ToSocketAddrs::to_socket_addrs(self)
            }
        })*
    };
}

plain!(SocketAddr, SocketAddrV4, SocketAddrV6);
plain!((IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = iter::Cloned<slice::Iter<'a, SocketAddr>>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().cloned())
    }
}

impl<const N: usize> ToSocketAddrs for [SocketAddr; N] {
    type Iter = array::IntoIter<SocketAddr, N>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(IntoIterator::into_iter(*self))
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    type Iter = T::Iter;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }
}
