//! Programs that don't link convoke, as what executors run (D14).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::executor::environment;
use crate::ids::Name;
use crate::rpc::v1;
use crate::units::HostPort;

/// How long a program may take to be ready, where nothing else is said.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// A program that doesn't link convoke and that executors run: a query engine's, a Python server, a training rank.
///
/// Its executor joins, holds its lease and its limits, starts the program, tells the driver when it is ready and where it
/// listens ([`Driver::executors`](crate::driver::Driver::executors), [`ExecutorReady`](crate::driver::DriverEvent::ExecutorReady)), and
/// ends its whole process tree. It restarts nothing: a program that ends, ends its executor, and that is replaced while
/// the target stands. No tasks of convoke run there.
///
/// ```
/// use convoke_core::driver::{ExecutorProgram, ReadyWhen};
/// let server = ExecutorProgram::new("python3")
///     .args(["-m", "http.server", "$(HTTP)"])
///     .port("HTTP")
///     .ready_when(ReadyWhen::PortAnswers("HTTP".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorProgram {
    program: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    directory: Option<String>,
    ports: Vec<String>,
    ready: Option<ReadyWhen>,
    ready_deadline: Duration,
    stop_signal: StopSignal,
    dial_at: DialAt,
}

/// When a program counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadyWhen {
    /// As soon as it runs.
    Started,
    /// The port of this name accepts a connection on the program's own host.
    PortAnswers(String),
    /// A line of its output or its errors contains this text.
    LinePrinted(String),
}

/// The host at which a program's ports can be dialled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialAt {
    /// The address that its supervisor calls the driver from.
    #[default]
    CallingAddress,
    /// Its host's name, as the manager spells it, else as the host itself does.
    HostName,
    /// This one, for all of them: a gateway.
    Host(String),
}

/// The signal that asks a program to end in its own way, when its executor drains or ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopSignal {
    /// `SIGTERM`.
    #[default]
    Terminate,
    /// `SIGINT`.
    Interrupt,
    /// `SIGQUIT`.
    Quit,
    /// `SIGHUP`.
    HangUp,
    /// `SIGUSR1`.
    User1,
    /// `SIGUSR2`.
    User2,
}

impl StopSignal {
    /// Its name: `SIGTERM`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            StopSignal::Terminate => "SIGTERM",
            StopSignal::Interrupt => "SIGINT",
            StopSignal::Quit => "SIGQUIT",
            StopSignal::HangUp => "SIGHUP",
            StopSignal::User1 => "SIGUSR1",
            StopSignal::User2 => "SIGUSR2",
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutorProgram {
    /// `program`: a path on the executor's node (a relative one from the executor's folder), or a name found by its `PATH`.
    pub fn new(program: impl Into<String>) -> ExecutorProgram {
        ExecutorProgram {
            program: program.into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            directory: None,
            ports: Vec::new(),
            ready: None,
            ready_deadline: READY_DEADLINE,
            stop_signal: StopSignal::default(),
            dial_at: DialAt::default(),
        }
    }

    /// Adds an argument. Nothing passes through a shell; `$(NAME)` stands for the port of that name, and `$$(NAME)` for
    /// `$(NAME)` itself. Any other dollar is a dollar.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> ExecutorProgram {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments, as [`arg`](Self::arg) does.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> ExecutorProgram {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment, beside those of every executor
    /// ([`executor_env`](crate::driver::DriverBuilder::executor_env)) and those of E4: `CONVOKE_EXECUTOR`,
    /// `CONVOKE_APPLICATION` and so on.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> ExecutorProgram {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Runs it in this folder of its node, by default in its executor's own; a relative one is looked for there.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<String>) -> ExecutorProgram {
        self.directory = Some(directory.into());
        self
    }

    /// Asks for a free port of its node, found anew at each start. The program finds the number in the variable `name` of
    /// its environment and in arguments that say `$(name)`, the driver with its [`ExecutorStatus`](crate::driver::ExecutorStatus).
    #[must_use]
    pub fn port(mut self, name: impl Into<String>) -> ExecutorProgram {
        self.ports.push(name.into());
        self
    }

