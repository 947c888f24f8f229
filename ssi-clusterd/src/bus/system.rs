// SPDX-License-Identifier: GPL-2.0-or-later
//! The interface on the system bus, for as long as there is one.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use ssi_cluster::client::{BUS_NAME, OBJECT_PATH};

use super::{Cluster1, Desk, peers::forward};

/// How often a bus that is not there is looked for.
const LOOK: Duration = Duration::from_secs(5);

/// Where D-Bus puts the system bus' socket (dbus-daemon(1)).
const SYSTEM_BUS_SOCKET: &str = "/run/dbus/system_bus_socket";

/// Serves the interface on the system bus, again each time it comes back, until the process ends.
pub fn serve_system_bus(desk: Desk) {
    tokio::spawn(async move {
        let mut told = false;
        loop {
            if Path::new(SYSTEM_BUS_SOCKET).exists() {
                match serve(&desk).await {
                    Ok(()) => told = false,
                    // Without its policy file the bus refuses the name; the own socket works all the same.
                    Err(e) if !told => {
                        told = true;
                        tracing::warn!("not on the system bus: {e:#}; {} works without", ssi_cluster::CLUSTERD_SOCKET);
                    }
                    Err(_) => {}
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    });
}

async fn serve(desk: &Desk) -> Result<()> {
    let signals = desk.signals.subscribe();
    let connection = zbus::connection::Builder::system()?
        .serve_at(OBJECT_PATH, Cluster1::on_bus(desk.clone()))?
        .name(BUS_NAME)?
        .build()
        .await
        .with_context(|| format!("cannot take the name {BUS_NAME}"))?;
    tracing::info!("on the system bus as {BUS_NAME}");
    let bus = zbus::fdo::DBusProxy::new(&connection).await?;
    let alive = async {
        // A bus that went away does not answer; a connection without it is of no use.
        loop {
            tokio::time::sleep(LOOK).await;
            if bus.get_id().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        sent = forward(&connection, signals) => sent,
        () = alive => Ok(()),
    }
}
