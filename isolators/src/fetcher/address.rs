//! Which addresses are asked (attack 47): those that nobody serves files from are refused, and a redirect or a name may
//! not lead further inwards than the URI itself said.

use super::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far inside an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Anywhere in the world.
    World,
    /// A private network.
    Private,
    /// This machine.
    Machine,
}

/// The service of cloud machines that knows their secrets, by IPv6; by IPv4 it is link-local.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// How far inside an address lies; an error for those that are never asked: unspecified, multicast, broadcast, and
/// link-local, where cloud machines find the secrets of their machine.
pub(crate) fn depth(address: IpAddr) -> Result<Depth, Error> {
    let refuse = |reason| Err(Error::Address { address, reason });
    match address.to_canonical() {
        IpAddr::V4(v4) => match v4 {
            _ if v4.octets()[0] == 0 => refuse("it is of no machine"),
            _ if v4.is_link_local() => refuse("it is link-local, where metadata services are"),
            _ if v4.is_multicast() || v4.is_broadcast() => refuse("it is of many machines"),
            _ if v4.is_loopback() => Ok(Depth::Machine),
            _ if v4.is_private() || is_shared(v4) => Ok(Depth::Private),
            _ => Ok(Depth::World),
        },
        IpAddr::V6(v6) => match v6 {
            _ if v6 == METADATA_V6 => refuse("it is that of a metadata service"),
            _ if v6.is_unspecified() => refuse("it is of no machine"),
            _ if v6.is_unicast_link_local() => refuse("it is link-local, where metadata services are"),
            _ if v6.is_multicast() => refuse("it is of many machines"),
            _ if v6.is_loopback() => Ok(Depth::Machine),
            _ if v6.is_unique_local() => Ok(Depth::Private),
            _ => match embedded(v6) {
                Some(v4) => depth(v4.into()).map_err(|_| Error::Address { address, reason: "it hides a refused one" }),
                None => Ok(Depth::World),
            },
        },
    }
}

/// 100.64/10, the shared space of carriers.
fn is_shared(v4: Ipv4Addr) -> bool {
    let [first, second, ..] = v4.octets();
    first == 100 && second & 0xc0 == 64
}

/// The IPv4 address in one of 6to4 or NAT64.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, _, _, _, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (a, b) {
        (0x2002, _) => Some(v4(b, c)),
        (0x64, 0xff9b) => Some(v4(g, h)),
        _ => None,
    }
}

/// The addresses of `found` that may be asked after a hop to `deepest` (the first hop: none).
pub(crate) fn allowed(found: &[IpAddr], deepest: Option<Depth>) -> Result<Vec<(IpAddr, Depth)>, Error> {
    let mut refusal = Error::Connection("the name has no address".to_owned());
    let mut allowed = Vec::new();
    for &address in found {
        match (depth(address), deepest) {
            (Ok(depth), Some(deepest)) if depth > deepest => {
                refusal = Error::Address { address, reason: "a redirect may not lead further inside" };
            }
            (Ok(depth), _) => allowed.push((address, depth)),
            (Err(error), _) => refusal = error,
        }
    }
    if allowed.is_empty() { Err(refusal) } else { Ok(allowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Depth> {
        depth(text.parse().unwrap()).ok()
    }

    #[test]
    fn metadata_and_nobodys_addresses_are_never_asked() {
        for bad in [
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(of("8.8.8.8"), Some(Depth::World));
        assert_eq!(of("10.0.0.1"), Some(Depth::Private));
        assert_eq!(of("100.64.0.1"), Some(Depth::Private));
        assert_eq!(of("fd00::1"), Some(Depth::Private));
        assert_eq!(of("127.0.0.53"), Some(Depth::Machine));
        assert_eq!(of("::ffff:127.0.0.1"), Some(Depth::Machine));
    }

    #[test]
    fn a_redirect_leads_outwards_or_stays() {
        let found: Vec<IpAddr> = ["8.8.8.8", "10.0.0.1", "127.0.0.1"].map(|text| text.parse().unwrap()).to_vec();
        let count = |deepest| allowed(&found, deepest).unwrap().len();
        assert_eq!(count(None), 3);
        assert_eq!(count(Some(Depth::Machine)), 3);
        assert_eq!(count(Some(Depth::Private)), 2);
        assert_eq!(count(Some(Depth::World)), 1);
        assert!(allowed(&found[1..], Some(Depth::World)).is_err());
        assert!(allowed(&[], None).is_err());
    }
}
