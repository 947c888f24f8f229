// SPDX-License-Identifier: GPL-2.0-or-later
//! Mounts between what their units ask for and what the kernel's table says.

mod double;

use double::{World, name};
use ssi_manager::core::Event;
use ssi_manager::core::mount::{Mounted, ToolResult};
use ssi_manager::core::system::Exit;
use ssi_manager::job::{JobMode, JobResult, Request};
use ssi_unit::dependency::{Atoms, Dependency};

const ENOTEMPTY: i32 = 39;
const ELOOP: i32 = 40;

const DATA: (&str, &str) = (
    "data.mount",
    "[Mount]\nWhat=memory\nWhere=/data\nType=tmpfs\nOptions=size=1G,nofail,noatime\nTimeoutSec=10\nDirectoryMode=0700\n",
);

fn line(what: &str, place: &str, kind: &str, options: &str) -> Mounted {
    Mounted { what: what.to_owned(), place: place.to_owned(), options: options.to_owned(), kind: kind.to_owned() }
}

fn root() -> Mounted {
    line("/dev/vda1", "/", "ext4", "rw")
}

fn data() -> Mounted {
    line("memory", "/data", "tmpfs", "rw,noatime")
}

fn table(world: &mut World, mut lines: Vec<Mounted>) {
    lines.insert(0, root());
    world.tell(Event::Mounts(lines));
}

fn result(world: &World, unit: &str) -> ToolResult {
    world.core.unit(world.id(unit)).runtime.kind.mount().result
}

fn has(world: &World, from: &str, kind: Dependency, to: &str) -> bool {
    let Some(to) = world.core.table.find(&name(to)) else { return false };
    world.core.graph.edge(world.id(from), kind, to).is_some_and(|edge| !edge.asked.is_empty())
}

/// `data.mount`, up.
fn mounted() -> World {
    let mut world = World::new(&[DATA]);
    world.start("data.mount");
    table(&mut world, vec![data()]);
    let pid = world.only("data.mount");
    world.exit(pid, Exit::Code(0));
    assert_eq!(world.state("data.mount"), "active (mounted)");
    world
}

#[test]
fn it_is_up_when_the_table_has_it_and_mount_has_ended() {
    let mut world = World::new(&[DATA]);
    world.start("data.mount");
    assert_eq!(world.state("data.mount"), "activating (mounting)");
    assert_eq!(world.lines(), ["/bin/mount memory /data -t tmpfs -o size=1G,noatime"]);
    assert_eq!(world.state.borrow().directories, [("/data".to_owned(), 0o700)]);
    table(&mut world, vec![data()]);
    assert_eq!(world.state("data.mount"), "activating (mounting-done)");
    assert_eq!(world.results("data.mount"), []);
    let pid = world.only("data.mount");
    world.exit(pid, Exit::Code(0));
    assert_eq!(world.state("data.mount"), "active (mounted)");
    assert_eq!(world.results("data.mount"), [JobResult::Done]);
    assert_eq!(world.core.unit(world.id("data.mount")).description(), "/data");
}

#[test]
fn mount_says_it_is_there_and_the_kernel_knows_nothing() {
    let mut world = World::new(&[DATA]);
    world.start("data.mount");
    let pid = world.only("data.mount");
    world.exit(pid, Exit::Code(0));
    assert_eq!(world.state("data.mount"), "failed (failed)");
    assert_eq!(result(&world, "data.mount"), ToolResult::Protocol);
    assert_eq!(world.results("data.mount"), [JobResult::Failed]);
}

#[test]
fn a_mount_that_comes_and_goes_again_fails_with_its_command() {
    let mut world = World::new(&[DATA]);
    world.start("data.mount");
    table(&mut world, vec![data()]);
    table(&mut world, vec![]);
    assert_eq!(world.state("data.mount"), "activating (mounting)");
    let pid = world.only("data.mount");
    world.exit(pid, Exit::Code(32));
    assert_eq!(world.state("data.mount"), "failed (failed)");
    assert_eq!(result(&world, "data.mount"), ToolResult::ExitCode);
    world.core.reset_failed(world.id("data.mount"));
    world.run();
    assert_ne!(world.state("data.mount"), "failed (failed)");
}

