//! The server's architectures. A further one is a file in this folder and an entry in the list
//! below.
//!
//! Used by `server`, which knows no model by name. Each file says what a connection is given to:
//! that alone is what they differ in, and protocol, limits and end are the same for all.

mod coroutine;
mod event_loop;
mod reactor;
mod thread;

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use tarae::net::TcpListener;

use super::Shared;
use crate::Handler;

macro_rules! models {
    ($($(#[$text:meta])* $name:ident, $word:literal, $module:ident;)*) => {
        /// What serves a connection. The handler is the same under each; see
        /// [`Server::model`](crate::Server::model).
        ///
        /// ```
        /// use tarae_http::Model;
        ///
        /// assert_eq!("thread".parse(), Ok(Model::Thread));
        /// assert_eq!(Model::default().to_string(), "coroutine");
        /// ```
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Model {
            $($(#[$text])* $name,)*
        }

        impl Model {
            /// All of them.
            pub const ALL: &[Model] = &[$(Model::$name),*];

            /// Its name, in lower case.
            pub fn name(self) -> &'static str {
                match self {
                    $(Model::$name => $word,)*
                }
            }

            /// Whether it is coroutines of a runtime that serve.
            pub(super) fn needs_runtime(self) -> bool {
                match self {
                    $(Model::$name => $module::NEEDS_RUNTIME,)*
                }
            }

            /// How many descriptors a connection takes.
            pub(super) fn descriptors(self) -> usize {
                match self {
                    $(Model::$name => $module::DESCRIPTORS,)*
                }
            }

            /// Serves connections until the server stops or the caller is cancelled. Those that are
            /// open then go on by themselves, or have ended.
            pub(super) fn serve<H: Handler>(
                self,
                listener: TcpListener,
                shared: &Arc<Shared<H>>,
            ) -> io::Result<()> {
                match self {
                    $(Model::$name => $module::serve(listener, shared),)*
                }
            }
        }
    };
}

models! {
    /// A thread for each connection, from its first byte to its last. One that blocks holds up
    /// nobody else. Each costs its stack, and all of them share one address space.
    Thread, "thread", thread;
    /// One thread with an event loop, which calls the handlers itself, one at a time: they must be
    /// short and not block. Bodies are collected before. Requests and answers that are streams go
    /// on in a thread of their own.
    EventLoop, "event-loop", event_loop;
    /// The reactor pattern: an event loop that reads, parses and writes, and a pool of threads that
    /// calls the handlers, but for those that are marked as [short](crate::Plan::on_loop).
    Reactor, "reactor", reactor;
    /// A coroutine for each request under way, on as many threads as the runtime has workers. A
    /// connection that waits for a request costs a few hundred bytes. The default.
    #[default]
    Coroutine, "coroutine", coroutine;
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no model of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseModelError(String);

impl fmt::Display for ParseModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Model::ALL.iter().map(|model| model.name()).collect();
        write!(
            f,
            "no model is called {:?}: there are {}",
            self.0,
            names.join(", ")
        )
    }
}

impl std::error::Error for ParseModelError {}

impl FromStr for Model {
    type Err = ParseModelError;

    fn from_str(name: &str) -> Result<Model, ParseModelError> {
        let mut all = Model::ALL.iter().copied();
        let found = all.find(|model| model.name() == name);
        found.ok_or_else(|| ParseModelError(name.to_owned()))
    }
}
