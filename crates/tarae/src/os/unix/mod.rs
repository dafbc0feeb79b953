//! `std::os::unix`, for coroutines.
//!
//! Public. Nothing but the way to [`net`].

pub mod net;
