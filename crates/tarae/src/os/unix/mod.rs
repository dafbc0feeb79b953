//! `std::os::unix`, for coroutines.
//!
//! Public. Nothing but the way to [`fs`] and [`net`].

pub mod fs;
pub mod net;
