//! What a stranger does.

use std::sync::Arc;
use std::time::Duration;

use convoke::executor::environment;
use convoke::ids::{ExecutorId, Incarnation, ProfileId};
use convoke::manager::LaunchCommand;
use convoke::rpc::client::{self, JoinAsk, Joined, Trust};
use convoke::rpc::{tls, v1};
use convoke::units::HostPort;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What an executor's environment and ticket say, to be misused.
#[derive(Debug, Clone)]
pub struct Found {
    pub addresses: Vec<HostPort>,
    pub trust: Trust,
    pub ask: JoinAsk,
}

impl Found {
    pub fn of(command: &LaunchCommand) -> Found {
        let at = |name: &str| command.env[name].clone();
        Found {
            addresses: at(environment::DRIVER).split(',').map(|text| text.parse().unwrap()).collect(),
            trust: at(environment::TRUST).parse().unwrap(),
            ask: JoinAsk {
                application: at(environment::APPLICATION).parse().unwrap(),
                executor: ExecutorId(at(environment::EXECUTOR).parse().unwrap()),
                profile: ProfileId(at(environment::PROFILE).parse().unwrap()),
                incarnation: Incarnation(at(environment::INCARNATION).parse().unwrap()),
                ticket: command.ticket.clone(),
                platform: "a stranger's".to_owned(),
                host: "elsewhere".to_owned(),
                process: 1,
            },
        }
    }

    pub async fn join(&self) -> convoke::Result<Joined> {
        client::join(&self.addresses, self.trust, &self.ask).await
    }

    pub async fn dial(&self) -> TcpStream {
        let address = &self.addresses[0];
        TcpStream::connect((address.host.as_str(), address.port)).await.unwrap()
    }

    /// A connection that trusts the driver and shows no certificate.
    pub async fn anonymous(&self) -> TlsStream<TcpStream> {
        let Trust::Pin(pin) = self.trust else { panic!("the driver is secure") };
        let config = tls::executor_config(self.ask.application.clone(), pin, None).unwrap();
        let name = "driver.convoke".try_into().unwrap();
        TlsConnector::from(Arc::clone(&config)).connect(name, self.dial().await).await.unwrap()
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An HTTP/2 client that keeps no rule but those of the frames.
pub struct Rude<S> {
    io: S,
    read: Vec<u8>,
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Rude<S> {
    pub async fn start(mut io: S) -> Rude<S> {
        io.write_all(PREFACE).await.unwrap();
        io.write_all(&frame(4, 0, 0, &[])).await.unwrap(); // SETTINGS
        Rude { io, read: Vec::new() }
    }

    /// Begins a call of `Join` on this stream, and leaves it open.
    pub async fn begin_join(&mut self, stream: u32) -> std::io::Result<()> {
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", "/convoke.v1.Driver/Join"),
            (":authority", "driver.convoke"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ] {
            block.push(0); // a literal that isn't indexed, with a name of its own
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend(text.bytes());
            }
        }
        self.io.write_all(&frame(1, 4, stream, &block)).await?; // HEADERS, with END_HEADERS
        self.io.flush().await
    }

    /// Reads until a frame of this kind comes for this stream, answering settings; `None` where the driver hangs up.
    pub async fn answer(&mut self, kinds: &[u8], stream: u32) -> Option<(u8, Vec<u8>)> {
        loop {
            while self.read.len() >= 9 {
                let length = u32::from_be_bytes([0, self.read[0], self.read[1], self.read[2]]) as usize;
                if self.read.len() < 9 + length {
                    break;
                }
                let (kind, flags) = (self.read[3], self.read[4]);
                let of = u32::from_be_bytes([self.read[5], self.read[6], self.read[7], self.read[8]]);
                let payload: Vec<u8> = self.read.drain(..9 + length).skip(9).collect();
                if kind == 4 && flags & 1 == 0 {
                    self.io.write_all(&frame(4, 1, 0, &[])).await.ok()?;
                }
                if kinds.contains(&kind) && of == stream {
                    return Some((kind, payload));
                }
            }
            let more = tokio::time::timeout(Duration::from_secs(60), self.io.read_buf(&mut self.read));
            if more.await.expect("an answer, or the end").ok()? == 0 {
                return None;
            }
        }
    }
}

/// Calls Join with a message of this size, on a connection of its own.
pub async fn oversized_join(found: &Found, bytes: usize) -> convoke::Error {
    let mut large = found.clone();
    large.ask.host = "x".repeat(bytes);
    large.join().await.expect_err("it is refused")
}

/// A call that needs a certificate, by somebody without one.
pub fn join_request(found: &Found) -> v1::JoinRequest {
    v1::JoinRequest { application: found.ask.application.to_string(), ..Default::default() }
}
