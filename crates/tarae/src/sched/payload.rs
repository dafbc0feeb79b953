//! What a panic carried, as the errors of `join` and of completions keep it, and its text.
//!
//! Called by those errors and by `scope`. Must not panic, whatever was thrown.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The payload of a panic; behind a lock only so that an error that holds one is `Sync`.
pub(crate) struct Payload(Mutex<Box<dyn Any + Send>>);

impl Payload {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Payload {
        Payload(Mutex::new(payload))
    }

    pub(crate) fn into_inner(self) -> Box<dyn Any + Send> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.write_str(message(&**payload))
    }
}

/// What the panic said.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no message)")
}
