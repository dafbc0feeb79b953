//! Tests of the channels and of `select!`, through the public surface.
//!
//! Outcomes are decided by counts and order; time only bounds hanging.

mod ends;
mod flow;
mod select;
mod stress;
mod support;
