// SPDX-License-Identifier: GPL-2.0-or-later
//! Automounts: who looks there waits, and is never forgotten.

mod double;

use double::World;
use ssi_manager::core::Event;
use ssi_manager::core::automount::{Ask, AutomountResult};
use ssi_manager::core::mount::Mounted;
use ssi_manager::core::system::{Exit, Pid};
use ssi_manager::job::JobResult;

const ENODEV: i32 = -19;
const EHOSTDOWN: i32 = -112;
const AUTOMOUNT: &str = "[Automount]\nWhere=/net\nTimeoutIdleSec=30\nDirectoryMode=0711\nExtraOptions=context=x\n";
const MOUNT: &str = "[Mount]\nWhat=memory\nWhere=/net\nType=tmpfs\n";

fn world() -> World {
    let mut world = World::new(&[("net.automount", AUTOMOUNT), ("net.mount", MOUNT)]);
    world.start("net.automount");
    assert_eq!(world.state("net.automount"), "active (waiting)");
    world
}

fn ask(world: &mut World, ask: Ask) {
    world.tell(Event::AutomountAsked { unit: double::name("net.automount"), ask });
}

fn look(world: &mut World, token: u32) {
    ask(world, Ask::Mount { token, by: Some(Pid(77)) });
}

fn answers(world: &World) -> Vec<(u32, i32)> {
    world.state.borrow_mut().answers.drain(..).collect()
}

fn table(world: &mut World, mounted: bool) {
    let line = |kind: &str| Mounted { place: "/net".to_owned(), kind: kind.to_owned(), ..Mounted::default() };
    let mut lines = vec![line("autofs")];
    lines.extend(mounted.then(|| line("tmpfs")));
    world.tell(Event::Mounts(lines));
}

/// It was looked at, and is mounted.
fn running() -> World {
    let mut world = world();
    look(&mut world, 1);
    table(&mut world, true);
    let pid = world.only("net.mount");
    world.exit(pid, Exit::Code(0));
    assert_eq!(answers(&world), [(1, 0)]);
    assert_eq!(world.state("net.automount"), "active (running)");
    world
}

#[test]
fn who_looks_waits_until_it_is_mounted() {
    let mut world = world();
    assert_eq!(world.state.borrow().directories, [("/net".to_owned(), 0o711)]);
    let autofs: Vec<_> = world.state.borrow().autofs.values().cloned().collect();
    assert_eq!(autofs, [("/net".to_owned(), Some("context=x".to_owned()), Some(30_000_000))]);
    assert_eq!(world.lines(), [""; 0], "nothing is mounted before somebody looks");
    look(&mut world, 1);
    look(&mut world, 2);
    assert_eq!(world.lines(), ["/bin/mount memory /net -t tmpfs"]);
    assert_eq!(world.state("net.automount"), "active (running)");
    table(&mut world, true);
    assert_eq!(answers(&world), [], "mount(8) has not ended");
    let pid = world.only("net.mount");
    world.exit(pid, Exit::Code(0));
    assert_eq!(answers(&world), [(1, 0), (2, 0)]);
}

#[test]
fn who_looks_is_let_go_when_it_cannot_be_mounted() {
    let mut world = world();
    look(&mut world, 1);
    let pid = world.only("net.mount");
    world.exit(pid, Exit::Code(32));
    assert_eq!(answers(&world), [(1, ENODEV)]);
    assert_eq!(world.state("net.automount"), "active (waiting)");
    look(&mut world, 2);
    assert_eq!(world.live("net.mount").len(), 1, "it is tried again");
}

#[test]
fn what_is_not_used_is_unmounted() {
    let mut world = running();
    world.pass(9.0);
    assert_eq!(world.state.borrow().expiries, 0);
    world.pass(11.0);
    assert_eq!(world.state.borrow().expiries, 2, "three times in the idle time");
    ask(&mut world, Ask::Expire { token: 9 });
    assert_eq!(world.lines()[1], "/bin/umount /net -c");
    assert_eq!(answers(&world), []);
    world.pass(30.0);
    assert_eq!(world.state.borrow().expiries, 2, "it is under way");
    table(&mut world, false);
    let pid = world.only("net.mount");
    world.exit(pid, Exit::Code(0));
    assert_eq!(answers(&world), [(9, 0)]);
    assert_eq!(world.state("net.automount"), "active (waiting)");
    look(&mut world, 10);
    assert_eq!(world.live("net.mount").len(), 1);
}

