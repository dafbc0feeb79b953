//! What a worker keeps for the connections of a server: buffers to lend, and the header fields all
//! answers share.
//!
//! Used by `exchange`, on workers. Nothing here waits.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, UNIX_EPOCH};

use tarae::cancel::Deadline;
use tarae::time::{Instant, system_time};

use super::Core;
use super::roster::Entry;
use crate::CommonHeaders;
use crate::conn::Buffers;

/// Buffers a worker keeps.
const POOL_MAX: usize = 256;

/// A worker's part of a server.
pub(super) struct Local {
    server: Weak<Core>,
    idle_timeout: Duration,
    request_timeout: Option<Duration>,
    pool: RefCell<Vec<Lent>>,
    common: RefCell<Rc<CommonHeaders>>,
    /// When the date in `common` will be a second old.
    next_tick: Cell<Instant>,
    /// The present, as last seen, and until when a connection may be idle that becomes so now.
    now: Cell<Instant>,
    idle_until: Cell<Option<Instant>>,
    /// That of a request whose handler is called now.
    deadline: RefCell<Rc<Deadline>>,
}

/// What a connection at work is lent.
pub(super) struct Lent {
    pub(super) buffers: Buffers,
    /// Where it says what it is at.
    pub(super) entry: Arc<Entry>,
}

thread_local! {
    /// One for each server that runs; there is hardly ever more than one.
    static LOCALS: RefCell<Vec<Rc<Local>>> = const { RefCell::new(Vec::new()) };
}

impl Local {
    /// This worker's part of `server`, as of now.
    pub(super) fn of(server: &Arc<Core>) -> Rc<Local> {
        LOCALS.with_borrow_mut(|locals| {
            let is_ours = |local: &&Rc<Local>| local.server.as_ptr() == Arc::as_ptr(server);
            if let Some(local) = locals.iter().find(is_ours) {
                local.refresh();
                return Rc::clone(local);
            }
            locals.retain(|local| local.server.strong_count() > 0);
            let (now, idle_timeout) = (Instant::coarse(), server.limits.idle_timeout);
            let local = Rc::new(Local {
                server: Arc::downgrade(server),
                idle_timeout,
                request_timeout: server.limits.request_timeout,
                pool: RefCell::default(),
                common: RefCell::new(Rc::new(CommonHeaders::new(server.name.as_ref()))),
                next_tick: Cell::new(now),
                now: Cell::new(now),
                idle_until: Cell::new(None),
                deadline: RefCell::new(Rc::new(Deadline::new(None))),
            });
            local.now_is(now);
            locals.push(Rc::clone(&local));
            local
        })
    }

    /// Lends buffers until [`give_back`](Local::give_back).
    pub(super) fn borrow(&self, server: &Core) -> Lent {
        let kept = self.pool.borrow_mut().pop();
        kept.unwrap_or_else(|| Lent {
            buffers: Buffers::new(),
            entry: server.roster.add(),
        })
    }

    pub(super) fn give_back(&self, lent: Lent) {
        let mut pool = self.pool.borrow_mut();
        if pool.len() < POOL_MAX {
            pool.push(lent);
        }
    }

    /// Calls a handler, whose waits end at the deadline of its request; `own` is its plan's.
    #[inline]
    pub(super) fn in_time<T>(&self, own: Option<Option<Duration>>, call: impl FnOnce() -> T) -> T {
        let deadline = match own {
            None => Rc::clone(&self.deadline.borrow()),
            Some(own) => deadline_after(self.now.get(), own),
        };
        deadline.run(call)
    }

    /// The shared header fields with the date as of the last `refresh`.
    pub(super) fn common(&self) -> Rc<CommonHeaders> {
        Rc::clone(&self.common.borrow())
    }

    /// Until when a connection may be idle that becomes so now; `None`: for ever.
    pub(super) fn idle_until(&self) -> Option<Instant> {
        self.refresh();
        self.idle_until.get()
    }

    /// Looks at the time: whether it has gone on. The clock is read once a second.
    #[inline]
    pub(super) fn refresh(&self) -> bool {
        let now = Instant::coarse();
        let later = now != self.now.get();
        if later {
            self.now_is(now);
        }
        later
    }

    #[cold]
    fn now_is(&self, now: Instant) {
        self.now.set(now);
        self.idle_until.set(now.checked_add(self.idle_timeout));
        *self.deadline.borrow_mut() = deadline_after(now, self.request_timeout);
        if now >= self.next_tick.get() {
            self.tick();
        }
    }

    fn tick(&self) {
        let now = system_time().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_nanos(1_000_000_000 - u64::from(now.subsec_nanos()));
        // `coarse` lags behind: the date may be late by that, but never stands still.
        self.next_tick.set(Instant::coarse() + left);
        Rc::make_mut(&mut self.common.borrow_mut()).tick(now.as_secs());
    }
}

#[cold]
fn deadline_after(now: Instant, timeout: Option<Duration>) -> Rc<Deadline> {
    let at = timeout.and_then(|timeout| now.checked_add(timeout));
    Rc::new(Deadline::new(at))
}
