//! Tests of scopes, cancellation, deadlines and coroutine-locals, through the public surface.
//!
//! Every outcome is decided by causes, counts and order. Time only ends what would wait for ever:
//! deadlines in here are either in the past, short and waited for, or too far away to pass.

mod deadlines;
mod failure;
mod locals;
mod scopes;
mod stress;
mod support;
mod table;
mod table_channels;
mod table_fs;
mod table_net;
mod table_process;
mod table_sync;
mod threads;
mod tokens;
