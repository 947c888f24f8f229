// SPDX-License-Identifier: GPL-2.0-or-later
//! Path units: what comes to be in the file system starts their unit, and what that unit does there starts nothing.

mod double;

use double::World;
use ssi_manager::core::Event;
use ssi_manager::core::path::PathResult;
use ssi_manager::core::system::Exit;
use ssi_manager::job::{JobResult, Request};

const OK: Exit = Exit::Code(0);
const SERVICE: &str = "[Service]\nExecStart=/bin/a\n";
/// One that may be started as often as one likes.
const PATIENT: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/a\n";
const WAITING: &str = "active (waiting)";
const RUNNING: &str = "active (running)";
const FAILED: &str = "failed (failed)";

/// `a.path` with these lines, and `a.service`.
fn files(lines: &str) -> World {
    World::new(&[("a.path", &format!("[Path]\n{lines}\n")), ("a.service", SERVICE)])
}

/// The same, started.
fn path(lines: &str) -> World {
    let mut world = files(lines);
    world.start("a.path");
    assert_eq!(world.results("a.path"), [JobResult::Done]);
    world
}

/// How often the service was started.
fn runs(world: &World) -> usize {
    world.lines().len()
}

fn end(world: &mut World) {
    let pid = world.only("a.service");
    world.exit(pid, OK);
}

/// What is watched for it.
fn watched(world: &World) -> Vec<String> {
    let state = world.state.borrow();
    let watches = state.watched_paths.get("a.path").into_iter().flatten();
    watches.map(|watch| format!("{}={}", watch.event, watch.path)).collect()
}

fn result(world: &World) -> PathResult {
    world.core.unit(world.id("a.path")).runtime.kind.path().result
}

#[test]
fn each_kind_starts_the_unit_when_it_comes() {
    for (kind, is_state) in [
        ("PathExists", true),
        ("PathExistsGlob", true),
        ("DirectoryNotEmpty", true),
        ("PathChanged", false),
        ("PathModified", false),
    ] {
        let mut world = path(&format!("{kind}=/x"));
        assert_eq!((world.state("a.path").as_str(), runs(&world)), (WAITING, 0), "{kind}");
        assert_eq!(watched(&world), [format!("{kind}=/x")]);
        assert_eq!(world.happens("/x"), usize::from(!is_state), "{kind}: what is not so is no event");
        if is_state {
            assert_eq!(world.set_there("/x", true), 1);
        }
        assert_eq!((world.state("a.path").as_str(), runs(&world)), (RUNNING, 1), "{kind}");
        assert_eq!(world.state("a.service"), RUNNING);
        // It ends, and did what was to be done.
        world.set_there("/x", false);
        end(&mut world);
        assert_eq!((world.state("a.path").as_str(), runs(&world)), (WAITING, 1), "{kind}");
        assert_eq!(watched(&world), [format!("{kind}=/x")]);
        assert_eq!(world.set_there("/x", true), 1, "{kind}: it comes again");
        assert_eq!(runs(&world), 2);
    }
}

#[test]
fn what_is_there_already_starts_it_at_once_and_a_change_does_not() {
    for (kind, started) in
        [("PathExists", 1), ("PathExistsGlob", 1), ("DirectoryNotEmpty", 1), ("PathChanged", 0), ("PathModified", 0)]
    {
        let mut world = files(&format!("{kind}=/x"));
        world.set_there("/x", true);
        world.start("a.path");
        assert_eq!(runs(&world), started, "{kind}");
        assert_eq!(world.state("a.path"), if started == 1 { RUNNING } else { WAITING });
    }
}

#[test]
fn what_comes_just_before_it_is_watched_is_not_missed() {
    let mut world = files("PathExists=/x");
    world.state.borrow_mut().comes_when_watched = Some("/x".to_owned());
    world.start("a.path");
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (RUNNING, 1));
}

#[test]
fn one_of_several_is_enough() {
    let path = "[Path]\nPathExists=/x\nPathChanged=/y\nUnit=b.service\n";
    let mut world =
        World::new(&[("a.path", path), ("a.service", SERVICE), ("b.service", "[Service]\nExecStart=/bin/b\n")]);
    world.start("a.path");
    assert_eq!(watched(&world), ["PathExists=/x", "PathChanged=/y"]);
    world.happens("/y");
    assert_eq!(world.lines(), ["/bin/b"]);
}

