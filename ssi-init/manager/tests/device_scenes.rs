// SPDX-License-Identifier: GPL-2.0-or-later
//! Devices that come, go, change and are mounted.

mod double;

use std::collections::BTreeSet;

use double::World;
use ssi_manager::core::Event;
use ssi_manager::core::device::{self, DeviceChange};
use ssi_manager::core::mount::Mounted;
use ssi_manager::core::system::Exit;
use ssi_manager::job::UnitStates as _;
use ssi_manager::job::{JobResult, Request};
use ssi_unit::dependency::Dependency;

const DISK: &str = "/sys/devices/pci0/block/sdb";
const DISK_UNIT: &str = "sys-devices-pci0-block-sdb.device";
const OTHER: &str = "/sys/devices/pci0/block/sdc";
const LABEL: &str = "/dev/disk/by-label/data";
const LABEL_UNIT: &str = r"dev-disk-by\x2dlabel-data.device";
const DATA: (&str, &str) = ("data.mount", "[Mount]\nWhat=/dev/sdb\nWhere=/data\n");
const SERVICE: &str = "[Service]\nExecStart=/bin/a\n";

fn disk() -> DeviceChange {
    DeviceChange {
        syspath: DISK.to_owned(),
        devnode: Some("/dev/sdb".to_owned()),
        links: vec![LABEL.to_owned(), "/dev/block/8:16".to_owned()],
        ready: true,
        ..DeviceChange::default()
    }
}

fn gone() -> DeviceChange {
    DeviceChange { gone: true, ready: false, ..disk() }
}

fn tell(world: &mut World, change: DeviceChange) {
    world.tell(Event::Device(change));
}

fn mounted(options: &str) -> Event {
    Event::Mounts(vec![Mounted {
        what: "/dev/sdb".to_owned(),
        place: "/data".to_owned(),
        options: options.to_owned(),
        kind: "ext4".to_owned(),
    }])
}

fn binds(world: &World, mount: &str) -> bool {
    world.core.graph.edge(world.id(mount), Dependency::BindsTo, world.id("dev-sdb.device")).is_some()
}

#[test]
fn a_mount_waits_until_its_device_is_plugged() {
    let mut world = World::new(&[DATA]);
    world.start("data.mount");
    assert_eq!(world.state("data.mount"), "inactive (dead)");
    tell(&mut world, disk());
    assert_eq!(world.state("data.mount"), "activating (mounting)");
    assert_eq!(world.lines(), ["/bin/mount /dev/sdb /data"]);
}

#[test]
fn a_device_that_is_only_mounted_is_not_known_to_be_there() {
    let mut world = World::new(&[]);
    world.tell(mounted("rw"));
    assert_eq!(world.state("dev-sdb.device"), "activating (tentative)");
    tell(&mut world, disk());
    assert_eq!(world.state("dev-sdb.device"), "active (plugged)");
    // udev has lost it: what is mounted is of nothing.
    tell(&mut world, DeviceChange { ready: false, ..disk() });
    assert_eq!(world.state("dev-sdb.device"), "inactive (dead)");
    let found = world.core.unit(world.id("dev-sdb.device")).runtime.kind.device().found;
    assert!(found.mounts && !found.udev);
}

#[test]
fn one_device_has_many_units_that_follow_one() {
    let mut world = World::new(&[]);
    tell(&mut world, DeviceChange { aliases: vec!["/sys/subsystem/x/sdb".to_owned(), "odd".to_owned()], ..disk() });
    for unit in [DISK_UNIT, "dev-sdb.device", LABEL_UNIT, "sys-subsystem-x-sdb.device"] {
        assert_eq!(world.state(unit), "active (plugged)", "{unit}");
    }
    assert_eq!(world.state("dev-block-8:16.device"), "not there", "a number is no lasting name");
    assert!(world.logged("the alias odd of the device"));
    let followers = world.core.table.followers(world.id(DISK_UNIT));
    assert_eq!(followers.len(), 3);
    // The label was written anew.
    tell(&mut world, DeviceChange { links: vec![], altered: true, ..disk() });
    assert_eq!(world.state(LABEL_UNIT), "not there");
    assert_eq!(world.state("sys-subsystem-x-sdb.device"), "not there");
    assert_eq!(world.state("dev-sdb.device"), "active (plugged)");
    tell(&mut world, gone());
    assert_eq!(world.state(DISK_UNIT), "not there");
}

