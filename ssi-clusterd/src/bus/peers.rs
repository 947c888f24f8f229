// SPDX-License-Identifier: GPL-2.0-or-later
//! The daemon's own socket: D-Bus from peer to peer, so nothing depends on a message bus being up.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast};
use zbus::object_server::SignalEmitter;

use ssi_cluster::client::{OBJECT_PATH, TransitionWire};

use super::{Cluster1, Desk, Signal};

/// How many peers may be connected at once.
const PEERS_MAX: usize = 256;

/// How long a peer may take to say who it is, and to take a signal.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves the interface at `path`, for everybody to look and for root to change things, until the process ends.
///
/// # Errors
/// When the socket cannot be made; a peer that misbehaves only loses its own connection.
pub fn serve_socket(path: &Path, desk: Desk) -> Result<()> {
    let listener = bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(PEERS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(e) => {
                    // Out of descriptors, most likely: those in use will come free.
                    tracing::warn!("cannot take a connection: {e}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let desk = desk.clone();
            tokio::spawn(async move {
                if let Err(e) = serve_peer(stream, desk).await {
                    tracing::debug!("a peer's connection ended: {e:#}");
                }
                drop(place);
            });
        }
    });
    Ok(())
}

/// Makes the socket under another name first: at `path` there is at any moment a socket that answers, or none.
fn bind(path: &Path) -> Result<UnixListener> {
    let mut early: PathBuf = path.to_owned();
    early.set_extension(format!("{}.new", std::process::id()));
    let _ = std::fs::remove_file(&early);
    let listener = UnixListener::bind(&early)?;
    std::fs::set_permissions(&early, std::fs::Permissions::from_mode(0o666))?;
    std::fs::rename(&early, path)?;
    Ok(listener)
}

async fn serve_peer(stream: UnixStream, desk: Desk) -> Result<()> {
    let uid = stream.peer_cred().context("the kernel does not tell who it is")?.uid();
    let signals = desk.signals.subscribe();
    let building = zbus::connection::Builder::unix_stream(stream)
        .server(zbus::Guid::generate())?
        .p2p()
        .serve_at(OBJECT_PATH, Cluster1::direct(desk, uid))?
        .build();
    let connection = tokio::time::timeout(PATIENCE, building).await.context("it did not say hello")??;
    tokio::select! {
        sent = forward(&connection, signals) => sent,
        () = closed(&connection) => Ok(()),
    }
}

/// Returns when the other end is gone.
async fn closed(connection: &zbus::Connection) {
    use std::future::poll_fn;
    let mut messages = Box::pin(zbus::MessageStream::from(connection));
    // The stream's type comes from a crate of futures; polling it needs no name for that trait.
    while poll_fn(|context| poll_next(messages.as_mut(), context)).await {}
}

fn poll_next(
    stream: std::pin::Pin<&mut zbus::MessageStream>,
    context: &mut std::task::Context<'_>,
) -> std::task::Poll<bool> {
    use zbus::export::futures_core::Stream;
    stream.poll_next(context).map(|message| matches!(message, Some(Ok(_))))
}

/// Passes signals on for as long as the other end takes them.
pub(super) async fn forward(connection: &zbus::Connection, mut signals: broadcast::Receiver<Signal>) -> Result<()> {
    let emitter = SignalEmitter::new(connection, OBJECT_PATH)?;
    loop {
        let signal = match signals.recv().await {
            Ok(signal) => signal,
            // It reads by number whatever it missed, once something makes it look: the next signal does.
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        };
        tokio::time::timeout(PATIENCE, emit(&emitter, signal)).await.context("it does not read its signals")??;
    }
}

async fn emit(emitter: &SignalEmitter<'_>, signal: Signal) -> zbus::Result<()> {
    match signal {
        Signal::Membership(view) => {
            let members = view.members.iter().map(|n| n.get()).collect();
            Cluster1::membership_changed(emitter, view.id.0, members, view.quorate).await
        }
        Signal::Moved(transition) => Cluster1::node_moved(emitter, TransitionWire::from(&transition)).await,
        Signal::LogRewritten(from) => Cluster1::log_rewritten(emitter, from).await,
        Signal::Services => Cluster1::services_changed(emitter).await,
    }
}