#[test]
fn what_is_in_use_after_all_stays_mounted() {
    let mut world = running();
    ask(&mut world, Ask::Expire { token: 9 });
    let pid = world.only("net.mount");
    world.exit(pid, Exit::Code(32));
    assert_eq!(answers(&world), [(9, ENODEV)]);
    assert_eq!(world.state("net.automount"), "active (running)");
    world.pass(10.0);
    assert_eq!(world.state.borrow().expiries, 1, "it is looked again");
}

#[test]
fn a_mount_by_hand_is_one_too() {
    let mut world = world();
    table(&mut world, true);
    assert_eq!(world.state("net.automount"), "active (running)");
    look(&mut world, 3);
    assert_eq!(answers(&world), [(3, 0)]);
    assert_eq!(world.lines(), [""; 0]);
    table(&mut world, false);
    assert_eq!(world.state("net.automount"), "active (waiting)");
}

#[test]
fn its_end_lets_everybody_go() {
    let mut world = world();
    look(&mut world, 1);
    world.stop("net.automount");
    assert_eq!(answers(&world), [(1, EHOSTDOWN)]);
    assert!(world.state.borrow().autofs.is_empty());
    assert_eq!(world.results("net.automount"), [JobResult::Done, JobResult::Done]);
    look(&mut world, 2);
    assert_eq!(answers(&world), [], "that was said before it was closed");

    let mut world = running();
    ask(&mut world, Ask::Expire { token: 9 });
    ask(&mut world, Ask::Broken("a short packet".to_owned()));
    assert_eq!(answers(&world), [(9, EHOSTDOWN)]);
}

#[test]
fn a_place_that_is_taken_is_not_covered() {
    let mut world = World::new(&[("net.automount", AUTOMOUNT), ("net.mount", MOUNT)]);
    table(&mut world, true);
    world.start("net.automount");
    assert_eq!(world.results("net.automount"), [JobResult::Failed]);
    assert!(world.state.borrow().autofs.is_empty());
    assert!(world.logged("something is mounted there already"));
}

#[test]
fn no_mount_no_automount() {
    let mut world = World::new(&[("net.automount", AUTOMOUNT)]);
    world.start("net.automount");
    assert_eq!(world.results("net.automount"), [JobResult::Failed]);
    let mut world = World::new(&[("net.automount", AUTOMOUNT), ("net.mount", MOUNT)]);
    world.state.borrow_mut().no_autofs = true;
    world.start("net.automount");
    assert_eq!(world.state("net.automount"), "failed (failed)");
    assert_eq!(world.results("net.automount"), [JobResult::Failed]);
}

#[test]
fn a_mount_that_fails_too_often_ends_it() {
    let mut world = world();
    for token in 1..=5 {
        look(&mut world, token);
        let pid = world.only("net.mount");
        world.exit(pid, Exit::Code(32));
        assert_eq!(answers(&world), [(token, ENODEV)]);
    }
    look(&mut world, 6);
    assert_eq!(answers(&world), [(6, EHOSTDOWN)]);
    assert_eq!(world.state("net.automount"), "failed (failed)");
    let id = world.id("net.automount");
    assert_eq!(world.core.unit(id).runtime.kind.automount().result, AutomountResult::MountStartLimitHit);
}

#[test]
fn an_autofs_that_somebody_took_away_is_a_failure() {
    for (ask_, result) in [
        (Ask::Unmounted, AutomountResult::Unmounted),
        (Ask::Broken("a short packet".to_owned()), AutomountResult::Resources),
    ] {
        let mut world = world();
        ask(&mut world, ask_);
        assert_eq!(world.state("net.automount"), "failed (failed)");
        assert_eq!(world.core.unit(world.id("net.automount")).runtime.kind.automount().result, result);
    }
}

#[test]
fn the_next_manager_answers_who_waited_for_the_one_before() {
    let mut world = world();
    look(&mut world, 1);
    world.replace_manager();
    assert_eq!(world.state("net.automount"), "active (running)");
    table(&mut world, true);
    let pid = world.only("net.mount");
    world.exit(pid, Exit::Code(0));
    assert_eq!(answers(&world), [(1, 0)]);
    // And it goes on looking whether it is idle.
    world.replace_manager();
    world.pass(10.0);
    assert_eq!(world.state.borrow().expiries, 1);
}
