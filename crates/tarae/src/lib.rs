//! Write blocking code, serve like an event loop.
//!
//! Tarae (타래, a skein) is a server runtime for Linux. Plain, sequential, `std`-shaped code runs in
//! *coroutines* with a stack of their own, pinned to worker threads; a call that would block parks
//! its coroutine and the worker's event loop (epoll) goes on with another. Porting a blocking
//! program is changing `use std::` to `use tarae::`.
//!
//! ```
//! use std::io::{Read, Write};
//! use tarae::net::{TcpListener, TcpStream};
//!
//! fn main() -> std::io::Result<()> {
//!     tarae::run(|| {
//!         let listener = TcpListener::bind("127.0.0.1:0")?;
//!         let address = listener.local_addr()?;
//!         tarae::spawn(move || {
//!             for stream in listener.incoming().flatten() {
//!                 tarae::spawn(move || (&stream).write_all(b"hello\n"));
//!             }
//!         });
//!         let mut answer = String::new();
//!         TcpStream::connect(address)?.read_to_string(&mut answer)?;
//!         assert_eq!(answer, "hello\n");
//!         Ok(())
//!     })?
//! }
//! ```
//!
//! * **Works anywhere.** A call that must wait parks the coroutine when made in one, and blocks the
//!   thread when made on a plain thread.
//! * **Pinned.** A started coroutine never changes its thread: its locals need not be `Send`,
//!   thread-locals keep their address.
//! * **Borrowing.** What computes for long or blocks its thread is handed to a pool thread by
//!   [`offload`](fn@offload), and may borrow from the stack that waits for it. So may the children
//!   of a [`scope`](fn@scope).
//! * **Asynchronous where wanted.** [`start`](fn@start) and its kin give a [`Completion`] and go
//!   on; its result comes by check, notification, callback or future.
//! * **Contained.** A panic ends its coroutine, nothing else.
//! * **Cancellation is an error**: calls report it ([`Cancelled`]); nothing is dropped behind your
//!   back and nothing that succeeded is lost.

mod atomics;
pub mod cancel;
#[allow(unsafe_code)]
pub mod completion;
#[allow(unsafe_code)]
mod coroutine;
#[allow(unsafe_code)]
mod driver;
pub mod event;
pub mod fs;
mod future;
pub mod inspect;
mod local;
pub mod net;
#[allow(unsafe_code)]
pub mod offload;
pub mod os;
pub mod process;
#[allow(unsafe_code)]
mod sched;
#[allow(unsafe_code)]
pub mod scope;
pub mod select;
pub mod signal;
pub mod sim;
#[allow(unsafe_code)]
mod stack;
pub mod sync;
#[allow(unsafe_code)]
mod sys;
pub mod thread;
pub mod time;

pub use cancel::{CancelToken, TimedOut, deadline, shield, timeout};
pub use completion::{Completion, start};
pub use coroutine::{Coroutine, Resumed, Yielder};
pub use driver::Wake;
pub use future::block_on;
pub use offload::{offload, try_offload};
pub use sched::io::Cancelled;
pub use sched::runtime::{Builder, RunError, Switch, run};
pub use scope::{scope, try_scope};
/// # Examples
///
/// ```
/// #[tarae::main(workers = 1)]
/// fn main() -> std::io::Result<()> {
///     let listener = tarae::net::TcpListener::bind("127.0.0.1:0")?;
///     println!("{}", listener.local_addr()?);
///     Ok(())
/// }
/// ```
pub use tarae_macros::main;
pub use tarae_macros::test;
pub use thread::{current, spawn, spawn_local, yield_now};
