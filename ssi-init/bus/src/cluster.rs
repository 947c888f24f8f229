// SPDX-License-Identifier: GPL-2.0-or-later
//! `org.openssi.Init1.Scope`: what ssi-clusterd and this manager tell each other about the cluster's units
//! ([`ssi_cluster::scope::manager`]).
//!
//! Only one daemon is heard: the one that attached last. What an earlier one may still have on its way is refused, since
//! the later one's word to the others counts on what it was answered. Root only, at the manager's own socket only, and
//! not introspected: objects show what systemd's show.

use ssi_cluster::scope::manager::{INTERFACE, PATH, Says, Told};
use ssi_manager::core::commands::{CommandError, errors};
use zbus::Message;

use crate::clients::{Clients, To};
use crate::dispatch::{Scene, unknown_method};
use crate::reply::{Answer, Call, names};
use crate::transport::Client;

/// Answers a call.
pub(crate) fn call(scene: &mut Scene<'_>, call: &Call, member: &str) -> Answer {
    if !call.is_root() || !matches!(call.client, Client::Peer(_)) {
        return Err(CommandError::new(names::ACCESS_DENIED, "Permission denied"));
    }
    let given = call.message.body().signature().to_string_no_parens();
    let wanted = match member {
        "Attach" => "",
        "Tell" => "s",
        _ => return Err(unknown_method(member, Some(INTERFACE))),
    };
    if given != wanted {
        let text = format!("Invalid arguments '{given}' to call {INTERFACE}.{member}(), expecting '{wanted}'.");
        return Err(CommandError::new(errors::INVALID_ARGUMENTS, text));
    }
    if member == "Attach" {
        scene.clients.cluster = Some(call.client.clone());
    } else {
        if scene.clients.cluster.as_ref() != Some(&call.client) {
            let text = "another ssi-clusterd attached after this one, or this one never did";
            return Err(CommandError::new(names::ACCESS_DENIED, text));
        }
        let text: String = call.body()?;
        let told: Told = serde_json::from_str(&text).map_err(|error| {
            CommandError::new(errors::INVALID_ARGUMENTS, format!("what ssi-clusterd tells cannot be read: {error}"))
        })?;
        scene.core.cluster_told(&told);
    }
    call.answer(&said(&scene.core.cluster_says())?)
}

fn said(says: &Says) -> Result<String, CommandError> {
    serde_json::to_string(says).map_err(|error| CommandError::new(errors::FAILED, error.to_string()))
}

/// The daemon that attached is to ask again.
pub(crate) fn changed(clients: &mut Clients) {
    let Some(client) = clients.cluster.clone() else { return };
    let message = Message::signal(PATH, INTERFACE, "Changed").and_then(|builder| builder.build(&()));
    if let Ok(message) = message {
        clients.send(To::Client(client), message);
    }
}