#[test]
fn a_unit_that_ends_while_it_is_so_still_is_started_again() {
    for (kind, again) in [
        ("PathExists", true),
        ("PathExistsGlob", true),
        ("DirectoryNotEmpty", true),
        ("PathChanged", false),
        ("PathModified", false),
    ] {
        for exit in [OK, Exit::Code(1)] {
            let mut world = path(&format!("{kind}=/x"));
            world.set_there("/x", true);
            world.exit(world.only("a.service"), exit);
            assert_eq!(runs(&world), if again { 2 } else { 1 }, "{kind}");
            assert_eq!(world.state("a.path"), if again { RUNNING } else { WAITING });
        }
    }
}

#[test]
fn what_happens_while_the_unit_runs_starts_nothing() {
    // What it watches is what its unit writes to.
    let mut world = path("PathModified=/x\nTriggerLimitBurst=3");
    world.happens("/x");
    assert_eq!(watched(&world), [""; 0], "it would hear of its unit's own doings");
    for _ in 0..10 {
        // Told before the watch ended.
        world.tell(Event::PathChanged(double::name("a.path")));
        world.happens("/x");
    }
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (RUNNING, 1));
    // On its way down it is not asked to come up again.
    world.stop("a.service");
    assert_eq!(world.state("a.service"), "deactivating (stop-sigterm)");
    world.tell(Event::PathChanged(double::name("a.path")));
    end(&mut world);
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (WAITING, 1));
    world.happens("/x");
    assert_eq!(runs(&world), 2);
}

#[test]
fn a_unit_that_is_started_by_hand_is_not_waited_for() {
    let mut world = path("PathChanged=/x");
    world.start("a.service");
    assert_eq!(world.state("a.path"), RUNNING);
    assert_eq!(watched(&world), [""; 0]);
    end(&mut world);
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (WAITING, 1));
    world.happens("/x");
    assert_eq!(runs(&world), 2);
    // What has come meanwhile counts at its end.
    let mut world = path("PathExists=/x");
    world.start("a.service");
    world.set_there("/x", true);
    assert_eq!(runs(&world), 1);
    end(&mut world);
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (RUNNING, 2));
    // One that is up before the path unit is.
    let mut world = files("PathExists=/x");
    world.start("a.service");
    world.start("a.path");
    assert_eq!(world.state("a.path"), RUNNING);
    world.set_there("/x", true);
    end(&mut world);
    assert_eq!(runs(&world), 2);
}

#[test]
fn a_unit_that_restarts_by_itself_is_up_all_the_time() {
    let service = "[Service]\nExecStart=/bin/a\nRestart=always\nRestartSec=5\n";
    let mut world = World::new(&[("a.path", "[Path]\nPathExists=/x\n"), ("a.service", service)]);
    world.start("a.path");
    world.set_there("/x", true);
    end(&mut world);
    assert_eq!(world.state("a.service"), "activating (auto-restart)");
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (RUNNING, 1));
    world.pass(5.0);
    assert_eq!(runs(&world), 2);
    world.state.borrow_mut().obedient = true;
    world.set_there("/x", false);
    world.request(Request::Restart, "a.service");
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (RUNNING, 3));
    world.stop("a.service");
    assert_eq!(world.state("a.path"), WAITING);
}

// ---- directories and watches -------------------------------------------------------------------------------------

#[test]
fn directories_are_made_where_something_is_to_happen_in_them() {
    let lines = "PathExists=/e\nPathExistsGlob=/g\nPathChanged=/c\nPathModified=/m\nDirectoryNotEmpty=/d\n";
    let made = |world: &World| world.state.borrow().directories.clone();
    assert_eq!(made(&path(lines)), []);
    let mut world = path(&format!("{lines}MakeDirectory=yes"));
    let directories = |mode| ["/c", "/m", "/d"].map(|path| (path.to_owned(), mode));
    assert_eq!(made(&world), directories(0o755));
    // At its start, and then no more.
    world.happens("/c");
    end(&mut world);
    world.core.reload_files();
    world.replace_manager();
    assert_eq!(made(&world), directories(0o755));
    let world = path(&format!("{lines}MakeDirectory=yes\nDirectoryMode=0700"));
    assert_eq!(made(&world), directories(0o700));
}

#[test]
fn a_directory_that_cannot_be_made_is_no_failure() {
    for (errno, warned) in [(39, false), (20, true)] {
        let mut world = files("DirectoryNotEmpty=/d\nMakeDirectory=yes");
        world.state.borrow_mut().odd_directories.insert("/d".to_owned(), errno);
        world.start("a.path");
        assert_eq!(world.state("a.path"), WAITING);
        assert_eq!(world.logged("a.path: making the directory /d"), warned, "39: it is there, and holds something");
    }
}

