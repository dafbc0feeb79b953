//! The seam between the server and the program: what a handler is, and what it decides before
//! the body is read. Knows neither connections nor models.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use http::StatusCode;

use crate::{Head, Request, Response};

/// What answers requests. Plain functions and closures are handlers.
///
/// ```
/// use tarae_http::{Handler, Request, Response};
///
/// fn hello(request: &mut Request) -> Response {
///     Response::text(format!("hello from {}", request.path()))
/// }
///
/// fn is_handler(_: impl Handler) {}
/// is_handler(hello);
/// is_handler(|_: &mut Request| Response::text("hi"));
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Decides, once the head has arrived, what is to happen to the body. The default takes
    /// the whole body up to the server's limit.
    fn plan(&self, head: &Head) -> Plan {
        let _ = head;
        Plan::default()
    }

    /// Answers a request whose body has arrived.
    fn call(&self, request: &mut Request<'_>) -> Response;
}

impl<F> Handler for F
where
    F: Fn(&mut Request<'_>) -> Response + Send + Sync + 'static,
{
    #[inline]
    fn call(&self, request: &mut Request<'_>) -> Response {
        self(request)
    }
}

/// Calls the handler and turns a panic in it into an answer that ends the connection.
#[inline(always)]
pub(crate) fn call_contained<H: Handler + ?Sized>(
    handler: &H,
    request: &mut Request<'_>,
) -> Response {
    catch_unwind(AssertUnwindSafe(|| handler.call(request)))
        .unwrap_or_else(|_| Response::plain_status(StatusCode::INTERNAL_SERVER_ERROR).with_close())
}

/// Asks the handler for its plan; a panic in it counts as one in `call`.
pub(crate) fn plan_contained<H: Handler + ?Sized>(handler: &H, head: &Head) -> Plan {
    catch_unwind(AssertUnwindSafe(|| handler.plan(head))).unwrap_or_else(|_| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Plan::reject(Response::plain_status(status).with_close())
    })
}

/// What to do with the body of a request, decided when its head is there.
///
/// ```
/// use tarae_http::{Handler, Head, Plan, Request, Response};
/// use tarae_http::http::StatusCode;
///
/// struct Upload;
///
/// impl Handler for Upload {
///     fn plan(&self, head: &Head) -> Plan {
///         if head.header("authorization").is_some() {
///             Plan::body_limit(64 * 1024 * 1024)
///         } else {
///             Plan::reject(Response::new(StatusCode::UNAUTHORIZED))
///         }
///     }
///
///     fn call(&self, request: &mut Request<'_>) -> Response {
///         Response::text(format!("{} bytes", request.body().len()))
///     }
/// }
/// # let answer = tarae_http::answer(Upload, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(answer.starts_with(b"HTTP/1.1 401 "));
/// ```
#[derive(Debug, Default)]
pub struct Plan {
    pub(crate) body_limit: Option<u64>,
    pub(crate) streams: bool,
    /// Instead of the server's, if there is one.
    pub(crate) timeout: Option<Option<Duration>>,
    /// Whether an event loop's thread may call the handler itself, if that is said.
    pub(crate) on_loop: Option<bool>,
    pub(crate) reject: Option<Box<Response>>,
}

impl Plan {
    /// Takes the whole body if it has at most this many bytes, whatever the server's own limit
    /// is; a longer one is answered with 413.
    pub fn body_limit(bytes: usize) -> Self {
        Self {
            body_limit: Some(bytes as u64),
            ..Self::default()
        }
    }

