// SPDX-License-Identifier: GPL-2.0-or-later
//! A client of the unit manager: `org.freedesktop.systemd1`, at its own socket first, which needs no bus, then on the
//! system bus, which lets others than root in (org.freedesktop.systemd1(5)).

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use zbus::export::ordered_stream::OrderedStreamExt;
use zbus::message::Type;
use zbus::zvariant::{DynamicType, OwnedObjectPath, OwnedValue};
use zbus::{Connection, MatchRule, Message, MessageStream};

/// The manager's own socket; root's alone.
pub const PRIVATE_SOCKET: &str = "/run/systemd/private";

const SERVICE: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// How long an answer may take. A job may take longer: that is waited for without an end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long reading all units anew may take: generators are run and waited for, thousands of units are read.
const RELOAD_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How many ends of jobs are kept while an answer is waited for. Were there more, the answer behind them could not be
/// read; a boot has some hundreds.
const JOBS_QUEUED: usize = 16 * 1024;

/// Why the manager did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// Neither the socket nor the bus leads to a manager.
    #[error("no unit manager answers, neither at {PRIVATE_SOCKET} ({socket}) nor on the system bus ({bus})")]
    Absent {
        /// What the socket said.
        socket: String,
        /// What the bus said.
        bus: String,
    },
    /// The client could not be set up at all.
    #[error("cannot wait for answers: {0}")]
    Setup(#[from] io::Error),
    /// It was asked and said no.
    #[error("the unit manager refused {what}: {answer}")]
    Refused {
        /// The method.
        what: String,
        /// What it answered, in its words.
        answer: String,
    },
    /// It was asked and did not answer, or with something else.
    #[error("the unit manager did not answer {what}: {why}")]
    NoAnswer {
        /// The method.
        what: String,
        /// What is known.
        why: String,
    },
    /// It was asked and has not answered for so long that nobody should wait on.
    #[error("the unit manager has not answered {what} for {seconds} seconds")]
    Silent {
        /// The method.
        what: String,
        /// How long it had.
        seconds: u64,
    },
    /// The job was made and came to nothing.
    #[error("the job of {unit} has ended with \"{result}\"; see: systemctl status {unit}")]
    Job {
        /// The unit.
        unit: String,
        /// The job's result: org.freedesktop.systemd1(5), JobRemoved.
        result: String,
    },
}

/// A unit as `service NAME status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// `Description=`.
    pub description: String,
    /// Whether there is such a unit: `loaded`, `not-found`, `masked`, …
    pub load: String,
    /// `active`, `inactive`, `failed`, …
    pub active: String,
    /// The same, finer, in the words of the unit's type.
    pub sub: String,
    /// `CanReload`.
    pub can_reload: bool,
    /// The sockets, timers and paths that start it.
    pub triggered_by: Vec<String>,
}

/// What to do with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it.
    Restart,
    /// The same, if it runs.
    TryRestart,
    /// Have it read its configuration.
    Reload,
}

impl Verb {
    fn method(self) -> &'static str {
        match self {
            Verb::Start => "StartUnit",
            Verb::Stop => "StopUnit",
            Verb::Restart => "RestartUnit",
            Verb::TryRestart => "TryRestartUnit",
            Verb::Reload => "ReloadUnit",
        }
    }
}

/// A connection to the manager.
pub struct Manager {
    runtime: Runtime,
    connection: Connection,
    /// Through the bus, which wants to be told for whom a message is.
    on_bus: bool,
}

