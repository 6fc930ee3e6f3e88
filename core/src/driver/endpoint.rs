//! Where the driver listens, and what it tells its executors to dial: separate settings, since a bound address is often not
//! one that a node can reach (containers, gateways, several networks).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use tokio::net::TcpListener;

use crate::error::{Error, ErrorKind, Result};
use crate::units::HostPort;

/// Listens at `bind`; `port` 0 is any free one, another makes room for the next ones where it is in use, `tries` in all.
pub(crate) async fn listen(bind: IpAddr, (port, tries): (u16, u16)) -> Result<TcpListener> {
    let last = if port == 0 { 0 } else { port.saturating_add(tries.saturating_sub(1)) };
    for port in port..=last {
        match TcpListener::bind(SocketAddr::new(bind, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                tracing::info!(%bind, port, "the driver's port is in use");
            }
            Err(error) => {
                return Err(Error::host("the driver can't listen", error)
                    .with("address", SocketAddr::new(bind, port))
                    .help("driver.bind must be an address of this machine, and a port under 1024 needs privileges"));
            }
        }
    }
    Err(Error::new(ErrorKind::AlreadyExists, "the driver's ports are all in use")
        .with("address", bind)
        .with("ports", format!("{port} to {last}"))
        .help("choose another driver.port, or leave it out: then any free one is taken"))
}

/// The addresses that executors are to dial, in order of preference. Each of `advertise` is `HOST` or `HOST:PORT`; where
/// there is none, the bound address says it, or this machine's addresses where all of them are bound.
pub(crate) fn advertised(bound: SocketAddr, advertise: &[String]) -> Result<Vec<HostPort>> {
    if !advertise.is_empty() {
        return advertise.iter().map(|text| advertised_one(text, bound.port())).collect();
    }
    if !bound.ip().is_unspecified() {
        return Ok(vec![bound.into()]);
    }
    let mut addresses = Vec::new();
    addresses.extend(outward_address().map(|ip| HostPort::new(ip.to_string(), bound.port())));
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // A name that isn't one would stop an executor from trying the next.
    addresses.extend(format!("{name}:{}", bound.port()).parse::<HostPort>());
    if addresses.is_empty() {
        addresses.push(HostPort::new(Ipv4Addr::LOCALHOST.to_string(), bound.port()));
    }
    Ok(addresses)
}

fn advertised_one(text: &str, port: u16) -> Result<HostPort> {
    let text = text.trim();
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(HostPort::new(ip.to_string(), port));
    }
    let address = if text.contains(':') { text.parse() } else { format!("{text}:{port}").parse() };
    let address: HostPort = address.map_err(|error: Error| {
        Error::invalid("driver.advertise", "not an address that executors could dial")
            .with("text", format!("{text:?}"))
            .source(error)
            .help("write HOST or HOST:PORT, such as gateway.example or 10.0.0.1:7077")
    })?;
    if address.port == 0 {
        return Err(Error::invalid("driver.advertise", "port 0 can't be dialled").with("text", text));
    }
    Ok(address)
}

/// The address that this machine would call others from. Nothing is sent.
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?; // TEST-NET-1, RFC 5737
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIES: u16 = 16;

    #[tokio::test]
    async fn a_fixed_port_in_use_makes_room_for_the_next() {
        let taken = listen(Ipv4Addr::LOCALHOST.into(), (0, 1)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let next = listen(Ipv4Addr::LOCALHOST.into(), (port, TRIES)).await;
        // At the upper end of the range, or with all sixteen taken, there may be none; what matters is which one it is.
        if let Ok(next) = next {
            let found = next.local_addr().unwrap().port();
            assert!(found > port && found < port.saturating_add(TRIES), "{found}");
        }
    }

    #[tokio::test]
    async fn all_ports_in_use_is_a_clear_error() {
        let mut held = Vec::new();
        let first = 'range: loop {
            held.clear();
            let probe = listen(Ipv4Addr::LOCALHOST.into(), (0, 1)).await.unwrap();
            let first = probe.local_addr().unwrap().port();
            held.push(probe);
            if first > u16::MAX - TRIES {
                continue;
            }
            for port in first + 1..first + TRIES {
                match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                    Ok(listener) => held.push(listener),
                    Err(_) => continue 'range,
                }
            }
            break first;
        };
        let error = listen(Ipv4Addr::LOCALHOST.into(), (first, TRIES)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().contains(&format!("{first} to {}", first + 15)), "{error}");
        assert!(error.advice().unwrap().contains("driver.port"));
    }

    #[test]
    fn advertised_addresses_are_settings_of_their_own() {
        let bound: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let told = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            advertised(bound, &texts).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(told(&[]).unwrap(), ["127.0.0.1:4000"]);
        assert_eq!(
            told(&["gateway:9", "node", "::1", "[::1]:7"]).unwrap(),
            ["gateway:9", "node:4000", "[::1]:4000", "[::1]:7"]
        );
        assert_eq!(told(&["no such:host"]).unwrap_err().field(), Some("driver.advertise"));
        assert_eq!(told(&["host:0"]).unwrap_err().field(), Some("driver.advertise"));
        let all = advertised("0.0.0.0:4000".parse().unwrap(), &[]).unwrap();
        assert!(!all.is_empty() && all.iter().all(|address| address.port == 4000), "{all:?}");
    }
}
