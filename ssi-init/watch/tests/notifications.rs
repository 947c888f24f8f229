// SPDX-License-Identifier: GPL-2.0-or-later
//! What services send is taken in whole and in order, or told and dropped.

mod scene;

use std::io::{IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use scene::{readable, readable_now};
use ssi_manager::core::system::Pid;
use ssi_watch::notify::{FDS_MAX, MESSAGE_MAX, NotifySocket, Received};

fn sender(path: &Path) -> UnixDatagram {
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(path).unwrap();
    sender
}

fn send(sender: &UnixDatagram, text: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    sendmsg(sender, &[IoSlice::new(text)], &mut control, SendFlags::empty()).unwrap();
}

fn scene() -> (tempfile::TempDir, NotifySocket, UnixDatagram) {
    let dir = tempfile::tempdir().unwrap();
    let socket = NotifySocket::open(&dir.path().join("notify")).unwrap();
    let sender = sender(socket.path());
    (dir, socket, sender)
}

/// All messages that are there, read away.
fn all(socket: &NotifySocket) -> Vec<Received> {
    std::iter::from_fn(|| socket.peek().inspect(|_| socket.consume())).collect()
}

#[test]
fn a_message_with_its_sender_and_descriptors() {
    let (_dir, socket, sender) = scene();
    let (mut read, write) = std::io::pipe().unwrap();
    send(&sender, b"READY=1\nSTATUS=up\nFDSTORE=1\n\0", &[write.as_fd(), sender.as_fd()]);
    drop(write);
    assert!(readable(socket.fd()));
    let received = all(&socket);
    let [Received::Message { message, uid, fds }] = &received[..] else { panic!("{received:?}") };
    assert_eq!(message.sender, Some(Pid(std::process::id())));
    assert_eq!(*uid, rustix::process::geteuid().as_raw());
    assert_eq!((message.get("READY"), message.get("STATUS")), (Some("1"), Some("up")));
    assert_eq!(fds.len(), 2);
    assert!(rustix::io::fcntl_getfd(&fds[0]).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    rustix::io::write(&fds[0], b"x").unwrap();
    drop(received);
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    assert_eq!(text, "x", "and its end, once the message was dropped");
    assert!(!readable_now(socket.fd()) && all(&socket).is_empty());
}

#[test]
fn a_barrier_comes_in_its_place() {
    let (_dir, socket, sender) = scene();
    let (mut read, write) = std::io::pipe().unwrap();
    send(&sender, b"STATUS=before", &[]);
    send(&sender, b"BARRIER=1", &[write.as_fd()]);
    send(&sender, b"STATUS=after", &[]);
    drop(write);
    let mut received = all(&socket).into_iter();
    assert!(
        matches!(received.next(), Some(Received::Message { message, .. }) if message.get("STATUS") == Some("before"))
    );
    let Some(Received::Barrier(barrier)) = received.next() else { panic!() };
    assert!(!readable_now(read.as_fd()));
    drop(barrier);
    assert_eq!(read.read(&mut [0]).unwrap(), 0);
    assert!(
        matches!(received.next(), Some(Received::Message { message, .. }) if message.get("STATUS") == Some("after"))
    );
}

#[test]
fn what_cannot_be_taken_is_told_and_closed() {
    let (_dir, socket, sender) = scene();
    let (mut read, write) = std::io::pipe().unwrap();
    send(&sender, &[b'x'; MESSAGE_MAX + 1], &[write.as_fd()]);
    send(&sender, b"READY=1\0STATUS=x", &[write.as_fd()]);
    send(&sender, b"BARRIER=1\nREADY=1", &[write.as_fd()]);
    send(&sender, b"BARRIER=1", &[]);
    send(&sender, b"BARRIER=1", &[write.as_fd(), write.as_fd()]);
    drop(write);
    let mut just_fits = vec![b'y'; MESSAGE_MAX];
    just_fits[..2].copy_from_slice(b"X=");
    send(&sender, &just_fits, &[]);
    let received = all(&socket);
    let why: Vec<_> = received
        .iter()
        .filter_map(|one| match one {
            Received::Dropped(why) => Some(why.rsplit_once(": ").unwrap().1),
            _ => None,
        })
        .collect();
    assert_eq!(
        why,
        [
            "it is longer than 4096 bytes",
            "there is a NUL inside",
            "nothing else may come with BARRIER=1",
            "BARRIER=1 needs exactly one descriptor",
            "BARRIER=1 needs exactly one descriptor",
        ]
    );
    assert!(matches!(received.last(), Some(Received::Message { message, .. }) if message.get("X").is_some()));
    assert_eq!(read.read(&mut [0]).unwrap(), 0, "all descriptors are closed");
}

#[test]
fn many_descriptors_and_many_messages_come_whole_and_in_order() {
    let (_dir, socket, sender) = scene();
    let fds = vec![sender.as_fd(); FDS_MAX];
    send(&sender, b"FDSTORE=1", &fds);
    let received = all(&socket);
    assert!(matches!(&received[..], [Received::Message { fds, .. }] if fds.len() == FDS_MAX), "{received:?}");
    drop(received);
    let writer = std::thread::spawn(move || {
        for number in 0..1000 {
            send(&sender, format!("STATUS={number}").as_bytes(), &[]);
        }
    });
    let mut next = 0;
    while next < 1000 {
        assert!(readable(socket.fd()));
        let received = all(&socket);
        for one in received {
            let Received::Message { message, .. } = one else { panic!() };
            assert_eq!(message.get("STATUS"), Some(next.to_string().as_str()));
            next += 1;
        }
    }
    writer.join().unwrap();
}

#[test]
fn the_next_manager_goes_on_with_it() {
    let (dir, socket, sender) = scene();
    let path = dir.path().join("notify");
    let kept = socket.fd().try_clone_to_owned().unwrap();
    drop(socket);
    send(&sender, b"READY=1", &[]);
    let socket = NotifySocket::adopt(kept, &path).unwrap();
    assert!(matches!(&all(&socket)[..], [Received::Message { .. }]));
    let other = socket.fd().try_clone_to_owned().unwrap();
    assert!(NotifySocket::adopt(other, &dir.path().join("elsewhere")).is_err());
    // One that was left behind is replaced, and open to everybody.
    let _new = NotifySocket::open(&path).unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o777);
}
