//! Networks, and whose request it is that came by way of a proxy. Used by `server` with what the
//! program trusts. Pure: no I/O, and nothing is looked up.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::Head;

/// A range of IP addresses as CIDR writes it: an address and how many of its leading bits count.
///
/// IPv4 addresses written as IPv6 ones (`::ffff:192.0.2.1`) are the IPv4 addresses that they mean,
/// here and in what is asked for. Bits of the address beyond the prefix are ignored.
///
/// ```
/// use tarae_http::Network;
///
/// let network: Network = "192.0.2.0/24".parse().unwrap();
/// assert!(network.contains("192.0.2.77".parse().unwrap()));
/// assert!(network.contains("::ffff:192.0.2.77".parse().unwrap()));
/// assert!(!network.contains("192.0.3.1".parse().unwrap()));
/// assert_eq!("::1".parse::<Network>().unwrap().to_string(), "::1/128");
/// assert!("192.0.2.0/33".parse::<Network>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The text is no network: neither `ADDRESS` nor `ADDRESS/BITS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseNetworkError(());

impl Network {
    /// The addresses that begin with the same `prefix` bits as this one; `None` if it has fewer.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Network> {
        if prefix > bits(address) {
            return None;
        }
        // A prefix that is shorter is one of IPv6 addresses, and contains more than these.
        let canonical = address.to_canonical();
        let mapped = bits(address) - bits(canonical);
        let (address, prefix) = match prefix.checked_sub(mapped) {
            Some(left) => (canonical, left),
            None => (address, prefix),
        };
        Some(Network { address, prefix })
    }

    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let leading = |bits: u128, width: u8| {
            let cut = u32::from(width - self.prefix);
            bits.checked_shr(cut).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                leading(own.to_bits().into(), 32) == leading(other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                leading(own.to_bits(), 128) == leading(other.to_bits(), 128)
            }
            _ => false,
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl From<IpAddr> for Network {
    /// This address alone.
    fn from(address: IpAddr) -> Network {
        let address = address.to_canonical();
        let prefix = bits(address);
        Network { address, prefix }
    }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Network, ParseNetworkError> {
        let error = ParseNetworkError(());
        let Some((address, prefix)) = text.split_once('/') else {
            return text.parse::<IpAddr>().map(Network::from).map_err(|_| error);
        };
        let address = address.parse().map_err(|_| error)?;
        let is_plain = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|_| is_plain).ok_or(error)?;
        Network::new(address, prefix).ok_or(error)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for ParseNetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither an IP address nor one with the length of a prefix, as 192.0.2.0/24")
    }
}

impl std::error::Error for ParseNetworkError {}

pub(crate) fn is_trusted(trusted: &[Network], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// Whose request it is that `from` has sent: its own unless `from` is trusted, else of whom the
/// trusted say that they have it from. Each of them has appended one address to
/// `X-Forwarded-For`, so it is the rightmost one that is not trusted itself, or the leftmost if all
/// are. What stands left of that, anybody may have written. If it is malformed, nobody knows, and
/// it counts as the request of `from`.
pub(crate) fn client_of(from: IpAddr, head: &Head, trusted: &[Network]) -> IpAddr {
    let from = from.to_canonical();
    if !is_trusted(trusted, from) {
        return from;
    }
    let fields = head.headers();
    let lines: Vec<&[u8]> = fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"))
        .map(|(_, value)| value)
        .collect();
    let hops = lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(|byte| *byte == b','));
    let mut client = from;
    for hop in hops {
        let Some(address) = address_of(hop) else {
            return from;
        };
        client = address;
        if !is_trusted(trusted, address) {
            break;
        }
    }
    client
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn address_of(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let alone = text.parse::<IpAddr>().ok();
    let with_port = || Some(text.parse::<std::net::SocketAddr>().ok()?.ip());
    let address = alone
        .or_else(|| in_brackets().map(IpAddr::V6))
        .or_else(with_port)?;
    Some(address.to_canonical())
}

/// Under which address a client's connections and requests are counted: of IPv6, the network of 64
/// bits, all of which one client has.
pub(crate) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(network.into())
        }
        address => address,
    }
}
