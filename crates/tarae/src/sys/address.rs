//! Socket addresses as the kernel writes them, and std's types made of them.
//!
//! Used by `socket` and `message` here; the operations carry a `RawAddress` from the public types
//! to the call. Must never believe an address without looking at its family and its length.

use std::ffi::OsStr;
use std::io;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::ptr;

use libc::{c_int, socklen_t};

/// Where the path or name of a Unix address begins.
const PATH: usize = offset_of!(libc::sockaddr_un, sun_path);

/// Memory of a socket address, and how much of it counts. All of it is always initialised.
#[derive(Clone, Copy)]
pub(crate) struct RawAddress {
    storage: libc::sockaddr_storage,
    length: socklen_t,
}

impl RawAddress {
    /// No address, of no length: that of a Unix socket without a name.
    pub(crate) const NONE: RawAddress = RawAddress {
        // SAFETY: all-zero is a valid `sockaddr_storage`.
        storage: unsafe { MaybeUninit::zeroed().assume_init() },
        length: 0,
    };

    /// All zero, with the length of the whole memory: for a call that fills it.
    pub(super) fn room() -> RawAddress {
        RawAddress {
            length: size_of::<libc::sockaddr_storage>() as socklen_t,
            ..RawAddress::NONE
        }
    }

    pub(super) fn as_ptr(&self) -> *const libc::sockaddr {
        ptr::from_ref(&self.storage).cast()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        ptr::from_mut(&mut self.storage).cast()
    }

    pub(super) fn len(&self) -> socklen_t {
        self.length
    }

    /// The length, for a call that sets it. The kernel may say more than there was room for.
    pub(super) fn len_mut(&mut self) -> &mut socklen_t {
        &mut self.length
    }

    /// `AF_INET`, `AF_INET6` or `AF_UNIX`, of an address that was not filled by a call.
    pub(crate) fn family(&self) -> c_int {
        self.storage.ss_family.into()
    }

    /// Puts `value`, one of the `sockaddr` types, at the beginning.
    fn of<T: Copy>(value: T) -> RawAddress {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        const { assert!(align_of::<T>() <= align_of::<libc::sockaddr_storage>()) };
        let mut raw = RawAddress::room();
        // SAFETY: there is room for it, suitably aligned, as just asserted.
        unsafe { raw.as_mut_ptr().cast::<T>().write(value) };
        raw.length = size_of::<T>() as socklen_t;
        raw
    }

    /// What follows the family, as far as it counts: of a Unix address its path or name.
    fn unix_bytes(&self) -> &[u8] {
        let end = (self.length as usize).min(size_of::<libc::sockaddr_storage>());
        // SAFETY: every byte of the storage is initialised, `end` lies within it.
        let bytes = unsafe { std::slice::from_raw_parts(self.as_ptr().cast::<u8>(), end) };
        bytes.get(PATH..).unwrap_or_default()
    }
}

/// A type of address that the kernel understands.
pub(crate) trait Address: Sized {
    fn to_raw(&self) -> RawAddress;

    fn from_raw(raw: &RawAddress) -> io::Result<Self>;
}

