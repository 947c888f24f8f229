// SPDX-License-Identifier: GPL-2.0-or-later
//! The names in a message's header: the D-Bus specification, "Valid Names".
//!
//! zbus checks their types as it reads a message, and their spelling only when [`Message::header`] is called, which
//! panics when one is wrong; its own reader calls it for what is an answer. What a client sends goes through [`Checked`]
//! first. The system bus lets no such message through.

use std::io;
use std::os::fd::OwnedFd;

use async_trait::async_trait;
use zbus::Message;
use zbus::connection::socket::{BoxedSplit, ReadHalf, Split};
use zbus::fdo::ConnectionCredentials;
use zbus::names::{BusName, ErrorName, InterfaceName, MemberName, UniqueName};
use zbus::zvariant::{ObjectPath, Value};

/// A header as the specification has it: byte order, type, flags, version, length of the body, serial, fields.
type Header<'m> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Value<'m>)>);

/// The half of a connection that reads: a message whose header cannot be asked for ends it with
/// [`zbus::Error::InvalidField`].
#[derive(Debug)]
struct Checked(Box<dyn ReadHalf>);

/// The same connection, with what it reads looked at.
pub(crate) fn checked(socket: impl Into<BoxedSplit>) -> BoxedSplit {
    let (read, write) = socket.into().take();
    Split::new(Box::new(Checked(read)), write)
}

#[async_trait]
impl ReadHalf for Checked {
    async fn receive_message(
        &mut self,
        seq: u64,
        already_received_bytes: &mut Vec<u8>,
        already_received_fds: &mut Vec<OwnedFd>,
    ) -> zbus::Result<Message> {
        let message = self.0.receive_message(seq, already_received_bytes, already_received_fds).await?;
        if is_sound(&message) { Ok(message) } else { Err(zbus::Error::InvalidField) }
    }

    fn can_pass_unix_fd(&self) -> bool {
        self.0.can_pass_unix_fd()
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        self.0.peer_credentials().await
    }
}

/// Whether a message's header can be asked for.
fn is_sound(message: &Message) -> bool {
    let Ok((header, _)) = message.data().deserialize::<Header<'_>>() else { return false };
    header.6.iter().all(|(code, value)| {
        let text = match value {
            Value::Str(text) => text.as_str(),
            Value::ObjectPath(path) => path.as_str(),
            // No name: the fields that are numbers and signatures were read as such.
            _ => return true,
        };
        match code {
            1 => ObjectPath::try_from(text).is_ok(),
            2 => InterfaceName::try_from(text).is_ok(),
            3 => MemberName::try_from(text).is_ok(),
            4 => ErrorName::try_from(text).is_ok(),
            6 => BusName::try_from(text).is_ok(),
            7 => UniqueName::try_from(text).is_ok(),
            _ => true,
        }
    })
}