#[test]
fn two_disks_with_one_label_lose_it_with_the_second() {
    let mut world = World::new(&[]);
    tell(&mut world, disk());
    tell(&mut world, DeviceChange { syspath: OTHER.to_owned(), devnode: Some("/dev/sdc".to_owned()), ..disk() });
    let of = |world: &World| world.core.unit(world.id(LABEL_UNIT)).runtime.kind.device().syspath().map(str::to_owned);
    assert_eq!(of(&world).as_deref(), Some(OTHER));
    tell(&mut world, DeviceChange { syspath: OTHER.to_owned(), ..gone() });
    assert_eq!(world.state(LABEL_UNIT), "active (plugged)");
    assert_eq!(of(&world).as_deref(), Some(DISK));
    assert_eq!(world.state("dev-sdc.device"), "not there");
    tell(&mut world, gone());
    assert_eq!(world.state(LABEL_UNIT), "not there");
}

#[test]
fn what_is_not_ready_is_not_there() {
    let mut world = World::new(&[DATA]);
    world.start("data.mount");
    tell(&mut world, DeviceChange { ready: false, ..disk() });
    assert_eq!(world.state("data.mount"), "inactive (dead)");
    tell(&mut world, DeviceChange { altered: true, ..disk() });
    assert_eq!(world.state("data.mount"), "activating (mounting)");
}

#[test]
fn what_a_device_wants_comes_up_with_it() {
    let mut world = World::new(&[("a@.service", SERVICE), ("b.service", SERVICE), ("c.service", SERVICE)]);
    let wants =
        |words: &[&str]| DeviceChange { wants: words.iter().map(|word| (*word).to_owned()).collect(), ..disk() };
    tell(&mut world, wants(&["a@.service", "b", "absent.service"]));
    let instance = "a@sys-devices-pci0-block-sdb.service";
    assert_eq!(world.state(instance), "active (running)");
    assert_eq!(world.state("b.service"), "active (running)");
    // A rule of udev that came later: what is new starts, what runs is left alone, what does not is started again.
    let pid = world.only("b.service");
    world.exit(pid, Exit::Code(0));
    tell(&mut world, wants(&["a@.service", "b", "c.service"]));
    for unit in [instance, "b.service", "c.service"] {
        assert_eq!(world.state(unit), "active (running)", "{unit}");
    }
    assert_eq!(world.results(instance), [JobResult::Done], "it was not started a second time");
    // The files do not say that; it is not forgotten when they are read again.
    world.core.reload_files();
    let wanted = world.core.graph.edge(world.id(DISK_UNIT), Dependency::Wants, world.id("c.service"));
    assert!(wanted.is_some());
    tell(&mut world, wants(&[]));
    assert!(world.core.graph.edge(world.id(DISK_UNIT), Dependency::Wants, world.id("c.service")).is_none());
}

#[test]
fn a_mount_with_a_file_is_unmounted_when_its_device_is_unplugged() {
    let mut world = World::new(&[DATA]);
    tell(&mut world, disk());
    world.tell(mounted("rw"));
    assert_eq!(world.state("data.mount"), "active (mounted)");
    tell(&mut world, gone());
    assert_eq!(world.lines(), ["/bin/umount /data -c"]);
}

#[test]
fn a_mount_by_hand_stays_unless_the_device_says_that_it_goes() {
    let mut world = World::new(&[]);
    tell(&mut world, disk());
    world.tell(mounted("rw"));
    assert!(!binds(&world, "data.mount"));
    tell(&mut world, gone());
    assert_eq!(world.state("data.mount"), "active (mounted)");

    // The device says so when the mount is there already …
    let mut world = World::new(&[]);
    tell(&mut world, disk());
    world.tell(mounted("rw"));
    tell(&mut world, DeviceChange { binds_mounts: true, altered: true, ..disk() });
    assert!(binds(&world, "data.mount"));
    world.core.reload_files();
    assert!(binds(&world, "data.mount"));
    tell(&mut world, gone());
    assert_eq!(world.lines(), ["/bin/umount /data -c"]);

    // … or before.
    let mut world = World::new(&[]);
    tell(&mut world, DeviceChange { binds_mounts: true, ..disk() });
    world.tell(mounted("rw"));
    assert!(binds(&world, "data.mount"));
}

