//! HTTP/1.1 for servers: strict parsing, limits, pipelining, and the [`Handler`] trait.
//!
//! The core does no I/O and has no clock: [`conn::Conn`] is fed bytes and says what to do
//! next. [`Server`] drives it on Tarae's coroutines; [`serve_stream`] in direct style over any
//! `Read + Write`.
//!
//! ```
//! use tarae_http::{Request, Response, answer};
//!
//! fn hello(request: &mut Request) -> Response {
//!     Response::text(format!("hello, {}", request.path()))
//! }
//!
//! let bytes = answer(hello, b"GET /world HTTP/1.1\r\nHost: example.org\r\n\r\n");
//! assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
//! assert!(bytes.ends_with(b"\r\n\r\nhello, /world"));
//! ```
//!
//! Types for methods, statuses and header fields are those of the [`http`] crate.

#![forbid(unsafe_code)]

mod body;
pub mod conn;
mod cookies;
pub mod date;
mod drive;
mod encode;
mod framing;
mod handler;
mod head;
mod limits;
pub mod multipart;
mod network;
mod proxy;
mod request;
mod response;
mod server;
mod target;

pub use http;

pub use conn::{BodyError, BodyWriter, Upgraded};
pub use drive::{Served, answer, serve_stream};
pub use encode::CommonHeaders;
pub use handler::{Handler, Plan};
pub use limits::Limits;
pub use network::{Network, ParseNetworkError};
pub use request::{BodyReader, Head, Request};
pub use response::{Body, Response};
pub use server::{Model, ParseModelError, Running, Server, Stopped};
