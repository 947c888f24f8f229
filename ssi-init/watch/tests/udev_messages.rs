// SPDX-License-Identifier: GPL-2.0-or-later
//! Messages as udevd sends them, in a network namespace where nobody else does.

mod scene;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, SendFlags, SocketType, bind, sendto, socket};
use scene::{readable, readable_now};
use ssi_manager::core::Event;
use ssi_watch::devices::{Devices, supported};

/// udevd's multicast group; the kernel's own is 1.
const UDEV: u32 = 2;

/// A message of libudev (systemd's `sd-device/device-monitor.c`), whose filters match whatever is asked for.
///
/// ```text
///   0          8       12       16           20           24          28         32          40
///   │ libudev\0│ magic │ header │ properties │ length     │ subsystem│ devtype  │ bloom, 8B │ properties, NUL behind each
/// ```
fn message(properties: &[&str]) -> Vec<u8> {
    let body: Vec<u8> = properties.iter().flat_map(|one| one.bytes().chain([0])).collect();
    let mut bytes = b"libudev\0".to_vec();
    bytes.extend(0xfeed_cafe_u32.to_be_bytes());
    for number in [40_u32, 40, body.len() as u32] {
        bytes.extend(number.to_ne_bytes());
    }
    bytes.extend([0; 8]);
    bytes.extend([0xff; 8]);
    bytes.extend(body);
    bytes
}

#[test]
fn a_device_comes_changes_and_goes() {
    let thread = std::thread::spawn(|| {
        if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            println!("left out: no network namespace can be made here: {error}");
            return;
        }
        if !supported() {
            println!("left out: there can be no devices here");
            return;
        }
        let mut devices = Devices::new().unwrap();
        let known = devices.enumerate().unwrap().len();
        let sender = socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::KOBJECT_UEVENT)).unwrap();
        bind(&sender, &SocketAddrNetlink::new(0, 0)).unwrap();
        let mut number = 0;
        let mut send = |action: &str, more: &[&str]| {
            number += 1;
            let (action, number) = (format!("ACTION={action}"), format!("SEQNUM={number}"));
            let path = "DEVPATH=/devices/virtual/mem/null";
            let mut all = vec![action.as_str(), path, "SUBSYSTEM=mem", number.as_str(), "DEVNAME=/dev/null"];
            all.extend(["MAJOR=1", "MINOR=3", "TAGS=:systemd:"]);
            all.extend(more);
            sendto(&sender, &message(&all), SendFlags::empty(), &SocketAddrNetlink::new(0, UDEV)).unwrap();
        };
        let mut told = || {
            assert!(readable(devices.fd()), "nothing was told");
            let mut events = devices.events();
            assert!(devices.troubles().is_empty() && !readable_now(devices.fd()));
            match (events.pop(), events.is_empty()) {
                (Some(Event::Device(change)), true) => change,
                other => panic!("{other:?}"),
            }
        };
        send(
            "add",
            &["CURRENT_TAGS=:systemd:", "SYSTEMD_WANTS=null@.service", "DEVLINKS=/dev/nothing", "ID_MODEL=Void"],
        );
        let change = told();
        assert_eq!(
            (change.syspath.as_str(), change.devnode.as_deref()),
            ("/sys/devices/virtual/mem/null", Some("/dev/null"))
        );
        assert_eq!((change.wants, change.links), (vec!["null@.service".to_owned()], vec!["/dev/nothing".to_owned()]));
        assert!(change.ready && !change.altered && change.description.as_deref() == Some("Void"));
        send("change", &["CURRENT_TAGS=:systemd:", "SYSTEMD_READY=0"]);
        let change = told();
        assert!(!change.ready && change.altered);
        send("remove", &[]);
        let change = told();
        assert!(change.gone && !change.ready);
        // What came in between by message and is not in udev's database is gone when all are gone through.
        send("add", &["CURRENT_TAGS=:systemd:"]);
        assert!(told().ready);
        let again = devices.enumerate().unwrap();
        let gone = again.iter().filter(|event| matches!(event, Event::Device(change) if change.gone)).count();
        assert_eq!((again.len(), gone), (known + 1, 1), "{again:?}");
        // A tag that is none costs its message alone.
        send("change", &["CURRENT_TAGS=:\reat:systemd:"]);
        assert!(readable(devices.fd()) && devices.events().is_empty());
        let passed_over = devices.troubles();
        assert!(passed_over.len() == 1 && passed_over[0].to_string().contains("passed over"), "{passed_over:?}");
        send("change", &["CURRENT_TAGS=:systemd:"]);
        assert_eq!(devices.events().len(), 1);
        // More comes than there is room for.
        rustix::net::sockopt::set_socket_recv_buffer_size(devices.fd(), 1).unwrap();
        for _ in 0..100 {
            send("change", &["CURRENT_TAGS=:systemd:"]);
        }
        let events = devices.events();
        let (lost, told) = (devices.troubles(), events.len());
        assert!(lost.len() == 1 && lost[0].to_string().contains("lost"), "{lost:?}");
        assert!(told < 100 + known, "{told}");
        devices.events();
        assert!(devices.troubles().is_empty(), "once is enough");
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
