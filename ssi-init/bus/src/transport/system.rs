// SPDX-License-Identifier: GPL-2.0-or-later
//! The system bus: one connection, with the name `org.freedesktop.systemd1` on it.
//!
//! ```text
//!   connect_system_bus ──▶ task: connect, own the name ──▶ BusUp ──▶ messages … ──▶ BusGone
//!                            ▲                                                        │
//!                            └── BusRetry, if the bus's unit is still up ◀────────────┘
//! ```
//!
//! Nobody here connects to a bus whose unit is down: its socket is one of the manager's own, and to connect would start
//! it.
//!
//! Before a message of somebody new goes on, the bus is asked who that is; messages of the others do not wait for the
//! answer.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use zbus::export::ordered_stream::OrderedStreamExt as _;
use zbus::export::serde::Serialize;
use zbus::message::Type;
use zbus::zvariant::{DynamicType, OwnedValue};
use zbus::{Connection, Message, MessageStream};

use super::writer::Writer;
use super::{Arrived, Client, Credentials};

/// The manager's name.
pub(crate) const NAME: &str = "org.freedesktop.systemd1";
/// The bus itself.
pub(crate) const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
/// How long the bus may take for anything.
const PATIENCE: Duration = Duration::from_secs(25);
/// Pauses between attempts to connect to a bus that is said to be up.
const BACK_OFF: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
];
/// After a connection broke.
const AGAIN: Duration = Duration::from_secs(1);
/// Clients whose credentials are remembered. A unique name is never given twice, so what is remembered stays true.
const REMEMBERED: usize = 512;
/// Messages that wait for their senders' credentials.
const HELD: usize = 1024;
/// Do not queue for the name (`DBUS_NAME_FLAG_DO_NOT_QUEUE`): the one that has it will not let go.
const DO_NOT_QUEUE: u32 = 4;

/// What the task is asked.
#[derive(Debug)]
pub(crate) enum Order {
    /// Watch these names for [`Arrived::NameOwner`], and no others.
    Want(BTreeSet<String>),
    /// Tell when this client is gone.
    Track(String),
    /// No need to.
    Untrack(String),
}

/// The connection, or the attempt to have one. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Link {
    /// The way to the bus.
    pub(crate) writer: Writer,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
    /// Whether the manager has its name.
    pub(crate) up: bool,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Begins to connect. Call it within a runtime.
    pub(crate) fn start(socket: PathBuf, names: BTreeSet<String>, arrivals: mpsc::Sender<Arrived>) -> Link {
        let (writer, drain) = Writer::new();
        let (orders, asked) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let connection = match connected(&socket).await {
                Ok(connection) => connection,
                Err(error) => {
                    let _ = arrivals.send(Arrived::BusGone(format!("{}: {error}", socket.display()))).await;
                    return;
                }
            };
            let messages = MessageStream::from(&connection);
            let mut writing = tokio::spawn(drain.run(connection.clone()));
            let mut session = Session::new(connection, arrivals.clone(), names);
            let why = tokio::select! {
                why = session.run(messages, asked) => why,
                written = &mut writing => match written {
                    Ok(Err(error)) => format!("cannot write: {error}"),
                    _ => "nothing is written any more".to_owned(),
                },
            };
            writing.abort();
            let _ = arrivals.send(Arrived::BusGone(why)).await;
        });
        Link { writer, orders, task, up: false }
    }

    /// Asks the task for something. One that is over has told so.
    pub(crate) fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}

/// Tells when to try again.
pub(crate) fn retry(arrivals: mpsc::Sender<Arrived>) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::time::sleep(AGAIN).await;
        let _ = arrivals.send(Arrived::BusRetry).await;
    })
}

async fn limited<T>(work: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    let late = || zbus::Error::Failure(format!("no answer in {} seconds", PATIENCE.as_secs()));
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late()))
}

async fn connected(socket: &std::path::Path) -> zbus::Result<Connection> {
    let mut pauses = BACK_OFF.iter();
    loop {
        let attempt = async {
            let stream = tokio::net::UnixStream::connect(socket).await?;
            zbus::connection::Builder::unix_stream(stream).build().await
        };
        match (limited(attempt).await, pauses.next()) {
            (Ok(connection), _) => return Ok(connection),
            (Err(_), Some(pause)) => tokio::time::sleep(*pause).await,
            (Err(error), None) => return Err(error),
        }
    }
}

