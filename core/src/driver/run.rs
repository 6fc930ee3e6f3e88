//! The driver's thread: a runtime of its own that lives as long as the driver, so that users need none.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use super::artifacts::{self, BootstrapPlace};
use super::control::{Control, WeakControl};
use super::launcher::ExecutorLauncher;
use super::service::DriverService;
use super::settings::DriverSettings;
use super::shortage;
use super::task_plane::MakeTaskPlane;
use super::{endpoint, handle, progress};
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::executor::environment;
use crate::ids::{ApplicationId, Incarnation};
use crate::manager::{ApplicationSpec, Bootstrap, ClusterManager, Events, LogLimits, Outcome};
use crate::rpc::accept::{Hall, Lobby, accept};
use crate::rpc::authority::Authority;
use crate::rpc::client::Trust;
use crate::rpc::refusal::Refusals;
use crate::rpc::ticket::TicketOffice;
use crate::rpc::v1::driver_server::DriverServer;
use crate::rpc::watch::WatchCalls;
use crate::rpc::{limits, tls};
use crate::secret::Digest;
use crate::units::HostPort;

/// Something to be done on the driver's thread.
pub(super) type Ask = Box<dyn FnOnce(&Arc<Control>) -> Next + Send>;

/// What an ask is.
pub(super) enum Next {
    /// It goes on in the background.
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// The driver has nothing more to do: everything of it has ended.
    Stop,
}

/// All that is settled before the thread starts.
pub(super) struct Setup {
    pub(super) settings: DriverSettings,
    pub(super) manager: Arc<dyn ClusterManager>,
    pub(super) make_plane: MakeTaskPlane,
    pub(super) bootstrap: Bootstrap,
    pub(super) arguments: Vec<String>,
    pub(super) options: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<crate::ids::Name, String>,
}

/// What the handle gets once the driver is up.
pub(super) struct Up {
    pub(super) control: Arc<Control>,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) addresses: Vec<HostPort>,
}

/// Connections whose driver is being dropped get their last orders within this, and the runtime ends within the rest of it.
const FAREWELL: Duration = Duration::from_millis(300);
/// The timer woke so much later than it was set: this process was held up.
const HELD_UP: Duration = Duration::from_secs(1);

/// Starts the thread; `up` says whether the driver is up. It ends when `asks` does.
pub(super) fn spawn(
    setup: Setup,
    up: oneshot::Sender<Result<Up>>,
    asks: mpsc::UnboundedReceiver<Ask>,
) -> Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::host("the driver's runtime can't start", error))?;
    std::thread::Builder::new()
        .name("convoke-driver".to_owned())
        .spawn(move || {
            let farewell = runtime.block_on(run(setup, up, asks));
            // What a backend left on the blocking pool must not hold up the end.
            runtime.shutdown_timeout(FAREWELL.saturating_sub(farewell));
        })
        .map_err(|error| Error::host("the driver's thread can't start", error))
}

/// Answers how long the farewells took.
async fn run(
    setup: Setup,
    mut up: oneshot::Sender<Result<Up>>,
    asks: mpsc::UnboundedReceiver<Ask>,
) -> Duration {
    let started = tokio::select! {
        started = start(setup) => started,
        // Nobody waits any more: what was begun is dropped, and with it abandoned (R4).
        () = up.closed() => return Duration::ZERO,
    };
    let (control, addresses, mut background) = match started {
        Ok(started) => started,
        Err(error) => {
            let _ = up.send(Err(error));
            return Duration::ZERO;
        }
    };
    let runtime = tokio::runtime::Handle::current();
    if up.send(Ok(Up { control: control.clone(), runtime, addresses })).is_ok() {
        serve(&control, asks, &mut background).await;
    }
    let begun = clock::now();
    abandon(&control).await;
    let farewell = clock::now().since(begun);
    background.shutdown().await;
    // The handle at the manager ends here, on the thread that its backend was started on.
    control.set_application(None);
    farewell
}