    /// When it is ready. By default when its first port answers; as soon as it runs where it asks for none.
    #[must_use]
    pub fn ready_when(mut self, ready: ReadyWhen) -> ExecutorProgram {
        self.ready = Some(ready);
        self
    }

    /// How long it may take to be ready, from the join of its executor; one minute by default. One that isn't is ended as
    /// never ready, and replaced.
    #[must_use]
    pub fn ready_deadline(mut self, deadline: Duration) -> ExecutorProgram {
        self.ready_deadline = deadline;
        self
    }

    /// What asks it to end, `SIGTERM` by default. What is left of its tree is killed after the grace.
    #[must_use]
    pub fn stop_signal(mut self, signal: StopSignal) -> ExecutorProgram {
        self.stop_signal = signal;
        self
    }

    /// The host at which its ports are dialled, by default the address that its supervisor calls the driver from. Another
    /// one is right where that is behind an address translation, or where names matter (certificates).
    #[must_use]
    pub fn dial_at(mut self, host: DialAt) -> ExecutorProgram {
        self.dial_at = host;
        self
    }

    /// The program's path or name.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Refuses what can't be right.
    ///
    /// # Errors
    /// `InvalidRequest`, naming the field.
    pub fn check(&self) -> Result<()> {
        let texts = self.arguments.iter().chain(self.environment.values()).chain(&self.directory);
        if self.program.is_empty()
            || self.program.contains('\0')
            || texts.into_iter().any(|text| text.contains('\0'))
        {
            return Err(Error::invalid(
                "executor_program",
                "a program needs a name, and no text may hold a NUL",
            )
            .with("program", format!("{:?}", self.program)));
        }
        if let Some(name) = self.environment.keys().find(|name| name.is_empty() || name.contains(['=', '\0']))
        {
            return Err(Error::invalid("executor_program", "not a name of an environment")
                .with("name", format!("{name:?}")));
        }
        for (position, port) in self.ports.iter().enumerate() {
            let first = port.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
            let all = port.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
            let ours = port.starts_with(environment::PREFIX);
            if !first || !all || ours || self.ports[..position].contains(port) {
                return Err(Error::invalid("executor_program", "not a name for a port")
                    .with("port", format!("{port:?}"))
                    .help(
                        "a port is named like a variable, HTTP say: once, and not with CONVOKE_ in front",
                    ));
            }
        }
        match self.readiness() {
            ReadyWhen::PortAnswers(port) if !self.ports.contains(&port) => Err(Error::invalid(
                "executor_program",
                "the port that tells when it is ready isn't one of its own",
            )
            .with("port", format!("{port:?}"))
            .with("ports", self.ports.join(", "))
            .help("ask for it with port(…)")),
            ReadyWhen::LinePrinted(line) if line.is_empty() || line.contains(['\n', '\0']) => {
                Err(Error::invalid("executor_program", "no part of a line").with("line", format!("{line:?}")))
            }
            _ if self.ready_deadline.is_zero() => {
                Err(Error::invalid("executor_program", "the deadline for being ready is over at once"))
            }
            _ => Ok(()),
        }
    }

    fn readiness(&self) -> ReadyWhen {
        match (&self.ready, self.ports.first()) {
            (Some(ready), _) => ready.clone(),
            (None, Some(port)) => ReadyWhen::PortAnswers(port.clone()),
            (None, None) => ReadyWhen::Started,
        }
    }

    /// What its supervisor is told.
    pub(super) fn assignment(&self) -> v1::ForeignProgram {
        use v1::foreign_program::Ready;
        v1::ForeignProgram {
            program: self.program.clone(),
            arguments: self.arguments.clone(),
            ports: self.ports.clone(),
            ready: match self.readiness() {
                ReadyWhen::Started => None,
                ReadyWhen::PortAnswers(port) => Some(Ready::Port(port)),
                ReadyWhen::LinePrinted(line) => Some(Ready::Line(line)),
            },
            ready_deadline_ms: u64::try_from(self.ready_deadline.as_millis()).unwrap_or(u64::MAX).max(1),
            directory: self.directory.clone().unwrap_or_default(),
            stop_signal: self.stop_signal.name().to_owned(),
        }
    }