async fn ask<B: Serialize + DynamicType + Sync>(
    connection: &Connection,
    method: &str,
    body: &B,
) -> zbus::Result<Message> {
    limited(connection.call_method(Some(BUS), BUS_PATH, Some(BUS), method, body)).await
}

fn owner_rule(name: &str) -> String {
    format!("type='signal',sender='{BUS}',path='{BUS_PATH}',interface='{BUS}',member='NameOwnerChanged',arg0='{name}'")
}

async fn credentials_of(connection: &Connection, name: &str) -> Credentials {
    let Ok(answer) = ask(connection, "GetConnectionCredentials", &name).await else { return Credentials::default() };
    let body = answer.body();
    let Ok(map) = body.deserialize::<HashMap<String, OwnedValue>>() else { return Credentials::default() };
    let number = |key: &str| map.get(key).and_then(|value| u32::try_from(value).ok());
    Credentials { uid: number("UnixUserID"), pid: number("ProcessID") }
}

async fn pid_of(connection: &Connection, name: &str) -> Option<u32> {
    let answer = ask(connection, "GetConnectionUnixProcessID", &name).await.ok()?;
    answer.body().deserialize().ok()
}

/// What came of a question to the bus.
enum Found {
    Client(String, Credentials),
    Owner(String, bool, Option<u32>),
    /// Whether the manager has its name now.
    Named(zbus::Result<()>),
    Asked(zbus::Result<()>, &'static str),
}

struct Session {
    connection: Connection,
    arrivals: mpsc::Sender<Arrived>,
    wanted: BTreeSet<String>,
    tracked: BTreeSet<String>,
    known: HashMap<String, Credentials>,
    /// Names in `known`, the oldest first.
    ages: VecDeque<String>,
    /// Messages of those that are being asked about.
    held: HashMap<String, Vec<Message>>,
    held_count: usize,
    questions: JoinSet<Found>,
}

impl Session {
    fn new(connection: Connection, arrivals: mpsc::Sender<Arrived>, wanted: BTreeSet<String>) -> Self {
        Self {
            connection,
            arrivals,
            wanted,
            tracked: BTreeSet::new(),
            known: HashMap::new(),
            ages: VecDeque::new(),
            held: HashMap::new(),
            held_count: 0,
            questions: JoinSet::new(),
        }
    }

