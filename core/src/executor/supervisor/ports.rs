//! Free ports for a program that doesn't link convoke (D14).

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Ports are looked for from here on; below are those that services like to have.
const LOWEST: u16 = 15_000;
/// A range with fewer ports than this is too narrow to find free ones in.
const FEWEST: u16 = 1_000;
/// So many ports that are taken are passed over before the search is given up.
const MOST_TRIES: u32 = 2_000;

/// Free ports of this host, by name.
pub(super) struct Ports {
    pub(super) numbers: BTreeMap<String, u32>,
    listeners: Vec<TcpListener>,
    reservations: Vec<UnixListener>,
}

impl Ports {
    /// Finds one for each name, that nobody listens on, that no other supervisor of this host has found, and that the
    /// kernel gives to nobody by itself.
    ///
    /// # Errors
    /// `AddrInUse` where none is free.
    pub(super) fn find(names: &[String]) -> io::Result<Ports> {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let range = beside(&range);
        let mut ports = Ports { numbers: BTreeMap::new(), listeners: Vec::new(), reservations: Vec::new() };
        let mut tries = 0;
        for name in names {
            let (port, listener, reservation) = loop {
                tries += 1;
                let wanted = range.as_ref().map(one_of).transpose()?;
                match take(wanted.unwrap_or(0)) {
                    Ok(taken) => break taken,
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < MOST_TRIES => {}
                    Err(error) => return Err(error),
                }
            };
            ports.numbers.insert(name.clone(), u32::from(port));
            ports.listeners.push(listener);
            ports.reservations.push(reservation);
        }
        Ok(ports)
    }

    /// Lets go of the ports, but not of their reservation.
    pub(super) fn release(self) -> Vec<UnixListener> {
        self.reservations
    }
}

/// The port, held by a listener, and reserved: it is free again between our letting go and the program's taking it, and
/// an abstract socket of its number, held for as long as the program may use it, keeps other supervisors off.
fn take(wanted: u16) -> io::Result<(u16, TcpListener, UnixListener)> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, wanted))?;
    let port = listener.local_addr()?.port();
    let name = SocketAddr::from_abstract_name(format!("convoke-port-{port}"))?;
    Ok((port, listener, UnixListener::bind_addr(&name)?))
}

/// The ports that the kernel doesn't give to whoever dials or asks for any: such a one could be gone before the program
/// takes it. `None` where there are too few of them.
fn beside(local_range: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = local_range.split_ascii_whitespace().filter_map(|end| end.parse::<u16>().ok());
    let (low, high) = (ends.next()?, ends.next()?);
    let below = LOWEST..=low.saturating_sub(1);
    let above = high.saturating_add(1).max(LOWEST)..=u16::MAX;
    let room = |range: &RangeInclusive<u16>| range.end().saturating_sub(*range.start());
    [below, above].into_iter().filter(|range| room(range) >= FEWEST).max_by_key(room)
}

fn one_of(range: &RangeInclusive<u16>) -> io::Result<u16> {
    let mut random = [0_u8; 4];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let count = u32::from(range.end() - range.start()) + 1;
    let offset = u32::from_be_bytes(random) % count;
    Ok(range.start() + u16::try_from(offset).unwrap_or(0)) // below the count of ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_lie_beside_what_the_kernel_gives_to_anybody() {
        assert_eq!(beside("32768\t60999\n"), Some(15_000..=32_767));
        assert_eq!(beside("15000 50000"), Some(50_001..=65_535));
        assert_eq!(beside("1024 65535"), None);
        assert_eq!(beside(""), None);
    }

    #[test]
    fn ports_of_two_at_once_differ_and_stay_reserved() {
        let names = ["HTTP".to_owned(), "RPC".to_owned()];
        let first = Ports::find(&names).unwrap();
        let second = Ports::find(&names).unwrap();
        let mut all: Vec<_> = first.numbers.values().chain(second.numbers.values()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
        let port = first.numbers["HTTP"];
        let _held = first.release();
        let name = SocketAddr::from_abstract_name(format!("convoke-port-{port}")).unwrap();
        assert!(UnixListener::bind_addr(&name).is_err());
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port as u16)).unwrap();
    }
}
