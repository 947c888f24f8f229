// SPDX-License-Identifier: GPL-2.0-or-later
//! `/run/systemd/private`: clients without a bus between. systemctl(1) goes here first when root calls it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::Shutdown;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zbus::export::ordered_stream::OrderedStreamExt as _;
use zbus::{Guid, MessageStream, OwnedGuid};

use super::writer::Writer;
use super::{Arrived, Client, Credentials, PeerId, handshake, header};

/// How long a client may take to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A pause when there are no descriptors left, or another reason not to take a connection.
const PAUSE: Duration = Duration::from_millis(100);
/// Messages of one client that are read ahead.
const AHEAD: usize = 4;

/// A connection, as the manager holds it. Dropped, it is cut.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The way to it.
    pub(crate) writer: Writer,
    /// It has said something. One that takes this for a bus takes a signal before its first answer for a mistake.
    pub(crate) has_spoken: bool,
    socket: OwnedFd,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both tasks see the end of it and go.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }
}

/// Takes connections until dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    /// Begins to take connections, as many as `most` at one time. Call it within a runtime.
    pub(crate) fn start(
        socket: StdListener,
        most: usize,
        arrivals: mpsc::Sender<Arrived>,
    ) -> std::io::Result<Listener> {
        socket.set_nonblocking(true)?;
        let socket = UnixListener::from_std(socket)?;
        let guid: OwnedGuid = Guid::generate().into();
        let task = tokio::spawn(accept(socket, guid, most, arrivals));
        Ok(Listener { task })
    }
}

async fn accept(socket: UnixListener, guid: OwnedGuid, most: usize, arrivals: mpsc::Sender<Arrived>) {
    let room = Arc::new(Semaphore::new(most));
    let mut last = 0;
    loop {
        // With no room left, those who come wait in the kernel's queue.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                let text = format!("cannot take a connection at the manager's own socket: {error}");
                let _ = arrivals.try_send(Arrived::Trouble(text));
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        last += 1;
        let (id, guid, arrivals) = (PeerId(last), guid.clone(), arrivals.clone());
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = serve(stream, id, guid, &arrivals).await {
                let _ = arrivals.send(Arrived::Trouble(format!("a client at the manager's own socket: {error}"))).await;
            }
        });
    }
}

/// Why a connection ended before it began.
#[derive(Debug, thiserror::Error)]
enum PeerError {
    #[error("it took more than {} seconds to say who it is", HANDSHAKE.as_secs())]
    Slow,
    #[error(transparent)]
    Handshake(#[from] handshake::HandshakeError),
    #[error("its socket cannot be used: {0}")]
    Socket(#[from] std::io::Error),
    #[error("it sent a message in which a name is not spelled as one")]
    Name,
    #[error("the connection cannot be set up: {0}")]
    Bus(#[from] zbus::Error),
}

async fn serve(
    mut stream: UnixStream,
    id: PeerId,
    guid: OwnedGuid,
    arrivals: &mpsc::Sender<Arrived>,
) -> Result<(), PeerError> {
    let peer = stream.peer_cred()?;
    // The manager of a user namespace may not be root; whoever it is, it may talk to itself.
    let allowed = peer.uid() == 0 || peer.uid() == rustix::process::geteuid().as_raw();
    let credentials = Credentials { uid: Some(peer.uid()), pid: peer.pid().and_then(|pid| u32::try_from(pid).ok()) };
    match timeout(HANDSHAKE, handshake::perform(&mut stream, guid.as_str(), peer.uid(), allowed)).await {
        Err(_) => return Err(PeerError::Slow),
        // Somebody who only looks whether the socket is served says nothing; that is no trouble.
        Ok(Err(handshake::HandshakeError::Left)) => return Ok(()),
        Ok(result) => result?,
    }
    let socket = stream.as_fd().try_clone_to_owned()?;
    let connection = zbus::connection::Builder::authenticated_socket(header::checked(stream), guid)?
        .p2p()
        .max_queued(AHEAD)
        .build()
        .await?;
    let mut messages = MessageStream::from(&connection);
    let (writer, drain) = Writer::new();
    if arrivals.send(Arrived::Peer(id, Peer { writer, has_spoken: false, socket })).await.is_err() {
        return Ok(());
    }
    let writing = tokio::spawn(drain.run(connection));
    let mut ended = Ok(());
    while let Some(message) = messages.next().await {
        let message = match message {
            Ok(message) => message,
            Err(zbus::Error::InvalidField) => {
                ended = Err(PeerError::Name);
                break;
            }
            // It is gone, or what it sent is no message.
            Err(_) => break,
        };
        let arrived = Arrived::Message { client: Client::Peer(id), credentials, message };
        if arrivals.send(arrived).await.is_err() {
            break;
        }
    }
    let _ = arrivals.send(Arrived::PeerGone(id)).await;
    // What is still on its way out has nobody to take it.
    writing.abort();
    ended
}
