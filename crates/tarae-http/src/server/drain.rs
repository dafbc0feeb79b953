//! The end of a server: what is in flight is answered, then cancelled, then named.
//!
//! Used by whoever stops it, and by `serve_until_signal`. Nothing here touches a connection itself:
//! `connections` ends those that wait, the runtime those that work.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tarae::cancel::{CancelToken, cancel_coroutines, timeout};
use tarae::inspect::{self, Coroutine};
use tarae::net::TcpListener;
use tarae::signal::{Signal, Signals};
use tarae::sync::oneshot;

use super::connections::Emptied;
use super::roster::Who;
use super::{Core, Shared};
use crate::{Handler, Model};

/// How long a handler may go on that has been cancelled: as long as the runtime's default grace.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long workers may take to say what the last ones wait for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much longer the end may take than all that before it is taken for stuck.
const LATE: Duration = Duration::from_secs(5);

/// A server that runs. Dropping it lets it go on.
pub struct Running {
    stop: Arc<dyn Stop>,
    accepting: CancelToken,
    /// How accepting has ended.
    accepted: oneshot::Receiver<io::Result<()>>,
    local_addr: SocketAddr,
}

/// Starts to accept, on the side.
pub(super) fn start<H: Handler>(
    shared: Arc<Shared<H>>,
    listener: TcpListener,
) -> io::Result<Running> {
    let local_addr = listener.local_addr()?;
    let model = shared.core.model;
    let accepting = CancelToken::new();
    let (ended, accepted) = oneshot::channel();
    let running = Running {
        stop: Arc::clone(&shared) as _,
        accepting: accepting.clone(),
        accepted,
        local_addr,
    };
    let accept = move || {
        let result = accepting.run(|| shared.core.model.serve(listener, &shared));
        // Nobody may want to know.
        let _ = ended.send(result);
    };
    beside(model, format!("acceptor of {local_addr}"), accept)?;
    Ok(running)
}

/// Runs this beside the caller: in a coroutine if the model has them, else on a thread.
fn beside(model: Model, name: String, f: impl FnOnce() + Send + 'static) -> io::Result<()> {
    if model.needs_runtime() {
        tarae::thread::Builder::new().name(name).spawn(f).map(drop)
    } else {
        std::thread::Builder::new().name(name).spawn(f).map(drop)
    }
}