#[test]
fn what_lies_on_top_of_one_another_is_taken_off_one_by_one() {
    let mut world = mounted();
    world.stop("data.mount");
    for _ in 0..2 {
        // The table is as it was: there was another one below.
        let pid = world.only("data.mount");
        world.exit(pid, Exit::Code(0));
        assert_eq!(world.state("data.mount"), "deactivating (unmounting)");
    }
    table(&mut world, vec![]);
    let pid = world.only("data.mount");
    world.exit(pid, Exit::Code(0));
    assert!(world.lines()[1..].iter().all(|line| line == "/bin/umount /data -c"));
    assert_eq!(world.lines().len(), 4);
    assert_eq!(world.results("data.mount"), [JobResult::Done, JobResult::Done]);
    assert_eq!(world.state("data.mount"), "not there", "nothing holds it, so it is forgotten");
}

#[test]
fn after_so_many_it_is_given_up() {
    let mut world = mounted();
    world.stop("data.mount");
    let mut tries = 0;
    while let [(pid, _)] = world.live("data.mount")[..] {
        tries += 1;
        assert!(tries < 100);
        world.exit(pid, Exit::Code(0));
    }
    assert_eq!(tries, 33, "the first one and 32 more");
    assert_eq!(world.state("data.mount"), "active (mounted)");
    assert_eq!(world.results("data.mount"), [JobResult::Done, JobResult::Failed]);
}

