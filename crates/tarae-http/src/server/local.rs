//! What a worker keeps for the connections of a server: buffers to lend, and the header fields all
//! answers share.
//!
//! Used by `exchange`, on workers. Nothing here waits.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tarae::time::Instant;

use super::Core;
use crate::CommonHeaders;
use crate::conn::Buffers;

/// Buffers a worker keeps.
const POOL_MAX: usize = 256;

struct Local {
    server: Weak<Core>,
    pool: Vec<Buffers>,
    common: Rc<CommonHeaders>,
    /// When the date in `common` will be a second old.
    next_tick: Instant,
}

thread_local! {
    /// One for each server that runs; there is hardly ever more than one.
    static LOCALS: RefCell<Vec<Local>> = const { RefCell::new(Vec::new()) };
}

fn with_local<R>(server: &Arc<Core>, f: impl FnOnce(&mut Local) -> R) -> R {
    LOCALS.with_borrow_mut(|locals| {
        let is_ours = |local: &Local| local.server.as_ptr() == Arc::as_ptr(server);
        let index = locals.iter().position(is_ours).unwrap_or_else(|| {
            locals.retain(|local| local.server.strong_count() > 0);
            locals.push(Local {
                server: Arc::downgrade(server),
                pool: Vec::new(),
                common: Rc::new(CommonHeaders::new(server.name.as_ref())),
                next_tick: Instant::coarse(),
            });
            locals.len() - 1
        });
        f(&mut locals[index])
    })
}

/// Lends buffers until [`give_back`].
pub(super) fn borrow(server: &Arc<Core>) -> Buffers {
    with_local(server, |local| local.pool.pop()).unwrap_or_default()
}

pub(super) fn give_back(server: &Arc<Core>, buffers: Buffers) {
    with_local(server, |local| {
        if local.pool.len() < POOL_MAX {
            local.pool.push(buffers);
        }
    });
}

/// The shared header fields with the present date. The clock is read once a second.
pub(super) fn common(server: &Arc<Core>) -> Rc<CommonHeaders> {
    with_local(server, |local| {
        if Instant::coarse() >= local.next_tick {
            local.tick();
        }
        Rc::clone(&local.common)
    })
}

impl Local {
    fn tick(&mut self) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let left = Duration::from_nanos(1_000_000_000 - u64::from(now.subsec_nanos()));
        // `coarse` lags behind: the date may be late by that, but never stands still.
        self.next_tick = Instant::coarse() + left;
        Rc::make_mut(&mut self.common).tick(now.as_secs());
    }
}
