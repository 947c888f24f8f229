// SPDX-License-Identifier: GPL-2.0-or-later
//! What is known of the clients: who subscribed, who holds which unit, who waits for which job; and what is to be sent
//! to them once the turn is over.

use std::collections::{BTreeMap, BTreeSet};

use ssi_manager::core::Core;
use ssi_manager::graph::UnitId;
use ssi_manager::job::JobId;
use ssi_unit::name::UnitName;
use zbus::Message;

use crate::transport::Client;
use crate::transport::system::Order;

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// One.
    Client(Client),
    /// All at the manager's own socket.
    Peers,
    /// The system bus, and whoever it says.
    Bus,
}

/// The clients.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// Those on the bus that want signals.
    pub(crate) subscribed: BTreeSet<String>,
    /// How often each holds which unit.
    holds: BTreeMap<Client, BTreeMap<UnitName, u32>>,
    /// Who waits for which job.
    waits: BTreeMap<JobId, BTreeSet<Client>>,
    /// Those on the bus whose end has to be known.
    tracked: BTreeSet<String>,
    /// Messages to be sent, in order.
    pub(crate) outbox: Vec<(To, Message)>,
    /// What the bus is to be asked.
    pub(crate) orders: Vec<Order>,
    /// The ssi-clusterd that attached last.
    pub(crate) cluster: Option<Client>,
    /// Links to unit files were changed.
    pub(crate) files_changed: bool,
}

impl Clients {
    /// Notes a message.
    pub(crate) fn send(&mut self, to: To, message: Message) {
        self.outbox.push((to, message));
    }

    fn track(&mut self, client: &Client) {
        if let Client::Bus(name) = client
            && self.tracked.insert(name.clone())
        {
            self.orders.push(Order::Track(name.clone()));
        }
    }

    /// Stops looking after a client that is of no more interest.
    fn review(&mut self, client: &Client) {
        let Client::Bus(name) = client else { return };
        let needed = self.subscribed.contains(name)
            || self.holds.contains_key(client)
            || self.waits.values().any(|clients| clients.contains(client));
        if !needed && self.tracked.remove(name) {
            self.orders.push(Order::Untrack(name.clone()));
        }
    }

    /// The names to be tracked on a bus that was just reached.
    pub(crate) fn tracked(&self) -> impl Iterator<Item = &String> {
        self.tracked.iter()
    }

    /// Whether it is news.
    pub(crate) fn subscribe(&mut self, name: &str) -> bool {
        let new = self.subscribed.insert(name.to_owned());
        self.track(&Client::Bus(name.to_owned()));
        new
    }

    /// Whether it was subscribed.
    pub(crate) fn unsubscribe(&mut self, name: &str) -> bool {
        let was = self.subscribed.remove(name);
        self.review(&Client::Bus(name.to_owned()));
        was
    }

    /// A client does not want a unit forgotten.
    pub(crate) fn hold(&mut self, core: &mut Core, client: &Client, unit: UnitId) {
        let name = core.unit(unit).name.clone();
        *self.holds.entry(client.clone()).or_default().entry(name).or_default() += 1;
        core.hold_unit(unit, &client.holder());
        self.track(client);
    }

    /// It does not care any more. Whether it did.
    pub(crate) fn release(&mut self, core: &mut Core, client: &Client, unit: UnitId) -> bool {
        let name = core.unit(unit).name.clone();
        let Some(held) = self.holds.get_mut(client) else { return false };
        let Some(count) = held.get_mut(&name) else { return false };
        *count -= 1;
        if *count == 0 {
            held.remove(&name);
            core.release_unit(unit, &client.holder());
        }
        if held.is_empty() {
            self.holds.remove(client);
            self.review(client);
        }
        true
    }

    /// A client waits for a job.
    pub(crate) fn wait(&mut self, core: &mut Core, client: &Client, job: JobId) {
        if core.queue.get(job).is_some() && self.waits.entry(job).or_default().insert(client.clone()) {
            core.client_waits(job, true);
            self.track(client);
        }
    }

    /// Whether somebody on the bus waits for a job.
    pub(crate) fn waited_for_on_bus(&self, job: JobId) -> bool {
        self.waits.get(&job).is_some_and(|clients| clients.iter().any(|client| matches!(client, Client::Bus(_))))
    }

    /// Whether it is the client's own job.
    pub(crate) fn is_waiter(&self, job: JobId, client: &Client) -> bool {
        self.waits.get(&job).is_some_and(|clients| clients.contains(client))
    }

    /// A job is over.
    pub(crate) fn job_over(&mut self, job: JobId) {
        for client in self.waits.remove(&job).unwrap_or_default() {
            self.review(&client);
        }
    }

    /// A client is gone, and all it wanted with it.
    pub(crate) fn gone(&mut self, core: &mut Core, client: &Client) {
        if let Client::Bus(name) = client {
            self.subscribed.remove(name);
            self.tracked.remove(name);
        }
        if self.cluster.as_ref() == Some(client) {
            self.cluster = None;
        }
        self.holds.remove(client);
        core.release_all_units(&client.holder());
        let jobs: Vec<JobId> =
            self.waits.iter().filter(|(_, clients)| clients.contains(client)).map(|(job, _)| *job).collect();
        for job in jobs {
            if let Some(clients) = self.waits.get_mut(&job) {
                clients.remove(client);
                if clients.is_empty() {
                    self.waits.remove(&job);
                }
            }
            core.client_waits(job, false);
        }
        core.settle();
    }

    /// The whole bus is gone.
    pub(crate) fn bus_gone(&mut self, core: &mut Core) {
        let mut clients: BTreeSet<Client> = self.tracked.iter().cloned().map(Client::Bus).collect();
        clients.extend(self.subscribed.iter().cloned().map(Client::Bus));
        for client in clients {
            self.gone(core, &client);
        }
        self.orders.clear();
    }

    /// Takes up what an earlier manager's clients hold: those on the bus are looked after again, the others are gone.
    pub(crate) fn adopt(&mut self, core: &mut Core) {
        for (unit, holder) in core.unit_holders() {
            if holder.starts_with(':') {
                let client = Client::Bus(holder);
                let name = core.unit(unit).name.clone();
                self.holds.entry(client.clone()).or_default().insert(name, 1);
                self.track(&client);
            } else {
                core.release_unit(unit, &holder);
            }
        }
    }
}
