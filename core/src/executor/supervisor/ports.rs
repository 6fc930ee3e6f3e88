//! Free ports for a program that doesn't link convoke (D14).

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use rustix::process::{Pid, getpid};

use crate::clock::{self, Moment};
use crate::process::table::Table;

/// Ports are looked for from here on; below are those that services like to have.
const LOWEST: u16 = 15_000;
/// A range with fewer ports than this is too narrow to find free ones in.
const FEWEST: u16 = 1_000;
/// So many ports that are taken are passed over before the search is given up.
const MOST_TRIES: u32 = 2_000;
/// A listener that can't be found in the program's tree counts as its own after so long.
const STRANGE_FOR: Duration = Duration::from_secs(2);

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

/// Whether somebody else than this process holds the port now.
pub(super) fn is_taken(port: u32) -> bool {
    let Ok(port) = u16::try_from(port) else { return false };
    matches!(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)), Err(error) if error.kind() == io::ErrorKind::AddrInUse)
}

/// Who answers at a port: one that was taken meanwhile by somebody else answers as well as the program's own.
#[derive(Debug, Default)]
pub(super) struct Owner {
    strange_since: Option<Moment>,
}

impl Owner {
    /// Whether a process of this supervisor's tree listens there. Where none is found to (it runs as another user, or in a
    /// container of its own), an answer counts once it has lasted: a program whose port was taken ends before that.
    pub(super) fn is_ours(&mut self, port: u16) -> bool {
        if listens_below(port, Pid::as_raw(Some(getpid()))) {
            return true;
        }
        let now = clock::now();
        now.since(*self.strange_since.get_or_insert(now)) >= STRANGE_FOR
    }
}

fn listens_below(port: u16, root: i32) -> bool {
    let sockets: HashSet<String> = tables()
        .flat_map(|table| listeners(&table, port))
        .map(|(_, inode)| format!("socket:[{inode}]"))
        .collect();
    let Ok(processes) = Table::read() else { return false };
    processes.descendants(&[root]).into_iter().any(|entry| {
        let open = std::fs::read_dir(format!("/proc/{}/fd", entry.id.number)).into_iter().flatten().flatten();
        open.filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|link| link.to_str().is_some_and(|link| sockets.contains(link)))
    })
}

/// The addresses of this host at which somebody listens at `port`; the host's own for those who listen at all of them.
pub(super) fn listening_at(port: u16) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let found = tables().flat_map(|table| listeners(&table, port));
    addresses.extend(found.map(|(address, _)| address).filter(|address| !address.is_unspecified()));
    addresses
}

fn tables() -> impl Iterator<Item = String> {
    ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|table| std::fs::read_to_string(table).ok())
}

/// The sockets that listen at `port`, with their inodes, of a table as `/proc/net/tcp` is.
fn listeners(table: &str, port: u16) -> Vec<(IpAddr, u64)> {
    let listening = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let (host, at) = fields.get(1)?.rsplit_once(':')?;
        let right = u16::from_str_radix(at, 16) == Ok(port) && *fields.get(3)? == "0A";
        if right { Some((address(host)?, fields.get(9)?.parse().ok()?)) } else { None }
    };
    table.lines().skip(1).filter_map(listening).collect()
}

/// `0100007F`: words of the host's own order, in hex.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).into())
        }
        _ => None,
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
    use crate::process::table::Entry;

    #[test]
    fn they_lie_beside_what_the_kernel_gives_to_anybody() {
        assert_eq!(beside("32768\t60999\n"), Some(15_000..=32_767));
        assert_eq!(beside("15000 50000"), Some(50_001..=65_535));
        assert_eq!(beside("1024 65535"), None);
        assert_eq!(beside(""), None);
    }

    #[test]
    fn who_listens_is_read_from_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0\n\
            \x20  1: 0100007F:1F90 0100007F:A2B4 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0\n\
            \x20  2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4713 1 0\n";
        assert_eq!(listeners(table, 8080), [(Ipv4Addr::UNSPECIFIED.into(), 4711)]);
        assert_eq!(listeners(table, 8081).len(), 1);
        assert_eq!(listeners(table, 8082), []);
        assert_eq!(listeners("", 8080), []);
        if cfg!(target_endian = "little") {
            assert_eq!(address("0100007F"), Some(Ipv4Addr::LOCALHOST.into()));
            assert_eq!(address("00000000000000000000000001000000"), Some(Ipv6Addr::LOCALHOST.into()));
        }
        assert_eq!(address("zz"), None);
    }

    #[test]
    fn our_own_listener_is_ours_and_a_parents_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_taken(u32::from(port)));
        // Held by this process, which is below its parent and not below itself.
        assert!(listens_below(port, Entry::read(Pid::as_raw(Some(getpid()))).unwrap().parent));
        assert!(!listens_below(port, Pid::as_raw(Some(getpid()))));
        drop(listener);
        assert!(!is_taken(u32::from(port)));
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
