//! Which builds of the bootstrap there are, and where nodes have them.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::listener::BootstrapListener;
use super::opened::OpenedFile;
use crate::driver::endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Name;
use crate::manager::{Artifact, Bootstrap, Platform, Source};
use crate::rpc::refusal::Refusals;
use crate::units::HostPort;

/// Where the bootstrap's listener is, and what nodes dial.
#[derive(Debug)]
pub(crate) struct BootstrapPlace {
    pub(crate) bind: IpAddr,
    pub(crate) port: u16,
    /// How many ports are tried from there on.
    pub(crate) port_tries: u16,
    /// `HOST` or `HOST:PORT`; none: the driver's hosts.
    pub(crate) advertise: Vec<String>,
    /// What executors dial: their hosts serve here too.
    pub(crate) driver: Vec<HostPort>,
}

/// Gives every build a URL that nodes can fetch it from, and serves those that have none. Without builds, this very program is
/// the only one.
///
/// # Errors
/// `InvalidRequest` for a build that can't be read or isn't what it says; `AlreadyExists` for ports in use.
pub(crate) async fn prepare(
    mut bootstrap: Bootstrap,
    place: BootstrapPlace,
    refusals: Arc<Refusals>,
) -> Result<(Bootstrap, Option<BootstrapListener>)> {
    let (opened, mut served) = tokio::task::spawn_blocking(move || {
        let served = open(&mut bootstrap)?;
        Ok::<_, Error>((bootstrap, served))
    })
    .await
    .map_err(|error| Error::internal("reading the bootstrap failed").source(error))??;
    bootstrap = opened;
    if served.is_empty() {
        return Ok((bootstrap, None));
    }
    let setting = |error: Error| error.with("setting", "bootstrap.port");
    let listener = endpoint::listen(place.bind, (place.port, place.port_tries)).await.map_err(setting)?;
    let bound =
        listener.local_addr().map_err(|error| Error::host("the bootstrap's listener can't listen", error))?;
    let addresses = if place.advertise.is_empty() {
        place.driver.iter().map(|driver| HostPort::new(driver.host.clone(), bound.port())).collect()
    } else {
        endpoint::advertised(bound, &place.advertise)
            .map_err(|error| error.with("setting", "bootstrap.advertise"))?
    };
    let files: Vec<_> = served.iter().map(|(_, file)| file.clone()).collect();
    let (listener, paths) = BootstrapListener::start(listener, &files, refusals)?;
    for ((build, _), path) in served.drain(..).zip(paths) {
        let urls = addresses.iter().map(|address| Source::Url(format!("http://{address}{path}")));
        bootstrap.builds[build].1.sources.extend(urls);
    }
    tracing::info!(%bound, ?addresses, "the bootstrap is served to the nodes");
    Ok((bootstrap, Some(listener)))
}

/// Opens the builds that the driver is to serve: which of them, and the file. Blocks.
fn open(bootstrap: &mut Bootstrap) -> Result<Vec<(usize, Arc<OpenedFile>)>> {
    if bootstrap.builds.is_empty() {
        let file = OpenedFile::own_program()?;
        let artifact = Artifact {
            name: Name::new("convoke-bootstrap")?,
            sha256: file.sha256(),
            bytes: file.bytes(),
            executable: true,
            sources: Vec::new(),
        };
        bootstrap.builds.push((Platform::current(), artifact));
        return Ok(vec![(0, Arc::new(file))]);
    }
    let mut served = Vec::new();
    for (build, (platform, artifact)) in bootstrap.builds.iter().enumerate() {
        if artifact.sources.iter().any(|source| matches!(source, Source::Url(_))) {
            continue;
        }
        let path = artifact.sources.iter().find_map(|source| match source {
            Source::DriverPath(path) => Some(path),
            _ => None,
        });
        let Some(path) = path else { continue }; // on every node already
        let file = OpenedFile::open(Path::new(path)).map_err(|error| error.with("platform", platform))?;
        if file.sha256() != artifact.sha256 {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "a build of the bootstrap is not the file that was meant",
            )
            .with("field", "bootstrap")
            .with("platform", platform)
            .with("path", path)
            .with("SHA-256", file.sha256())
            .with("wanted", artifact.sha256));
        }
        served.push((build, Arc::new(file)));
    }
    Ok(served)
}
