//! Integration tests of `tarae-http`: raw bytes in, status, connection state and what the
//! handler saw out. Never depends on timing.

mod answers;
mod bodies;
mod connections;
mod fields;
mod harness;
mod host;
mod limits;
mod plaintext;
mod program;
mod random;
mod request_lines;
mod server;
mod server_idle;
mod server_stop;
mod server_timeouts;
mod simulated;
mod sockets;