    /// Calls the handler as soon as the head is there; it reads the body itself, by
    /// [`Request::body_reader`], at most so many bytes of it. A longer one is answered with 413 if
    /// its length was announced, and else gives a [`BodyError`](crate::BodyError) to the handler.
    ///
    /// ```
    /// use std::io::Read;
    /// use tarae_http::{Handler, Head, Plan, Request, Response};
    ///
    /// /// Counts what it is sent, however much, in little memory.
    /// struct Count;
    ///
    /// impl Handler for Count {
    ///     fn plan(&self, _: &Head) -> Plan {
    ///         Plan::stream(u64::MAX)
    ///     }
    ///
    ///     fn call(&self, request: &mut Request) -> Response {
    ///         match std::io::copy(&mut request.body_reader(), &mut std::io::sink()) {
    ///             Ok(bytes) => Response::text(format!("{bytes} bytes")),
    ///             Err(error) => tarae_http::BodyError::answer(&error),
    ///         }
    ///     }
    /// }
    /// # let request = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    /// # assert!(tarae_http::answer(Count, request).ends_with(b"\r\n\r\n5 bytes"));
    /// ```
    pub fn stream(bytes: u64) -> Self {
        Self {
            body_limit: Some(bytes),
            streams: true,
            ..Self::default()
        }
    }

    /// Gives this request so much time, instead of the server's
    /// [`request_timeout`](crate::Limits::request_timeout): from the call of the handler until it
    /// returns; `None` for as long as it takes. A large upload that the handler reads itself needs
    /// that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tarae_http::Plan;
    ///
    /// let plan = Plan::stream(10 << 30).timeout(Some(Duration::from_secs(3600)));
    /// # let _ = plan;
    /// ```
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Marks a handler that is short and does no I/O that waits: under
    /// [`Model::Reactor`](crate::Model::Reactor) the event loop's thread calls it itself, which
    /// spares the way to a thread of the pool and back. While it runs nobody else is served. A call
    /// of Tarae's that would block there is reported, or refused: see
    /// [`Server::strict`](crate::Server::strict). Other models pay no heed to it.
    ///
    /// ```
    /// use tarae_http::{Handler, Head, Plan, Request, Response};
    ///
    /// struct Site;
    ///
    /// impl Handler for Site {
    ///     fn plan(&self, head: &Head) -> Plan {
    ///         match head.path() {
    ///             "/health" => Plan::default().on_loop(),
    ///             _ => Plan::default(),
    ///         }
    ///     }
    ///
    ///     fn call(&self, request: &mut Request) -> Response {
    ///         match request.path() {
    ///             "/health" => Response::text("well"),
    ///             path => Response::text(format!("{path}: {} bytes", request.body().len())),
    ///         }
    ///     }
    /// }
    /// # let answer = tarae_http::answer(Site, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(answer.ends_with(b"\r\n\r\nwell"));
    /// ```
    pub fn on_loop(mut self) -> Self {
        self.on_loop = Some(true);
        self
    }

    /// Marks a handler that waits or takes long. Under
    /// [`Model::EventLoop`](crate::Model::EventLoop) it is called in a thread of its own, so that
    /// the others go on. Other models pay no heed to it.
    ///
    /// ```
    /// use tarae_http::{Handler, Head, Plan, Request, Response};
    ///
    /// struct Files;
    ///
    /// impl Handler for Files {
    ///     fn plan(&self, _: &Head) -> Plan {
    ///         Plan::default().off_loop()
    ///     }
    ///
    ///     fn call(&self, _: &mut Request) -> Response {
    ///         match tarae::fs::read_to_string("/proc/loadavg") {
    ///             Ok(text) => Response::text(text),
    ///             Err(error) => Response::text(error.to_string()),
    ///         }
    ///     }
    /// }
    /// # let answer = tarae_http::answer(Files, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(answer.starts_with(b"HTTP/1.1 200 "));
    /// ```
    pub fn off_loop(mut self) -> Self {
        self.on_loop = Some(false);
        self
    }

    /// Answers at once, without calling the handler. A short body is read and dropped; after a
    /// longer one, or one that the client holds back for `100 Continue`, the connection is closed.
    pub fn reject(response: Response) -> Self {
        Self {
            reject: Some(Box::new(response)),
            ..Self::default()
        }
    }
}
