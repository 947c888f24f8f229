// SPDX-License-Identifier: GPL-2.0-or-later
//! What udev knows of devices with the tag `systemd`, and its word when that changes (systemd.device(5)).
//!
//! udev's own messages are followed, not the kernel's: a device is there for units once its rules have run. A message can
//! be lost when too many come at once; the kernel counts those, and then all devices are gone through anew.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::libc;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use ssi_manager::core::Event;
use ssi_manager::core::device::DeviceChange;
use ssi_unit::words::{Rules, split};

use crate::error::{Result, Tried, WatchError};
use crate::nest::AT_ONCE;
use crate::ports::options::buffer;
use crate::sys::options;
use crate::udev_message;

/// The tag of devices that units are made for.
const TAG: &str = "systemd";
/// Where udevd listens while it runs.
const CONTROL: &str = "/run/udev/control";
/// Room for messages that wait, in bytes: at boot a machine with many disks has thousands at once.
const ROOM: i32 = 128 * 1024 * 1024;
/// The longest message that libudev takes, in bytes (systemd, `sd-device/device-monitor.c`).
const LONGEST: usize = 8192;

/// udev's word.
pub struct Devices {
    socket: udev::MonitorSocket,
    /// Messages that were lost so far.
    lost: i32,
    /// Places in sysfs of what was told of and not yet told to be gone.
    known: BTreeSet<String>,
    troubles: Vec<WatchError>,
}

/// Whether there can be devices: sysfs is writable, as in a machine and unlike in most containers, or udevd runs.
pub fn supported() -> bool {
    let writable =
        rustix::fs::statvfs("/sys").is_ok_and(|sys| !sys.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    writable || Path::new(CONTROL).exists()
}

impl Devices {
    /// Follows what udev tells from now on.
    ///
    /// # Errors
    /// `ENOSYS` where there can be no devices ([`supported`]); else the step that failed.
    pub fn new() -> Result<Self> {
        let what = || "cannot follow udev".to_owned();
        if !supported() {
            let text = format!("{}: /sys cannot be written to, and there is no {CONTROL}", what());
            return Err(WatchError::found(text, Errno::NOSYS));
        }
        let socket = udev::MonitorBuilder::new().and_then(|all| all.match_tag(TAG)).and_then(|tagged| tagged.listen());
        let socket = socket.tried(what)?;
        // Less room serves too.
        let _ = buffer(socket.as_fd(), libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, ROOM);
        Ok(Self { socket, lost: 0, known: BTreeSet::new(), troubles: Vec::new() })
    }

    /// Readable when udev told something.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// All devices as they are now, and those that are gone since. For the start, after [`Devices::new`].
    ///
    /// # Errors
    /// When udev's database cannot be gone through.
    pub fn enumerate(&mut self) -> Result<Vec<Event>> {
        let what = || "cannot go through udev's devices".to_owned();
        let mut all = udev::Enumerator::new().tried(what)?;
        all.match_tag(TAG).tried(what)?;
        // What udev has not been through yet comes by message.
        all.match_is_initialized().tried(what)?;
        let mut events = Vec::new();
        let mut seen = BTreeSet::new();
        for device in all.scan_devices().tried(what)? {
            if let Some(change) = told(&device, "add") {
                seen.insert(change.syspath.clone());
                events.push(Event::Device(change));
            }
        }
        for syspath in self.known.difference(&seen) {
            let gone = DeviceChange { syspath: syspath.clone(), gone: true, ..DeviceChange::default() };
            events.push(Event::Device(gone));
        }
        self.known = seen;
        Ok(events)
    }

    /// What udev told since. Devices that are there already when a unit manager starts are [`Devices::enumerate`]'s.
    pub fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..AT_ONCE {
            if !self.next_is_sound() {
                let text = "a message is passed over: it is not as udevd writes them";
                self.troubles.push(WatchError::found(text, Errno::BADMSG));
                continue;
            }
            let Some(message) = self.socket.iter().next() else { break };
            let action = message.event_type();
            let action = match action {
                udev::EventType::Unknown => message.action().and_then(OsStr::to_str).unwrap_or("change").to_owned(),
                known => known.to_string(),
            };
            let Some(change) = told(&message.device(), &action) else { continue };
            if change.gone {
                self.known.remove(&change.syspath);
            } else {
                if let Some(before) = &change.moved_from {
                    self.known.remove(before);
                }
                self.known.insert(change.syspath.clone());
            }
            events.push(Event::Device(change));
        }
        let lost = options::<9>(self.socket.as_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO).ok();
        let lost = lost.and_then(|counts| counts.get(libc::SK_MEMINFO_DROPS as usize).copied()).unwrap_or(self.lost);
        if lost != self.lost {
            self.lost = lost;
            let text = "messages of udev were lost; all devices are gone through anew";
            self.troubles.push(WatchError::found(text, Errno::NOBUFS));
            match self.enumerate() {
                Ok(all) => events.extend(all),
                Err(error) => self.troubles.push(error),
            }
        }
        events
    }

    /// Whether libudev may have the next message; takes it away if not.
    fn next_is_sound(&self) -> bool {
        let mut buffer = [0; LONGEST];
        let socket = self.socket.as_fd();
        let Ok((length, _)) = recv(socket, &mut buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT) else { return true };
        let is_sound = buffer.get(..length).is_some_and(udev_message::is_sound);
        if !is_sound {
            let _ = recv(socket, &mut buffer[..1], RecvFlags::DONTWAIT);
        }
        is_sound
    }

    /// What went wrong since, for the log.
    pub fn troubles(&mut self) -> Vec<WatchError> {
        std::mem::take(&mut self.troubles)
    }
}