    /// What it finds in its environment beside that of every executor.
    pub(super) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// Where to dial its ports.
    pub(super) fn addresses(
        &self,
        ports: &BTreeMap<String, u32>,
        calling: Option<IpAddr>,
        host: Option<&Name>,
    ) -> BTreeMap<String, HostPort> {
        let calling = || calling.map(|address| address.to_canonical().to_string());
        let host = match &self.dial_at {
            DialAt::CallingAddress => calling(),
            DialAt::HostName => host.map(ToString::to_string).or_else(calling),
            DialAt::Host(host) => Some(host.clone()),
        };
        let Some(host) = host else { return BTreeMap::new() };
        let known = ports.iter().filter(|(name, _)| self.ports.contains(name));
        known
            .filter_map(|(name, port)| {
                let port = u16::try_from(*port).ok().filter(|port| *port > 0)?;
                Some((name.clone(), HostPort::new(host.clone(), port)))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ExecutorProgram {
        ExecutorProgram::new("server").port("HTTP").port("RPC")
    }

    #[test]
    fn what_cant_be_right_is_refused() {
        server().check().unwrap();
        ExecutorProgram::new("sleep").arg("1000").check().unwrap();
        for wrong in [
            ExecutorProgram::new(""),
            ExecutorProgram::new("a\0b"),
            server().arg("a\0b"),
            server().env("A=B", "c"),
            server().env("A", "b\0c"),
            server().directory("\0"),
            server().port("HTTP"),
            server().port("H-T"),
            server().port("1ST"),
            server().port(""),
            server().port("CONVOKE_PORT"),
            server().ready_when(ReadyWhen::PortAnswers("OTHER".into())),
            server().ready_when(ReadyWhen::LinePrinted(String::new())),
            server().ready_when(ReadyWhen::LinePrinted("two\nlines".into())),
            server().ready_deadline(Duration::ZERO),
        ] {
            assert_eq!(wrong.check().unwrap_err().field(), Some("executor_program"), "{wrong:?}");
        }
    }

    #[test]
    fn it_is_ready_by_its_first_port_where_nothing_else_is_said() {
        use v1::foreign_program::Ready;
        assert_eq!(server().assignment().ready, Some(Ready::Port("HTTP".into())));
        assert_eq!(ExecutorProgram::new("sleep").assignment().ready, None);
        assert_eq!(server().ready_when(ReadyWhen::Started).assignment().ready, None);
    }

    #[test]
    fn it_is_dialled_where_its_supervisor_calls_from_or_as_set() {
        let ports =
            BTreeMap::from([("HTTP".to_owned(), 8080), ("RPC".to_owned(), 70_000), ("X".to_owned(), 1)]);
        let calling: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        let name = Name::new("node-7").unwrap();
        let dialled = |program: ExecutorProgram, calling| {
            let addresses = program.addresses(&ports, calling, Some(&name));
            addresses.into_iter().map(|(name, address)| format!("{name} {address}")).collect::<Vec<_>>()
        };
        // A port that can't be one, and one that nobody asked for, are no addresses.
        assert_eq!(dialled(server(), Some(calling)), ["HTTP 192.0.2.7:8080"]);
        assert_eq!(dialled(server().dial_at(DialAt::HostName), None), ["HTTP node-7:8080"]);
        assert_eq!(dialled(server().dial_at(DialAt::Host("gate".into())), Some(calling)), ["HTTP gate:8080"]);
        assert_eq!(dialled(server(), None), [""; 0]);
        let six: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(dialled(server(), Some(six)), ["HTTP [2001:db8::1]:8080"]);
    }
}
