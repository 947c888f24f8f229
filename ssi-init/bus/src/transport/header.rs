// SPDX-License-Identifier: GPL-2.0-or-later
//! The names in a message's header: the D-Bus specification, "Valid Names".
//!
//! zbus checks their types as it reads a message, and their spelling only when [`Message::header`] is called, which
//! panics when one is wrong. What a client sends is looked at here first.

use zbus::Message;
use zbus::names::{BusName, ErrorName, InterfaceName, MemberName, UniqueName};
use zbus::zvariant::{ObjectPath, Value};

/// A header as the specification has it: byte order, type, flags, version, length of the body, serial, fields.
type Header<'m> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Value<'m>)>);

/// Whether a message's header can be asked for.
pub(crate) fn is_sound(message: &Message) -> bool {
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