async fn start(setup: Setup) -> Result<(Arc<Control>, Vec<HostPort>, JoinSet<()>)> {
    let Setup { settings, manager, make_plane, bootstrap, arguments, options, tags } = setup;
    let descriptor = manager.describe();
    if !settings.required_hosts.is_empty() && !descriptor.capabilities.constraints {
        return Err(Error::unsupported("this manager can't hold executors to what is required of hosts")
            .with("setting", "hosts.required"));
    }
    if !settings.excluded_hosts.is_empty() && !descriptor.capabilities.exclusion {
        return Err(Error::unsupported("this manager can't keep executors from hosts")
            .with("setting", "hosts.excluded"));
    }
    let ports = (settings.port, settings.port_tries);
    let listener = endpoint::listen(settings.bind_address(descriptor.capabilities.remote), ports).await?;
    let bound = listener.local_addr().map_err(|error| Error::host("the driver can't listen", error))?;
    let addresses = endpoint::advertised(bound, &settings.advertise)?;

    let application = ApplicationId::generate(&settings.name)?;
    let incarnation = Incarnation(1);
    let office = Arc::new(TicketOffice::new(application.clone(), incarnation)?);
    let authority = if settings.insecure {
        tracing::warn!(
            %bound,
            "INSECURE, as asked: who reaches this port can run anything in this application, and who listens on \
             the way can read all of it"
        );
        None
    } else {
        Some(Authority::generate(application.clone())?)
    };
    let server_config = authority.as_ref().map(tls::driver_config).transpose()?;
    let trust = authority.as_ref().map_or(Trust::Insecure, |authority| Trust::Pin(authority.pin()));
    let refusals = Arc::<Refusals>::default();
    let (bootstrap, store) = artifacts::open(&settings, bootstrap).await?;
    let (bootstrap, bootstrap_listener) = if manager.fetches_bootstrap() {
        let place = BootstrapPlace {
            bind: settings.bind_address(descriptor.capabilities.remote),
            port: settings.bootstrap_port,
            port_tries: settings.port_tries,
            advertise: settings.bootstrap_advertise.clone(),
            driver: addresses.clone(),
        };
        artifacts::prepare(bootstrap, place, refusals.clone()).await?
    } else {
        (bootstrap, None)
    };
    let launcher = ExecutorLauncher {
        office: office.clone(),
        environment: executor_environment(&application, incarnation, trust, &addresses, settings.lease),
        arguments,
        logs: LogLimits::default(),
        grace: settings.drain_grace,
    };
    let spec = ApplicationSpec::builder(application.clone(), settings.name.clone(), Arc::new(launcher))
        .user(settings.user.clone())
        .queue(settings.queue.clone())
        .tags(tags)
        .driver(addresses.clone())
        .trust(match trust {
            Trust::Pin(pin) => pin,
            Trust::Insecure => Digest([0; 32]),
        })
        .lease(settings.lease)
        .max_executors(settings.max_executors)
        .policy(settings.policy())
        .bootstrap(bootstrap)
        .options(options)
        .build()?;
    spec.check_lease(descriptor.least_lease)?;

    let (profile, executors) = (settings.default_profile(), settings.executors);
    let control = Control::new(application, incarnation, settings, office, authority, refusals, store);
    control.set_plane(make_plane(Arc::new(WeakControl(Arc::downgrade(&control))))?);

    // Serve before the manager knows: an executor may call as soon as it is granted.
    let mut background = JoinSet::new();
    if let Some(listener) = bootstrap_listener {
        background.spawn(async move {
            let _serving = listener;
            std::future::pending().await
        });
    }
    let lobby = Lobby::new(limits::ANONYMOUS_CONNECTIONS, control.refusals.clone());
    let (known, known_connections) = mpsc::channel(64);
    let (anonymous, anonymous_connections) = mpsc::channel(64);
    background.spawn(accept(listener, server_config, lobby, Hall { known, anonymous }));
    let service = DriverServer::new(DriverService(control.clone()))
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(limits::MESSAGE_BYTES);
    background.spawn(served(
        tonic::transport::Server::builder()
            .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(limits::STREAMS_PER_CONNECTION)
            .layer(WatchCalls { refusals: control.refusals.clone(), most_calls: None })
            .add_service(service)
            .serve_with_incoming(ReceiverStream::new(known_connections)),
    ));
    let service = DriverServer::new(DriverService(control.clone()))
        .max_decoding_message_size(limits::ANONYMOUS_MESSAGE_BYTES);
    background.spawn(served(
        tonic::transport::Server::builder()
            .initial_stream_window_size(limits::ANONYMOUS_WINDOW_BYTES)
            .initial_connection_window_size(limits::ANONYMOUS_WINDOW_BYTES)
            .max_concurrent_streams(limits::ANONYMOUS_STREAMS)
            .layer(WatchCalls {
                refusals: control.refusals.clone(),
                most_calls: Some(limits::ANONYMOUS_CALLS),
            })
            .add_service(service)
            .serve_with_incoming(ReceiverStream::new(anonymous_connections)),
    ));
    background.spawn(keep_time(control.clone()));
    background.spawn(shortage::tell(control.clone()));

    let registration = manager.register(spec).await?;
    // Only now: an application that was refused has no progress.
    if let Some(telling) = progress::tell(&control) {
        background.spawn(telling);
    }
    control.set_application(Some(Arc::from(registration.application)));
    background.spawn(listen(control.clone(), registration.events));
    control.set_target(profile, executors)?;
    tracing::info!(application = %control.application_id, %bound, ?addresses, "the driver is up");
    Ok((control, addresses, background))
}