impl Manager {
    /// Connects.
    ///
    /// # Errors
    /// [`ManagerError::Absent`].
    pub fn connect() -> Result<Manager, ManagerError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let socket = match runtime.block_on(at_socket(Path::new(PRIVATE_SOCKET))) {
            Ok(connection) => return Ok(Manager { runtime, connection, on_bus: false }),
            Err(why) => why,
        };
        match runtime.block_on(on_bus()) {
            Ok(connection) => Ok(Manager { runtime, connection, on_bus: true }),
            Err(bus) => Err(ManagerError::Absent { socket, bus }),
        }
    }

    fn destination(&self) -> Option<&'static str> {
        self.on_bus.then_some(SERVICE)
    }

    fn call<B>(&self, path: &str, interface: &str, method: &str, body: &B) -> Result<Message, ManagerError>
    where
        B: zbus::export::serde::Serialize + DynamicType,
    {
        self.call_within(PATIENCE, path, interface, method, body)
    }

    fn call_within<B>(
        &self,
        patience: Duration,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<Message, ManagerError>
    where
        B: zbus::export::serde::Serialize + DynamicType,
    {
        let call = self.connection.call_method(self.destination(), path, Some(interface), method, body);
        let answer = self.runtime.block_on(async { timeout(patience, call).await });
        let what = method.to_owned();
        match answer {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(zbus::Error::MethodError(name, text, _))) => {
                Err(ManagerError::Refused { what, answer: text.unwrap_or_else(|| name.to_string()) })
            }
            Ok(Err(error)) => Err(ManagerError::NoAnswer { what, why: error.to_string() }),
            Err(_) => Err(ManagerError::Silent { what, seconds: patience.as_secs() }),
        }
    }

    /// Reads all units anew.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn reload(&self) -> Result<(), ManagerError> {
        self.call_within(RELOAD_PATIENCE, PATH, MANAGER, "Reload", &()).map(drop)
    }

    /// Has the manager execute itself anew. It cannot answer: its end of the connection is gone before it could.
    ///
    /// # Errors
    /// [`ManagerError::Refused`]; [`ManagerError::Silent`] from a manager that neither goes nor answers.
    pub fn reexecute(&self) -> Result<(), ManagerError> {
        match self.call(PATH, MANAGER, "Reexecute", &()) {
            Err(ManagerError::NoAnswer { .. }) | Ok(_) => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// Sends SIGKILL to every process of a unit.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn kill(&self, unit: &str) -> Result<(), ManagerError> {
        self.call(PATH, MANAGER, "KillUnit", &(unit, "all", nix::libc::SIGKILL)).map(drop)
    }

    /// Queues a job; systemctl(1), `--job-mode=`, explains the modes.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn queue(&self, verb: Verb, unit: &str, mode: &str) -> Result<OwnedObjectPath, ManagerError> {
        let answer = self.call(PATH, MANAGER, verb.method(), &(unit, mode))?;
        decode(&answer, verb.method())
    }

    /// Queues a job and waits until it is done.
    ///
    /// # Errors
    /// [`ManagerError`]; [`ManagerError::Job`] if it is done but did not succeed.
    pub fn run(&self, verb: Verb, unit: &str, mode: &str) -> Result<(), ManagerError> {
        let unreadable =
            |error: zbus::Error| ManagerError::NoAnswer { what: "JobRemoved".to_owned(), why: error.to_string() };
        // The stream's end, when this returns, starts a task of zbus', for which there must be a runtime then.
        let _inside = self.runtime.enter();
        // Listening begins before asking: a job may be gone before its path is here.
        let mut signals = self.runtime.block_on(self.job_signals()).map_err(unreadable)?;
        self.call(PATH, MANAGER, "Subscribe", &()).map(drop)?;
        let job = self.queue(verb, unit, mode)?;
        let result = self.runtime.block_on(async {
            while let Some(message) = signals.next().await {
                let message = message?;
                let Ok((_, path, _, result)) = message.body().deserialize::<(u32, OwnedObjectPath, String, String)>()
                else {
                    continue;
                };
                if path == job {
                    return Ok(Some(result));
                }
            }
            Ok(None)
        });
        match result.map_err(unreadable)? {
            // Skipped: there was nothing to do, as with a reload of what does not run.
            Some(result) if matches!(result.as_str(), "done" | "skipped") => Ok(()),
            Some(result) => Err(ManagerError::Job { unit: unit.to_owned(), result }),
            None => Err(ManagerError::NoAnswer {
                what: verb.method().to_owned(),
                why: "the connection ended before the job did".to_owned(),
            }),
        }
    }

    async fn job_signals(&self) -> zbus::Result<Pin<Box<MessageStream>>> {
        let rule = MatchRule::builder().msg_type(Type::Signal).interface(MANAGER)?.member("JobRemoved")?;
        let rule = if self.on_bus { rule.sender(SERVICE)? } else { rule };
        let stream = MessageStream::for_match_rule(rule.build(), &self.connection, Some(JOBS_QUEUED)).await?;
        Ok(Box::pin(stream))
    }

    /// What a unit is and does.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn state(&self, unit: &str) -> Result<UnitState, ManagerError> {
        let answer = self.call(PATH, MANAGER, "LoadUnit", &unit)?;
        let path: OwnedObjectPath = decode(&answer, "LoadUnit")?;
        Ok(UnitState {
            description: self.property(&path, UNIT, "Description")?,
            load: self.property(&path, UNIT, "LoadState")?,
            active: self.property(&path, UNIT, "ActiveState")?,
            sub: self.property(&path, UNIT, "SubState")?,
            can_reload: self.property(&path, UNIT, "CanReload")?,
            triggered_by: self.property(&path, UNIT, "TriggeredBy")?,
        })
    }

    /// `running`, `starting`, `stopping`, …: systemctl(1), `is-system-running`.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn system_state(&self) -> Result<String, ManagerError> {
        self.property(PATH, MANAGER, "SystemState")
    }

    fn property<T: TryFrom<OwnedValue>>(&self, path: &str, interface: &str, name: &str) -> Result<T, ManagerError> {
        let answer = self.call(path, PROPERTIES, "Get", &(interface, name))?;
        let value: OwnedValue = decode(&answer, name)?;
        let kind = value.value_signature().to_string();
        T::try_from(value).map_err(|_| ManagerError::NoAnswer {
            what: name.to_owned(),
            why: format!("the property is of the type \"{kind}\", which it should not be"),
        })
    }
}

fn decode<T>(answer: &Message, what: &str) -> Result<T, ManagerError>
where
    T: for<'a> zbus::export::serde::Deserialize<'a> + zbus::zvariant::Type,
{
    answer
        .body()
        .deserialize()
        .map_err(|error: zbus::Error| ManagerError::NoAnswer { what: what.to_owned(), why: error.to_string() })
}

async fn at_socket(path: &Path) -> Result<Connection, String> {
    let connect = async {
        let stream = UnixStream::connect(path).await?;
        over(stream).await
    };
    within(PATIENCE, connect).await
}

/// The client's end of a connection without a bus.
async fn over(stream: UnixStream) -> zbus::Result<Connection> {
    zbus::connection::Builder::unix_stream(stream).p2p().build().await
}

async fn on_bus() -> Result<Connection, String> {
    let connect = async {
        let connection = Connection::system().await?;
        // A bus without a manager on it would try to start one.
        let name = zbus::names::BusName::try_from(SERVICE)?;
        match zbus::fdo::DBusProxy::new(&connection).await?.name_has_owner(name).await? {
            true => Ok(connection),
            false => Err(zbus::Error::Failure(format!("nobody there is {SERVICE}"))),
        }
    };
    within(PATIENCE, connect).await
}

/// The outcome, or a sentence.
pub(crate) async fn within<T>(patience: Duration, work: impl Future<Output = zbus::Result<T>>) -> Result<T, String> {
    match timeout(patience, work).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {} seconds", patience.as_secs())),
    }
}
