//! Integration tests of `tarae-http`: raw bytes in, status, connection state and what the
//! handler saw out. Never depends on timing.

mod answers;
mod attacked;
mod attackers;
mod conformance;
mod conforms;
mod connections;
mod fuzzed;
mod harness;
mod head;
mod host;
mod limits;
mod limits_doc;
mod multipart;
mod peer;
mod plaintext;
mod program;
mod proxies;
mod random;
mod served;
mod server;
mod server_descriptors;
mod server_drain;
mod server_files;
mod server_guards;
mod server_idle;
mod server_rests;
mod server_stop;
mod server_streams;
mod server_timeouts;
mod simulated;
mod simulated_pace;
mod sockets;
mod streaming;
mod streams_example;
mod unsized_answers;
