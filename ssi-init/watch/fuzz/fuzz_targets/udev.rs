// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever comes as a message of udevd's, through the kernel's socket and libudev: what units are told of holds together,
//! and the socket is empty then.
//!
//! An input is a list of `NAME=value`, a NUL behind each, that a right head is put before; if its first byte is 1, it is
//! the whole message. Needs to be root: the messages are sent in a network namespace of its own.
//!
//! `cargo +nightly fuzz run udev fuzz/corpus/udev fuzz/seeds/udev`, from `ssi-init/watch/`.
#![no_main]

use std::cell::RefCell;
use std::os::fd::OwnedFd;

use libfuzzer_sys::fuzz_target;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, SendFlags, SocketType, bind, sendto, socket};
use ssi_manager::core::Event;
use ssi_watch::devices::Devices;

/// udevd's multicast group.
const UDEV: u32 = 2;

struct Scene {
    devices: Devices,
    sender: OwnedFd,
}

fn scene() -> Scene {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace of its own");
    let devices = Devices::new().expect("udev's messages");
    let sender = socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::KOBJECT_UEVENT)).expect("a socket");
    bind(&sender, &SocketAddrNetlink::new(0, 0)).expect("binds");
    Scene { devices, sender }
}

thread_local! {
    static SCENE: RefCell<Scene> = RefCell::new(scene());
}

/// A message of libudev, whose filters let it through: the drawing is in `tests/udev_messages.rs`.
fn message(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"libudev\0".to_vec();
    bytes.extend(0xfeed_cafe_u32.to_be_bytes());
    for number in [40, 40, body.len() as u32] {
        bytes.extend(number.to_ne_bytes());
    }
    bytes.extend([0; 8]);
    bytes.extend([0xff; 8]);
    bytes.extend(body);
    bytes
}

fuzz_target!(|bytes: &[u8]| {
    let message = match bytes.split_first() {
        Some((1, whole)) => whole.to_vec(),
        _ => message(bytes),
    };
    SCENE.with_borrow_mut(|scene| {
        let udev = SocketAddrNetlink::new(0, UDEV);
        if sendto(&scene.sender, &message, SendFlags::empty(), &udev).is_err() {
            return;
        }
        let events = scene.devices.events();
        assert!(events.len() <= 1, "{events:?}");
        let told = events.len();
        for event in events {
            let Event::Device(device) = event else { panic!("{event:?}") };
            assert!(device.syspath.starts_with("/sys/"), "{device:?}");
            assert!(!(device.gone && (device.ready || device.altered)), "{device:?}");
        }
        let readable = scene.devices.fd();
        let mut look = [PollFd::new(&readable, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(poll(&mut look, Some(&now)), Ok(0), "the message is there still");
        // A message that libudev may not have is told, and nothing else.
        let troubles = scene.devices.troubles();
        assert!(troubles.iter().all(|trouble| trouble.to_string().contains("passed over")), "{troubles:?}");
        assert!(troubles.len() <= 1 && (troubles.is_empty() || told == 0), "{troubles:?}");
    });
});
