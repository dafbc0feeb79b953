//! The parts of the `tarae` command, kept apart from its `main` so that tests can reach them.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`args`] | the command line, read into plain values; the help text |
//! | [`path`] | a request path decoded into names, or refused |
//! | [`root`] | opening and listing what lies beneath one folder, never outside it |
//! | [`content_type`] | media types by extension |
//! | [`conditional`] | preconditions and ranges, decided |
//! | [`listing`] | the page that shows a folder |
//! | [`site`] | the HTTP handler made of the above |
//! | [`serve`] | the server around it: bind, announce, stop on a signal |
//!
//! This library exists for the command and its tests; it promises no stable interface. Nothing
//! but `serve` knows the runtime.

#![forbid(unsafe_code)]

pub mod args;
pub mod conditional;
pub mod content_type;
pub mod listing;
pub mod path;
pub mod root;
pub mod serve;
pub mod site;
