// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever is sent to the notification socket: a message of lines, a barrier, or a reason why it is dropped; looked at
//! twice it is the same, and once it is read away there is nothing left.
//!
//! The first byte of an input is how many descriptors come with it.
//!
//! `cargo +nightly fuzz run notify fuzz/corpus/notify fuzz/seeds/notify`, from `ssi-init/watch/`.
#![no_main]

use std::cell::RefCell;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use libfuzzer_sys::fuzz_target;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use ssi_manager::core::system::Pid;
use ssi_watch::notify::{FDS_MAX, MESSAGE_MAX, NotifySocket, Received};

struct Scene {
    _folder: tempfile::TempDir,
    socket: NotifySocket,
    sender: UnixDatagram,
}

fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = NotifySocket::open(&folder.path().join("notify")).expect("a socket");
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.connect(socket.path()).expect("connects");
    Scene { _folder: folder, socket, sender }
}

thread_local! {
    static SCENE: RefCell<Scene> = RefCell::new(scene());
}

/// What was received, but for the descriptors, which are others each time.
fn told(received: &Received) -> String {
    match received {
        Received::Message { message, uid, fds } => format!("{message:?} of {uid} with {}", fds.len()),
        Received::Barrier(_) => "barrier".to_owned(),
        Received::Dropped(why) => why.clone(),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((count, text)) = bytes.split_first() else { return };
    SCENE.with_borrow(|scene| {
        // Mostly few, and sometimes as many as the kernel takes.
        let count = if *count > 250 { FDS_MAX } else { usize::from(count % 4) };
        let fds = vec![scene.sender.as_fd(); count];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if count > 0 {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        if sendmsg(&scene.sender, &[IoSlice::new(text)], &mut control, SendFlags::empty()).is_err() {
            return;
        }
        let Some(first) = scene.socket.peek() else { panic!("what was sent is not there") };
        let Some(second) = scene.socket.peek() else { panic!("it is gone once it was looked at") };
        assert_eq!(told(&first), told(&second));
        scene.socket.consume();
        assert!(scene.socket.peek().is_none(), "it is there still");
        match first {
            Received::Message { message, fds, .. } => {
                assert!(text.len() <= MESSAGE_MAX && fds.len() == count && message.fds.is_empty());
                assert_eq!(message.sender, Some(Pid(std::process::id())));
                for (name, value) in &message.fields {
                    assert!(!name.contains(['=', '\n', '\0']) && !value.contains(['\n', '\0']), "{name:?}={value:?}");
                    assert!(message.get(name).is_some());
                }
            }
            Received::Barrier(_) => assert!(count == 1 && text.windows(9).any(|part| part == b"BARRIER=1")),
            Received::Dropped(why) => assert!(!why.is_empty()),
        }
    });
});
