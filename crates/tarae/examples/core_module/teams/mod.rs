//! The teams that use the core, one file for each: they depend on it, and not on each other.
//!
//! Called by `main`, which hands their functions to the core.

pub(crate) mod a;
pub(crate) mod c;
pub(crate) mod d;