#[test]
fn a_watch_that_is_not_possible_is_its_end() {
    let mut world = files("PathChanged=/x");
    world.state.borrow_mut().no_path_watches = true;
    world.start("a.path");
    assert_eq!((world.state("a.path").as_str(), result(&world)), (FAILED, PathResult::Resources));
    assert_eq!(world.results("a.path"), [JobResult::Failed]);
    assert!(world.logged("a.path: watching the paths of a.path: the test does not let it"));
    world.state.borrow_mut().no_path_watches = false;
    world.start("a.path");
    assert_eq!((world.state("a.path").as_str(), result(&world)), (WAITING, PathResult::Success));
    // Later on.
    world.happens("/x");
    world.state.borrow_mut().no_path_watches = true;
    end(&mut world);
    assert_eq!((world.state("a.path").as_str(), result(&world)), (FAILED, PathResult::Resources));
    // What is there already needs none.
    let mut world = files("PathExists=/x");
    world.set_there("/x", true);
    world.state.borrow_mut().no_path_watches = true;
    world.start("a.path");
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (RUNNING, 1));
}

// ---- limits ------------------------------------------------------------------------------------------------------

#[test]
fn too_many_triggers_end_it() {
    for (lines, burst) in [("", 200), ("TriggerLimitBurst=3\n", 3)] {
        let timer = format!("[Path]\nPathChanged=/x\n{lines}");
        let mut world = World::new(&[("a.path", &timer), ("a.service", PATIENT)]);
        world.start("a.path");
        for round in 0..=burst {
            assert_eq!(world.happens("/x"), 1, "{round}");
            if round < burst {
                end(&mut world);
            }
        }
        assert_eq!((world.state("a.path").as_str(), result(&world)), (FAILED, PathResult::TriggerLimitHit));
        assert_eq!(runs(&world), burst);
        assert_eq!(watched(&world), [""; 0]);
    }
    // The count begins anew when the time is over, which can be told too.
    for (lines, seconds, result_then) in [
        ("TriggerLimitBurst=3", 2.1, PathResult::Success),
        ("TriggerLimitBurst=3\nTriggerLimitIntervalSec=10", 2.1, PathResult::TriggerLimitHit),
        ("TriggerLimitBurst=3\nTriggerLimitIntervalSec=0", 0.0, PathResult::Success),
    ] {
        let timer = format!("[Path]\nPathChanged=/x\n{lines}\n");
        let mut world = World::new(&[("a.path", &timer), ("a.service", PATIENT)]);
        world.start("a.path");
        for _ in 0..3 {
            world.happens("/x");
            end(&mut world);
        }
        world.pass(seconds);
        world.happens("/x");
        assert_eq!(result(&world), result_then, "{lines}");
    }
}

#[test]
fn a_unit_that_is_skipped_for_a_condition_is_not_tried_for_ever() {
    let service = "[Unit]\nConditionPathExists=/no\n[Service]\nExecStart=/bin/a\n";
    let mut world = World::new(&[("a.path", "[Path]\nPathExists=/x\n"), ("a.service", service)]);
    world.state.borrow_mut().false_conditions.insert("/no".to_owned());
    // Conditions come after the start limit; here it is reached first.
    world.start("a.path");
    world.set_there("/x", true);
    assert_eq!((world.state("a.path").as_str(), result(&world)), (FAILED, PathResult::UnitStartLimitHit));
    let service = format!("[Unit]\nStartLimitIntervalSec=0\n{}", service.trim_start_matches("[Unit]\n"));
    let mut world = World::new(&[("a.path", "[Path]\nPathExists=/x\n"), ("a.service", &service)]);
    world.state.borrow_mut().false_conditions.insert("/no".to_owned());
    world.start("a.path");
    world.set_there("/x", true);
    assert_eq!((world.state("a.path").as_str(), result(&world)), (FAILED, PathResult::TriggerLimitHit));
    assert_eq!(runs(&world), 0);
}

#[test]
fn a_units_start_limit_is_the_end_of_its_path() {
    let mut world = path("PathExists=/x");
    world.set_there("/x", true);
    // It leaves what it was started for; five starts are allowed in ten seconds.
    for round in 1..=5 {
        assert_eq!(runs(&world), round);
        assert_eq!(world.state("a.path"), RUNNING);
        end(&mut world);
    }
    assert_eq!((world.state("a.path").as_str(), result(&world)), (FAILED, PathResult::UnitStartLimitHit));
    assert_eq!((world.state("a.service").as_str(), runs(&world)), (FAILED, 5));
    assert_eq!(watched(&world), [""; 0]);
    let id = world.id("a.path");
    world.core.reset_failed(id);
    world.core.reset_failed(world.core.table.find(&double::name("a.service")).unwrap());
    world.start("a.path");
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (RUNNING, 6));
}

