//! UDP and Unix sockets of the runtime, and descriptors that travel through the latter.
//!
//! Run by `cargo test`. Every test runs in a coroutine and on a plain thread (`side::everywhere`)
//! and ends by causes and counts; time only guards against hanging. Nothing here may leave this
//! machine: addresses are those of the loopback interface, multicast goes no further either.

mod fds;
mod handles;
mod side;
mod stream;
#[path = "../net/support.rs"]
#[allow(dead_code)] // It is the tests of `net` that use all of it.
mod support;
mod surface;
mod udp;
mod unix_datagram;
mod waiting;