#[test]
fn a_mount_may_say_itself_that_it_goes_with_its_device() {
    let mut world = World::new(&[]);
    tell(&mut world, disk());
    world.tell(mounted("rw,x-systemd.device-bound"));
    assert!(binds(&world, "data.mount"));
    tell(&mut world, gone());
    assert_eq!(world.lines(), ["/bin/umount /data -c"]);
}

#[test]
fn a_device_is_called_what_udev_calls_it() {
    let mut world = World::new(&[]);
    tell(&mut world, DeviceChange { description: Some("QEMU_HARDDISK data".to_owned()), ..disk() });
    assert_eq!(world.core.unit(world.id("dev-sdb.device")).description(), "QEMU_HARDDISK data");
    tell(&mut world, DeviceChange { altered: true, ..disk() });
    assert_eq!(world.core.unit(world.id("dev-sdb.device")).description(), "/dev/sdb");
}

#[test]
fn who_follows_a_device_reloads_when_it_changes() {
    let text = "[Unit]\nReloadPropagatedFrom=dev-sdb.device\n[Service]\nExecStart=/bin/a\nExecReload=/bin/reload\n";
    let mut world = World::new(&[("a.service", text)]);
    world.start("a.service");
    tell(&mut world, disk());
    assert_eq!(world.lines(), ["/bin/a"]);
    tell(&mut world, DeviceChange { altered: true, ..disk() });
    assert_eq!(world.lines(), ["/bin/a", "/bin/reload"]);
}

#[test]
fn what_went_while_no_manager_was_there_is_found_out() {
    let bound = "[Unit]\nBindsTo=dev-sdb.device\nAfter=dev-sdb.device\n[Service]\nExecStart=/bin/a\n";
    let mut world = World::new(&[("a.service", bound)]);
    tell(&mut world, disk());
    tell(&mut world, DeviceChange { syspath: OTHER.to_owned(), devnode: Some("/dev/sdc".to_owned()), ..disk() });
    world.start("a.service");
    let pid = world.only("a.service");
    world.replace_manager();
    assert_eq!(world.state("dev-sdb.device"), "active (plugged)");
    device::enumerated(&mut world.core, &BTreeSet::from([OTHER.to_owned()]));
    assert_eq!(world.state("dev-sdb.device"), "inactive (dead)");
    assert_eq!(world.state("dev-sdc.device"), "active (plugged)");
    assert_eq!(world.signals(), [(pid, 15)]);
}

#[test]
fn a_device_that_moves_is_no_longer_where_it_was() {
    let mut world = World::new(&[]);
    tell(&mut world, disk());
    tell(&mut world, DeviceChange { syspath: OTHER.to_owned(), moved_from: Some(DISK.to_owned()), ..disk() });
    assert_eq!(world.state(DISK_UNIT), "not there");
    let now = world.core.unit(world.id("dev-sdb.device")).runtime.kind.device().syspath().map(str::to_owned);
    assert_eq!(now.as_deref(), Some(OTHER));
    assert_eq!(world.state("dev-sdb.device"), "active (plugged)");
}

#[test]
fn a_device_cannot_be_started_but_waited_for() {
    let mut world = World::new(&[]);
    world.request(Request::Start, "dev-sdb.device");
    assert_eq!(world.results("dev-sdb.device"), [JobResult::Collected], "nobody waits");
    let after = "[Unit]\nRequires=dev-sdb.device\nAfter=dev-sdb.device\n[Service]\nExecStart=/bin/a\n";
    let mut world = World::new(&[("a.service", after)]);
    world.start("a.service");
    assert_eq!(world.results("dev-sdb.device"), []);
    tell(&mut world, disk());
    assert_eq!(world.results("dev-sdb.device"), [JobResult::Done]);
    assert_eq!(world.state("a.service"), "active (running)");
}
