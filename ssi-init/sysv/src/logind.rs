// SPDX-License-Identifier: GPL-2.0-or-later
//! logind, who keeps a shutdown's time where it runs: `org.freedesktop.login1`, see org.freedesktop.login1(5).

use crate::action::Action;
use crate::manager::{PATIENCE, within};
use crate::schedule::Schedule;
use std::io;
use std::time::Duration;
use tokio::runtime::Runtime;
use zbus::export::serde::Serialize;
use zbus::names::BusName;
use zbus::zvariant::DynamicType;
use zbus::{Connection, Message};

const SERVICE: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";

/// How long somebody may take who is asked for a password before the machine goes down.
const PATIENCE_WITH_PEOPLE: Duration = Duration::from_secs(5 * 60);

/// logind was there, and refused or failed.
#[derive(Debug, thiserror::Error)]
#[error("logind did not do {what}: {why}")]
pub struct LogindError {
    what: &'static str,
    why: String,
}

/// A connection to logind.
pub struct Logind {
    runtime: Runtime,
    connection: Connection,
}

impl Logind {
    /// Connects; `None` where there is no bus, or no logind on it.
    ///
    /// # Errors
    /// Only if there is no way to wait for answers at all.
    pub fn connect() -> io::Result<Option<Logind>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(within(PATIENCE, async {
            let connection = Connection::system().await?;
            let name = BusName::try_from(SERVICE)?;
            let there = zbus::fdo::DBusProxy::new(&connection).await?.name_has_owner(name).await?;
            Ok(there.then_some(connection))
        }));
        Ok(connection.ok().flatten().map(|connection| Logind { runtime, connection }))
    }

    /// Goes down now; polkit may ask the user for a password. `message` is logind's to tell the users.
    ///
    /// # Errors
    /// [`LogindError`]: also where an inhibitor lock or another session is in the way.
    pub fn go_down(&self, action: Action, message: &str, wall: bool) -> Result<(), LogindError> {
        // Who may go down may not always write to others' terminals; that is no reason to stay up.
        let _ = self.call("SetWallMessage", &(message, wall));
        self.call_within(PATIENCE_WITH_PEOPLE, action.logind_method(), &true).map(drop)
    }

    /// Goes down at a time, or only warns of it. The message is logind's to tell the users.
    ///
    /// # Errors
    /// [`LogindError`].
    pub fn schedule(&self, schedule: &Schedule) -> Result<(), LogindError> {
        let _ = self.call("SetWallMessage", &(schedule.message.as_str(), schedule.wall));
        self.call("ScheduleShutdown", &(schedule.mode(), schedule.microseconds())).map(drop)
    }

    /// Takes back what was scheduled; whether there was something.
    ///
    /// # Errors
    /// [`LogindError`].
    pub fn cancel(&self, message: &str, wall: bool) -> Result<bool, LogindError> {
        let _ = self.call("SetWallMessage", &(message, wall));
        let answer = self.call("CancelScheduledShutdown", &())?;
        answer
            .body()
            .deserialize()
            .map_err(|error| LogindError { what: "CancelScheduledShutdown", why: error.to_string() })
    }

    fn call<B: Serialize + DynamicType>(&self, method: &'static str, body: &B) -> Result<Message, LogindError> {
        self.call_within(PATIENCE, method, body)
    }

    fn call_within<B: Serialize + DynamicType>(
        &self,
        patience: Duration,
        method: &'static str,
        body: &B,
    ) -> Result<Message, LogindError> {
        let call = self.connection.call_method(Some(SERVICE), PATH, Some(MANAGER), method, body);
        self.runtime.block_on(within(patience, call)).map_err(|why| LogindError { what: method, why })
    }
}
