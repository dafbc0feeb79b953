//! Stacks at scale, and where memory or mappings are short. Most tests have a process of their own,
//! since limits and filters of system calls hold for a whole process and cannot be taken back.
//!
//! `scale` parks very many, `fallback` is guards without guard advice, `limits` the errors that
//! name a limit, `starved` what becomes of coroutines that no stack can be had for.

mod fallback;
mod limits;
mod scale;
mod starved;
mod support;
