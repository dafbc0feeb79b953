//! `std::os`, for coroutines: what only some systems have.
//!
//! Public. Nothing but the way to [`unix`].

pub mod unix;
