// SPDX-License-Identifier: GPL-2.0-or-later
//! Swap areas between what their units ask for and what the kernel uses.

mod double;

use double::World;
use ssi_manager::core::Event;
use ssi_manager::core::device::DeviceChange;
use ssi_manager::core::mount::ToolResult;
use ssi_manager::core::swap::InUse;
use ssi_manager::core::system::Exit;
use ssi_manager::job::JobResult;
use ssi_unit::dependency::Dependency;

const FILE: (&str, &str) = ("swapfile.swap", "[Swap]\nWhat=/swapfile\nPriority=5\nOptions=discard\nTimeoutSec=10\n");
const UUID: &str = r"dev-disk-by\x2duuid-1234.swap";

fn table(world: &mut World, areas: &[&str]) {
    let areas = areas.iter().map(|what| InUse { what: (*what).to_owned(), priority: 5 });
    world.tell(Event::Swaps(areas.collect()));
}

fn result(world: &World, unit: &str) -> ToolResult {
    world.core.unit(world.id(unit)).runtime.kind.swap().result
}

fn partition() -> Event {
    Event::Device(DeviceChange {
        syspath: "/sys/devices/block/vda2".to_owned(),
        devnode: Some("/dev/vda2".to_owned()),
        links: vec!["/dev/disk/by-uuid/1234".to_owned()],
        ready: true,
        ..DeviceChange::default()
    })
}

#[test]
fn it_is_up_when_the_kernel_uses_it() {
    let mut world = World::new(&[FILE]);
    world.start("swapfile.swap");
    assert_eq!(world.state("swapfile.swap"), "activating (activating)");
    assert_eq!(world.lines(), ["/sbin/swapon -o discard,pri=5 /swapfile"]);
    table(&mut world, &["/swapfile"]);
    assert_eq!(world.state("swapfile.swap"), "active (activating-done)");
    assert_eq!(world.results("swapfile.swap"), [JobResult::Done]);
    let pid = world.only("swapfile.swap");
    world.exit(pid, Exit::Code(0));
    assert_eq!(world.state("swapfile.swap"), "active (active)");
    world.stop("swapfile.swap");
    assert_eq!(world.lines()[1], "/sbin/swapoff /swapfile");
    assert_eq!(world.state("swapfile.swap"), "deactivating (deactivating)");
    table(&mut world, &[]);
    let pid = world.only("swapfile.swap");
    world.exit(pid, Exit::Code(0));
    assert_eq!(world.results("swapfile.swap"), [JobResult::Done, JobResult::Done]);
}

#[test]
fn the_priority_in_the_options_counts() {
    let mut world = World::new(&[("s.swap", "[Swap]\nWhat=/s\nPriority=5\nOptions=pri=7,nofail\n")]);
    world.start("s.swap");
    assert_eq!(world.lines(), ["/sbin/swapon -o pri=7,nofail /s"]);
    assert!(world.logged("pri= counts"));
    let mut world = World::new(&[("s.swap", "[Swap]\nWhat=/s\n")]);
    world.start("s.swap");
    assert_eq!(world.lines(), ["/sbin/swapon /s"]);
}

#[test]
fn a_command_that_fails_is_a_failure_and_one_that_does_not_is_none() {
    let mut world = World::new(&[FILE]);
    world.start("swapfile.swap");
    let pid = world.only("swapfile.swap");
    world.exit(pid, Exit::Code(255));
    assert_eq!(world.state("swapfile.swap"), "failed (failed)");
    assert_eq!(result(&world, "swapfile.swap"), ToolResult::ExitCode);
    assert_eq!(world.results("swapfile.swap"), [JobResult::Failed]);
    // The kernel tells of the area a moment later.
    world.start("swapfile.swap");
    let pid = world.only("swapfile.swap");
    world.exit(pid, Exit::Code(0));
    assert_eq!(world.state("swapfile.swap"), "active (active)");
    table(&mut world, &["/swapfile"]);
    assert_eq!(world.state("swapfile.swap"), "active (active)");
}

#[test]
fn swap_space_that_nobody_asked_for_gets_a_unit() {
    let mut world = World::new(&[]);
    table(&mut world, &["/dev/vda2"]);
    assert_eq!(world.state("dev-vda2.swap"), "active (active)");
    assert_eq!(world.state("dev-vda2.device"), "activating (tentative)");
    let device = world.id("dev-vda2.device");
    assert!(world.core.graph.edge(world.id("dev-vda2.swap"), Dependency::Requires, device).is_some());
    assert_eq!(world.core.unit(world.id("dev-vda2.swap")).description(), "/dev/vda2");
    table(&mut world, &[]);
    assert_eq!(world.state("dev-vda2.swap"), "not there");
    assert_eq!(world.state("dev-vda2.device"), "not there");
}

#[test]
fn one_area_by_two_names_is_given_up_once() {
    let file = (UUID, "[Swap]\nWhat=/dev/disk/by-uuid/1234\n");
    let mut world = World::new(&[file]);
    world.tell(partition());
    world.start(UUID);
    table(&mut world, &["/dev/vda2"]);
    let pid = world.only(UUID);
    world.exit(pid, Exit::Code(0));
    assert_eq!(world.state(UUID), "active (active)");
    assert_eq!(world.state("dev-vda2.swap"), "active (active)");
    world.stop("dev-vda2.swap");
    assert_eq!(world.state("dev-vda2.swap"), "deactivating (deactivating)");
    world.stop(UUID);
    assert_eq!(world.lines()[1..], ["/sbin/swapoff /dev/disk/by-uuid/1234"]);
    // It is too full to be given up.
    let pid = world.only(UUID);
    world.exit(pid, Exit::Code(255));
    for unit in [UUID, "dev-vda2.swap"] {
        assert_eq!(world.state(unit), "active (active)", "{unit}");
        assert_eq!(world.results(unit).last(), Some(&JobResult::Failed), "{unit}");
    }
    world.stop("dev-vda2.swap");
    table(&mut world, &[]);
    let pid = world.only(UUID);
    world.exit(pid, Exit::Code(0));
    assert_eq!(world.results("dev-vda2.swap").last(), Some(&JobResult::Done));
    assert_eq!(world.state("dev-vda2.swap"), "not there");
}

#[test]
fn an_area_in_use_by_another_name_is_not_swapped_on_again() {
    let file = (UUID, "[Swap]\nWhat=/dev/disk/by-uuid/1234\n");
    let mut world = World::new(&[file]);
    table(&mut world, &["/dev/vda2"]);
    world.tell(partition());
    world.start(UUID);
    assert_eq!(world.lines(), [""; 0]);
    assert_eq!(world.state(UUID), "active (active)");
    table(&mut world, &["/dev/vda2"]);
    assert_eq!(world.state(UUID), "active (active)");
    table(&mut world, &[]);
    assert_ne!(world.state(UUID), "active (active)");
}

#[test]
fn a_swapoff_that_takes_too_long_is_ended() {
    let mut world = World::new(&[FILE]);
    table(&mut world, &["/swapfile"]);
    world.stop("swapfile.swap");
    let pid = world.only("swapfile.swap");
    world.pass(10.0);
    assert_eq!(world.state("swapfile.swap"), "deactivating (deactivating-sigterm)");
    world.pass(10.0);
    assert_eq!(world.signals(), [(pid, 15), (pid, 9)]);
    world.exit(pid, Exit::Signal(9));
    assert_eq!(world.state("swapfile.swap"), "active (active)", "the kernel uses it still");
    assert_eq!(result(&world, "swapfile.swap"), ToolResult::Timeout);
}
