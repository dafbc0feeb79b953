//! Integration tests of `tarae-http`: raw bytes in, status, connection state and what the
//! handler saw out. Never depends on timing.

mod answers;
mod bodies;
mod connections;
mod fields;
mod harness;
mod limits;
mod random;
mod request_lines;
mod sockets;