/// What every executor finds (E4); nothing of it is secret.
fn executor_environment(
    application: &ApplicationId,
    incarnation: Incarnation,
    trust: Trust,
    addresses: &[HostPort],
    lease: Duration,
) -> BTreeMap<String, String> {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    [
        (environment::ROLE, "guard".to_owned()),
        (environment::DRIVER, addresses.join(",")),
        (environment::APPLICATION, application.to_string()),
        (environment::INCARNATION, incarnation.to_string()),
        (environment::TRUST, trust.to_string()),
        (environment::LEASE_MS, lease.as_millis().to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

async fn served(serving: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = serving.await {
        tracing::error!(%error, "the driver's service ended");
    }
}

async fn keep_time(control: Arc<Control>) {
    loop {
        let next = control.next_deadline();
        let wait = next.map_or(Duration::from_secs(3600), |next| next.since(clock::now()));
        let due = clock::now() + wait;
        tokio::select! {
            () = tokio::time::sleep(wait) => control.tick(clock::now().since(due) > HELD_UP),
            () = control.nearer.notified() => {}
        }
    }
}

async fn listen(control: Arc<Control>, mut events: Events) {
    while let Some(event) = events.next().await {
        control.manager_said(event);
    }
}

async fn serve(control: &Arc<Control>, mut asks: mpsc::UnboundedReceiver<Ask>, background: &mut JoinSet<()>) {
    while let Some(ask) = asks.recv().await {
        match ask(control) {
            Next::Wait(future) => {
                while background.try_join_next().is_some() {}
                background.spawn(future);
            }
            Next::Stop => return,
        }
    }
}

/// The driver goes without having unregistered: its executors are told, and the lease does what that doesn't (T3).
async fn abandon(control: &Arc<Control>) {
    if control.standing.borrow().connected == 0 {
        return;
    }
    control.end_all("its driver has ended");
    let mut standing = control.standing.subscribe();
    // They hang up once they have read it.
    let _ = tokio::time::timeout(FAREWELL, standing.wait_for(|standing| standing.connected == 0)).await;
}

/// Ends the application at its manager. `Ok`: nothing is left (T1).
pub(super) async fn unregister(control: Arc<Control>, outcome: Outcome, deadline: Duration) -> Result<()> {
    let application = control.registered()?;
    control.end_all("its application ends");
    application.unregister(outcome, deadline).await
}

/// Waits until `n` executors take tasks.
pub(super) async fn wait_ready(control: Arc<Control>, n: usize, timeout: Duration) -> Result<()> {
    let mut standing = control.standing.subscribe();
    let enough = async {
        let now = standing.wait_for(|now| now.ready >= n || now.ended.is_some()).await;
        now.map(|now| now.ended.clone()).unwrap_or_default()
    };
    let ready = |control: &Control| control.standing.borrow().ready;
    match tokio::time::timeout(timeout, enough).await {
        Ok(None) => Ok(()),
        Ok(Some((outcome, by))) => {
            Err(Error::new(ErrorKind::Unavailable, "the application is over before its executors were ready")
                .with("wanted", n)
                .with("ready", ready(&control))
                .with("outcome", format!("{outcome:?}"))
                .with("by", format!("{by:?}")))
        }
        Err(_) => {
            let error = Error::new(ErrorKind::DeadlineExceeded, "executors aren't ready in time")
                .with("wanted", n)
                .with("ready", ready(&control))
                .with("after", crate::units::format_duration(timeout));
            let reasons = match control.registered()?.explain().await {
                Ok(shortfalls) => handle::reasons(&shortfalls),
                Err(error) => error.to_string(),
            };
            Err(if reasons.is_empty() {
                error.with("why", "they were granted but haven't attached yet")
            } else {
                error.with("why", reasons)
            })
        }
    }
}