fn told(device: &udev::Device, action: &str) -> Option<DeviceChange> {
    // No unit can be named for a place that is no UTF-8.
    let syspath = device.syspath().to_str()?;
    let property = |name: &str| device.property_value(name).and_then(OsStr::to_str).map(str::to_owned);
    // Not udev_device_get_devnode(3): libudev 252 aborts the process there when a message names a node outside of /dev.
    let devnode = property("DEVNAME").filter(|node| node.starts_with("/dev/"));
    Some(change(action, syspath, devnode.as_deref(), &property))
}

/// What a device's properties say (systemd.device(5), "The udev Database"); `property` gives each by its name.
pub fn change(
    action: &str,
    syspath: &str,
    devnode: Option<&str>,
    property: &dyn Fn(&str) -> Option<String>,
) -> DeviceChange {
    let yes = |name: &str| property(name).and_then(|text| boolean(&text));
    let words = |name: &str, rules: Rules| -> Vec<String> {
        let words = property(name).and_then(|text| split(text.as_bytes(), rules).ok()).unwrap_or_default();
        words.into_iter().filter_map(|word| String::from_utf8(word).ok()).collect()
    };
    // CURRENT_TAGS came with udev 247: TAGS also has those that a device had once.
    let tags = property("CURRENT_TAGS").or_else(|| property("TAGS")).unwrap_or_default();
    let tagged = tags.split(':').any(|tag| tag == TAG);
    let gone = action == "remove";
    let model = property("ID_MODEL_FROM_DATABASE").or_else(|| property("ID_MODEL"));
    let label = ["ID_FS_LABEL", "ID_PART_ENTRY_NAME", "ID_PART_ENTRY_NUMBER"].into_iter().find_map(property);
    let description = model.map(|model| label.map_or_else(|| model.clone(), |label| format!("{model} {label}")));
    let aliases = words("SYSTEMD_ALIAS", Rules::NAMES).into_iter().filter(|alias| alias.starts_with('/'));
    DeviceChange {
        syspath: syspath.to_owned(),
        moved_from: property("DEVPATH_OLD").filter(|_| action == "move").map(|old| format!("/sys{old}")),
        devnode: devnode.map(str::to_owned),
        links: words("DEVLINKS", Rules::PLAIN),
        aliases: aliases.collect(),
        ready: !gone && tagged && yes("ID_RENAMING") != Some(true) && yes("SYSTEMD_READY") != Some(false),
        wants: words("SYSTEMD_WANTS", Rules::NAMES),
        description,
        binds_mounts: yes("SYSTEMD_MOUNT_DEVICE_BOUND") == Some(true),
        altered: !matches!(action, "add" | "move" | "remove"),
        gone,
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(action: &str, properties: &[(&str, &str)]) -> DeviceChange {
        let find =
            |name: &str| properties.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        change(action, "/sys/devices/x", Some("/dev/x"), &find)
    }

    #[test]
    fn all_that_a_disk_says() {
        let disk = of(
            "add",
            &[
                ("CURRENT_TAGS", ":seat:systemd:"),
                ("DEVLINKS", "/dev/disk/by-label/my\\x20disk /dev/disk/by-id/1"),
                ("SYSTEMD_ALIAS", "/sys/alias \"/dev/with blank\" relative"),
                ("SYSTEMD_WANTS", "a.service b@.service c\\x2dd.service"),
                ("ID_MODEL", "Fast_Disk"),
                ("ID_PART_ENTRY_NUMBER", "3"),
                ("SYSTEMD_MOUNT_DEVICE_BOUND", "yes"),
            ],
        );
        assert_eq!(disk.links, ["/dev/disk/by-label/my\\x20disk", "/dev/disk/by-id/1"]);
        assert_eq!(disk.aliases, ["/sys/alias", "/dev/with blank"]);
        assert_eq!(disk.wants, ["a.service", "b@.service", "c\\x2dd.service"]);
        assert_eq!(disk.description.as_deref(), Some("Fast_Disk 3"));
        assert!(disk.ready && disk.binds_mounts && !disk.altered && !disk.gone);
    }

    #[test]
    fn when_it_is_ready() {
        let tagged = ("CURRENT_TAGS", ":systemd:");
        assert!(of("change", &[tagged]).ready && of("change", &[tagged]).altered);
        assert!(!of("add", &[]).ready);
        assert!(!of("add", &[("CURRENT_TAGS", ""), ("TAGS", ":systemd:")]).ready, "it had the tag once");
        assert!(of("add", &[("TAGS", ":systemd:")]).ready);
        assert!(!of("add", &[tagged, ("SYSTEMD_READY", "0")]).ready);
        assert!(!of("add", &[tagged, ("ID_RENAMING", "1")]).ready);
        let gone = of("remove", &[tagged]);
        assert!(gone.gone && !gone.ready && !gone.altered);
    }

    #[test]
    fn where_it_was_before() {
        let moved = of("move", &[("DEVPATH_OLD", "/devices/y")]);
        assert_eq!(moved.moved_from.as_deref(), Some("/sys/devices/y"));
        assert!(!moved.altered);
        assert_eq!(of("add", &[("DEVPATH_OLD", "/devices/y")]).moved_from, None);
    }

    #[test]
    fn an_answer_either_way_where_there_is_no_udev() {
        match Devices::new() {
            Ok(mut devices) => {
                let all = devices.enumerate().unwrap();
                assert_eq!(all.len(), devices.known.len());
                assert!(devices.events().is_empty());
            }
            Err(error) => assert!(!supported(), "{error}"),
        }
    }
}