#[test]
fn started_too_often_it_fails() {
    let mut world = files("PathChanged=/x");
    for _ in 0..5 {
        world.start("a.path");
        // Kept in the table by nobody it would forget its count.
        let id = world.id("a.path");
        world.core.unit_mut(id).runtime.held_by.insert("a client".to_owned());
        world.stop("a.path");
    }
    world.start("a.path");
    assert_eq!((world.state("a.path").as_str(), result(&world)), (FAILED, PathResult::StartLimitHit));
}

// ---- its unit, and its end ---------------------------------------------------------------------------------------

#[test]
fn without_a_unit_it_does_not_start() {
    let mut world = World::new(&[("a.path", "[Path]\nPathChanged=/x\n")]);
    world.start("a.path");
    assert_eq!(world.results("a.path"), [JobResult::Failed]);
    assert!(world.logged("a.path: cannot start: the unit it is to start is not there"));
    assert_eq!(watched(&world), [""; 0]);
}

#[test]
fn a_unit_whose_file_goes_away_is_missed_when_it_is_to_start() {
    let mut world = path("PathExists=/x");
    world.rewrite(&[("a.service", None)]);
    assert_eq!(world.state("a.path"), WAITING);
    world.set_there("/x", true);
    assert_eq!((world.state("a.path").as_str(), result(&world)), (FAILED, PathResult::Resources));
    // While it runs.
    let mut world = path("PathExists=/x");
    world.set_there("/x", true);
    world.rewrite(&[("a.service", None)]);
    assert_eq!(world.state("a.path"), RUNNING);
    end(&mut world);
    assert_eq!((world.state("a.path").as_str(), result(&world)), (FAILED, PathResult::Resources));
}

#[test]
fn its_end_leaves_the_unit() {
    let mut world = path("PathExists=/x");
    world.set_there("/x", true);
    world.stop("a.path");
    assert_eq!(world.state("a.service"), RUNNING);
    end(&mut world);
    assert_eq!((world.state("a.path").as_str(), runs(&world)), ("not there", 1));
    let mut world = path("PathChanged=/x");
    world.stop("a.path");
    assert_eq!(watched(&world), [""; 0]);
    assert_eq!(world.happens("/x"), 0);
}

#[test]
fn a_path_that_is_to_be_stopped_starts_nothing() {
    for kind in ["PathExists", "PathChanged"] {
        let mut world = World::new(&[
            ("a.path", &format!("[Path]\n{kind}=/x\n")),
            ("a.service", SERVICE),
            ("d.service", "[Unit]\nAfter=a.path\nPartOf=a.path\n[Service]\nExecStart=/bin/d\n"),
        ]);
        world.start("a.path");
        world.start("d.service");
        // The stop of the path unit waits for that of what is ordered after it.
        world.stop("a.path");
        assert_eq!(world.state("a.path"), WAITING);
        assert_eq!(world.set_there("/x", true), 1);
        assert_eq!(world.live("a.service"), []);
        world.exit(world.only("d.service"), OK);
        assert_eq!((world.state("a.path").as_str(), world.lines()), ("not there", vec!["/bin/d".to_owned()]));
    }
}

#[test]
fn a_unit_that_is_to_be_stopped_is_left_to_that() {
    let mut world = path("PathExists=/x");
    world.set_there("/x", true);
    world.stop("a.service");
    world.tell(Event::PathChanged(double::name("a.path")));
    assert_eq!((world.state("a.service").as_str(), runs(&world)), ("deactivating (stop-sigterm)", 1));
    end(&mut world);
    assert_eq!(world.results("a.service"), [JobResult::Done, JobResult::Done, JobResult::Done]);
    assert_eq!(runs(&world), 2, "it is so still");
}

#[test]
fn a_stop_by_hand_is_done_before_it_is_looked_at_again() {
    let service = "[Unit]\nAfter=slow.service\n[Service]\nExecStart=/bin/a\n";
    let mut world = World::new(&[
        ("a.path", "[Path]\nPathExists=/x\n"),
        ("a.service", service),
        ("slow.service", "[Service]\nType=oneshot\nExecStart=/bin/slow\n"),
    ]);
    world.start("a.path");
    world.start("slow.service");
    world.set_there("/x", true);
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (RUNNING, 1), "its start waits");
    world.stop("a.service");
    assert_eq!(world.results("a.service"), [JobResult::Canceled, JobResult::Done]);
    // It is so still.
    world.exit(world.only("slow.service"), OK);
    assert_eq!(world.state("a.service"), RUNNING);
}

