//! Tests of the command: its pure parts by tables, its handler on a folder of its own, and the
//! real binary over raw sockets.

mod args;
mod binary;
mod client;
mod conditional;
mod content_type;
mod listing;
mod path;
mod root;
mod serve;
mod site;
mod temp;