#[test]
fn what_cannot_be_unmounted_is_mounted_still() {
    let text = format!("{}LazyUnmount=yes\nForceUnmount=yes\n", DATA.1);
    let mut world = World::new(&[("data.mount", text.as_str())]);
    table(&mut world, vec![data()]);
    world.stop("data.mount");
    assert_eq!(world.lines(), ["/bin/umount /data -c -l -f"]);
    let pid = world.only("data.mount");
    world.exit(pid, Exit::Code(32));
    assert_eq!(world.state("data.mount"), "active (mounted)");
    assert_eq!(world.results("data.mount"), [JobResult::Failed]);
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for() {
    let mut world = World::new(&[DATA]);
    world.start("data.mount");
    let pid = world.only("data.mount");
    world.pass(9.0);
    assert_eq!(world.signals(), []);
    world.pass(1.0);
    assert_eq!(world.state("data.mount"), "deactivating (unmounting-sigterm)");
    world.pass(10.0);
    assert_eq!(world.state("data.mount"), "deactivating (unmounting-sigkill)");
    assert_eq!(world.signals(), [(pid, 15), (pid, 9)]);
    // Not even that helps against a process that waits for a server in the kernel.
    world.pass(10.0);
    assert_eq!(world.state("data.mount"), "failed (failed)");
    assert_eq!(result(&world, "data.mount"), ToolResult::Timeout);
    assert_eq!(world.results("data.mount"), [JobResult::Failed]);
}

#[test]
fn a_reload_mounts_it_anew() {
    let mut world = mounted();
    world.request(Request::Reload, "data.mount");
    assert_eq!(world.state("data.mount"), "reloading (remounting)");
    assert_eq!(world.lines()[1], "/bin/mount memory /data -t tmpfs -o remount,size=1G,nofail,noatime");
    table(&mut world, vec![line("memory", "/data", "tmpfs", "ro")]);
    assert_eq!(world.state("data.mount"), "reloading (remounting)");
    let pid = world.only("data.mount");
    world.exit(pid, Exit::Code(0));
    assert_eq!(world.state("data.mount"), "active (mounted)");
    world.request(Request::Reload, "data.mount");
    let pid = world.only("data.mount");
    world.exit(pid, Exit::Code(1));
    assert_eq!(world.state("data.mount"), "active (mounted)", "it is mounted as it was");
    assert_eq!(world.results("data.mount"), [JobResult::Done, JobResult::Done, JobResult::Failed]);
}

#[test]
fn a_mount_that_nobody_asked_for_gets_a_unit() {
    let mut world = World::new(&[]);
    table(&mut world, vec![line("/dev/sdb1", "/mnt/stick", "vfat", "rw")]);
    assert_eq!(world.state("mnt-stick.mount"), "active (mounted)");
    assert!(has(&world, "mnt-stick.mount", Dependency::Before, "local-fs.target"));
    assert!(has(&world, "mnt-stick.mount", Dependency::Requires, "dev-sdb1.device"));
    assert_eq!(world.state("dev-sdb1.device"), "activating (tentative)");
    world.core.reload_files();
    assert!(has(&world, "mnt-stick.mount", Dependency::Before, "local-fs.target"));
    assert_eq!(world.state("mnt-stick.mount"), "active (mounted)");
    table(&mut world, vec![]);
    assert_eq!(world.state("mnt-stick.mount"), "not there");
    assert_eq!(world.state("dev-sdb1.device"), "not there");
}

#[test]
fn a_unit_that_was_only_named_is_found_in_the_table() {
    let service = ("a.service", "[Unit]\nRequiresMountsFor=/mnt/stick\n[Service]\nExecStart=/bin/a\n");
    let mut world = World::new(&[service]);
    world.start("a.service");
    let before = world.core.table.find(&name("mnt-stick.mount")).map(|id| world.core.unit(id).is_loaded());
    assert_ne!(before, Some(true));
    table(&mut world, vec![line("/dev/sdb1", "/mnt/stick", "vfat", "rw")]);
    assert_eq!(world.state("mnt-stick.mount"), "active (mounted)");
    assert!(world.core.graph.has(world.id("a.service"), Atoms::AFTER, world.id("mnt-stick.mount")));
}

#[test]
fn options_that_change_change_what_it_waits_for() {
    let mut world = World::new(&[]);
    table(&mut world, vec![line("/dev/sdb1", "/mnt/stick", "ext4", "rw")]);
    table(&mut world, vec![line("/dev/sdb1", "/mnt/stick", "ext4", "rw,_netdev")]);
    assert!(has(&world, "mnt-stick.mount", Dependency::Before, "remote-fs.target"));
    assert!(!has(&world, "mnt-stick.mount", Dependency::Before, "local-fs.target"));
    table(&mut world, vec![line("/dev/sdc1", "/mnt/stick", "ext4", "rw")]);
    assert!(has(&world, "mnt-stick.mount", Dependency::Requires, "dev-sdc1.device"));
    assert!(!has(&world, "mnt-stick.mount", Dependency::Requires, "dev-sdb1.device"));
    assert_eq!(world.state("dev-sdb1.device"), "not there");
}

#[test]
fn what_process_1_mounts_for_itself_has_no_units() {
    let mut world = World::new(&[]);
    let lines = vec![
        line("proc", "/proc", "proc", "rw"),
        line("cgroup2", "/sys/fs/cgroup", "cgroup2", "rw"),
        line("tmpfs", "/dev/shm", "tmpfs", "rw"),
        line("systemd-1", "/proc/sys/fs/binfmt_misc", "autofs", "rw"),
        line("mqueue", "/dev/mqueue", "mqueue", "rw"),
        line("swap", "none", "swap", ""),
    ];
    table(&mut world, lines);
    let mut mounts: Vec<&str> =
        world.core.table.iter().filter(|unit| unit.sub_state() == "mounted").map(|unit| unit.name.as_str()).collect();
    mounts.sort_unstable();
    assert_eq!(mounts, ["-.mount", "dev-mqueue.mount"]);
}

#[test]
fn the_root_is_there_whatever_the_table_says() {
    let mut world = World::new(&[]);
    assert_eq!(world.state("-.mount"), "active (mounted)");
    table(&mut world, vec![]);
    let first = world.core.unit(world.id("-.mount")).runtime.kind.mount().in_kernel.clone();
    assert_eq!(first.map(|mounted| mounted.what).as_deref(), Some("/dev/vda1"));
    world.tell(Event::Mounts(vec![]));
    assert_eq!(world.state("-.mount"), "active (mounted)");
    assert!(world.core.request("-.mount", Request::Stop, JobMode::Replace).is_err());
}

#[test]
fn what_is_part_of_the_system_stays_when_all_else_is_unmounted() {
    let mut world = World::new(&[DATA]);
    table(&mut world, vec![data(), line("/dev/vda2", "/usr", "ext4", "ro")]);
    world.start("umount.target");
    assert_eq!(world.lines(), ["/bin/umount /data -c"]);
    assert_eq!(world.state("usr.mount"), "active (mounted)");
    assert_eq!(world.state("umount.target"), "inactive (dead)", "it waits for the unmounting");
    table(&mut world, vec![line("/dev/vda2", "/usr", "ext4", "ro")]);
    let pid = world.only("data.mount");
    world.exit(pid, Exit::Code(0));
    assert_eq!(world.state("umount.target"), "active (active)");
}

#[test]
fn who_is_bound_to_a_mount_goes_with_it() {
    let bound = ("a.service", "[Unit]\nBindsTo=data.mount\nAfter=data.mount\n[Service]\nExecStart=/bin/a\n");
    let mut world = World::new(&[DATA, bound]);
    table(&mut world, vec![data()]);
    world.start("a.service");
    let pid = world.only("a.service");
    table(&mut world, vec![]);
    assert_eq!(world.state("data.mount"), "inactive (dead)");
    assert_eq!(world.signals(), [(pid, 15)]);
}

#[test]
fn a_stop_while_it_is_being_mounted_ends_the_mounting() {
    let mut world = World::new(&[DATA]);
    world.state.borrow_mut().obedient = true;
    world.start("data.mount");
    world.stop("data.mount");
    assert_eq!(world.signals().len(), 1);
    assert_eq!(result_words(&world), ["canceled", "done"]);
    assert_eq!(world.live("data.mount"), []);
}

fn result_words(world: &World) -> Vec<&'static str> {
    world.results("data.mount").into_iter().map(JobResult::word).collect()
}

