//! What a server as a whole is held to: how many connections, how many of one address, how many
//! requests at once; and whom it believes about addresses.
//!
//! Set by `Server`, asked by `acceptor`, `arrival` and `exchange`. Where a limit is off, a request
//! pays one branch for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};

use super::connections::Connection;
use crate::network::{Network, client_of, counted_as, is_trusted};
use crate::{Head, Response};

/// Of the descriptors that the process may have, at least and at most so many are left to the
/// program: workers, listeners, files, connections to others. In between it is an eighth.
const LEFT_MIN: usize = 32;
const LEFT_MAX: usize = 1024;

/// The limits, and what is counted against them.
#[derive(Debug)]
pub(super) struct Guards {
    pub(super) connections_max: usize,
    /// Whether that was set.
    pub(super) connections_set: bool,
    pub(super) per_address_max: Option<u32>,
    pub(super) in_flight_max: Option<usize>,
    pub(super) trusted: Vec<Network>,
    pub(super) proxy_protocol: bool,
    /// Whether each request is to be looked at; see `complete`.
    looks: bool,
    in_flight: AtomicUsize,
    addresses: Mutex<BTreeMap<IpAddr, u32>>,
}

impl Default for Guards {
    fn default() -> Guards {
        Guards {
            connections_max: connections_of(descriptors()),
            connections_set: false,
            per_address_max: None,
            in_flight_max: None,
            trusted: Vec::new(),
            proxy_protocol: false,
            looks: false,
            in_flight: AtomicUsize::new(0),
            addresses: Mutex::default(),
        }
    }
}

/// How many descriptors the process may have, by its soft limit; `None`: any number.
fn descriptors() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit
        .current
        .map(|limit| limit.try_into().unwrap_or(usize::MAX))
}

fn connections_of(descriptors: Option<usize>) -> usize {
    let Some(descriptors) = descriptors else {
        return usize::MAX;
    };
    let left = (descriptors / 8).clamp(LEFT_MIN, LEFT_MAX);
    descriptors.saturating_sub(left).max(1)
}

impl Guards {
    fn addresses(&self) -> MutexGuard<'_, BTreeMap<IpAddr, u32>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        is_trusted(&self.trusted, address)
    }

    /// All is set. Each connection takes so many descriptors.
    pub(super) fn complete(mut self, each: usize) -> Guards {
        if !self.connections_set {
            self.connections_max = (self.connections_max / each).max(1);
        }
        self.looks = self.in_flight_max.is_some() || !self.trusted.is_empty();
        self
    }

    /// Whether each request is to be looked at; if not, none of the following is asked.
    #[inline]
    pub(super) fn look_at_requests(&self) -> bool {
        self.looks
    }

    /// Whose request this is.
    pub(super) fn client<H>(&self, connection: &Connection<H>, head: &Head) -> IpAddr {
        client_of(connection.source(), head, &self.trusted)
    }

    /// Counts a connection or a request of this address, until it is `release`d. False: there are
    /// as many as there may be.
    pub(super) fn count(&self, address: IpAddr) -> bool {
        let max = self.per_address_max.unwrap_or(u32::MAX);
        let mut addresses = self.addresses();
        let count = addresses.entry(counted_as(address)).or_default();
        let fits = *count < max;
        *count += u32::from(fits);
        if *count == 0 {
            // There may be none at all.
            addresses.remove(&counted_as(address));
        }
        fits
    }

    pub(super) fn release(&self, address: IpAddr) {
        let mut addresses = self.addresses();
        if let Some(count) = addresses.get_mut(&counted_as(address)) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&counted_as(address));
            }
        }
    }

    /// What a request is answered whose head has arrived while there is no room for it, so that
    /// nothing more is done for it. A guess: `enter` decides.
    pub(super) fn refusal(&self, client: IpAddr, is_shared: bool) -> Option<Response> {
        let is_full = |max| self.in_flight.load(Ordering::Relaxed) >= max;
        if self.in_flight_max.is_some_and(is_full) {
            return Some(overloaded());
        }
        let max = self.per_address_max?;
        let known = || self.addresses().get(&counted_as(client)).copied();
        let counts = is_shared && !self.trusts(client);
        (counts && known().unwrap_or(0) >= max).then(too_many)
    }

    /// Lets a request into its handler until what this gives is dropped. `is_shared`: many
    /// clients' requests come on its connection, so that it counts as its client's by itself.
    pub(super) fn enter(&self, client: IpAddr, is_shared: bool) -> Result<Entered<'_>, Response> {
        let mut entered = Entered {
            guards: self,
            in_flight: false,
            client: None,
        };
        if let Some(max) = self.in_flight_max {
            entered.in_flight = true;
            if self.in_flight.fetch_add(1, Ordering::Relaxed) >= max {
                return Err(overloaded());
            }
        }
        if self.per_address_max.is_some() && is_shared && !self.trusts(client) {
            if !self.count(client) {
                return Err(too_many());
            }
            entered.client = Some(client);
        }
        Ok(entered)
    }
}

/// A request that is in its handler.
#[derive(Debug)]
pub(super) struct Entered<'a> {
    guards: &'a Guards,
    in_flight: bool,
    client: Option<IpAddr>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.in_flight {
            self.guards.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(client) = self.client {
            self.guards.release(client);
        }
    }
}

/// The answer to a request for which there is no room.
#[cold]
pub(super) fn overloaded() -> Response {
    retry_later(StatusCode::SERVICE_UNAVAILABLE)
}

/// The answer to an address that has its share already.
#[cold]
pub(super) fn too_many() -> Response {
    retry_later(StatusCode::TOO_MANY_REQUESTS)
}

fn retry_later(status: StatusCode) -> Response {
    Response::plain_status(status).with_header(RETRY_AFTER, HeaderValue::from_static("1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_left_to_the_program() {
        for (descriptors, connections) in [
            (Some(0), 1),
            (Some(20), 1),
            (Some(40), 8),
            (Some(256), 224),
            (Some(1024), 896),
            (Some(20_000), 18_976),
            (Some(1 << 20), (1 << 20) - 1024),
            (None, usize::MAX),
        ] {
            assert_eq!(connections_of(descriptors), connections, "{descriptors:?}");
        }
    }

    #[test]
    fn nothing_is_kept_of_an_address_that_has_gone() {
        let guards = Guards {
            per_address_max: Some(2),
            ..Guards::default()
        };
        let text = ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"];
        let all = text.map(|text| text.parse::<IpAddr>().expect("an address"));
        assert_eq!(
            all.map(|address| guards.count(address)),
            [true, true, false, true]
        );
        // One client has all addresses of an IPv6 network.
        let six = [
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8::3",
            "2001:db8:0:1::1",
        ];
        let six = six.map(|text| text.parse::<IpAddr>().expect("an address"));
        assert_eq!(
            six.map(|address| guards.count(address)),
            [true, true, false, true]
        );
        for address in [all[0], all[1], all[3], six[0], six[1], six[3]] {
            guards.release(address);
        }
        assert!(guards.addresses().is_empty());
    }
}