// ---- daemon-reload, and another manager --------------------------------------------------------------------------

#[test]
fn a_reload_brings_other_paths() {
    let mut world = path("PathExists=/x");
    world.rewrite(&[("a.path", Some("[Path]\nPathExists=/y\n"))]);
    assert_eq!((world.state("a.path").as_str(), watched(&world)), (WAITING, vec!["PathExists=/y".to_owned()]));
    assert_eq!(world.set_there("/x", true), 0);
    assert_eq!(world.set_there("/y", true), 1);
    assert_eq!(runs(&world), 1);
    // While it runs nothing is watched, whatever the files say.
    world.rewrite(&[("a.path", Some("[Path]\nPathChanged=/z\n"))]);
    assert_eq!((world.state("a.path").as_str(), watched(&world)), (RUNNING, vec![]));
    end(&mut world);
    assert_eq!((world.state("a.path").as_str(), watched(&world)), (WAITING, vec!["PathChanged=/z".to_owned()]));
    // What is there already counts at once.
    world.rewrite(&[("a.path", Some("[Path]\nPathExists=/x\n"))]);
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (RUNNING, 2));
}

#[test]
fn a_reload_may_bring_another_unit() {
    let mut world = path("PathExists=/x");
    world.set_there("/x", true);
    let other = "[Path]\nPathExists=/x\nUnit=b.service\n";
    world.rewrite(&[("a.path", Some(other)), ("b.service", Some("[Service]\nExecStart=/bin/b\n"))]);
    assert_eq!(world.lines(), ["/bin/a", "/bin/b"]);
    end(&mut world);
    assert_eq!(world.lines().len(), 2, "that is none of its business any more");
}

#[test]
fn the_next_manager_looks_at_what_has_come() {
    let mut world = path("PathExists=/x");
    world.replace_manager();
    assert_eq!((world.state("a.path").as_str(), watched(&world)), (WAITING, vec!["PathExists=/x".to_owned()]));
    // While there was none.
    world.state.borrow_mut().paths_that_hold.insert("/x".to_owned());
    world.replace_manager();
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (RUNNING, 1));
    world.replace_manager();
    assert_eq!((world.state("a.path").as_str(), runs(&world)), (RUNNING, 1));
    world.set_there("/x", false);
    end(&mut world);
    assert_eq!((world.state("a.path").as_str(), watched(&world)), (WAITING, vec!["PathExists=/x".to_owned()]));
    assert_eq!(world.set_there("/x", true), 1);
    assert_eq!(runs(&world), 2);
}

#[test]
fn a_unit_on_its_way_up_stays_so_under_the_next_manager() {
    let service = "[Unit]\nAfter=slow.service\n[Service]\nExecStart=/bin/a\n";
    let mut world = World::new(&[
        ("a.path", "[Path]\nPathChanged=/x\n"),
        ("a.service", service),
        ("slow.service", "[Service]\nType=oneshot\nExecStart=/bin/slow\n"),
    ]);
    world.start("a.path");
    world.start("slow.service");
    world.happens("/x");
    assert_eq!((world.state("a.path").as_str(), world.state("a.service").as_str()), (RUNNING, "inactive (dead)"));
    world.replace_manager();
    assert_eq!((world.state("a.path").as_str(), watched(&world)), (RUNNING, vec![]));
    world.exit(world.only("slow.service"), OK);
    assert_eq!(world.lines(), ["/bin/slow", "/bin/a"]);
}

#[test]
fn the_count_of_triggers_outlives_the_manager() {
    let mut world = World::new(&[("a.path", "[Path]\nPathChanged=/x\nTriggerLimitBurst=3\n"), ("a.service", PATIENT)]);
    world.start("a.path");
    for _ in 0..3 {
        world.happens("/x");
        end(&mut world);
        world.replace_manager();
    }
    world.happens("/x");
    assert_eq!((result(&world), runs(&world)), (PathResult::TriggerLimitHit, 3));
}

#[test]
fn a_start_that_was_lost_with_the_manager_is_found_by_what_is_so() {
    use ssi_manager::core::state::PathState;
    for (kind, started, state) in [("PathExists", 1, RUNNING), ("PathChanged", 0, WAITING)] {
        let mut world = path(&format!("{kind}=/x"));
        world.state.borrow_mut().paths_that_hold.insert("/x".to_owned());
        let id = world.id("a.path");
        world.core.unit_mut(id).runtime.kind.path_mut().state = PathState::Running;
        world.replace_manager();
        assert_eq!((world.state("a.path").as_str(), runs(&world)), (state, started), "{kind}");
    }
}