#[test]
fn the_next_manager_goes_on_with_the_mounting() {
    let mut world = World::new(&[DATA]);
    world.start("data.mount");
    world.pass(4.0);
    world.replace_manager();
    assert_eq!(world.state("data.mount"), "activating (mounting)");
    table(&mut world, vec![data()]);
    assert_eq!(world.state("data.mount"), "activating (mounting-done)");
    let pid = world.only("data.mount");
    world.exit(pid, Exit::Code(0));
    assert_eq!(world.state("data.mount"), "active (mounted)");
    // What happened while no manager was there is found out with the next reading of the table.
    world.replace_manager();
    table(&mut world, vec![]);
    assert_ne!(world.state("data.mount"), "active (mounted)");
}

#[test]
fn a_place_that_hides_something_is_told_of_and_one_behind_a_link_is_refused() {
    let mut world = World::new(&[DATA]);
    world.state.borrow_mut().odd_directories.insert("/data".to_owned(), ENOTEMPTY);
    world.start("data.mount");
    assert!(world.logged("data.mount: the directory it is mounted on holds something"));
    assert_eq!(world.state("data.mount"), "activating (mounting)");

    let mut world = World::new(&[DATA]);
    world.state.borrow_mut().odd_directories.insert("/data".to_owned(), ELOOP);
    world.start("data.mount");
    assert_eq!(world.state("data.mount"), "failed (failed)");
    assert_eq!(result(&world, "data.mount"), ToolResult::Resources);
    assert_eq!(world.lines(), [""; 0]);
}

#[test]
fn a_bind_mount_makes_its_source_and_a_file_gets_no_directory() {
    let bind = ("mnt-b.mount", "[Mount]\nWhat=/srv/b\nWhere=/mnt/b\nOptions=bind\n");
    let mut world = World::new(&[bind]);
    world.start("mnt-b.mount");
    let made: Vec<String> = world.state.borrow().directories.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(made, ["/mnt/b", "/srv/b"]);

    let mut world = World::new(&[bind]);
    world.state.borrow_mut().plain_files.insert("/srv/b".to_owned());
    world.start("mnt-b.mount");
    assert!(world.state.borrow().directories.iter().all(|(path, _)| path != "/mnt/b"));
    assert_eq!(world.lines(), ["/bin/mount /srv/b /mnt/b -o bind"]);
}

#[test]
fn a_mount_of_nothing_cannot_be_used() {
    let mut world = World::new(&[("data.mount", "[Mount]\nWhere=/data\n")]);
    assert!(world.core.request("data.mount", Request::Start, JobMode::Replace).is_err());
    // Once it is there it is there.
    table(&mut world, vec![data()]);
    assert_eq!(world.state("data.mount"), "active (mounted)");
}

#[test]
fn it_is_not_mounted_too_often() {
    let mut world = World::new(&[DATA]);
    for _ in 0..5 {
        world.start("data.mount");
        let pid = world.only("data.mount");
        world.exit(pid, Exit::Code(32));
    }
    world.start("data.mount");
    assert_eq!(world.lines().len(), 5);
    assert!(world.core.unit(world.id("data.mount")).runtime.start_limit_hit);
    assert_eq!(world.state("data.mount"), "failed (failed)");
}
