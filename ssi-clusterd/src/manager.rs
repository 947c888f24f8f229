// SPDX-License-Identifier: GPL-2.0-or-later
//! The way to this node's unit manager ([`ssi_cluster::scope::manager`]): attached to it again and again, telling it the
//! latest, passing on what it says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ssi_cluster::scope::manager::{INTERFACE, PATH, Says, Told};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use zbus::export::futures_core::Stream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before it is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// Before it is tried again where another init runs.
const NOT_OURS: Duration = Duration::from_secs(60);
/// How often it is asked although nothing is to be told: a signal may have got lost with a connection.
const ASK: Duration = Duration::from_secs(1);

/// What comes from there.
#[derive(Clone, Debug, PartialEq)]
pub enum FromManager {
    /// It says so.
    Says(Box<Says>),
    /// It cannot be reached, and why.
    Away(String),
}

/// Starts the task. `told` holds what the manager is to know, `None` before there is something; what comes through
/// `restarts` is told once.
pub fn start(
    socket: PathBuf,
    told: watch::Receiver<Option<Told>>,
    restarts: mpsc::Receiver<String>,
) -> mpsc::Receiver<FromManager> {
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(run(socket, told, restarts, sender));
    receiver
}

async fn run(
    socket: PathBuf,
    mut told: watch::Receiver<Option<Told>>,
    mut restarts: mpsc::Receiver<String>,
    sender: mpsc::Sender<FromManager>,
) {
    loop {
        let Err(error) = attached(&socket, &mut told, &mut restarts, &sender).await else { return };
        let pause = if error.is_not_ours() { NOT_OURS } else { AGAIN };
        if sender.send(FromManager::Away(error.to_string())).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Why there is no manager to talk to.
#[derive(Debug, thiserror::Error)]
enum AwayError {
    #[error("{0}: {1}")]
    Connect(PathBuf, std::io::Error),
    #[error("the unit manager: {0}")]
    Bus(#[from] zbus::Error),
    #[error("the unit manager did not answer within {} s", PATIENCE.as_secs())]
    Slow,
    #[error("what the unit manager says cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("the unit manager ended the connection")]
    Ended,
}

impl AwayError {
    /// Whether it is another init that does not know of clusters.
    fn is_not_ours(&self) -> bool {
        let Self::Bus(zbus::Error::MethodError(name, ..)) = self else { return false };
        let name = name.as_str();
        ["UnknownMethod", "UnknownInterface", "UnknownObject"].iter().any(|known| name.ends_with(known))
    }
}

/// Talks to one manager until it is gone. Returns only when nobody listens any more.
async fn attached(
    socket: &Path,
    told: &mut watch::Receiver<Option<Told>>,
    restarts: &mut mpsc::Receiver<String>,
    sender: &mpsc::Sender<FromManager>,
) -> Result<(), AwayError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| AwayError::Connect(socket.to_owned(), error))?;
    let building = zbus::connection::Builder::unix_stream(stream).p2p().build();
    let connection = tokio::time::timeout(PATIENCE, building).await.map_err(|_| AwayError::Slow)??;
    let mut signals = zbus::MessageStream::from(&connection);
    let mut says = call(&connection, "Attach", None).await?;
    let mut latest = told.borrow_and_update().clone();
    loop {
        if sender.send(FromManager::Says(Box::new(says))).await.is_err() {
            return Ok(());
        }
        let mut once = Vec::new();
        loop {
            tokio::select! {
                changed = told.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    break;
                }
                Some(unit) = restarts.recv() => {
                    once.push(unit);
                    break;
                }
                more = next(&mut signals) => match more {
                    None => return Err(AwayError::Ended),
                    Some(true) => break,
                    Some(false) => {}
                },
                () = tokio::time::sleep(ASK) => break,
            }
        }
        latest = told.borrow_and_update().clone().or(latest);
        let mut message = latest.clone().unwrap_or_default();
        message.restart = once;
        says = call(&connection, "Tell", Some(serde_json::to_string(&message)?)).await?;
    }
}

/// The next message: whether it is the signal that something changed; `None`: the connection is over.
async fn next(stream: &mut zbus::MessageStream) -> Option<bool> {
    let message = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *stream).poll_next(cx)).await?.ok()?;
    let is_signal = message.message_type() == zbus::message::Type::Signal;
    Some(is_signal && message.header().member().is_some_and(|member| member.as_str() == "Changed"))
}

async fn call(connection: &zbus::Connection, method: &str, text: Option<String>) -> Result<Says, AwayError> {
    let call = async {
        match text {
            Some(text) => connection.call_method(None::<&str>, PATH, Some(INTERFACE), method, &(text,)).await,
            None => connection.call_method(None::<&str>, PATH, Some(INTERFACE), method, &()).await,
        }
    };
    let answer = tokio::time::timeout(PATIENCE, call).await.map_err(|_| AwayError::Slow)??;
    Ok(serde_json::from_str(answer.body().deserialize::<&str>()?)?)
}