    /// Serves until the connection is over; why it is.
    async fn run(&mut self, mut messages: MessageStream, mut orders: mpsc::UnboundedReceiver<Order>) -> String {
        let connection = self.connection.clone();
        self.questions.spawn(async move { Found::Named(begin(&connection).await) });
        for name in self.wanted.clone() {
            self.watch(name, true);
        }
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(Ok(message)) => self.message(message).await,
                    Some(Err(error)) => return error.to_string(),
                    None => return "the bus closed the connection".to_owned(),
                },
                Some(order) = orders.recv() => self.order(order),
                Some(found) = self.questions.join_next() => match found {
                    Ok(Found::Named(Err(error))) => {
                        return format!("the manager cannot have its name there: {error}");
                    }
                    Ok(found) => self.found(found).await,
                    // Only a task that was cut short comes to this, and none is.
                    Err(_) => {}
                },
            }
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Want(names) => {
                for gone in self.wanted.difference(&names).cloned().collect::<Vec<_>>() {
                    self.unwatch(gone);
                }
                for new in names.difference(&self.wanted).cloned().collect::<Vec<_>>() {
                    self.watch(new, true);
                }
                self.wanted = names;
            }
            Order::Track(name) => {
                if self.tracked.insert(name.clone()) {
                    self.watch(name, false);
                }
            }
            Order::Untrack(name) => {
                if self.tracked.remove(&name) {
                    self.unwatch(name);
                }
            }
        }
    }

    /// Has the bus tell of a name. For a client that may be gone by then, and for a name that may have an owner already,
    /// it is asked once as well.
    fn watch(&mut self, name: String, with_pid: bool) {
        let connection = self.connection.clone();
        self.questions.spawn(async move {
            if let Err(error) = ask(&connection, "AddMatch", &owner_rule(&name)).await {
                return Found::Asked(Err(error), "watching a name");
            }
            let owned = match ask(&connection, "NameHasOwner", &name).await {
                Ok(answer) => answer.body().deserialize::<bool>().unwrap_or(false),
                Err(error) => return Found::Asked(Err(error), "looking for a name"),
            };
            let pid = if owned && with_pid { pid_of(&connection, &name).await } else { None };
            Found::Owner(name, owned, pid)
        });
    }

    fn unwatch(&mut self, name: String) {
        let connection = self.connection.clone();
        self.questions.spawn(async move {
            Found::Asked(ask(&connection, "RemoveMatch", &owner_rule(&name)).await.map(drop), "watching a name no more")
        });
    }

    async fn found(&mut self, found: Found) {
        match found {
            Found::Client(name, credentials) => {
                if self.known.insert(name.clone(), credentials).is_none() {
                    self.ages.push_back(name.clone());
                }
                if self.ages.len() > REMEMBERED
                    && let Some(oldest) = self.ages.pop_front()
                {
                    self.known.remove(&oldest);
                }
                for message in self.held.remove(&name).unwrap_or_default() {
                    self.held_count -= 1;
                    self.pass_on(name.clone(), credentials, message).await;
                }
            }
            Found::Owner(name, owned, pid) => self.owner(name, owned, pid).await,
            Found::Named(_) => self.tell(Arrived::BusUp).await,
            Found::Asked(Ok(()), _) => {}
            Found::Asked(Err(error), what) => {
                self.tell(Arrived::Trouble(format!("{what} on the system bus: {error}"))).await
            }
        }
    }

    async fn owner(&mut self, name: String, owned: bool, pid: Option<u32>) {
        if !owned && self.tracked.remove(&name) {
            self.unwatch(name.clone());
            self.tell(Arrived::NameGone(name.clone())).await;
        }
        if self.wanted.contains(&name) {
            self.tell(Arrived::NameOwner { name, owned, pid }).await;
        }
    }

    async fn message(&mut self, message: Message) {
        let header = message.header();
        let Some(sender) = header.sender().map(|sender| sender.as_str().to_owned()) else {
            return self.of_the_bus(message.clone()).await;
        };
        if sender == BUS {
            return self.of_the_bus(message.clone()).await;
        }
        if message.message_type() != Type::MethodCall {
            return;
        }
        if let Some(credentials) = self.known.get(&sender).copied() {
            return self.pass_on(sender, credentials, message.clone()).await;
        }
        if let Some(held) = self.held.get_mut(&sender) {
            if self.held_count < HELD {
                self.held_count += 1;
                held.push(message.clone());
            }
            return;
        }
        self.held_count += 1;
        self.held.insert(sender.clone(), vec![message.clone()]);
        let connection = self.connection.clone();
        self.questions.spawn(async move {
            let credentials = credentials_of(&connection, &sender).await;
            Found::Client(sender, credentials)
        });
    }

    /// A signal of the bus: names, and services it wants started.
    async fn of_the_bus(&mut self, message: Message) {
        if message.message_type() != Type::Signal {
            return;
        }
        let member = message.header().member().map(|member| member.as_str().to_owned()).unwrap_or_default();
        match member.as_str() {
            "NameOwnerChanged" => {
                let body = message.body();
                let Ok((name, _, new)) = body.deserialize::<(String, String, String)>() else { return };
                if !self.wanted.contains(&name) {
                    return self.owner(name, !new.is_empty(), None).await;
                }
                let connection = self.connection.clone();
                self.questions.spawn(async move {
                    let pid = if new.is_empty() { None } else { pid_of(&connection, &new).await };
                    Found::Owner(name, !new.is_empty(), pid)
                });
            }
            "ActivationRequest" => self.pass_on(BUS.to_owned(), Credentials { uid: Some(0), pid: None }, message).await,
            _ => {}
        }
    }

    async fn pass_on(&mut self, sender: String, credentials: Credentials, message: Message) {
        self.tell(Arrived::Message { client: Client::Bus(sender), credentials, message }).await;
    }

    async fn tell(&mut self, arrived: Arrived) {
        // Nobody listens only when the manager ends.
        let _ = self.arrivals.send(arrived).await;
    }
}

/// Gets the manager's name, and the bus's wishes for services.
async fn begin(connection: &Connection) -> zbus::Result<()> {
    let rule = format!(
        "type='signal',sender='{BUS}',path='{BUS_PATH}',interface='{NAME}.Activator',member='ActivationRequest'"
    );
    ask(connection, "AddMatch", &rule).await?;
    let answer = ask(connection, "RequestName", &(NAME, DO_NOT_QUEUE)).await?;
    match answer.body().deserialize::<u32>()? {
        // Primary owner, or that already.
        1 | 4 => Ok(()),
        _ => Err(zbus::Error::Failure(format!("somebody else has {NAME}"))),
    }
}
