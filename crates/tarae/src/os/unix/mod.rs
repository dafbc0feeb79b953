//! `std::os::unix`, for coroutines.
//!
//! Public. Nothing but the way to [`fs`], [`net`] and [`process`].

pub mod fs;
pub mod net;
pub mod process;