impl Running {
    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.stop.connections()
    }

    /// Waits until the server ends: by a failure of its listener, or because this coroutine is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// That of the listener.
    pub fn wait(self) -> io::Result<()> {
        match self.accepted.recv() {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Stops accepting and waits until every connection is closed: at once where nothing of a
    /// request has arrived, or not yet its whole head; elsewhere when the request has been
    /// answered, with `Connection: close`. (What is pipelined behind that one is not: the peer
    /// knows by that field that it has to ask again.)
    ///
    /// Those that are not closed after [`Server::drain_timeout`](crate::Server::drain_timeout) are
    /// cancelled: waits in their handlers end with an error, and what they answer then is still
    /// sent, as far as that needs no waiting. Handlers that go on for five seconds more are given
    /// as [stragglers](Stopped::stragglers), and left. Returns early when the calling coroutine is
    /// cancelled.
    pub fn stop(self) -> Stopped {
        self.stop.begin();
        self.accepting.cancel();
        // The listener is closed when this returns; how it ended does not matter any more.
        let _ = self.accepted.recv();
        self.stop.finish()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

/// How a server has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    cancelled: usize,
    stragglers: Vec<String>,
}

impl Stopped {
    /// The exit code of a process that was told twice to end.
    pub const AT_ONCE: u8 = 1;
    /// The exit code of a process in which handlers ignored their cancellation.
    pub const STRAGGLERS: u8 = 3;

    pub(super) fn new(cancelled: usize, stragglers: Vec<String>) -> Stopped {
        Stopped {
            cancelled,
            stragglers,
        }
    }

    /// How many connections had to be cancelled.
    pub fn cancelled(&self) -> usize {
        self.cancelled
    }

    /// The handlers that ignored their cancellation, as text: the method and path of the request,
    /// the query left out, then the coroutine's number, what it waits for, and where it was
    /// spawned. Of long paths the begin is given.
    pub fn stragglers(&self) -> &[String] {
        &self.stragglers
    }
}

/// How a server is stopped, whatever its handler is.
pub(super) trait Stop: Send + Sync {
    fn begin(&self);

    /// Once nothing is accepted any more.
    fn finish(&self) -> Stopped;

    fn connections(&self) -> usize;
}

impl<H: Handler> Stop for Shared<H> {
    fn begin(&self) {
        self.core.begin_stop();
    }

    fn finish(&self) -> Stopped {
        if let Some(stopped) = self.core.ended().take() {
            return stopped;
        }
        let mut stopped = Stopped::default();
        self.connections.end_waiting();
        if self.connections.wait_until_empty(self.core.drain_timeout) != Emptied::No {
            return stopped;
        }
        let at_work = self.core.roster.at_work();
        stopped.cancelled = at_work.len();
        let coroutine = |(who, _)| match who {
            Who::Coroutine(id) => Some(id),
            Who::Thread(_) => None,
        };
        let ids: Vec<u64> = at_work.into_iter().filter_map(coroutine).collect();
        cancel_coroutines(&ids);
        // Threads run inside of this.
        self.core.cancelled.cancel();
        if self.connections.wait_until_empty(GRACE) == Emptied::No {
            stopped.stragglers = stragglers(&self.core);
        }
        stopped
    }

    fn connections(&self) -> usize {
        self.connections.count()
    }
}

/// Those that are still at work, as people are to read it.
pub(super) fn stragglers(core: &Core) -> Vec<String> {
    let known = inspect::coroutines(PATIENCE);
    let describe = |(who, request): (Who, String)| {
        let is_it = |known: &Coroutine| known.id.map(Who::Coroutine) == Some(who);
        let found = known.iter().find(|coroutine| is_it(coroutine));
        let state = found.map_or_else(String::new, |coroutine| {
            let (waits_for, site) = (&coroutine.waits_for, coroutine.spawned_at);
            format!(", {waits_for}, spawned at {site}")
        });
        format!("{}: {who}{state}", name(&request))
    };
    core.roster.at_work().into_iter().map(describe).collect()
}

fn name(request: &str) -> &str {
    if request.is_empty() {
        "no request yet"
    } else {
        request
    }
}

/// See `Server::serve_until_signal`.
pub(super) fn serve_until_signal<H: Handler>(
    shared: &Arc<Shared<H>>,
    listener: TcpListener,
    ready: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let local_addr = listener.local_addr()?;
    let signals = Signals::new(&[Signal::INTERRUPT, Signal::TERMINATE])?;
    let (accepting, ended) = (CancelToken::new(), CancelToken::new());
    // Dropped when nobody watches any more.
    let (watches, watched) = oneshot::channel::<()>();
    let watch = {
        let (core, accepting, ended) = (shared.core.clone(), accepting.clone(), ended.clone());
        move || {
            let _watches = watches;
            // Fails if the server has ended by itself.
            if ended.run(|| signals.wait()).is_ok() {
                core.begin_stop();
                accepting.cancel();
                let name = "tarae-drain".to_owned();
                let last = move || ended.run(|| watch_drain(&core, &signals));
                // Without it, nobody is there for a second signal: the first one still holds.
                let _ = std::thread::Builder::new().name(name).spawn(last);
            }
        }
    };
    beside(shared.core.model, "tarae-signals".to_owned(), watch)?;
    ready(local_addr);
    let result = accepting.run(|| shared.core.model.serve(listener, shared));
    shared.core.begin_stop();
    let stopped = shared.finish();
    ended.cancel();
    // It has begun the thread, or was cancelled; neither waits.
    let _ = watched.recv();
    if !stopped.stragglers.is_empty() {
        end_with(&stopped.stragglers);
    }
    result
}

/// Waits for a second signal, or until a drain that is bounded must have ended. On a plain thread,
/// since handlers may hold every worker.
fn watch_drain(core: &Core, signals: &Signals) {
    let longest = core.drain_timeout.saturating_add(GRACE + PATIENCE + LATE);
    match timeout(longest, || signals.wait()) {
        Ok(Ok(_)) => std::process::exit(Stopped::AT_ONCE.into()),
        // It has ended.
        Ok(Err(_)) => {}
        Err(_) => {
            let at_work = core.roster.at_work().into_iter();
            let held = at_work.map(|(who, request)| format!("{}: {who}", name(&request)));
            end_with(&held.collect::<Vec<_>>());
        }
    }
}

fn end_with(stragglers: &[String]) -> ! {
    let mut err = io::stderr().lock();
    for straggler in stragglers {
        // Nobody may be there to read it.
        let _ = writeln!(err, "tarae: ignored its cancellation: {straggler}");
    }
    std::process::exit(Stopped::STRAGGLERS.into())
}
