//! The server around the site: opens the folder, binds the address, announces it, and stops on a
//! signal. Called by `main`. The only module that knows the runtime. It must never print the
//! address before connections and signals would be taken.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::path::Path;

use tarae::net::TcpListener;
use tarae_http::{Model, Server};

use crate::args::Serve;
use crate::root::Root;
use crate::site::Site;

/// Serves a folder until SIGINT or SIGTERM, and then until every request in flight is answered, or
/// the time for that is over. A second signal ends the process at once, with status 1; a handler
/// that ignores its cancellation, with status 3. See [`Server::serve_until_signal`].
///
/// # Errors
///
/// When the folder or the address cannot be used or the runtime cannot start.
pub fn run(args: &Serve) -> Result<(), Error> {
    let root = Root::open(&args.dir).map_err(|cause| Error::folder(&args.dir, &cause))?;
    let serve = || serve(Site::new(root), args);
    if args.model != Model::Coroutine {
        return serve();
    }
    let mut runtime = tarae::Builder::new();
    if let Some(workers) = args.workers {
        runtime = runtime.workers(workers.get());
    }
    let outcome = runtime.run(serve);
    outcome.map_err(|cause| Error(cause.to_string()))?
}

fn serve(site: Site, args: &Serve) -> Result<(), Error> {
    let addr = args.listen;
    let listener = TcpListener::bind(addr).map_err(|cause| Error::listen(addr, &cause))?;
    let server = Server::new(site)
        .model(args.model)
        .max_connections(connections(args.model))
        .drain_timeout(args.drain);
    server
        .serve_until_signal(listener, announce)
        .map_err(Error::system)
}

/// How many connections there may be: each may hold its socket and the file that it is sent, and
/// what a thread waits with.
fn connections(model: Model) -> usize {
    /// For the runtime, the listener, the folder and the standard streams.
    const OWN: u64 = 64;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let descriptors = limit.current.unwrap_or(u64::MAX);
    let each = if model == Model::Coroutine { 2 } else { 3 };
    let connections = descriptors.saturating_sub(OWN) / each;
    usize::try_from(connections).unwrap_or(usize::MAX).max(1)
}

/// Tells scripts and people that the server is ready, and where. A closed output is no reason not
/// to serve.
fn announce(addr: SocketAddr) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "listening on http://{addr}").and_then(|()| out.flush());
}

/// Why the server could not start or go on; displays as one sentence for the user that names the
/// folder or address and says what to do.
#[derive(Debug)]
pub struct Error(String);

impl Error {
    /// A folder that cannot be opened as the root.
    pub fn folder(dir: &Path, cause: &io::Error) -> Self {
        let reason = match cause.kind() {
            ErrorKind::NotFound => "there is no such folder".to_owned(),
            ErrorKind::NotADirectory => "it is not a folder; name the folder it is in".to_owned(),
            ErrorKind::PermissionDenied => {
                let remedy = "its files must be readable and the folder enterable for this user";
                format!("no permission to read it; {remedy}")
            }
            _ => cause.to_string(),
        };
        Self(format!("cannot serve `{}`: {reason}", dir.display()))
    }

    /// An address that cannot be listened on.
    pub fn listen(addr: SocketAddr, cause: &io::Error) -> Self {
        let free = SocketAddr::new(addr.ip(), 0);
        let reason = match cause.kind() {
            ErrorKind::AddrInUse => format!(
                "the port is taken by another program; choose another, or `--listen {free}` for \
                 any free one"
            ),
            ErrorKind::PermissionDenied => format!(
                "no permission; ports below 1024 are usually reserved, try `--listen {}`",
                SocketAddr::new(addr.ip(), 8080)
            ),
            ErrorKind::AddrNotAvailable => "this machine has no such address; 127.0.0.1 is this \
                 machine alone, 0.0.0.0 every address it has"
                .to_owned(),
            _ => cause.to_string(),
        };
        Self(format!("cannot listen on {addr}: {reason}"))
    }

    /// What the system refuses whatever the arguments are, such as another descriptor.
    fn system(cause: io::Error) -> Self {
        Self(format!("cannot serve: {cause}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
