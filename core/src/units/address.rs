use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A host (name or address) and a port: `node-7:7077`, `10.0.0.1:80`, `[::1]:7077`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Puts the two together.
    pub fn new(host: impl Into<String>, port: u16) -> HostPort {
        HostPort { host: host.into(), port }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> HostPort {
        HostPort::new(address.ip().to_string(), address.port())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = Error;
    fn from_str(text: &str) -> Result<HostPort> {
        let bad = |why: &'static str| {
            Error::invalid("address", why)
                .with("text", format!("{text:?}"))
                .help("write HOST:PORT, such as node-7:7077 or [::1]:7077")
        };
        let (host, port) = text.trim().rsplit_once(':').ok_or_else(|| bad("an address needs a port"))?;
        let port = port.parse().map_err(|_| bad("not a port (0 to 65535)"))?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => {
                inner
                    .parse::<IpAddr>()
                    .ok()
                    .filter(IpAddr::is_ipv6)
                    .ok_or_else(|| bad("not an IPv6 address between brackets"))?;
                inner
            }
            None => host,
        };
        let name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if host.is_empty() || host.parse::<IpAddr>().is_err() && !host.chars().all(name) {
            return Err(bad("not a host name or address"));
        }
        Ok(HostPort::new(host, port))
    }
}

impl TryFrom<String> for HostPort {
    type Error = Error;
    fn try_from(text: String) -> Result<HostPort> {
        text.parse()
    }
}
impl From<HostPort> for String {
    fn from(address: HostPort) -> String {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print() {
        for text in ["node-7:7077", "10.0.0.1:80", "[::1]:7077"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        for bad in ["", "node", "node:", ":80", "node:99999", "no de:1", "[zz]:1", "a/b:1"] {
            assert_eq!(bad.parse::<HostPort>().unwrap_err().field(), Some("address"), "{bad:?}");
        }
    }
}
