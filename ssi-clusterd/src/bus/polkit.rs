// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether somebody on the system bus may change things: root always, others if polkit says so.

use std::collections::HashMap;

use zbus::message::{Flags, Header};
use zbus::zvariant::Value;

use super::MethodError;

/// The action in `org.openssi.Cluster1.policy`.
const ACTION: &str = "org.openssi.cluster1.manage";

/// `AllowUserInteraction` of polkit's CheckAuthorization.
const ALLOW_INTERACTION: u32 = 1;

/// Asks the bus who the sender is and, unless it is root, polkit whether it may.
pub(super) async fn authorize(header: &Header<'_>, connection: &zbus::Connection) -> Result<(), MethodError> {
    let denied = |why: String| MethodError::AccessDenied(why);
    let sender = header.sender().ok_or_else(|| denied("the message does not tell who sent it".into()))?;
    let bus = zbus::fdo::DBusProxy::new(connection).await.map_err(|e| denied(format!("cannot ask the bus: {e}")))?;
    let uid = bus
        .get_connection_unix_user(sender.clone().into())
        .await
        .map_err(|e| denied(format!("the bus does not tell who {sender} is: {e}")))?;
    if uid == 0 {
        return Ok(());
    }
    let subject = ("system-bus-name", HashMap::from([("name", Value::from(sender.as_str()))]));
    let interactive = header.primary().flags().contains(Flags::AllowInteractiveAuth);
    let flags = if interactive { ALLOW_INTERACTION } else { 0 };
    let answer = connection
        .call_method(
            Some("org.freedesktop.PolicyKit1"),
            "/org/freedesktop/PolicyKit1/Authority",
            Some("org.freedesktop.PolicyKit1.Authority"),
            "CheckAuthorization",
            &(subject, ACTION, HashMap::<&str, &str>::new(), flags, ""),
        )
        .await
        .map_err(|e| denied(format!("user {uid} is not root, and polkit cannot be asked: {e}")))?;
    let (authorized, _challenge, _details): (bool, bool, HashMap<String, String>) =
        answer.body().deserialize().map_err(|e| denied(format!("polkit's answer cannot be understood: {e}")))?;
    if authorized { Ok(()) } else { Err(denied(format!("polkit does not allow user {uid} to {ACTION}"))) }
}