impl Address for SocketAddr {
    fn to_raw(&self) -> RawAddress {
        match self {
            SocketAddr::V4(v4) => RawAddress::of(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: in_addr(*v4.ip()),
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => RawAddress::of(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: in6_addr(*v6.ip()),
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }

    fn from_raw(raw: &RawAddress) -> io::Result<SocketAddr> {
        match raw.family() {
            libc::AF_INET => {
                // SAFETY: the family says which address the storage holds.
                let raw = unsafe { &*raw.as_ptr().cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                Ok(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let raw = unsafe { &*raw.as_ptr().cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                let port = u16::from_be(raw.sin6_port);
                Ok(SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id).into())
            }
            other => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("not an internet socket: address family {other}"),
            )),
        }
    }
}

impl Address for UnixAddr {
    fn to_raw(&self) -> RawAddress {
        let mut raw = RawAddress::room();
        raw.storage.ss_family = libc::AF_UNIX as libc::sa_family_t;
        // A path ends with a zero, an abstract name begins with one; no name is neither.
        let (at, name, length) = match (self.as_pathname(), self.as_abstract_name()) {
            (Some(path), _) => {
                let path = path.as_os_str().as_bytes();
                (PATH, path, PATH + path.len() + 1)
            }
            (None, Some(name)) => (PATH + 1, name, PATH + 1 + name.len()),
            (None, None) => (PATH, &[][..], PATH),
        };
        assert!(
            length <= size_of::<libc::sockaddr_storage>(),
            "std keeps it shorter"
        );
        // SAFETY: `at + name.len()` is `length` at most, which lies within the storage.
        unsafe {
            let start = raw.as_mut_ptr().cast::<u8>().add(at);
            ptr::copy_nonoverlapping(name.as_ptr(), start, name.len());
        }
        raw.length = length as socklen_t;
        raw
    }

    fn from_raw(raw: &RawAddress) -> io::Result<UnixAddr> {
        // A datagram of a socket without a name comes with no address at all, not even a family.
        if raw.length != 0 && raw.family() != libc::AF_UNIX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("not a Unix socket: address family {}", raw.family()),
            ));
        }
        match raw.unix_bytes() {
            [] => unnamed(),
            [0, name @ ..] => UnixAddr::from_abstract_name(name),
            path => {
                let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
                // One path fits into the kernel's address but not into one that std can be asked
                // for, that of 108 bytes. Its connection or datagram must not be lost for that.
                UnixAddr::from_pathname(OsStr::from_bytes(path)).or_else(|_| unnamed())
            }
        }
    }
}

/// The address of a socket that is bound to nothing, which std makes of the empty path.
fn unnamed() -> io::Result<UnixAddr> {
    UnixAddr::from_pathname("")
}

pub(super) fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr {
        s_addr: u32::from_ne_bytes(ip.octets()),
    }
}

pub(super) fn in6_addr(ip: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr {
        s6_addr: ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returns<A: Address + std::fmt::Debug>(address: &A) -> A {
        A::from_raw(&address.to_raw()).unwrap()
    }

    #[test]
    fn internet_addresses_return_as_they_went() {
        let texts = [
            "127.0.0.1:1",
            "255.1.2.3:65535",
            "[::1]:80",
            "[fe80::1%7]:9",
        ];
        for text in texts {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(returns(&address), address);
        }
        let flow = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 0x1234, 5);
        assert_eq!(returns(&SocketAddr::from(flow)), SocketAddr::from(flow));
    }

    #[test]
    fn unix_addresses_return_as_they_went() {
        for path in ["a", "/tmp/socket", &"x".repeat(107)] {
            let address = UnixAddr::from_pathname(path).unwrap();
            assert_eq!(returns(&address).as_pathname(), Some(path.as_ref()));
        }
        for name in [&b""[..], b"n", b"with\0zeros\0", &[7; 107]] {
            let address = UnixAddr::from_abstract_name(name).unwrap();
            assert_eq!(returns(&address).as_abstract_name(), Some(name));
        }
        assert!(returns(&unnamed().unwrap()).is_unnamed());
    }

    /// What only the kernel writes: nothing at all, a path that fills its memory, a foreign family.
    #[test]
    fn odd_addresses_are_taken_as_they_come() {
        let mut raw = RawAddress::room();
        raw.length = 0;
        assert!(UnixAddr::from_raw(&raw).unwrap().is_unnamed());
        assert!(SocketAddr::from_raw(&raw).is_err());

        let mut raw = UnixAddr::from_pathname("x".repeat(107)).unwrap().to_raw();
        // SAFETY: byte 107 of the path lies within the storage.
        unsafe { raw.as_mut_ptr().cast::<u8>().add(PATH + 107).write(b'x') };
        raw.length += 1;
        assert!(UnixAddr::from_raw(&raw).unwrap().is_unnamed());
        raw.length = socklen_t::MAX;
        assert!(UnixAddr::from_raw(&raw).unwrap().is_unnamed());

        let internet = SocketAddr::from(([127, 0, 0, 1], 1)).to_raw();
        assert!(UnixAddr::from_raw(&internet).is_err());
    }
}
