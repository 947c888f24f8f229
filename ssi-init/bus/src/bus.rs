// SPDX-License-Identifier: GPL-2.0-or-later
//! All connections together, as the manager's loop sees them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use ssi_manager::core::commands::CommandError;
use ssi_manager::core::system::{Pid, Priority};
use ssi_manager::core::{Core, Event, Outgoing};
use ssi_manager::job::{JobMode, JobType, Request};
use tokio::sync::mpsc;
use zbus::Message;
use zbus::message::Type;

use crate::clients::{Clients, To};
use crate::dispatch::{self, Scene};
use crate::host::Host;
use crate::manager::jobs::Wanted;
use crate::manager::{jobs, transient};
use crate::reply::{Call, names};
use crate::signals::{self, Audience};
use crate::transport::system::{self, Link, Order};
use crate::transport::{Arrived, Client, Credentials, PeerId, WAITING, private};

/// How the bus is served.
#[derive(Clone, Debug)]
pub struct Options {
    /// The system bus's socket.
    pub system_bus: PathBuf,
    /// How many clients there may be at the manager's own socket at one time.
    pub clients: usize,
    /// Where files of units lie that were made at run time; those of forgotten units are removed.
    pub transient: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            system_bus: "/run/dbus/system_bus_socket".into(),
            clients: 512,
            transient: "/run/systemd/transient".into(),
        }
    }
}

/// Something came from a client, or about one. [`Bus::handle`] takes it.
#[derive(Debug)]
pub struct Arrival(Arrived);

/// What [`Bus::next`] gives.
#[derive(Debug)]
pub enum Incoming {
    /// Something for the core: a name on the bus got an owner. [`Bus::handle`] passes it on as well.
    Event(Event),
    /// A call, or a client that came or went.
    Client(Arrival),
}

/// All connections.
#[derive(Debug)]
pub struct Bus {
    options: Options,
    arrivals: mpsc::Receiver<Arrived>,
    sender: mpsc::Sender<Arrived>,
    _listener: private::Listener,
    peers: BTreeMap<PeerId, private::Peer>,
    link: Option<Link>,
    /// Names that units wait for.
    wanted: BTreeSet<String>,
    clients: Clients,
    /// Whether what an earlier manager's clients held was taken up.
    adopted: bool,
}

