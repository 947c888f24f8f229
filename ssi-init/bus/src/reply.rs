// SPDX-License-Identifier: GPL-2.0-or-later
//! One call, and what is answered.

use ssi_manager::core::commands::{CommandError, errors};
use zbus::Message;
use zbus::export::serde::{Serialize, de::DeserializeOwned};
use zbus::message::{Flags, Type};
use zbus::zvariant::{DynamicType, Type as ZType};

use crate::transport::{Client, Credentials};

/// More errors that have names (org.freedesktop.systemd1(5), the D-Bus specification).
pub(crate) mod names {
    pub(crate) const UNKNOWN_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";
    pub(crate) const UNKNOWN_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";
    pub(crate) const UNKNOWN_INTERFACE: &str = "org.freedesktop.DBus.Error.UnknownInterface";
    pub(crate) const UNKNOWN_PROPERTY: &str = "org.freedesktop.DBus.Error.UnknownProperty";
    pub(crate) const PROPERTY_READ_ONLY: &str = "org.freedesktop.DBus.Error.PropertyReadOnly";
    pub(crate) const ACCESS_DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";
    pub(crate) const IO_ERROR: &str = "org.freedesktop.DBus.Error.IOError";
    pub(crate) const NO_UNIT_FOR_PID: &str = "org.freedesktop.systemd1.NoUnitForPID";
    pub(crate) const NO_UNIT_FOR_INVOCATION: &str = "org.freedesktop.systemd1.NoUnitForInvocationID";
    pub(crate) const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
    pub(crate) const UNIT_INACTIVE: &str = "org.freedesktop.systemd1.UnitInactive";
    pub(crate) const NOT_REFERENCED: &str = "org.freedesktop.systemd1.NotReferenced";
    pub(crate) const ALREADY_SUBSCRIBED: &str = "org.freedesktop.systemd1.AlreadySubscribed";
    pub(crate) const NOT_SUBSCRIBED: &str = "org.freedesktop.systemd1.NotSubscribed";
    pub(crate) const SCOPE_NOT_RUNNING: &str = "org.freedesktop.systemd1.ScopeNotRunning";
    pub(crate) const NO_SUCH_DYNAMIC_USER: &str = "org.freedesktop.systemd1.NoSuchDynamicUser";
    pub(crate) const SHUTTING_DOWN: &str = "org.freedesktop.systemd1.ShuttingDown";
    pub(crate) const ONLY_BY_DEPENDENCY: &str = "org.freedesktop.systemd1.OnlyByDependency";
}

/// What a method answers; nothing, where it must not.
pub(crate) type Answer = Result<Option<Message>, CommandError>;

/// A call of a method.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) client: Client,
    pub(crate) credentials: Credentials,
    pub(crate) message: Message,
}

/// Something of D-Bus could not be made.
pub(crate) fn unbuilt(error: zbus::Error) -> CommandError {
    CommandError::new(errors::FAILED, format!("the answer cannot be put into a message: {error}"))
}

impl Call {
    /// Whether it is root's.
    pub(crate) fn is_root(&self) -> bool {
        match &self.client {
            // None but those that may do anything are let in there.
            Client::Peer(_) => true,
            Client::Bus(_) => self.credentials.uid == Some(0),
        }
    }

    /// What it carries. Its signature was looked at before.
    pub(crate) fn body<T: DeserializeOwned + ZType>(&self) -> Result<T, CommandError> {
        self.message.body().deserialize().map_err(|error| {
            CommandError::new(errors::INVALID_ARGUMENTS, format!("the arguments cannot be read: {error}"))
        })
    }

    /// Answers.
    pub(crate) fn answer<B: Serialize + DynamicType>(&self, body: &B) -> Answer {
        let header = self.message.header();
        let answer = Message::method_return(&header).and_then(|builder| builder.build(body));
        answer.map(Some).map_err(unbuilt)
    }

    /// That it is done.
    pub(crate) fn done(&self) -> Answer {
        self.answer(&())
    }

    /// Whether anybody waits for an answer.
    pub(crate) fn wants_answer(&self) -> bool {
        self.message.message_type() == Type::MethodCall
            && !self.message.primary_header().flags().contains(Flags::NoReplyExpected)
    }

    /// That it is not done, and why.
    pub(crate) fn refusal(&self, error: &CommandError) -> Option<Message> {
        let header = self.message.header();
        let answer = Message::error(&header, error.name).and_then(|builder| builder.build(&error.message));
        // An error's name is one of ours and its text is text: there is nothing in it that cannot be sent.
        answer.ok()
    }
}