impl Bus {
    /// Serves clients at the manager's own socket. Call it within a runtime.
    ///
    /// # Errors
    /// When there is no runtime, or the socket cannot be used in one.
    pub fn new(private: UnixListener, options: Options) -> io::Result<Bus> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let (sender, arrivals) = mpsc::channel(WAITING);
        let listener = private::Listener::start(private, options.clients, sender.clone())?;
        Ok(Bus {
            options,
            arrivals,
            sender,
            _listener: listener,
            peers: BTreeMap::new(),
            link: None,
            wanted: BTreeSet::new(),
            clients: Clients::default(),
            adopted: false,
        })
    }

    /// Connects to the system bus, which is up; without effect where that is done or under way. When the connection
    /// breaks, it is made again as long as the bus's unit is up; else this is to be called once it is up again.
    pub fn connect_system_bus(&mut self) {
        if self.link.is_none() {
            let socket = self.options.system_bus.clone();
            self.link = Some(Link::start(socket, self.wanted.clone(), self.sender.clone()));
        }
    }

    /// Lets go of the system bus.
    pub fn disconnect_system_bus(&mut self, core: &mut Core) {
        if self.link.take().is_some() {
            self.clients.bus_gone(core);
        }
    }

    /// Whether the manager has its name on the system bus.
    pub fn is_on_system_bus(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.up)
    }

    /// Tells of these names on the bus, as [`Event::BusName`], and of no others: `BusName=` of services.
    pub fn names_wanted(&mut self, names: BTreeSet<String>) {
        if names != self.wanted {
            self.wanted = names;
            if let Some(link) = &self.link {
                link.order(Order::Want(self.wanted.clone()));
            }
        }
    }

    /// Clients on the system bus that want signals: the manager that comes after this one has to know them
    /// ([`Bus::subscribe_again`]).
    pub fn subscribers(&self) -> impl Iterator<Item = &str> {
        self.clients.subscribed.iter().map(String::as_str)
    }

    /// Takes up the subscriptions of an earlier manager.
    pub fn subscribe_again(&mut self, names: impl IntoIterator<Item = String>) {
        for name in names {
            self.clients.subscribe(&name);
        }
    }

    /// Waits for what comes next. May be dropped at any time: nothing is lost.
    pub async fn next(&mut self) -> Incoming {
        match self.arrivals.recv().await {
            Some(Arrived::NameOwner { name, owned, pid }) => {
                Incoming::Event(Event::BusName { name, owner: pid.map(Pid), owned })
            }
            Some(arrived) => Incoming::Client(Arrival(arrived)),
            // This one holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// Does what came, to its end. Answers wait for [`Bus::flush`].
    pub fn handle(&mut self, core: &mut Core, host: &mut dyn Host, incoming: Incoming) {
        if !std::mem::replace(&mut self.adopted, true) {
            self.clients.adopt(core);
        }
        match incoming {
            Incoming::Event(event) => core.handle(event),
            Incoming::Client(Arrival(arrived)) => self.arrived(core, host, arrived),
        }
        self.give_orders();
    }

    fn arrived(&mut self, core: &mut Core, host: &mut dyn Host, arrived: Arrived) {
        match arrived {
            Arrived::Peer(id, peer) => {
                self.peers.insert(id, peer);
            }
            Arrived::PeerGone(id) => {
                self.peers.remove(&id);
                self.clients.gone(core, &Client::Peer(id));
            }
            Arrived::Message { client, credentials, message } => self.message(core, host, client, credentials, message),
            Arrived::BusUp => {
                if let Some(link) = &mut self.link {
                    link.up = true;
                    for name in self.clients.tracked() {
                        link.order(Order::Track(name.clone()));
                    }
                    core.sys.log(Priority::Info, None, "is on the system bus");
                }
            }
            Arrived::BusGone(why) => {
                self.link = None;
                self.clients.bus_gone(core);
                core.sys.log(Priority::Notice, None, &format!("is not on the system bus any more: {why}"));
                system::retry(self.sender.clone());
            }
            Arrived::BusRetry => {
                if bus_is_up(core) {
                    self.connect_system_bus();
                }
            }
            Arrived::NameGone(name) => self.clients.gone(core, &Client::Bus(name)),
            Arrived::NameOwner { name, owned, pid } => {
                core.handle(Event::BusName { name, owner: pid.map(Pid), owned });
            }
            Arrived::Trouble(text) => core.sys.log(Priority::Warning, None, &text),
        }
    }

    fn message(
        &mut self,
        core: &mut Core,
        host: &mut dyn Host,
        client: Client,
        credentials: Credentials,
        message: Message,
    ) {
        if let Client::Peer(id) = &client
            && let Some(peer) = self.peers.get_mut(id)
        {
            peer.has_spoken = true;
        }
        let call = Call { client, credentials, message };
        match call.message.message_type() {
            Type::MethodCall => {}
            Type::Signal if matches!(&call.client, Client::Bus(name) if name == system::BUS) => {
                return self.activation_request(core, host, &call);
            }
            _ => return,
        }
        let mut scene = Scene { core, host, clients: &mut self.clients };
        let answer = match dispatch::answer(&mut scene, &call) {
            Ok(answer) => answer,
            Err(error) => call.refusal(&error),
        };
        // Units that were loaded only to be looked at are forgotten again.
        scene.core.settle();
        if call.wants_answer()
            && let Some(answer) = answer
        {
            self.clients.send(To::Client(call.client), answer);
        }
    }

    /// The bus wants a service started because somebody sent a message to its name: dbus-daemon(1),
    /// `--systemd-activation`.
    fn activation_request(&mut self, core: &mut Core, host: &mut dyn Host, call: &Call) {
        let Ok(name) = call.body::<String>() else { return };
        let mut scene = Scene { core, host, clients: &mut self.clients };
        let Err(error) = activate(&mut scene, &name) else { return };
        scene.core.sys.log(Priority::Warning, None, &format!("{name} cannot be started for the bus: {error}"));
        let failure =
            Message::signal("/org/freedesktop/DBus", "org.freedesktop.systemd1.Activator", "ActivationFailure")
                .and_then(|builder| builder.destination(system::BUS))
                .and_then(|builder| builder.build(&(name.as_str(), error.name, error.message.as_str())));
        if let Ok(failure) = failure {
            self.clients.send(To::Bus, failure);
        }
    }

    fn give_orders(&mut self) {
        let orders = std::mem::take(&mut self.clients.orders);
        if let Some(link) = self.link.as_ref().filter(|link| link.up) {
            for order in orders {
                link.order(order);
            }
        }
    }

    fn audience(&self) -> Audience {
        let listens = |id: &PeerId| self.clients.cluster != Some(Client::Peer(*id));
        let peers = self.peers.iter().any(|(id, peer)| peer.has_spoken && listens(id));
        Audience { peers, bus: self.is_on_system_bus() }
    }

    /// Has clients told what happened in a turn.
    pub fn tell(&mut self, core: &Core, outgoing: &VecDeque<Outgoing>) {
        for one in outgoing {
            if let Outgoing::UnitRemoved { name } = one {
                transient::forget(&self.options.transient, name);
            }
        }
        let audience = self.audience();
        signals::tell(&mut self.clients, audience, core, outgoing.iter());
        self.give_orders();
    }

    /// Has clients told that the boot is done, and how long its parts took.
    pub fn startup_finished(&mut self, host: &dyn Host) {
        let times = host.facts().times;
        let between = |from: u64, to: u64| to.saturating_sub(from);
        let kernel_ends =
            [times.initrd, times.userspace].iter().map(|at| at.monotonic).find(|at| *at != 0).unwrap_or(0);
        let initrd =
            if times.initrd.monotonic == 0 { 0 } else { between(times.initrd.monotonic, times.userspace.monotonic) };
        // Firmware and loader are told as how long before the kernel they began.
        let firmware = between(times.loader.monotonic, times.firmware.monotonic);
        let userspace = between(times.userspace.monotonic, times.finish.monotonic);
        let total = times.firmware.monotonic.saturating_add(times.finish.monotonic);
        let parts = (firmware, times.loader.monotonic, kernel_ends, initrd, userspace, total);
        let audience = self.audience();
        signals::startup_finished(&mut self.clients, audience, parts);
    }

    /// Lets all that was answered and told go out. A client that has too much waiting is cut off.
    pub fn flush(&mut self) {
        for (to, message) in std::mem::take(&mut self.clients.outbox) {
            match to {
                To::Client(Client::Peer(id)) => self.send_to_peer(id, message),
                To::Client(Client::Bus(_)) | To::Bus => self.send_to_bus(message),
                To::Peers => {
                    // ssi-clusterd asks for what it wants to know.
                    let listens = |id: &PeerId| self.clients.cluster != Some(Client::Peer(*id));
                    let ids = self.peers.iter().filter(|(id, peer)| peer.has_spoken && listens(id)).map(|(id, _)| *id);
                    let ids: Vec<PeerId> = ids.collect();
                    for id in ids {
                        self.send_to_peer(id, message.clone());
                    }
                }
            }
        }
    }

    fn send_to_peer(&mut self, id: PeerId, message: Message) {
        if let Some(peer) = self.peers.get(&id)
            && peer.writer.put(message).is_err()
        {
            // Its tasks tell that it is gone.
            self.peers.remove(&id);
        }
    }

    fn send_to_bus(&mut self, message: Message) {
        if let Some(link) = self.link.as_ref().filter(|link| link.up)
            && link.writer.put(message).is_err()
        {
            // The bus does not read. Without it there is still the manager's own socket.
            self.link = None;
            let _ = self.sender.try_send(Arrived::BusGone("it does not take what is sent to it".to_owned()));
        }
    }

    /// Waits until clients have taken what was sent to them, or that long: before this process makes way for another.
    pub async fn drained(&self, limit: Duration) {
        let empty = || {
            self.peers.values().all(|peer| peer.writer.is_empty())
                && self.link.as_ref().is_none_or(|link| link.writer.is_empty())
        };
        let _ = tokio::time::timeout(limit, async {
            while !empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}

/// Whether the unit of the system bus is up.
fn bus_is_up(core: &Core) -> bool {
    let up = |name: &str| core.unit_there(name).is_ok_and(|id| core.unit(id).active().is_active_or_reloading());
    up("dbus.service") || up("dbus-broker.service")
}

/// Starts a service for the bus.
fn activate(scene: &mut Scene<'_>, name: &str) -> Result<(), CommandError> {
    let going_down = |unit: &str| {
        scene.core.unit_there(unit).is_ok_and(|id| {
            scene.core.queue.job_of(id).is_some_and(|job| job.kind == JobType::Stop)
                || scene.core.unit(id).active().is_inactive_or_deactivating()
        })
    };
    if going_down("dbus.service") || going_down("dbus.socket") {
        return Err(CommandError::new(names::SHUTTING_DOWN, "Refusing activation, D-Bus is shutting down."));
    }
    let id = scene.core.unit_named(name)?;
    if scene.core.unit(id).config.unit.refuse_manual_start {
        let text = format!(
            "Operation refused, {name} may be requested by dependency only (it is configured to refuse manual start/stop)."
        );
        return Err(CommandError::new(names::ONLY_BY_DEPENDENCY, text));
    }
    let wanted = Wanted { request: Request::Start, prefer_reload: false };
    jobs::install(scene.core, id, wanted, JobMode::Replace)?;
    scene.core.settle();
    Ok(())
}
